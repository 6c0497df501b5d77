//! The credentials provider (security.md section 8): a device exchanges its certificate for temporary credentials of the role
//! that a role alias names.
//!
//! The certificate's policies must allow `iot:AssumeRoleWithCertificate` on the alias, and the role must trust
//! `credentials.iot.amazonaws.com`. What the credentials may do is the role's to say, by the device where it wants to:
//! `credentials-iot:ThingName` and its like are condition keys and variables of the role's policies.

use fleethaven_operators::Session;
use fleethaven_policy::{Action, Assumer, Context, CustomKeys, Limits, Trust, TrustPolicy};
use fleethaven_registry::shapes::{RoleAliasDescription, RoleDescription, StandingThing};
use fleethaven_registry::{QueryKind, QueryReply};
use serde_json::json;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::authentication::{Principal, session_keys};
use crate::call::Call;
use crate::control::built;
use crate::data::{Asked, On, authorize};
use crate::error::Error;
use crate::sts::role_of_arn;

/// The service that a role's trust policy names.
const SERVICE: &str = "credentials.iot.amazonaws.com";
/// The header by which a device says which of its certificate's things it is.
const THING_NAME: &str = "x-amzn-iot-thingname";

built! {
    "AssumeRoleWithCertificate" => give,
}

async fn give(call: &Call<'_>) -> Outcome {
    let Principal::Certificate(certificate_id) = &call.principal else {
        return Err(fleethaven_sigv4::Error::Missing.into());
    };
    let alias = call.input.label("roleAlias")?;
    let thing = thing(call, certificate_id).await?;
    let asked = Asked {
        thing: thing.as_ref(),
        ..Asked::new(&[Action::AssumeRoleWithCertificate], On::RoleAlias(&alias))
    };
    authorize(call, &asked).await.map_err(denied)?;
    let alias = match call.query(QueryKind::DescribeRoleAlias(alias)).await? {
        QueryReply::RoleAlias(alias) => *alias,
        _ => return Err(Error::unexpected_reply()),
    };
    let keys = keys(certificate_id, thing.as_ref());
    let role = trusting_role(call, &alias, &keys).await?;
    // An alias may ask for more than its role allows by now.
    let seconds = alias.credential_duration_seconds.min(role.max_session_duration);
    let session = Session { keys, ..Session::of(&role, certificate_id, call.now.as_secs(), seconds) };
    let signing = session_keys(call.state, true).await?;
    let key =
        signing.last().ok_or_else(|| Error::Unavailable("there is no key for sessions yet".to_owned()))?;
    let issued = session.issue(key, Uuid::new_v4().into_bytes());
    let credentials = json!({
        "accessKeyId": issued.access_key_id,
        "secretAccessKey": issued.secret_access_key.0,
        "sessionToken": issued.token.0,
        "expiration": issued.expiration,
    });
    Ok(Answer::of([("credentials", credentials)]))
}

/// The thing that the header names, which must be one of the certificate's.
async fn thing(call: &Call<'_>, certificate_id: &str) -> Result<Option<StandingThing>, Error> {
    let Some(name) = call.input.header(THING_NAME)?.filter(|name| !name.is_empty()) else { return Ok(None) };
    let (certificate_id, thing_name) = (certificate_id.to_owned(), name.to_owned());
    match call.query(QueryKind::PrincipalThing { certificate_id, thing_name }).await? {
        QueryReply::PrincipalThing(Some(thing)) => Ok(Some(*thing)),
        QueryReply::PrincipalThing(None) => {
            Err(Error::AccessDenied { message: "Invalid thing name passed".to_owned(), by: None })
        }
        _ => Err(Error::unexpected_reply()),
    }
}

