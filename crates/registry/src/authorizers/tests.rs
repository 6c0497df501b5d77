//! security.md section 6.1.

use std::collections::BTreeMap;

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:decide";

fn authorizer(name: &str) -> CreateAuthorizer {
    CreateAuthorizer {
        authorizer_name: name.to_owned(),
        authorizer_function_arn: FUNCTION.to_owned(),
        token_key_name: Some("token".to_owned()),
        token_signing_public_keys: BTreeMap::from([("first".to_owned(), "PEM".to_owned())]),
        status: AuthorizerStatus::Active,
        signing_disabled: false,
        enable_caching_for_http: false,
        tags: vec![tag("k", "v")],
    }
}

fn create(registry: &mut Registry, authorizer: CreateAuthorizer) -> Result<Reply, crate::Error> {
    registry.run(Action::CreateAuthorizer(Box::new(authorizer)))
}

fn update(
    registry: &mut Registry,
    change: impl FnOnce(&mut UpdateAuthorizer),
) -> Result<Reply, crate::Error> {
    let mut args = UpdateAuthorizer { authorizer_name: "a".to_owned(), ..UpdateAuthorizer::default() };
    change(&mut args);
    registry.run(Action::UpdateAuthorizer(Box::new(args)))
}

fn described(registry: &Registry, query: QueryKind) -> AuthorizerDescription {
    match registry.ask(query).unwrap() {
        QueryReply::Authorizer(found) => *found,
        other => panic!("{other:?}"),
    }
}

fn listed(registry: &Registry, status: Option<AuthorizerStatus>, ascending: bool, limit: u32) -> Vec<String> {
    let (mut names, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: Some(limit) };
        let reply = registry.ask(QueryKind::ListAuthorizers { status, ascending, page }).unwrap();
        let QueryReply::Authorizers(found) = reply else { panic!("{reply:?}") };
        names.extend(found.items.into_iter().map(|item| item.authorizer_name));
        token = found.next;
        if token.is_none() {
            return names;
        }
    }
}

#[test]
fn the_life_of_an_authorizer() {
    let mut registry = registry();
    let made = create(&mut registry, authorizer("a")).unwrap();
    let Reply::Authorizer(summary) = made else { panic!("{made:?}") };
    assert_eq!(summary.authorizer_arn, arn("authorizer", "a"));
    assert_eq!(refusal(create(&mut registry, authorizer("a"))), (ResourceAlreadyExistsException, 409));
    update(&mut registry, |args| {
        args.token_signing_public_keys = Some(BTreeMap::from([("second".to_owned(), "OTHER".to_owned())]));
        args.enable_caching_for_http = Some(true);
    })
    .unwrap();
    let found = described(&registry, QueryKind::DescribeAuthorizer("a".to_owned()));
    assert_eq!(found.token_signing_public_keys.into_keys().collect::<Vec<_>>(), ["second"]);
    assert_eq!((found.token_key_name.as_deref(), found.enable_caching_for_http), (Some("token"), true));
    let delete = || Action::DeleteAuthorizer("a".to_owned());
    assert_eq!(refusal(registry.run(delete())), (DeleteConflictException, 409), "it is active");
    update(&mut registry, |args| args.status = Some(AuthorizerStatus::Inactive)).unwrap();
    registry.run(delete()).unwrap();
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
    assert_eq!(refusal(update(&mut registry, |_| {})), (ResourceNotFoundException, 404));
}

#[test]
fn the_default_authorizer() {
    let mut registry = registry();
    let set = |name: &str| Action::SetDefaultAuthorizer(name.to_owned());
    assert_eq!(refusal(registry.run(set("a"))), (ResourceNotFoundException, 404));
    for name in ["a", "b"] {
        create(&mut registry, CreateAuthorizer { status: AuthorizerStatus::Inactive, ..authorizer(name) })
            .unwrap();
    }
    let ask = || QueryKind::DescribeDefaultAuthorizer;
    assert_eq!(refusal(registry.ask(ask())), (ResourceNotFoundException, 404));
    assert_eq!(refusal(registry.run(Action::ClearDefaultAuthorizer)), (ResourceNotFoundException, 404));
    registry.run(set("a")).unwrap();
    assert_eq!(refusal(registry.run(set("b"))), (ResourceAlreadyExistsException, 409));
    assert_eq!(described(&registry, ask()).authorizer_name, "a");
    let delete = Action::DeleteAuthorizer("a".to_owned());
    assert_eq!(refusal(registry.run(delete.clone())), (DeleteConflictException, 409));
    registry.run(Action::ClearDefaultAuthorizer).unwrap();
    registry.run(delete).unwrap();
}

#[test]
fn what_an_authorizer_must_have() {
    let mut registry = registry();
    let mut refused = |change: fn(&mut CreateAuthorizer)| {
        let mut args = authorizer("a");
        change(&mut args);
        assert_eq!(refusal(create(&mut registry, args)), (InvalidRequestException, 400));
    };
    refused(|args| args.authorizer_name = "a b".to_owned());
    refused(|args| args.authorizer_function_arn = "https://example".to_owned());
    refused(|args| args.token_key_name = None);
    refused(|args| args.token_key_name = Some("a=b".to_owned()));
    refused(|args| args.token_signing_public_keys.clear());
    refused(|args| {
        args.token_signing_public_keys.insert("k".to_owned(), "x".repeat(5121));
    });
    refused(|args| {
        args.token_signing_public_keys.extend((0..10).map(|n| (n.to_string(), "PEM".to_owned())));
    });
    let unsigned = CreateAuthorizer {
        signing_disabled: true,
        token_key_name: None,
        token_signing_public_keys: BTreeMap::new(),
        ..authorizer("unsigned")
    };
    create(&mut registry, unsigned).unwrap();
    create(&mut registry, authorizer("a")).unwrap();
    let emptied = update(&mut registry, |args| args.token_signing_public_keys = Some(BTreeMap::new()));
    assert_eq!(refusal(emptied), (InvalidRequestException, 400));
}

#[test]
fn authorizers_are_listed_by_name_and_counted() {
    let mut registry = registry();
    let names: Vec<String> = (0..10).map(|n| format!("a{n}")).collect();
    for name in &names {
        create(&mut registry, authorizer(name)).unwrap();
    }
    assert_eq!(refusal(create(&mut registry, authorizer("more"))), (LimitExceededException, 410));
    for limit in [3, 10, 250] {
        assert_eq!(listed(&registry, None, true, limit), names);
        assert_eq!(listed(&registry, None, false, limit), names.iter().rev().cloned().collect::<Vec<_>>());
    }
    assert_eq!(listed(&registry, Some(AuthorizerStatus::Inactive), true, 250), Vec::<String>::new());
    assert_eq!(listed(&registry, Some(AuthorizerStatus::Active), true, 250).len(), 10);
}
