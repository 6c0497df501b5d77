//! Users, roles and policies by forms.

use fleethaven_fabric::metadata::Metadata;
use fleethaven_registry::shapes::{AccessKey, Secret};
use fleethaven_registry::{Action, Command};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::operations::{Operation, Service};
use crate::testing::{House, Signing, peer, scope};

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",
    "Principal":{"Service":"iot.amazonaws.com"}}}"#;
const DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:ListThings","Resource":"*"}}"#;
const ALICE: &str = "AKIAALICEALICEALICE0";

/// Names and values.
type Members<'a> = &'a [(&'a str, &'a str)];

fn form(action: &str, members: Members<'_>) -> String {
    let mut text = format!("Action={action}&Version=2010-05-08");
    for (name, value) in members {
        text += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    text
}

async fn asked(house: &House, signing: Signing<'_>, form: &str) -> (u16, String) {
    let own = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let told = house.send(&peer(), House::signed(signing, ("POST", "/"), &own, form.as_bytes())).await;
    assert_eq!(told.headers["content-type"], "text/xml");
    (told.status, String::from_utf8(told.body.to_vec()).unwrap())
}

fn root() -> Signing<'static> {
    Signing { service: "iam", ..Signing::default() }
}

fn alice() -> Signing<'static> {
    Signing { key: ALICE, secret: "alice", ..root() }
}

/// The body of a success.
async fn done(house: &House, action: &str, members: Members<'_>) -> String {
    let (status, body) = asked(house, root(), &form(action, members)).await;
    assert_eq!(status, 200, "{action}: {body}");
    assert!(
        body.starts_with(&format!("<{action}Response xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">"))
    );
    body
}

/// Status and code of a refusal.
async fn refused(
    house: &House,
    signing: Signing<'_>,
    action: &str,
    members: &[(&str, &str)],
) -> (u16, String) {
    let (status, body) = asked(house, signing, &form(action, members)).await;
    (status, between(&body, "Code").to_owned())
}

fn between<'t>(text: &'t str, tag: &str) -> &'t str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let start = text.find(&open).unwrap_or_else(|| panic!("no {tag} in {text}")) + open.len();
    &text[start..start + text[start..].find(&close).unwrap()]
}

async fn with_alice() -> House {
    let house = House::new();
    let key = AccessKey {
        access_key_id: ALICE.to_owned(),
        secret_access_key: Secret("alice".to_owned()),
        user_name: Some("alice".to_owned()),
    };
    done(&house, "CreateUser", &[("UserName", "alice")]).await;
    let action = Action::CreateAccessKey(Box::new(key));
    house.metadata.execute(Command::new(scope("us-east-1"), action)).await.unwrap();
    house
}

#[tokio::test]
async fn the_life_of_a_role() {
    let house = House::new();
    let role = [("RoleName", "r")];
    let made =
        done(&house, "CreateRole", &[role[0], ("AssumeRolePolicyDocument", TRUST), ("Path", "/")]).await;
    assert_eq!(between(&made, "Arn"), "arn:aws:iam::123456789012:role/r");
    assert!(between(&made, "AssumeRolePolicyDocument").starts_with("%7B%22Version%22%3A%222012-10-17%22"));
    let policy = [role[0], ("PolicyName", "p")];
    done(&house, "PutRolePolicy", &[policy[0], policy[1], ("PolicyDocument", DOCUMENT)]).await;
    assert!(
        between(&done(&house, "GetRolePolicy", &policy).await, "PolicyDocument").contains("iot%3AListThings")
    );
    assert_eq!(between(&done(&house, "ListRolePolicies", &role).await, "member"), "p");
    let created = done(&house, "CreatePolicy", &[("PolicyName", "m"), ("PolicyDocument", DOCUMENT)]).await;
    let arn = between(&created, "Arn").to_owned();
    done(&house, "AttachRolePolicy", &[role[0], ("PolicyArn", &arn)]).await;
    assert_eq!(between(&done(&house, "ListAttachedRolePolicies", &role).await, "PolicyArn"), arn);
    let entities = done(&house, "ListEntitiesForPolicy", &[("PolicyArn", &arn)]).await;
    assert_eq!(between(&entities, "RoleName"), "r");
    let conflict = (409, "DeleteConflict".to_owned());
    assert_eq!(refused(&house, root(), "DeletePolicy", &[("PolicyArn", &arn)]).await, conflict);
    assert_eq!(refused(&house, root(), "DeleteRole", &role).await, conflict);
    done(&house, "DeleteRolePolicy", &policy).await;
    assert_eq!(refused(&house, root(), "DeleteRole", &role).await, conflict);
    done(&house, "DetachRolePolicy", &[role[0], ("PolicyArn", &arn)]).await;
    done(&house, "DeletePolicy", &[("PolicyArn", &arn)]).await;
    assert!(
        done(&house, "ListInstanceProfilesForRole", &role)
            .await
            .contains("<InstanceProfiles></InstanceProfiles>")
    );
    done(&house, "DeleteRole", &role).await;
    assert_eq!(refused(&house, root(), "GetRole", &role).await, (404, "NoSuchEntity".to_owned()));
}

