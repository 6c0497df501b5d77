//! What users and sessions may do.

use fleethaven_fabric::metadata::Metadata;
use fleethaven_registry::shapes::{
    AccessKey, CreateRole, CreateUser, DeleteRole, PolicyHolder, PutOperatorPolicy, Secret, UpdateAccessKey,
};
use fleethaven_registry::{Action, Command};
use serde_json::json;

use crate::testing::{House, Signing, Told, peer, scope};

const ALICE: &str = "AKIAALICEALICEALICE0";
const SECRET: &str = "alice";

async fn run(house: &House, action: Action) {
    house.metadata.execute(Command::new(scope("us-east-1"), action)).await.unwrap();
}

fn statement(effect: &str, action: &str, resource: &str, more: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"{more}}}"#)
}

async fn put(house: &House, holder: PolicyHolder, statements: &[String]) {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    let (policy_name, policy_document) = ("p".to_owned(), document);
    let args = PutOperatorPolicy { holder, policy_name, policy_document };
    run(house, Action::PutOperatorPolicy(Box::new(args))).await;
}

fn alice() -> PolicyHolder {
    PolicyHolder::User("alice".to_owned())
}

/// A house with a user who may do what the statements say.
async fn house(statements: &[String]) -> House {
    let house = House::new();
    run(&house, Action::CreateUser(CreateUser { user_name: "alice".to_owned(), tags: Vec::new() })).await;
    let key = AccessKey {
        access_key_id: ALICE.to_owned(),
        secret_access_key: Secret(SECRET.to_owned()),
        user_name: Some("alice".to_owned()),
    };
    run(&house, Action::CreateAccessKey(Box::new(key))).await;
    if !statements.is_empty() {
        put(&house, alice(), statements).await;
    }
    house
}

fn signing<'a>(service: &'a str) -> Signing<'a> {
    Signing { key: ALICE, secret: SECRET, service, ..Signing::default() }
}

async fn call(house: &House, method: &str, target: &str, body: &str) -> Told {
    house.send(&peer(), House::signed(signing("iot"), (method, target), &[], body.as_bytes())).await
}

async fn sts(house: &House, signing: Signing<'_>, form: &str) -> (u16, String) {
    let own = [("content-type", "application/x-www-form-urlencoded")];
    let signing = Signing { service: "sts", ..signing };
    let told = house.send(&peer(), House::signed(signing, ("POST", "/"), &own, form.as_bytes())).await;
    (told.status, String::from_utf8(told.body.to_vec()).unwrap())
}

fn between<'t>(text: &'t str, tag: &str) -> &'t str {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let start = text.find(&open).unwrap() + open.len();
    &text[start..start + text[start..].find(&close).unwrap()]
}

#[tokio::test]
async fn a_user_without_policies_may_do_nothing_and_is_told_so() {
    let house = house(&[]).await;
    let told = call(&house, "POST", "/things/a", "{}").await;
    assert_eq!(told.error(), (403, "AccessDeniedException"));
    assert_eq!(
        told.message(),
        "User: arn:aws:iam::123456789012:user/alice is not authorized to perform: iot:CreateThing on resource: \
         arn:aws:iot:us-east-1:123456789012:thing/a because no identity-based policy allows the iot:CreateThing action"
    );
    let (status, identity) = sts(&house, signing("sts"), "Action=GetCallerIdentity&Version=2011-06-15").await;
    assert_eq!((status, between(&identity, "Arn")), (200, "arn:aws:iam::123456789012:user/alice"));
    assert!(between(&identity, "UserId").starts_with("AIDA"));
}

