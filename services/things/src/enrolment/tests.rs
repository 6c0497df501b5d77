use std::sync::mpsc;

use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_fabric::{FunctionError, Source};
use fleethaven_pki::{Attribute, Authority, Name, Serial, Validity};
use fleethaven_registry::shapes::{
    CreateProvisioningTemplate, IssuingKey, ProvisioningHook, Secret, TemplateType,
    UpdateProvisioningTemplate,
};
use fleethaven_registry::testing::account_arguments;
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::{Value, json};

use super::*;
use crate::testing::Bench;

const CREATE: &str = "$aws/certificates/create";
const FROM_CSR: &str = "$aws/certificates/create-from-csr";
const PROVISION: &str = "$aws/provisioning-templates/T/provision";

/// A desk, in an account with a CA that issues certificates and a template `T`.
fn bench(is_open: bool, change: impl FnOnce(&mut fleethaven_types::Limits)) -> Bench {
    let bench = Bench::new(is_open, change);
    let mut registry = bench.metadata.registry.lock();
    let subject = Name::new(&[(Attribute::CommonName, "issuing")]).unwrap();
    let validity = Validity { not_before: 0, not_after: 2_524_607_999 };
    let authority = Authority::create(&subject, Serial([1; 16]), validity).unwrap();
    let mut account = account_arguments("AKIAOTHEROTHEROT");
    account.issuing_ca.certificate_pem = authority.certificate().pem();
    account.issuing_ca.key = IssuingKey::PrivateKeyPem(Secret(authority.private_key_pem().to_owned()));
    registry.scope.account = "210987654321".parse().unwrap();
    registry.run(Action::CreateAccount(Box::new(account))).unwrap();
    let template = json!({
        "Parameters": {"Serial": {"Type": "String"}},
        "Resources": {
            "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": {"Ref": "Serial"}}},
            "certificate": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}}},
        },
        "DeviceConfiguration": {"url": "https://example.com"},
    });
    let create = CreateProvisioningTemplate {
        template_name: "T".to_owned(),
        description: None,
        template_body: template.to_string(),
        enabled: true,
        provisioning_role_arn: "arn:aws:iam::123456789012:role/provisioning".to_owned(),
        pre_provisioning_hook: None,
        template_type: TemplateType::FleetProvisioning,
        tags: Vec::new(),
    };
    registry.run(Action::CreateProvisioningTemplate(Box::new(create))).unwrap();
    drop(registry);
    bench
}

type Told = (Option<Arc<Message>>, Result<(), Error>);

fn hand_in(bench: &Bench, topic: &str, payload: &[u8]) -> mpsc::Receiver<Told> {
    let (answer, answered) = mpsc::channel();
    let mut message = (*bench.message(topic, "")).clone();
    message.payload = payload.to_vec().into();
    let mut publisher = (*message.publisher).clone();
    publisher.principal = Some("claim".into());
    message.publisher = Arc::new(publisher);
    let answer = Box::new(move |message, result| answer.send((message, result)).unwrap());
    assert!(bench.desk.enrolments.take(&Arc::new(message), SessionId(1), answer), "{topic}");
    answered
}