#[tokio::test]
async fn tags_are_given_and_taken() {
    let house = with_alice().await;
    let tagged =
        [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "a b@c"), ("Tags.member.2.Key", "empty")];
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", TRUST), tagged[0], tagged[1], tagged[2]];
    let told = "<Tags><member><Key>empty</Key><Value></Value></member><member><Key>team</Key><Value>a b@c</Value></member></Tags>";
    assert!(done(&house, "CreateRole", &role).await.contains(told));
    assert!(done(&house, "GetRole", &role[..1]).await.contains(told));
    assert!(!done(&house, "ListRoles", &[]).await.contains("<Tags>"));
    let first = done(&house, "ListRoleTags", &[role[0], ("MaxItems", "1")]).await;
    assert_eq!((between(&first, "Key"), between(&first, "IsTruncated")), ("empty", "true"));
    let second = done(&house, "ListRoleTags", &[role[0], ("Marker", between(&first, "Marker"))]).await;
    assert_eq!((between(&second, "Key"), between(&second, "IsTruncated")), ("team", "false"));
    done(&house, "UntagRole", &[role[0], ("TagKeys.member.1", "Team"), ("TagKeys.member.2", "empty")]).await;
    assert!(done(&house, "ListRoleTags", &role[..1]).await.contains("<Tags></Tags>"));
    let made =
        done(&house, "CreatePolicy", &[("PolicyName", "m"), ("PolicyDocument", DOCUMENT), tagged[0]]).await;
    let policy = ("PolicyArn", between(&made, "Arn"));
    assert_eq!((between(&made, "Key"), between(&made, "Value")), ("team", ""));
    done(&house, "TagPolicy", &[policy, ("Tags.member.1.Key", "Team"), ("Tags.member.1.Value", "c")]).await;
    assert_eq!(between(&done(&house, "ListPolicyTags", &[policy]).await, "Value"), "c");
    let nobody = refused(&house, root(), "TagUser", &[("UserName", "nobody"), tagged[0]]).await;
    assert_eq!(nobody, (404, "NoSuchEntity".to_owned()));
    let most: Vec<_> = (1..=101).map(|n| (format!("Tags.member.{n}.Key"), format!("k{n}"))).collect();
    let most: Vec<_> = most.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let many = |count| [&[("UserName", "alice")], &most[..count]].concat();
    let over = (409, "LimitExceeded".to_owned());
    assert_eq!(refused(&house, root(), "TagUser", &many(51)).await, over);
    assert_eq!(refused(&house, root(), "TagUser", &many(101)).await, (400, "ValidationError".to_owned()));
}

