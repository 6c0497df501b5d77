//! Addresses that rules may call.

use std::time::Duration;

use super::{TOKEN_LASTS, decode, scope_of_token};
use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;
use crate::{View, keys};

const URL: &str = "https://hooks.example.com/iot";

fn told(reply: Reply) -> RuleDestination {
    match reply {
        Reply::RuleDestination(destination) => *destination,
        other => panic!("{other:?}"),
    }
}

fn create(registry: &mut Registry) -> RuleDestination {
    told(registry.run(Action::CreateTopicRuleDestination(URL.to_owned())).unwrap())
}

fn update(registry: &mut Registry, arn: &str, status: DestinationStatus) -> Result<Reply, crate::Error> {
    let args = UpdateRuleDestination { arn: arn.to_owned(), status };
    registry.run(Action::UpdateTopicRuleDestination(Box::new(args)))
}

fn confirm(registry: &mut Registry, token: &Secret) -> Result<Reply, crate::Error> {
    registry.run(Action::ConfirmTopicRuleDestination(token.clone()))
}

fn get(registry: &Registry, arn: &str) -> Result<RuleDestination, crate::Error> {
    match registry.ask(QueryKind::GetTopicRuleDestination(arn.to_owned()))? {
        QueryReply::RuleDestination(destination) => Ok(*destination),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_confirmed_by_its_token_once() {
    let mut registry = registry();
    let made = create(&mut registry);
    assert!(made.arn.starts_with(&arn("ruledestination", "http/")), "{}", made.arn);
    assert_eq!(made.status, DestinationStatus::InProgress);
    assert!(!made.lets(URL));
    let token = made.token.unwrap();
    assert_eq!(scope_of_token(&token).unwrap().0, registry.scope);
    let invalid = (InvalidRequestException, 400);
    let enable = update(&mut registry, &made.arn, DestinationStatus::Enabled);
    assert_eq!(refusal(enable), invalid, "the owner decides");
    let wrong = Secret(format!("{}x", token.0));
    assert_eq!(refusal(confirm(&mut registry, &wrong)), invalid);
    assert_eq!(refusal(confirm(&mut registry, &Secret("nonsense".to_owned()))), invalid);
    assert_eq!(told(confirm(&mut registry, &token).unwrap()).status, DestinationStatus::Enabled);
    assert!(get(&registry, &made.arn).unwrap().lets(&format!("{URL}/x")));
    assert_eq!(refusal(confirm(&mut registry, &token)), invalid, "once");
    update(&mut registry, &made.arn, DestinationStatus::Disabled).unwrap();
    assert!(!get(&registry, &made.arn).unwrap().lets(URL));
    update(&mut registry, &made.arn, DestinationStatus::Enabled).unwrap();
    assert!(get(&registry, &made.arn).unwrap().lets(URL));
}

#[test]
fn tokens_expire_and_are_made_again() {
    let mut registry = registry();
    let made = create(&mut registry);
    let first = made.token.unwrap();
    registry.wait(TOKEN_LASTS.as_secs() + 1);
    assert_eq!(refusal(confirm(&mut registry, &first)), (InvalidRequestException, 400));
    let again = told(update(&mut registry, &made.arn, DestinationStatus::InProgress).unwrap());
    let second = again.token.unwrap();
    assert_ne!(second, first);
    registry.wait(TOKEN_LASTS.as_secs() - Duration::from_secs(60).as_secs());
    assert!(confirm(&mut registry, &second).is_ok());
}

#[test]
fn who_cannot_be_asked_is_told_unless_it_was_asked_again() {
    let mut registry = registry();
    let made = create(&mut registry);
    let token = made.token.unwrap();
    let unreachable = |token: &Secret| {
        let (arn, token) = (made.arn.clone(), token.clone());
        let args = UnreachableRuleDestination { arn, token, reason: "no route".to_owned() };
        Action::UnreachableTopicRuleDestination(Box::new(args))
    };
    registry.run(unreachable(&token)).unwrap();
    let failed = get(&registry, &made.arn).unwrap();
    assert_eq!(
        (failed.status, failed.status_reason.as_deref()),
        (DestinationStatus::Error, Some("no route"))
    );
    update(&mut registry, &made.arn, DestinationStatus::InProgress).unwrap();
    registry.run(unreachable(&token)).unwrap();
    assert_eq!(get(&registry, &made.arn).unwrap().status, DestinationStatus::InProgress);
}

#[test]
fn an_address_is_there_once_and_unknown_ones_are_unauthorized() {
    let mut registry = registry();
    let made = create(&mut registry);
    let again = registry.run(Action::CreateTopicRuleDestination(URL.to_owned()));
    assert_eq!(refusal(again), (ResourceAlreadyExistsException, 409));
    for bad in ["", "hooks.example.com", "https://u@h/"] {
        let refused = registry.run(Action::CreateTopicRuleDestination(bad.to_owned()));
        assert_eq!(refusal(refused), (InvalidRequestException, 400), "{bad}");
    }
    match registry.ask(QueryKind::ListTopicRuleDestinations(PageRequest::default())).unwrap() {
        QueryReply::RuleDestinations(page) => assert_eq!(page.items, std::slice::from_ref(&made)),
        other => panic!("{other:?}"),
    }
    let (key, value) = registry.view.scan(&keys::rule_destinations_prefix(), None, 1).remove(0);
    assert_eq!(decode(&key, &value), Some((registry.scope, made.clone())));
    assert!(!format!("{made:?}").contains(&made.token.as_ref().unwrap().0));
    registry.run(Action::DeleteTopicRuleDestination(made.arn.clone())).unwrap();
    let unauthorized = (UnauthorizedException, 401);
    assert_eq!(refusal(get(&registry, &made.arn)), unauthorized);
    assert_eq!(refusal(registry.run(Action::DeleteTopicRuleDestination(made.arn))), unauthorized);
}