/// What the role's policies may ask about.
fn keys(certificate_id: &str, thing: Option<&StandingThing>) -> Vec<(String, String)> {
    let mut keys = vec![("credentials-iot:AwsCertificateId", certificate_id.to_owned())];
    if let Some(StandingThing { thing, .. }) = thing {
        keys.push(("credentials-iot:ThingName", thing.thing_name.clone()));
        keys.extend(thing.thing_type_name.clone().map(|name| ("credentials-iot:ThingTypeName", name)));
    }
    keys.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The alias's role, if it trusts the credentials provider. Why not is told to the log only.
async fn trusting_role(
    call: &Call<'_>,
    alias: &RoleAliasDescription,
    keys: &[(String, String)],
) -> Result<RoleDescription, Error> {
    let arn = &alias.role_arn;
    let refused =
        |why: &str| denied(Error::Forbidden(format!("role alias {}: {arn} {why}", alias.role_alias)));
    let name = match role_of_arn(arn) {
        Some((account, name)) if account == call.scope.account => name,
        _ => return Err(refused("is no role of this account")),
    };
    let role = match call.query(QueryKind::GetRole(name.to_owned())).await? {
        QueryReply::Role(role) => *role.ok_or_else(|| refused("does not exist"))?,
        _ => return Err(Error::unexpected_reply()),
    };
    let mut custom = CustomKeys::new();
    for (name, value) in keys {
        custom.insert(name, value.as_str());
    }
    let context = Context { source_ip: Some(call.source_ip), custom: Some(&custom), ..Context::default() };
    let limits = Limits { characters: usize::MAX, ..Limits::default() };
    let trust = TrustPolicy::parse(&role.assume_role_policy_document, &limits)
        .map_err(|error| Error::Internal(format!("the trust policy of a role cannot be read: {error}")))?;
    match trust.decide(Assumer::Service(SERVICE), "sts:AssumeRole", &context) {
        Trust::Named | Trust::Delegated => Ok(role),
        Trust::Refused(_) => Err(refused("does not trust the credentials provider")),
    }
}

/// As AWS tells a device.
fn denied(error: Error) -> Error {
    match error {
        Error::Forbidden(reason) => {
            Error::AccessDenied { message: "Access Denied".to_owned(), by: Some(reason) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_fabric::metadata::Metadata;
    use fleethaven_registry::shapes::{CreateRole, DeleteRole, PolicyHolder, PutOperatorPolicy};
    use fleethaven_registry::{Action as Change, Command};
    use http::Request;
    use http_body_util::Full;
    use serde_json::{Value, json};

    use crate::testing::{House, Signing, Told, csr, device, peer, scope};

    const ROLE: &str = "arn:aws:iam::123456789012:role/device";
    const PATH: &str = "/role-aliases/pump/credentials";

    async fn run(house: &House, action: Change) {
        house.metadata.execute(Command::new(scope("us-east-1"), action)).await.unwrap();
    }

    /// A house with a device that may ask for the credentials of a role, and the id of its certificate.
    async fn house(service: &str) -> (House, String) {
        let house = House::new();
        run(&house, Change::RotateSessionKeys).await;
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"Service":"{service}"}}}}}}"#
        );
        let role = CreateRole {
            role_name: "device".to_owned(),
            assume_role_policy_document: trust,
            ..CreateRole::default()
        };
        run(&house, Change::CreateRole(Box::new(role))).await;
        let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:Publish",
            "Resource":"arn:aws:iot:*:*:topic/${credentials-iot:ThingName}/*"}}"#;
        let put = PutOperatorPolicy {
            holder: PolicyHolder::Role("device".to_owned()),
            policy_name: "own-topics".to_owned(),
            policy_document: document.to_owned(),
        };
        run(&house, Change::PutOperatorPolicy(Box::new(put))).await;
        let alias = json!({"roleArn": ROLE, "credentialDurationSeconds": 900}).to_string();
        house.call("POST", "/role-aliases/pump", &alias).await.ok();
        let request = json!({ "certificateSigningRequest": csr("pump") }).to_string();
        let made = house.call("POST", "/certificates?setAsActive=true", &request).await.ok();
        let policy = json!({"policyDocument": json!({
            "Version": "2012-10-17",
            "Statement": {"Effect": "Allow", "Action": "iot:AssumeRoleWithCertificate",
                "Resource": "arn:aws:iot:us-east-1:123456789012:rolealias/pump"}
        }).to_string()});
        house.call("POST", "/policies/p", &policy.to_string()).await.ok();
        let target = json!({ "target": made["certificateArn"] }).to_string();
        house.call("PUT", "/target-policies/p", &target).await.done();
        for thing in ["pump-1", "pump-2"] {
            house.call("POST", &format!("/things/{thing}"), "{}").await.ok();
        }
        let principal = made["certificateArn"].as_str().unwrap();
        house
            .call_with("PUT", "/things/pump-1/principals", &[("x-amzn-principal", principal)], "")
            .await
            .ok();
        (house, made["certificateId"].as_str().unwrap().to_owned())
    }

    async fn ask(house: &House, certificate_id: &str, path: &str, thing: Option<&str>) -> Told {
        let mut request = Request::builder().uri(path).header("host", "localhost");
        if let Some(thing) = thing {
            request = request.header("x-amzn-iot-thingname", thing);
        }
        house.send(&device(certificate_id), request.body(Full::default()).unwrap()).await
    }

    #[tokio::test]
    async fn a_device_gets_credentials_that_its_role_limits() {
        let (house, id) = house("credentials.iot.amazonaws.com").await;
        let told = ask(&house, &id, PATH, Some("pump-1")).await.ok();
        let text = |name: &str| told["credentials"][name].as_str().unwrap().to_owned();
        assert!(text("expiration").ends_with('Z'));
        let (key, secret, token) = (text("accessKeyId"), text("secretAccessKey"), text("sessionToken"));
        let signing = Signing {
            key: &key,
            secret: &secret,
            token: Some(&token),
            service: "iotdata",
            ..Signing::default()
        };
        let publish = async |topic: &str| {
            let target = format!("/topics/{topic}");
            house.send(&peer(), House::signed(signing, ("POST", &target), &[], b"x")).await
        };
        publish("pump-1/a").await.ok();
        let refused = publish("pump-2/a").await;
        assert!(refused.message().contains(&format!("assumed-role/device/{id}")), "{}", refused.message());
        // Without the header there is no thing, and the variable stands for nothing.
        let told = ask(&house, &id, PATH, None).await.ok();
        assert!(told["credentials"]["sessionToken"].is_string());
    }

    #[tokio::test]
    async fn who_gets_none() {
        let (house, id) = house("credentials.iot.amazonaws.com").await;
        let denied = async |path: &str, thing: Option<&str>| {
            let told = ask(&house, &id, path, thing).await;
            (told.status, told.json())
        };
        let message = |text: &str| json!({ "message": text });
        let other = (403, message("Invalid thing name passed"));
        assert_eq!(denied(PATH, Some("pump-2")).await, other, "another's thing");
        assert_eq!(denied(PATH, Some("nothing")).await, other);
        let refused: (u16, Value) = (403, message("Access Denied"));
        assert_eq!(
            denied("/role-aliases/other/credentials", None).await,
            refused,
            "no policy allows the alias"
        );
        assert_eq!(ask(&house, &"ab".repeat(32), PATH, None).await.status, 403, "a stranger");
        let signed =
            House::signed(Signing { service: "iotdata", ..Signing::default() }, ("GET", PATH), &[], b"");
        assert_eq!(house.send(&peer(), signed).await.status, 404, "it is for certificates");
        run(&house, Change::DeleteRole(DeleteRole { role_name: "device".to_owned(), force: true })).await;
        assert_eq!(denied(PATH, None).await, refused, "the role is gone");
        let off = format!("/certificates/{id}?newStatus=INACTIVE");
        house.call("PUT", &off, "").await.done();
        assert_eq!(denied(PATH, None).await, refused, "the certificate is not active");
    }

    #[tokio::test]
    async fn a_role_must_trust_the_provider() {
        let (house, id) = house("iot.amazonaws.com").await;
        assert_eq!(ask(&house, &id, PATH, None).await.error(), (403, "AccessDeniedException"));
    }
}