#[tokio::test]
async fn tags_count_in_policies() {
    let house = with_alice().await;
    let document = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"*",
         "Condition":{"StringEquals":{"aws:RequestTag/team":"${aws:PrincipalTag/team}"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}},
        {"Effect":"Allow","Action":"iam:CreateRole","Resource":"*"}]}"#;
    done(
        &house,
        "PutUserPolicy",
        &[("UserName", "alice"), ("PolicyName", "p"), ("PolicyDocument", document)],
    )
    .await;
    let new = |user: &'static str, team: &'static str| {
        [("UserName", user), ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", team)]
    };
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(
        refused(&house, alice(), "CreateUser", &new("bob", "red")).await,
        denied,
        "alice is in no team"
    );
    done(&house, "TagUser", &new("alice", "red")).await;
    let (status, body) = asked(&house, alice(), &form("CreateUser", &new("bob", "red"))).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(refused(&house, alice(), "CreateUser", &new("carol", "blue")).await, denied);
    let more = [new("dora", "red").as_slice(), &[("Tags.member.2.Key", "x")]].concat();
    assert_eq!(refused(&house, alice(), "CreateUser", &more).await, denied);
    // Who makes something with tags must be allowed to tag it.
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", TRUST), ("Tags.member.1.Key", "a")];
    assert_eq!(refused(&house, alice(), "CreateRole", &role).await, denied);
    assert_eq!(asked(&house, alice(), &form("CreateRole", &role[..2])).await.0, 200);
}

