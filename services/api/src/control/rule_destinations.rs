//! Topic rule destinations (rules-actions.md 5.9): addresses that `http` actions may call once their owners have confirmed it.

use fleethaven_registry::shapes::{DestinationStatus, RuleDestination, Secret, UpdateRuleDestination};
use fleethaven_registry::{Action, Command, QueryKind, QueryReply, Reply, own_actions, rule_destinations};
use fleethaven_types::Timestamp;
use serde_json::{Value, json};

use super::expect_reply;
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::api::State;
use crate::call::Call;
use crate::challenge::{Challenge, enable_url};
use crate::error::Error;
use crate::members::{Members, missing};

/// Longest address, in characters; only ASCII is taken.
const URL_CHARACTERS: usize = 2000;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let name = "destinationConfiguration";
    let configuration = body.object(name)?.ok_or_else(|| missing(name))?;
    let Some(http) = configuration.object("httpUrlConfiguration")? else {
        return Err(Error::invalid(instead_of(&configuration)));
    };
    let url = http.required_string("confirmationUrl")?;
    if url.len() > URL_CHARACTERS {
        return Err(Error::invalid(format!("'confirmationUrl' may have {URL_CHARACTERS} characters")));
    }
    let action = Action::CreateTopicRuleDestination(url);
    let made = executed(call, action).await?;
    Ok(Answer::of([("topicRuleDestination", described("httpUrlProperties", made))]))
}

/// What to do where a configuration asks for what there is not here.
fn instead_of(configuration: &Members<'_>) -> String {
    let connection = |what: &str, kind: &str| {
        format!(
            "there are no {what} destinations here: a connection of kind {kind} stands for the destinationArn of rules \
             (`fleethaven connection put --kind {kind} --role <destinationArn>`)"
        )
    };
    if configuration.value("vpcConfiguration").is_some() {
        connection("VPC", "kafka")
    } else if configuration.value("influxDBConfiguration").is_some() {
        connection("InfluxDB", "influxDB")
    } else {
        "give httpUrlConfiguration: destinations are HTTP addresses here".to_owned()
    }
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let arn = body.required_string("arn")?;
    let status: DestinationStatus = body.enumeration("status")?.ok_or_else(|| missing("status"))?;
    let args = UpdateRuleDestination { arn, status };
    executed(call, Action::UpdateTopicRuleDestination(Box::new(args))).await?;
    Ok(Answer::object())
}

/// Carries out a change of a destination, and asks its owner if it asks for that.
async fn executed(call: &Call<'_>, action: Action) -> Result<RuleDestination, Error> {
    let reply = call.execute(action).await?;
    let destination = expect_reply!(reply, Reply::RuleDestination(destination) => *destination);
    ask(call, &destination);
    Ok(destination)
}

/// Asks the owner of an address, while nobody waits for it.
fn ask(call: &Call<'_>, destination: &RuleDestination) {
    let Some(token) = destination.token.clone() else { return };
    let challenge = Challenge {
        challenges: call.state.challenges.clone(),
        metadata: call.state.metadata.clone(),
        scope: call.scope,
        enable_url: enable_url(&call.state.config.endpoints, call.scope, &token),
        destination: destination.clone(),
        token,
    };
    tokio::spawn(challenge.ask());
}

/// Makes the destinations that a rule's `http` actions name without templates, as AWS does. The rule is made by then: what goes
/// wrong here, an operator finds in the listing.
pub(super) async fn make_named(call: &Call<'_>, actions: &[Value]) {
    for http in actions.iter().filter_map(|action| action.get("http")) {
        let member = |name: &str| http.get(name).and_then(Value::as_str);
        let named = member("confirmationUrl").or_else(|| member("url"));
        let fixed = |url: &&str| !url.contains("${") && !own_actions::is_own(http);
        let Some(url) = named.filter(fixed).filter(|url| url.len() <= URL_CHARACTERS) else { continue };
        let command = Command::new(call.scope, Action::CreateTopicRuleDestination(url.to_owned()));
        match call.state.metadata.execute(command).await.map(|executed| executed.reply) {
            Ok(Reply::RuleDestination(made)) => ask(call, &made),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, url, "no destination is made for a rule"),
        }
    }
}

pub(super) async fn confirm(call: &Call<'_>) -> Outcome {
    let token = Secret(call.input.label("confirmationToken")?);
    call.carry_out(Action::ConfirmTopicRuleDestination(token)).await?;
    Ok(Answer::object())
}

/// Whoever has the token may confirm, without a signature: the token says where.
pub(crate) async fn confirm_by_token(state: &State, token: &str) -> Outcome {
    let token = Secret(token.to_owned());
    let refused = || Error::invalid("the confirmation token is not valid, or has expired");
    let (scope, _) = rule_destinations::scope_of_token(&token).ok_or_else(refused)?;
    let command = Command::new(scope, Action::ConfirmTopicRuleDestination(token));
    let executed = state.metadata.execute(command).await?;
    state.metadata.in_force(executed.revision).await;
    Ok(Answer::object())
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let query = QueryKind::GetTopicRuleDestination(call.input.label("arn")?);
    let found = expect_reply!(call.query(query).await?, QueryReply::RuleDestination(found) => *found);
    Ok(Answer::of([("topicRuleDestination", described("httpUrlProperties", found))]))
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListTopicRuleDestinations(call.input.next_token_page()?);
    let page = expect_reply!(call.query(query).await?, QueryReply::RuleDestinations(page) => page);
    let summary = |one| described("httpUrlSummary", one);
    let items = answer::list(page.items, summary);
    Ok(Answer::of([("destinationSummaries", items), ("nextToken", page.next.into())]))
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteTopicRuleDestination(call.input.label("arn")?)).await?;
    Ok(Answer::object())
}

fn described(properties: &'static str, destination: RuleDestination) -> Value {
    let RuleDestination { arn, confirmation_url, status, status_reason, created_at, last_updated_at, .. } =
        destination;
    let at = |time: Timestamp| seconds(time);
    members_of([
        ("arn", arn.into()),
        ("status", status.as_str().into()),
        ("statusReason", status_reason.into()),
        ("createdAt", at(created_at)),
        ("lastUpdatedAt", at(last_updated_at)),
        (properties, json!({"confirmationUrl": confirmation_url})),
    ])
}