#[tokio::test]
async fn every_resource_that_a_request_names_must_be_allowed() {
    let arn = |name: &str| format!("arn:aws:iot:us-east-1:123456789012:{name}");
    let house = house(&[
        statement("Allow", "iot:*Thing*", &arn("thing/eu-*"), ""),
        statement("Allow", "iot:AddThingToThingGroup", &arn("thinggroup/g"), ""),
        statement("Allow", "iot:CreateThingGroup", &arn("thinggroup/*"), ""),
        statement("Deny", "iot:DeleteThing", "*", ""),
    ])
    .await;
    call(&house, "POST", "/things/eu-1", "{}").await.ok();
    assert_eq!(call(&house, "POST", "/things/us-1", "{}").await.status, 403);
    for group in ["g", "h"] {
        call(&house, "POST", &format!("/thing-groups/{group}"), "{}").await.ok();
    }
    let join = |group: &str| json!({"thingName": "eu-1", "thingGroupName": group}).to_string();
    call(&house, "PUT", "/thing-groups/addThingToThingGroup", &join("g")).await.ok();
    let refused = call(&house, "PUT", "/thing-groups/addThingToThingGroup", &join("h")).await;
    assert!(refused.message().contains("thinggroup/h"), "{}", refused.message());
    let denied = call(&house, "DELETE", "/things/eu-1", "").await;
    assert!(
        denied.message().ends_with("with an explicit deny in an identity-based policy"),
        "{}",
        denied.message()
    );
    // A listing names no resource, so that only `*` allows it.
    assert_eq!(call(&house, "GET", "/things", "").await.status, 403);
    put(&house, alice(), &[statement("Allow", "iot:ListThings", "*", "")]).await;
    call(&house, "GET", "/things", "").await.ok();
}