#[tokio::test]
async fn errors_are_iams() {
    let house = with_alice().await;
    let longest = "a".repeat(65);
    let cases: [(&str, Members<'_>, u16, &str); 13] = [
        ("CreateUser", &[("UserName", "alice")], 409, "EntityAlreadyExists"),
        ("CreateUser", &[("UserName", &longest)], 400, "ValidationError"),
        ("CreateUser", &[], 400, "ValidationError"),
        ("CreateUser", &[("UserName", "b"), ("Path", "/x/")], 400, "ValidationError"),
        ("CreateUser", &[("UserName", "b"), ("Tags.member.1.Key", "aws:k")], 400, "ValidationError"),
        (
            "CreateRole",
            &[("RoleName", "r"), ("AssumeRolePolicyDocument", "{}")],
            400,
            "MalformedPolicyDocument",
        ),
        ("GetUser", &[("UserName", "bob")], 404, "NoSuchEntity"),
        ("GetPolicy", &[("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess")], 404, "NoSuchEntity"),
        ("GetPolicy", &[("PolicyArn", "arn:aws:iam::210987654321:policy/p")], 404, "NoSuchEntity"),
        ("ListUsers", &[("MaxItems", "0")], 400, "ValidationError"),
        ("UpdateAccessKey", &[("AccessKeyId", ALICE), ("Status", "Gone")], 400, "ValidationError"),
        ("CreateGroup", &[("GroupName", "g")], 501, "NotImplemented"),
        ("CreateGroupe", &[], 400, "InvalidAction"),
    ];
    for (action, members, status, code) in cases {
        let told = refused(&house, root(), action, members).await;
        assert_eq!(told, (status, code.to_owned()), "{action} {members:?}");
    }
    let wrong = Signing { secret: "wrong", ..root() };
    assert_eq!(refused(&house, wrong, "GetUser", &[]).await, (403, "SignatureDoesNotMatch".to_owned()));
}

#[tokio::test]
async fn an_access_key_is_for_who_asks_unless_another_one_is_said() {
    let house = with_alice().await;
    let made = done(&house, "CreateAccessKey", &[("UserName", "alice")]).await;
    let (id, secret) =
        (between(&made, "AccessKeyId").to_owned(), between(&made, "SecretAccessKey").to_owned());
    assert_eq!(between(&made, "UserName"), "alice");
    let own = Signing { key: &id, secret: &secret, ..root() };
    let allowed = DOCUMENT.replace("iot:ListThings", "iam:*AccessKey*");
    done(
        &house,
        "PutUserPolicy",
        &[("UserName", "alice"), ("PolicyName", "p"), ("PolicyDocument", &allowed)],
    )
    .await;
    let (status, listed) = asked(&house, own, &form("ListAccessKeys", &[])).await;
    assert_eq!((status, listed.matches("<AccessKeyId>").count()), (200, 2), "{listed}");
    let (_, first) = asked(&house, own, &form("ListAccessKeys", &[("MaxItems", "1")])).await;
    assert_eq!(between(&first, "IsTruncated"), "true");
    let next = [("MaxItems", "1"), ("Marker", between(&first, "Marker"))];
    let (_, second) = asked(&house, own, &form("ListAccessKeys", &next)).await;
    assert_eq!(between(&second, "IsTruncated"), "false");
    assert_ne!(between(&first, "AccessKeyId"), between(&second, "AccessKeyId"));
    // The account's own keys are not a user's.
    let roots = done(&house, "ListAccessKeys", &[]).await;
    assert_eq!(between(&roots, "AccessKeyId"), crate::testing::KEY);
    let not_there = (404, "NoSuchEntity".to_owned());
    assert_eq!(refused(&house, root(), "DeleteAccessKey", &[("AccessKeyId", &id)]).await, not_there);
    done(&house, "DeleteAccessKey", &[("AccessKeyId", &id), ("UserName", "alice")]).await;
    assert_eq!(refused(&house, own, "ListAccessKeys", &[]).await, (403, "InvalidClientTokenId".to_owned()));
    let inactive = [("AccessKeyId", ALICE), ("UserName", "alice"), ("Status", "Inactive")];
    done(&house, "UpdateAccessKey", &inactive).await;
    assert_eq!(refused(&house, alice(), "GetUser", &[]).await, (403, "InvalidClientTokenId".to_owned()));
}

#[tokio::test]
async fn who_may_do_nothing_may_do_none_of_it() {
    let house = with_alice().await;
    let members = [
        ("UserName", "alice"),
        ("RoleName", "r"),
        ("PolicyName", "p"),
        ("PolicyArn", "arn:aws:iam::123456789012:policy/p"),
        ("AssumeRolePolicyDocument", TRUST),
        ("PolicyDocument", DOCUMENT),
        ("AccessKeyId", ALICE),
        ("VersionId", "v1"),
        ("Status", "Active"),
    ];
    for operation in Operation::all(Service::Iam) {
        let told = refused(&house, alice(), operation.name, &members).await;
        assert_eq!(told, (403, "AccessDenied".to_owned()), "{}", operation.name);
    }
}

#[tokio::test]
async fn what_is_attached_counts_as_what_is_its_own() {
    let house = with_alice().await;
    let list = || House::signed(Signing { service: "iot", ..alice() }, ("GET", "/things"), &[], b"");
    assert_eq!(house.send(&peer(), list()).await.status, 403);
    let created = done(&house, "CreatePolicy", &[("PolicyName", "m"), ("PolicyDocument", DOCUMENT)]).await;
    let arn = between(&created, "Arn").to_owned();
    let members = [("UserName", "alice"), ("PolicyArn", arn.as_str())];
    done(&house, "AttachUserPolicy", &members).await;
    house.send(&peer(), list()).await.ok();
    let none = DOCUMENT.replace("iot:ListThings", "iot:ListPolicies");
    let version = [("PolicyArn", arn.as_str()), ("PolicyDocument", &none), ("SetAsDefault", "true")];
    assert_eq!(between(&done(&house, "CreatePolicyVersion", &version).await, "VersionId"), "v2");
    assert_eq!(house.send(&peer(), list()).await.status, 403);
    done(&house, "SetDefaultPolicyVersion", &[("PolicyArn", &arn), ("VersionId", "v1")]).await;
    house.send(&peer(), list()).await.ok();
    let versions = done(&house, "ListPolicyVersions", &[("PolicyArn", &arn)]).await;
    assert_eq!(versions.matches("<VersionId>").count(), 2);
    done(&house, "DeletePolicyVersion", &[("PolicyArn", &arn), ("VersionId", "v2")]).await;
    done(&house, "DetachUserPolicy", &members).await;
    assert_eq!(house.send(&peer(), list()).await.status, 403);
}
