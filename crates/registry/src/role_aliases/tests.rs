//! security.md section 8.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const ROLE: &str = "arn:aws:iam::123456789012:role/device";

fn create(registry: &mut Registry, name: &str, secs: Option<u64>, role: &str) -> Result<Reply, crate::Error> {
    let args = CreateRoleAlias {
        role_alias: name.to_owned(),
        role_arn: role.to_owned(),
        credential_duration_seconds: secs,
        tags: vec![tag("k", "v")],
    };
    registry.run(Action::CreateRoleAlias(Box::new(args)))
}

#[test]
fn the_life_of_a_role_alias() {
    let mut registry = registry();
    let made = create(&mut registry, "a", None, ROLE).unwrap();
    let Reply::RoleAlias(told) = made else { panic!("{made:?}") };
    assert_eq!(told.role_alias_arn, arn("rolealias", "a"));
    assert_eq!(refusal(create(&mut registry, "a", None, ROLE)), (ResourceAlreadyExistsException, 409));
    let update = UpdateRoleAlias {
        role_alias: "a".to_owned(),
        credential_duration_seconds: Some(900),
        ..UpdateRoleAlias::default()
    };
    registry.run(Action::UpdateRoleAlias(Box::new(update))).unwrap();
    let reply = registry.ask(QueryKind::DescribeRoleAlias("a".to_owned())).unwrap();
    let QueryReply::RoleAlias(found) = reply else { panic!("{reply:?}") };
    assert_eq!((found.role_arn.as_str(), found.credential_duration_seconds), (ROLE, 900));
    registry.run(Action::DeleteRoleAlias("a".to_owned())).unwrap();
    assert_eq!(
        refusal(registry.run(Action::DeleteRoleAlias("a".to_owned()))),
        (ResourceNotFoundException, 404)
    );
}

#[test]
fn what_a_role_alias_must_have() {
    let mut registry = registry();
    for (name, secs, role) in [
        ("a b", None, ROLE),
        ("a", Some(899), ROLE),
        ("a", Some(43_201), ROLE),
        ("a", None, "arn:aws:iam::1:user/x"),
    ] {
        assert_eq!(refusal(create(&mut registry, name, secs, role)), (InvalidRequestException, 400));
    }
    for n in 0..100 {
        create(&mut registry, &n.to_string(), Some(43_200), ROLE).unwrap();
    }
    assert_eq!(refusal(create(&mut registry, "more", None, ROLE)), (LimitExceededException, 410));
    let list =
        QueryKind::ListRoleAliases { ascending: true, page: PageRequest { token: None, limit: Some(2) } };
    let reply = registry.ask(list).unwrap();
    let QueryReply::RoleAliases(page) = reply else { panic!("{reply:?}") };
    assert_eq!((page.items, page.next.is_some()), (vec!["0".to_owned(), "1".to_owned()], true));
}