#[tokio::test]
async fn conditions_see_the_request() {
    let condition = |text: &str| format!(r#","Condition":{text}"#);
    for (condition, status) in [
        (condition(r#"{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}"#), 200),
        (condition(r#"{"IpAddress":{"aws:SourceIp":"198.51.100.0/24"}}"#), 403),
        (condition(r#"{"Bool":{"aws:SecureTransport":"true"}}"#), 200),
        (condition(r#"{"Bool":{"aws:SecureTransport":"false"}}"#), 403),
        (condition(r#"{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}"#), 200),
        (condition(r#"{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}"#), 403),
        (condition(r#"{"StringEquals":{"aws:username":"alice","aws:PrincipalType":"User"}}"#), 200),
        (condition(r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/a*"}}"#), 200),
        (condition(r#"{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}"#), 403),
        (condition(r#"{"StringEquals":{"aws:RequestedRegion":"eu-west-1"}}"#), 403),
    ] {
        let house = house(&[statement("Allow", "iot:ListThings", "*", &condition)]).await;
        assert_eq!(call(&house, "GET", "/things", "").await.status, status, "{condition}");
    }
}

#[tokio::test]
async fn tags_of_request_and_resource_count() {
    let requests = r#","Condition":{"StringEquals":{"aws:RequestTag/team":"a"},"ForAllValues:StringEquals":{"aws:TagKeys":["team"]}}"#;
    let resources = r#","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}"#;
    let house = house(&[
        statement("Allow", "iot:CreateThingType", "*", requests),
        statement("Allow", "iot:Describe*", "*", resources),
    ])
    .await;
    let tags = |pairs: &[(&str, &str)]| {
        let tags: Vec<_> = pairs.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        json!({ "tags": tags }).to_string()
    };
    call(&house, "POST", "/thing-types/mine", &tags(&[("team", "a")])).await.ok();
    for refused in [&[("team", "b")] as &[_], &[], &[("team", "a"), ("more", "c")]] {
        assert_eq!(
            call(&house, "POST", "/thing-types/other", &tags(refused)).await.status,
            403,
            "{refused:?}"
        );
    }
    house.call("POST", "/thing-types/theirs", &tags(&[("team", "b")])).await.ok();
    call(&house, "GET", "/thing-types/mine", "").await.ok();
    for refused in ["theirs", "none"] {
        assert_eq!(
            call(&house, "GET", &format!("/thing-types/{refused}"), "").await.status,
            403,
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_role_is_passed_by_who_may_pass_it() {
    let role = "arn:aws:iam::123456789012:role/device";
    let body = json!({ "roleArn": role }).to_string();
    let create = statement("Allow", "iot:CreateRoleAlias", "*", "");
    let house = house(std::slice::from_ref(&create)).await;
    let refused = call(&house, "POST", "/role-aliases/a", &body).await;
    assert!(refused.message().contains("iam:PassRole on resource: arn:aws:iam::123456789012:role/device"));
    let to = r#","Condition":{"StringEquals":{"iam:PassedToService":"credentials.iot.amazonaws.com"}}"#;
    put(&house, alice(), &[create, statement("Allow", "iam:PassRole", role, to)]).await;
    call(&house, "POST", "/role-aliases/a", &body).await.ok();
}

#[tokio::test]
async fn the_data_plane_asks_too() {
    let house = house(&[
        statement("Allow", "iot:Publish", "arn:aws:iot:*:*:topic/alice/${aws:username}", ""),
        statement("Allow", "iot:UpdateThingShadow", "arn:aws:iot:*:*:thing/pump", ""),
    ])
    .await;
    let send = async |method: &str, target: &str, body: &str| {
        house.send(&peer(), House::signed(signing("iotdata"), (method, target), &[], body.as_bytes())).await
    };
    send("POST", "/topics/alice/alice", "x").await.ok();
    let refused = send("POST", "/topics/alice/bob", "x").await;
    assert_eq!(refused.error(), (403, "ForbiddenException"));
    assert!(
        refused
            .message()
            .contains("iot:Publish on resource: arn:aws:iot:us-east-1:123456789012:topic/alice/bob")
    );
    assert_eq!(send("POST", "/topics/alice/alice?retain=true", "x").await.status, 403);
    send("POST", "/things/pump/shadow", r#"{"state":{}}"#).await.ok();
    assert_eq!(send("GET", "/things/pump/shadow", "").await.status, 403);
    let published = house.published.messages.lock();
    assert!(published[0].publisher.principal.as_ref().unwrap().as_str().starts_with("AIDA"));
}

#[tokio::test]
async fn keys_that_are_not_active_and_users_that_are_gone() {
    let house = house(&[statement("Allow", "iot:*", "*", "")]).await;
    call(&house, "GET", "/things", "").await.ok();
    let off = UpdateAccessKey { access_key_id: ALICE.to_owned(), active: false };
    run(&house, Action::UpdateAccessKey(Box::new(off))).await;
    assert_eq!(call(&house, "GET", "/things", "").await.error(), (403, "UnrecognizedClientException"));
    let gone = fleethaven_registry::shapes::DeleteUser { user_name: "alice".to_owned(), force: true };
    run(&house, Action::DeleteUser(gone)).await;
    assert_eq!(call(&house, "GET", "/things", "").await.error(), (403, "UnrecognizedClientException"));
}

const ROLE: &str = "arn:aws:iam::123456789012:role/ops";
const ASSUME: &str = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fops&RoleSessionName=night";

async fn with_role(principal: &str, condition: &str) -> House {
    let house = house(&[statement("Allow", "sts:AssumeRole", ROLE, "")]).await;
    run(&house, Action::RotateSessionKeys).await;
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{principal}{condition}}}}}"#
    );
    let role = CreateRole {
        role_name: "ops".to_owned(),
        assume_role_policy_document: trust,
        max_session_duration: Some(7200),
        description: String::new(),
        tags: Vec::new(),
    };
    run(&house, Action::CreateRole(Box::new(role))).await;
    put(&house, PolicyHolder::Role("ops".to_owned()), &[statement("Allow", "iot:*", "*", "")]).await;
    house
}

fn temporary<'t>(answer: &'t str, service: &'t str) -> Signing<'t> {
    Signing {
        key: between(answer, "AccessKeyId"),
        secret: between(answer, "SecretAccessKey"),
        token: Some(between(answer, "SessionToken")),
        service,
        ..Signing::default()
    }
}

#[tokio::test]
async fn a_session_acts_as_its_role() {
    let house = with_role(r#"{"AWS":"123456789012"}"#, "").await;
    assert_eq!(call(&house, "GET", "/things", "").await.status, 403, "before");
    let (status, answer) = sts(&house, signing("sts"), ASSUME).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(between(&answer, "Arn"), "arn:aws:sts::123456789012:assumed-role/ops/night");
    let send = async |signing: Signing<'_>| {
        house.send(&peer(), House::signed(signing, ("GET", "/things"), &[], b"")).await
    };
    send(temporary(&answer, "iot")).await.ok();
    let (_, identity) = sts(&house, temporary(&answer, "sts"), "Action=GetCallerIdentity").await;
    assert_eq!(between(&identity, "Arn"), "arn:aws:sts::123456789012:assumed-role/ops/night");
    // Neither key nor token is any good without the other, nor another's.
    let unknown = (403, "UnrecognizedClientException");
    assert_eq!(send(Signing { token: None, ..temporary(&answer, "iot") }).await.error(), unknown);
    assert_eq!(send(Signing { key: ALICE, ..temporary(&answer, "iot") }).await.error(), unknown);
    let wrong = Signing { secret: "wrong", ..temporary(&answer, "iot") };
    assert_eq!(send(wrong).await.error(), (403, "InvalidSignatureException"));
    // Its role's policies count as they are now, and with the role it ends.
    put(&house, PolicyHolder::Role("ops".to_owned()), &[statement("Allow", "iot:DescribeThing", "*", "")])
        .await;
    assert_eq!(send(temporary(&answer, "iot")).await.error(), (403, "AccessDeniedException"));
    run(&house, Action::DeleteRole(DeleteRole { role_name: "ops".to_owned(), force: true })).await;
    assert_eq!(send(temporary(&answer, "iot")).await.error(), unknown);
}

#[tokio::test]
async fn a_session_policy_narrows() {
    let house = with_role(r#"{"AWS":"arn:aws:iam::123456789012:user/alice"}"#, "").await;
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22iot%3ADescribe%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D";
    let (status, answer) = sts(&house, signing("sts"), &format!("{ASSUME}&Policy={policy}")).await;
    assert_eq!(status, 200, "{answer}");
    let refused =
        house.send(&peer(), House::signed(temporary(&answer, "iot"), ("GET", "/things"), &[], b"")).await;
    assert!(refused.message().ends_with("because no session policy allows the iot:ListThings action"));
    let described =
        house.send(&peer(), House::signed(temporary(&answer, "iot"), ("GET", "/endpoint"), &[], b"")).await;
    described.ok();
}

#[tokio::test]
async fn who_may_not_assume_a_role() {
    let external = r#","Condition":{"StringEquals":{"sts:ExternalId":"42"}}"#;
    let house = with_role(r#"{"AWS":"123456789012"}"#, external).await;
    let refused = async |house: &House, signing: Signing<'_>, form: &str| {
        let (status, body) = sts(house, signing, form).await;
        (status, between(&body, "Code").to_owned())
    };
    let denied = (403, "AccessDenied".to_owned());
    assert_eq!(refused(&house, signing("sts"), ASSUME).await, denied);
    assert_eq!(sts(&house, signing("sts"), &format!("{ASSUME}&ExternalId=42")).await.0, 200);
    assert_eq!(
        refused(&house, Signing::default(), &format!("{ASSUME}&ExternalId=42")).await,
        denied,
        "the root"
    );
    let other = ASSUME.replace("ops", "none");
    assert_eq!(refused(&house, signing("sts"), &other).await, denied, "what is not there");
    put(&house, alice(), &[statement("Deny", "sts:*", "*", "")]).await;
    assert_eq!(refused(&house, signing("sts"), &format!("{ASSUME}&ExternalId=42")).await, denied);
    let house = with_role(r#"{"AWS":"210987654321"}"#, "").await;
    assert_eq!(refused(&house, signing("sts"), ASSUME).await, denied, "another account is trusted");
    // Named by the trust policy of a role of its own account, a user needs no policy.
    let house = with_role(r#"{"AWS":"arn:aws:iam::123456789012:user/alice"}"#, "").await;
    put(&house, alice(), &[statement("Allow", "iot:ListThings", "*", "")]).await;
    assert_eq!(sts(&house, signing("sts"), ASSUME).await.0, 200);
    for (more, code) in [
        ("&DurationSeconds=899", "ValidationError"),
        ("&DurationSeconds=7201", "ValidationError"),
        ("&Policy=%7B%7D", "MalformedPolicyDocument"),
        ("&Tags.member.1.Key=a&Tags.member.1.Value=b", "ValidationError"),
    ] {
        assert_eq!(refused(&house, signing("sts"), &format!("{ASSUME}{more}")).await, (400, code.to_owned()));
    }
    assert_eq!(sts(&house, signing("sts"), &format!("{ASSUME}&DurationSeconds=7200")).await.0, 200);
}
