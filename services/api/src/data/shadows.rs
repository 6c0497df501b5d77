//! Device shadows over HTTPS (shadow.md section 6). What an update does, and whom it is told to, is the metastore's.

use fleethaven_policy::Action as PolicyAction;
use fleethaven_registry::shapes::{DeleteThingShadow, PageRequest, UpdateThingShadow};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use fleethaven_shadow::Error as ShadowError;

use super::authorization::{Asked, On, authorize};
use crate::answer::{Answer, Outcome};
use crate::call::Call;
use crate::error::Error;

/// The thing of the path and the shadow of the query; an empty name means the classic one.
struct Target {
    thing_name: String,
    shadow_name: Option<String>,
}

impl Target {
    /// Reads it, and refuses what the caller may not do or does too often.
    async fn permitted(call: &Call<'_>, action: PolicyAction) -> Result<Self, Error> {
        let thing_name = call.input.label("thingName")?;
        let shadow_name = call.input.query_string("name").filter(|name| !name.is_empty());
        let resource = match &shadow_name {
            Some(shadow) => format!("{thing_name}/{shadow}"),
            None => thing_name.clone(),
        };
        authorize(call, &Asked::new(&[action], On::Thing(&resource))).await?;
        count(call, &thing_name)?;
        Ok(Self { thing_name, shadow_name })
    }
}

/// Counts the request against the rates of the account and of the thing, which devices share over MQTT.
fn count(call: &Call<'_>, thing_name: &str) -> Result<(), Error> {
    let account = call.state.accounts.get(call.scope);
    let now = tokio::time::Instant::now().into_std();
    if account.admit_shadow_request(thing_name, now) { Ok(()) } else { Err(Error::Throttled) }
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let Target { thing_name, shadow_name } = Target::permitted(call, PolicyAction::GetThingShadow).await?;
    let query = QueryKind::GetThingShadow { thing_name, shadow_name, client_token: None };
    match call.query(query).await? {
        QueryReply::ThingShadow(document) => Ok(Answer::Document(document)),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let Target { thing_name, shadow_name } = Target::permitted(call, PolicyAction::UpdateThingShadow).await?;
    let payload = std::str::from_utf8(&call.input.body).map_err(|_| not_utf8())?.to_owned();
    let update = UpdateThingShadow { thing_name, shadow_name, payload, answer: true };
    answered(call, Action::UpdateThingShadow(Box::new(update))).await
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    let Target { thing_name, shadow_name } = Target::permitted(call, PolicyAction::DeleteThingShadow).await?;
    let delete = DeleteThingShadow { thing_name, shadow_name, client_token: None };
    answered(call, Action::DeleteThingShadow(Box::new(delete))).await
}

async fn answered(call: &Call<'_>, action: Action) -> Outcome {
    match call.execute(action).await? {
        Reply::ThingShadow(document) => Ok(Answer::Document(document)),
        _ => Err(Error::unexpected_reply()),
    }
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let thing_name = call.input.label("thingName")?;
    // AWS's pages disagree on the resource, `*` or the thing: a policy may name either.
    let asked = Asked::new(&[PolicyAction::ListNamedShadowsForThing], On::Thing(&thing_name));
    authorize(call, &asked).await?;
    count(call, &thing_name)?;
    let token = call.input.query_string("nextToken").filter(|token| !token.is_empty());
    let page = PageRequest { token, limit: call.input.query_integer("pageSize")? };
    let QueryReply::Names(names) =
        call.query(QueryKind::ListNamedShadowsForThing { thing_name, page }).await?
    else {
        return Err(Error::unexpected_reply());
    };
    Ok(Answer::of([
        ("results", names.items.into()),
        ("nextToken", names.next.into()),
        ("timestamp", call.now.as_secs().into()),
    ]))
}

fn not_utf8() -> Error {
    Error::Refused(ShadowError::NotUtf8.into())
}
