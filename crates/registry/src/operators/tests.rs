//! Users, roles and their policies.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
    "Principal":{"Service":"credentials.iot.amazonaws.com"}}}"#;

fn key_of(user: &str, id: &str) -> Action {
    Action::CreateAccessKey(Box::new(AccessKey {
        access_key_id: id.to_owned(),
        secret_access_key: Secret("s".to_owned()),
        user_name: Some(user.to_owned()),
    }))
}

fn put(holder: PolicyHolder, name: &str, document: &str) -> Action {
    let (policy_name, policy_document) = (name.to_owned(), document.to_owned());
    Action::PutOperatorPolicy(Box::new(PutOperatorPolicy { holder, policy_name, policy_document }))
}

fn user(name: &str) -> PolicyHolder {
    PolicyHolder::User(name.to_owned())
}

fn owner(registry: &Registry, id: &str) -> Option<AccessKeyOwner> {
    match registry.ask(QueryKind::AccessKey(id.to_owned())).unwrap() {
        QueryReply::AccessKey(owner) => owner.map(|owner| *owner),
        other => panic!("{other:?}"),
    }
}

fn delete_user(name: &str, force: bool) -> Action {
    Action::DeleteUser(DeleteUser { user_name: name.to_owned(), force })
}

#[test]
fn a_key_of_a_user_tells_what_the_user_may_do() {
    let mut registry = registry();
    let Reply::User(made) = registry
        .run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() }))
        .unwrap()
    else {
        panic!()
    };
    assert!(made.user_id.starts_with("AIDA") && made.arn() == "arn:aws:iam::123456789012:user/alice");
    assert_eq!(
        refusal(
            registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() }))
        ),
        (ResourceAlreadyExistsException, 409)
    );
    registry.run(put(user("alice"), "b", DOCUMENT)).unwrap();
    registry.run(put(user("alice"), "a", DOCUMENT)).unwrap();
    registry.run(key_of("alice", "AKIAALICEALICEAL")).unwrap();
    let owner = owner(&registry, "AKIAALICEALICEAL").unwrap();
    let names: Vec<_> = owner.user.unwrap().policies.into_iter().map(|policy| policy.policy_name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(self::owner(&registry, "AKIATESTTESTTEST").unwrap().user, None);
    assert_eq!(refusal(registry.run(key_of("bob", "AKIABOBBOBBOBBOB"))), (ResourceNotFoundException, 404));
    registry.run(key_of("alice", "AKIAALICEALICE22")).unwrap();
    assert_eq!(refusal(registry.run(key_of("alice", "AKIAALICEALICE33"))), (LimitExceededException, 410));
    registry.run(Action::DeleteAccessKey("AKIAALICEALICE22".to_owned())).unwrap();
    registry.run(key_of("alice", "AKIAALICEALICE33")).unwrap();
}

#[test]
fn a_user_goes_with_its_keys_and_policies_when_told_to() {
    let mut registry = registry();
    let before = registry.view.clone();
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
    registry.run(key_of("alice", "AKIAALICEALICEAL")).unwrap();
    registry.run(put(user("alice"), "p", DOCUMENT)).unwrap();
    assert_eq!(refusal(registry.run(delete_user("alice", false))), (DeleteConflictException, 409));
    registry.run(Action::DeleteAccessKey("AKIAALICEALICEAL".to_owned())).unwrap();
    assert_eq!(refusal(registry.run(delete_user("alice", false))), (DeleteConflictException, 409));
    registry.run(key_of("alice", "AKIAALICEALICEAL")).unwrap();
    registry.run(delete_user("alice", true)).unwrap();
    assert_eq!(owner(&registry, "AKIAALICEALICEAL"), None);
    assert_eq!(registry.view, before, "nothing is left of it");
    assert_eq!(refusal(registry.run(delete_user("alice", true))), (ResourceNotFoundException, 404));
}

