//! Policies that users and roles share.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

fn create(name: &str) -> Action {
    Action::CreateManagedPolicy(Box::new(CreateManagedPolicy {
        policy_name: name.to_owned(),
        policy_document: DOCUMENT.to_owned(),
        description: "d".to_owned(),
        tags: Vec::new(),
    }))
}

fn add(name: &str, document: &str, set_as_default: bool) -> Action {
    Action::CreateManagedPolicyVersion(Box::new(CreateManagedPolicyVersion {
        policy_name: name.to_owned(),
        policy_document: document.to_owned(),
        set_as_default,
    }))
}

fn of_alice(policy: &str) -> Box<OperatorPolicyName> {
    let holder = PolicyHolder::User("alice".to_owned());
    Box::new(OperatorPolicyName { holder, policy_name: policy.to_owned() })
}

fn version(version: u64) -> ManagedPolicyVersionName {
    ManagedPolicyVersionName { policy_name: "p".to_owned(), version }
}

fn get(registry: &Registry, name: &str) -> Option<ManagedPolicyDescription> {
    match registry.ask(QueryKind::GetManagedPolicy(name.to_owned())).unwrap() {
        QueryReply::ManagedPolicy(found) => found.map(|found| *found),
        other => panic!("{other:?}"),
    }
}

fn alice(registry: &Registry) -> UserDescription {
    match registry.ask(QueryKind::GetUser("alice".to_owned())).unwrap() {
        QueryReply::User(Some(user)) => *user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_attached_counts_in_its_default_version() {
    let mut registry = registry();
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
    let Reply::ManagedPolicy(made) = registry.run(create("p")).unwrap() else { panic!() };
    assert!(made.policy_id.starts_with("ANPA") && made.arn() == "arn:aws:iam::123456789012:policy/p");
    assert_eq!(refusal(registry.run(create("p"))), (ResourceAlreadyExistsException, 409));
    let attach = |policy| Action::AttachManagedPolicy(of_alice(policy));
    assert_eq!(refusal(registry.run(attach("q"))), (ResourceNotFoundException, 404));
    registry.run(attach("p")).unwrap();
    registry.run(attach("p")).unwrap();
    let other = DOCUMENT.replace("iot:*", "iot:List*");
    registry.run(add("p", &other, false)).unwrap();
    assert_eq!(alice(&registry).attached[0].policy_document, DOCUMENT);
    registry.run(Action::SetDefaultManagedPolicyVersion(version(2))).unwrap();
    assert_eq!(alice(&registry).attached[0].policy_document, other);
    assert!(alice(&registry).policies.is_empty());
    assert_eq!(get(&registry, "p").unwrap().users, ["alice"]);
    let refused = registry.run(Action::DeleteManagedPolicy("p".to_owned()));
    assert_eq!(refusal(refused), (DeleteConflictException, 409));
    registry.run(Action::DetachManagedPolicy(of_alice("p"))).unwrap();
    let again = registry.run(Action::DetachManagedPolicy(of_alice("p")));
    assert_eq!(refusal(again), (ResourceNotFoundException, 404));
    registry.run(Action::DeleteManagedPolicy("p".to_owned())).unwrap();
    assert_eq!(get(&registry, "p"), None);
}

#[test]
fn versions_are_counted_on_and_five() {
    let mut registry = registry();
    registry.run(create("p")).unwrap();
    for _ in 0..4 {
        registry.run(add("p", DOCUMENT, true)).unwrap();
    }
    assert_eq!(refusal(registry.run(add("p", DOCUMENT, true))), (LimitExceededException, 410));
    let delete = |number| Action::DeleteManagedPolicyVersion(version(number));
    assert_eq!(refusal(registry.run(delete(5))), (DeleteConflictException, 409), "it counts");
    assert_eq!(refusal(registry.run(delete(6))), (ResourceNotFoundException, 404));
    registry.run(delete(1)).unwrap();
    registry.run(add("p", DOCUMENT, false)).unwrap();
    let told = get(&registry, "p").unwrap();
    assert_eq!(told.versions.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(told.default_version, 5);
    assert_eq!(refusal(registry.run(add("p", "{}", true))), (MalformedPolicyException, 400));
}

#[test]
fn a_user_goes_without_what_is_attached_only_when_told_to() {
    let mut registry = registry();
    registry.run(create("p")).unwrap();
    let before = registry.view.clone();
    registry.run(Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).unwrap();
    registry.run(Action::AttachManagedPolicy(of_alice("p"))).unwrap();
    let delete = |force| Action::DeleteUser(DeleteUser { user_name: "alice".to_owned(), force });
    assert_eq!(refusal(registry.run(delete(false))), (DeleteConflictException, 409));
    registry.run(delete(true)).unwrap();
    assert_eq!(registry.view, before, "nothing is left of it");
}