async fn told(answered: mpsc::Receiver<Told>) -> Told {
    loop {
        match answered.try_recv() {
            Ok(told) => return told,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The last level of the answer's topic, and the answer.
async fn asked(bench: &Bench, topic: &str, payload: &Value) -> (String, Value) {
    let (_, format) = topic::request(topic).unwrap();
    answer_to(bench, topic, &format.write(payload)).await
}

async fn answer_to(bench: &Bench, topic: &str, payload: &[u8]) -> (String, Value) {
    let (_, format) = topic::request(topic).unwrap();
    let (answer, result) = told(hand_in(bench, topic, payload)).await;
    assert_eq!(result, Ok(()));
    let answer = answer.unwrap();
    let (of, last) = answer.topic.rsplit_once('/').unwrap();
    assert_eq!((of, answer.qos, answer.retain), (topic, QoS::AtLeastOnce, false));
    (last.to_owned(), format.read(&answer.payload).unwrap())
}

async fn code(bench: &Bench, topic: &str, payload: &Value) -> (u64, String) {
    let (_, format) = topic::request(topic).unwrap();
    let (last, answer) = answer_to(bench, topic, &format.write(payload)).await;
    assert_eq!(last, "rejected", "{answer}");
    assert!(!answer["errorMessage"].as_str().unwrap().is_empty());
    (answer["statusCode"].as_u64().unwrap(), answer["errorCode"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_gets_a_certificate_and_is_provisioned() {
    let bench = bench(true, |_| ());
    for (format, serial, empty) in [("json", "lamp-1", &b""[..]), ("cbor", "lamp-2", b"\xa0")] {
        let (last, made) = answer_to(&bench, &format!("{CREATE}/{format}"), empty).await;
        assert_eq!(last, "accepted");
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        assert!(text("privateKey").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        let certificate = fleethaven_pki::Certificate::parse_pem(&text("certificatePem")).unwrap();
        assert_eq!(certificate.id.to_string(), text("certificateId"));
        let request = json!({
            "certificateOwnershipToken": made["certificateOwnershipToken"], "parameters": {"Serial": serial},
        });
        let topic = format!("{PROVISION}/{format}");
        let (last, provisioned) = asked(&bench, &topic, &request).await;
        let configuration = json!({"url": "https://example.com"});
        assert_eq!(last, "accepted");
        assert_eq!(provisioned, json!({"deviceConfiguration": configuration, "thingName": serial}));
        assert_eq!(code(&bench, &topic, &request).await.1, "InvalidCertificateOwnershipToken", "once");
        let described = QueryKind::DescribeCertificate(text("certificateId"));
        let described = bench.metadata.registry.lock().ask(described).unwrap();
        let QueryReply::Certificate(described) = described else { panic!("{described:?}") };
        assert_eq!(described.status, fleethaven_registry::shapes::CertificateStatus::Active);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let bench = bench(true, |_| ());
    let token = || async {
        let (_, made) = answer_to(&bench, &format!("{CREATE}/json"), b"{}").await;
        made["certificateOwnershipToken"].clone()
    };
    let good = token().await;
    let reserved = json!({"Serial": "a", "AWS::IoT::Certificate::Id": "b"});
    for (topic, payload, expected) in [
        (CREATE, json!([]), (400, "InvalidPayload")),
        (FROM_CSR, json!({}), (400, "InvalidPayload")),
        (FROM_CSR, json!({"certificateSigningRequest": 7}), (400, "InvalidPayload")),
        (
            FROM_CSR,
            json!({"certificateSigningRequest": "no request"}),
            (400, "InvalidCertificateSigningRequest"),
        ),
        (
            FROM_CSR,
            json!({"certificateSigningRequest": "x".repeat(4097)}),
            (400, "InvalidCertificateSigningRequest"),
        ),
        (PROVISION, json!({"parameters": {}}), (400, "InvalidPayload")),
        (PROVISION, json!({"certificateOwnershipToken": "other"}), (400, "InvalidCertificateOwnershipToken")),
        (PROVISION, json!({"certificateOwnershipToken": good}), (400, "InvalidParameters")),
        (
            PROVISION,
            json!({"certificateOwnershipToken": good, "parameters": reserved}),
            (400, "InvalidParameters"),
        ),
        (
            PROVISION,
            json!({"certificateOwnershipToken": good, "parameters": {"Serial": 7}}),
            (400, "InvalidPayload"),
        ),
        (
            PROVISION,
            json!({"certificateOwnershipToken": good, "parameters": {"Serial": "a b"}}),
            (400, "InvalidParameters"),
        ),
        (
            "$aws/provisioning-templates/U/provision",
            json!({"certificateOwnershipToken": good}),
            (400, "InvalidParameters"),
        ),
    ] {
        for format in ["json", "cbor"] {
            let (status, code) = code(&bench, &format!("{topic}/{format}"), &payload).await;
            assert_eq!((status, code.as_str()), expected, "{topic} {payload}");
        }
    }
    for format in ["json", "cbor"] {
        let (last, answer) = answer_to(&bench, &format!("{PROVISION}/{format}"), b"\xff{").await;
        assert_eq!((last.as_str(), &answer["errorCode"]), ("rejected", &json!("InvalidPayload")));
    }
    let disable = UpdateProvisioningTemplate {
        template_name: "T".to_owned(),
        enabled: Some(false),
        ..UpdateProvisioningTemplate::default()
    };
    let disable = Action::UpdateProvisioningTemplate(Box::new(disable));
    bench.metadata.registry.lock().run(disable).unwrap();
    let request = json!({"certificateOwnershipToken": good, "parameters": {"Serial": "a"}});
    assert_eq!(code(&bench, &format!("{PROVISION}/json"), &request).await, (403, "AccessDenied".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_decides_and_overrides() {
    let bench = bench(true, |_| ());
    let hook = ProvisioningHook {
        payload_version: "2020-04-01".to_owned(),
        target_arn: "arn:aws:lambda:eu-west-1:210987654321:function:hook".to_owned(),
    };
    let update = UpdateProvisioningTemplate {
        template_name: "T".to_owned(),
        pre_provisioning_hook: Some(hook.clone()),
        ..UpdateProvisioningTemplate::default()
    };
    let update = Action::UpdateProvisioningTemplate(Box::new(update));
    bench.metadata.registry.lock().run(update).unwrap();
    let (_, made) = answer_to(&bench, &format!("{CREATE}/json"), b"{}").await;
    let topic = format!("{PROVISION}/json");
    let request = json!({
        "certificateOwnershipToken": made["certificateOwnershipToken"],
        "parameters": {"Serial": "asked", "Unknown": "to the template"},
    });
    // Whatever is not a yes, and an override that only the certificate may give, leaves the token good.
    bench.functions.answers.lock().extend([
        Ok(r#"{"allowProvisioning": false}"#),
        Ok("nonsense"),
        Err(FunctionError::TimedOut),
        Err(FunctionError::Unmapped(hook.target_arn.clone())),
    ]);
    for _ in 0..4 {
        assert_eq!(code(&bench, &topic, &request).await, (403, "AccessDenied".to_owned()));
    }
    let stolen =
        r#"{"allowProvisioning": true, "parameterOverrides": {"AWS::IoT::Certificate::Id": "other"}}"#;
    bench.functions.answers.lock().push_back(Ok(stolen));
    assert_eq!(code(&bench, &topic, &request).await, (400, "InvalidParameters".to_owned()));
    let overrides = r#"{"allowProvisioning": true, "parameterOverrides": {"Serial": "overridden"}}"#;
    bench.functions.answers.lock().push_back(Ok(overrides));
    let (last, provisioned) = asked(&bench, &topic, &request).await;
    assert_eq!((last.as_str(), &provisioned["thingName"]), ("accepted", &json!("overridden")));
    // Nobody's token asks nobody.
    assert_eq!(code(&bench, &topic, &request).await.1, "InvalidCertificateOwnershipToken");
    let calls = bench.functions.calls.lock();
    assert_eq!(calls.len(), 6);
    let call = calls.first().unwrap();
    let template = "arn:aws:iot:eu-west-1:210987654321:provisioningtemplate/T";
    assert_eq!((call.function_arn.as_str(), call.source_arn.as_str()), (&*hook.target_arn, template));
    assert_eq!((call.source, call.deadline.as_secs()), (Source::ProvisioningHook, 5));
    let event: Value = serde_json::from_slice(&call.payload).unwrap();
    let expected = json!({
        "claimCertificateId": "claim",
        "certificateId": made["certificateId"],
        "certificatePem": made["certificatePem"],
        "templateArn": template,
        "clientId": "",
        "parameters": {"Serial": "asked", "Unknown": "to the template"},
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn too_much_is_refused() {
    let rated = bench(true, |limits| limits.provisioning_requests_per_sec = Some(1));
    let payload = json!({"certificateSigningRequest": "no request"});
    let topic = format!("{FROM_CSR}/json");
    assert_eq!(code(&rated, &topic, &payload).await.0, 400);
    assert_eq!(code(&rated, &topic, &payload).await, (429, "Throttled".to_owned()));
    // What one connection has under way is bounded, and is free again when it is done.
    let held = bench(false, |_| ());
    let request = json!({"certificateOwnershipToken": "other"}).to_string();
    let topic = format!("{PROVISION}/json");
    let waiting: Vec<_> = (0..OF_A_CONNECTION).map(|_| hand_in(&held, &topic, request.as_bytes())).collect();
    let payload: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(code(&held, &topic, &payload).await.1, "Throttled");
    held.metadata.permits.add_permits(OF_A_CONNECTION + 1);
    for answered in waiting {
        assert!(told(answered).await.1.is_ok());
    }
    assert_eq!(code(&held, &topic, &payload).await.1, "InvalidCertificateOwnershipToken");
    assert!(held.desk.enrolments.connections.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_not_answered() {
    let bench = bench(true, |_| ());
    bench.metadata.failures.lock().extend([(); 100].map(|()| CallError::Unknown));
    let request = json!({"certificateOwnershipToken": "other"}).to_string();
    let (answer, answered) = tokio::sync::oneshot::channel();
    let message = bench.message(&format!("{PROVISION}/json"), &request);
    let answer = Box::new(move |message: Option<Arc<Message>>, result: Result<(), Error>| {
        answer.send((message.is_some(), result.is_ok())).unwrap();
    });
    assert!(bench.desk.enrolments.take(&message, SessionId(1), answer));
    assert_eq!(answered.await, Ok((false, false)), "neither an answer nor an acknowledgement");
}

#[test]
fn other_topics_are_not_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _in_it = runtime.enter();
    let bench = Bench::new(true, |_| ());
    for topic in ["$aws/certificates/create/json/accepted", "$aws/certificates/other/json"] {
        let message = bench.message(topic, "");
        let unasked: Answer = Box::new(|_, _| unreachable!());
        assert!(!bench.desk.enrolments.take(&message, SessionId(1), unasked), "{topic}");
    }
}
