//! What stands for Lambda functions.

use fleethaven_types::AccountId;

use super::decode;
use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;
use crate::{View, keys};

const ARN: &str = "arn:aws:lambda:eu-west-1:210987654321:function:hook";

fn webhook(arn: &str, signing_secret: Option<&str>) -> Action {
    let signing_secret = signing_secret.map(|secret| Secret(secret.to_owned()));
    put(arn, "https://hooks.example.com/f?a=b", FunctionKind::Webhook { signing_secret })
}

fn put(arn: &str, url: &str, kind: FunctionKind) -> Action {
    let target = FunctionTarget { url: url.to_owned(), kind };
    Action::PutFunction(Box::new(PutFunction { function_arn: arn.to_owned(), target }))
}

fn secret(registry: &mut Registry, action: Action) -> String {
    let Reply::Function(function) = registry.run(action).unwrap() else { panic!("another reply") };
    match function.target.kind {
        FunctionKind::Webhook { signing_secret: Some(secret) } => secret.0,
        other => panic!("{other:?}"),
    }
}

fn list(registry: &Registry) -> Vec<FunctionDescription> {
    match registry.ask(QueryKind::ListFunctions(PageRequest::default())).unwrap() {
        QueryReply::Functions(page) => page.items,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_webhook_keeps_its_secret_until_it_is_given_another() {
    let mut registry = registry();
    let made = secret(&mut registry, webhook(ARN, None));
    assert_eq!(made.len(), 64);
    assert_eq!(secret(&mut registry, webhook(ARN, None)), made);
    assert_eq!(secret(&mut registry, webhook(ARN, Some("0123456789abcdef"))), "0123456789abcdef");
    assert_eq!(refusal(registry.run(webhook(ARN, Some("short")))), (InvalidRequestException, 400));
    assert_eq!(list(&registry).len(), 1);
}

#[test]
fn functions_belong_to_an_account() {
    let mut registry = registry();
    let (access_key_id, secret_access_key) = ("AKIA".to_owned(), Secret("hush".to_owned()));
    let credentials = Some(FunctionCredentials { access_key_id, secret_access_key });
    let lambda = FunctionKind::Lambda { credentials };
    registry.run(put(&format!("{ARN}:live"), "http://127.0.0.1:9000", lambda.clone())).unwrap();
    registry.run(webhook(ARN, None)).unwrap();
    let listed = list(&registry);
    let arns: Vec<&str> = listed.iter().map(|function| function.function_arn.as_str()).collect();
    assert_eq!(arns, [ARN, &format!("{ARN}:live")]);
    assert_eq!(listed[1].target.kind, lambda);
    assert!(!format!("{listed:?}").contains("hush"), "secrets are not printed");

    let key = keys::function(registry.scope.account, ARN);
    let stored = registry.view.get(&key).unwrap();
    assert_eq!(decode(&key, &stored), Some((registry.scope.account, listed[0].clone())));

    let home = registry.scope.account;
    registry.scope.account = AccountId::from_u64(1).unwrap();
    assert_eq!(refusal(registry.run(webhook(ARN, None))), (ResourceNotFoundException, 404));
    let deleted = registry.run(Action::DeleteFunction(ARN.to_owned()));
    assert_eq!(refusal(deleted), (ResourceNotFoundException, 404));
    registry.scope.account = home;
    assert!(is_done(registry.run(Action::DeleteFunction(ARN.to_owned()))));
    assert_eq!(list(&registry).len(), 1);
}

#[test]
fn what_is_no_function_or_address_is_refused() {
    let mut registry = registry();
    for arn in [
        "",
        "hook",
        "arn:aws:lambda:eu-west-1:21098765432:function:f",
        "arn:aws:lambda:r:210987654321:function:",
        "arn:aws:sns:eu-west-1:210987654321:function:f",
        "arn:aws:lambda:r:210987654321:function:a:b:c",
    ] {
        assert_eq!(refusal(registry.run(webhook(arn, None))), (InvalidRequestException, 400), "{arn}");
    }
    for url in
        ["", "hooks.example.com", "ftp://a", "https://", "https://user@host/", "https://a/ b", "https://a/#b"]
    {
        let kind = FunctionKind::Webhook { signing_secret: None };
        assert_eq!(refusal(registry.run(put(ARN, url, kind))), (InvalidRequestException, 400), "{url}");
    }
}