#[test]
fn policies_of_operators() {
    let mut registry = registry();
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
    let other = DOCUMENT.replace("iot:*", "sts:AssumeRole");
    registry.run(put(user("alice"), "p", &other)).unwrap();
    let broken = put(user("alice"), "p", &DOCUMENT.replace("Allow", "Perhaps"));
    assert_eq!(refusal(registry.run(broken)), (MalformedPolicyException, 400));
    let long = DOCUMENT.replace("iot:*", &format!("iot:{}", "a".repeat(10_240)));
    assert_eq!(refusal(registry.run(put(user("alice"), "p", &long))), (MalformedPolicyException, 400));
    assert_eq!(refusal(registry.run(put(user("bob"), "p", DOCUMENT))), (ResourceNotFoundException, 404));
    for n in 1..10 {
        registry.run(put(user("alice"), &format!("p{n}"), DOCUMENT)).unwrap();
    }
    assert_eq!(refusal(registry.run(put(user("alice"), "more", DOCUMENT))), (LimitExceededException, 410));
    registry.run(put(user("alice"), "p", DOCUMENT)).unwrap();
    let name = |policy: &str| OperatorPolicyName { holder: user("alice"), policy_name: policy.to_owned() };
    registry.run(Action::DeleteOperatorPolicy(Box::new(name("p")))).unwrap();
    let again = registry.run(Action::DeleteOperatorPolicy(Box::new(name("p"))));
    assert_eq!(refusal(again), (ResourceNotFoundException, 404));
}

#[test]
fn a_role_made_again_is_another_one() {
    let mut registry = registry();
    let create = |trust: &str, longest| {
        Action::CreateRole(Box::new(CreateRole {
            role_name: "device".to_owned(),
            assume_role_policy_document: trust.to_owned(),
            max_session_duration: longest,
            description: String::new(),
            tags: Vec::new(),
        }))
    };
    assert_eq!(refusal(registry.run(create(DOCUMENT, None))), (MalformedPolicyException, 400));
    assert_eq!(refusal(registry.run(create(TRUST, Some(60)))), (InvalidRequestException, 400));
    let Reply::Role(first) = registry.run(create(TRUST, None)).unwrap() else { panic!() };
    assert_eq!(
        (first.max_session_duration, first.arn().as_str()),
        (3600, "arn:aws:iam::123456789012:role/device")
    );
    let update = UpdateRole {
        role_name: "device".to_owned(),
        max_session_duration: Some(43_200),
        ..UpdateRole::default()
    };
    registry.run(Action::UpdateRole(Box::new(update))).unwrap();
    registry.run(put(PolicyHolder::Role("device".to_owned()), "p", DOCUMENT)).unwrap();
    let QueryReply::Role(Some(role)) = registry.ask(QueryKind::GetRole("device".to_owned())).unwrap() else {
        panic!()
    };
    assert_eq!((role.max_session_duration, role.policies.len()), (43_200, 1));
    let delete = |force| Action::DeleteRole(DeleteRole { role_name: "device".to_owned(), force });
    assert_eq!(refusal(registry.run(delete(false))), (DeleteConflictException, 409));
    registry.run(delete(true)).unwrap();
    assert_eq!(registry.ask(QueryKind::GetRole("device".to_owned())).unwrap(), QueryReply::Role(None));
    let Reply::Role(second) = registry.run(create(TRUST, None)).unwrap() else { panic!() };
    assert_ne!(first.role_id, second.role_id);
    assert!(second.policies.is_empty());
}

#[test]
fn accounts_do_not_see_each_others() {
    let mut registry = registry();
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
    registry.scope.account = fleethaven_types::AccountId::from_u64(1).unwrap();
    let args = crate::testing::account_arguments("AKIAOTHEROTHEROT");
    registry.run(Action::CreateAccount(Box::new(args))).unwrap();
    let QueryReply::Users(users) = registry.ask(QueryKind::ListUsers(PageRequest::default())).unwrap() else {
        panic!()
    };
    assert!(users.items.is_empty());
    assert_eq!(refusal(registry.run(delete_user("alice", true))), (ResourceNotFoundException, 404));
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
}
