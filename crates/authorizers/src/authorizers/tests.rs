//! Selection, signatures, and what a function's answer leads to.

use std::collections::BTreeMap;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use fleethaven_fabric::metadata::{AppliedMarker, BoxFuture, Error, Executed, Position, WatchStream};
use fleethaven_registry::shapes::{
    ApplicationProtocol, AuthenticationType, AuthorizerConfig, CreateAuthorizer, CreateDomainConfiguration,
    ServiceType, UpdateAuthorizer,
};
use fleethaven_registry::testing::Registry;
use fleethaven_registry::{Action, Command};
use fleethaven_types::{Limits, Profile};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::attempt::{Connect, HttpRequest};

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:decide";

pub(crate) fn attempt() -> Attempt {
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
    Attempt {
        endpoint: Endpoint { scope, named: false, domain: None },
        connection_id: "id".to_owned(),
        server_name: Some("iot.example".into()),
        http: None,
        mqtt: None,
        certificate: None,
    }
}

/// A registry; what this node knows of it may be less.
struct Memory {
    registry: Mutex<Registry>,
    knows_nothing: bool,
}

impl Metadata for Memory {
    fn execute(&self, _: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        unreachable!("authorizers change nothing")
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(async move { Ok(self.registry.lock().ask(query.kind)?) })
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, Error> {
        if self.knows_nothing {
            return Err(Error::Unavailable("not level".to_owned()));
        }
        Ok(self.registry.lock().ask(query.kind)?)
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, _: Vec<Bytes>, _: Option<Position>) -> WatchStream {
        Box::pin(futures_util::stream::pending())
    }

    fn register(&self, _: &'static str) -> AppliedMarker {
        Box::new(|_| {})
    }

    fn in_force(&self, _: u64) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }
}

/// Answers as the test says, and keeps what it was asked.
pub(crate) struct Fake {
    answer: Mutex<Result<Bytes, FunctionError>>,
    calls: Mutex<Vec<Invocation>>,
}

impl Fake {
    pub(crate) fn new(answer: Result<Bytes, FunctionError>) -> Self {
        Self { answer: Mutex::new(answer), calls: Mutex::default() }
    }

    /// What it was asked.
    pub(crate) fn calls(&self) -> Vec<Invocation> {
        self.calls.lock().clone()
    }
}

impl Functions for Fake {
    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
        self.calls.lock().push(call);
        let answer = self.answer.lock().clone();
        Box::pin(async move { answer })
    }

    fn send(&self, _: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
        unreachable!("authorizers wait for the answer")
    }
}

struct House {
    authorizers: Authorizers,
    functions: Arc<Fake>,
    memory: Arc<Memory>,
    key: KeyPair,
}

impl House {
    /// With an authorizer `signed`, and an authorizer `free` whose tokens need no signature.
    fn new(knows_nothing: bool) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let keys =
            [("old", "no key".to_owned()), ("new", fleethaven_pki::pem::encode("PUBLIC KEY", der.as_ref()))];
        let mut registry = Registry::new().unwrap();
        for (name, signing_disabled) in [("signed", false), ("free", true)] {
            let action = Action::CreateAuthorizer(Box::new(CreateAuthorizer {
                authorizer_name: name.to_owned(),
                authorizer_function_arn: FUNCTION.to_owned(),
                token_key_name: Some("token".to_owned()),
                token_signing_public_keys: keys
                    .iter()
                    .map(|(name, pem)| ((*name).to_owned(), pem.clone()))
                    .collect(),
                status: AuthorizerStatus::Active,
                signing_disabled,
                enable_caching_for_http: false,
                tags: Vec::new(),
            }));
            registry.run(action).unwrap();
        }
        let memory = Arc::new(Memory { registry: Mutex::new(registry), knows_nothing });
        let answer = json!({
            "isAuthenticated": true, "principalId": "me", "policyDocuments": [policy()],
            "disconnectAfterInSeconds": 3600, "refreshAfterInSeconds": 300,
        });
        let functions = Arc::new(Fake::new(Ok(answer.to_string().into())));
        let limits = Limits::of(Profile::Standard).into();
        let authorizers = Authorizers::new(memory.clone(), functions.clone(), limits);
        Self { authorizers, functions, memory, key }
    }

    fn run(&self, action: Action) {
        self.memory.registry.lock().run(action).unwrap();
    }

    async fn ask(&self, username: &str) -> Result<Granted, Refusal> {
        let connect = Connect { username: Some(username.into()), password: None, client_id: None };
        self.authorizers.authorize(&Attempt { mqtt: Some(connect), ..attempt() }).await
    }

    fn signature(&self, token: &str) -> String {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).unwrap();
        STANDARD.encode(signature)
    }

    fn events(&self) -> Vec<Value> {
        self.functions
            .calls
            .lock()
            .iter()
            .map(|call| serde_json::from_slice(&call.payload).unwrap())
            .collect()
    }
}

fn policy() -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]})
}

#[tokio::test]
async fn a_signed_token_is_checked_before_the_function_is_asked() {
    let house = House::new(false);
    let named = "me?x-amz-customauthorizer-name=signed";
    assert_eq!(house.ask(named).await.unwrap_err(), Refusal::NoToken("signed".to_owned()));
    let unsigned = format!("{named}&token=t");
    assert_eq!(house.ask(&unsigned).await.unwrap_err(), Refusal::NoToken("signed".to_owned()));
    let signature = house.signature("t");
    let encoded = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    for wrong in [
        format!("{named}&token=u&x-amz-customauthorizer-signature={encoded}"),
        format!("{named}&token=t&x-amz-customauthorizer-signature=AAAA"),
        format!("{named}&token=t&x-amz-customauthorizer-signature=%20%20"),
        format!("{named}&token=t&x-amz-customauthorizer-signature=*"),
    ] {
        let refusal = house.ask(&wrong).await.unwrap_err();
        assert_eq!(refusal, Refusal::Signature("signed".to_owned()), "{wrong}");
        assert!(refusal.blames_credentials());
    }
    assert!(house.events().is_empty());
    let granted =
        house.ask(&format!("{named}&token=t&x-amz-customauthorizer-signature={encoded}")).await.unwrap();
    assert_eq!((granted.principal_id.as_str(), granted.policies.len()), ("me", 1));
    assert_eq!(granted.disconnect_after, Duration::from_secs(3600));
    assert_eq!(granted.refresh_after, Duration::from_secs(300));
    let raw = house.ask(&format!("{named}&token=t&x-amz-customauthorizer-signature={signature}")).await;
    assert!(raw.is_ok(), "a client that encodes nothing");
    let events = house.events();
    assert_eq!((&events[0]["token"], &events[0]["signatureVerified"]), (&json!("t"), &json!(true)));
    let calls = house.functions.calls.lock();
    assert_eq!(calls[0].function_arn, FUNCTION);
    assert_eq!(calls[0].source_arn, "arn:aws:iot:eu-west-1:123456789012:authorizer/signed");
    assert_eq!(calls[0].deadline, Duration::from_secs(5));
}

#[tokio::test]
async fn an_authorizer_without_signing_gets_what_there_is() {
    let house = House::new(false);
    house.ask("x-amz-customauthorizer-name=free").await.unwrap_err();
    house.ask("?x-amz-customauthorizer-name=free").await.unwrap();
    house.ask("?x-amz-customauthorizer-name=free&token=t").await.unwrap();
    let events = house.events();
    assert_eq!((events[0].get("token"), &events[0]["signatureVerified"]), (None, &json!(false)));
    assert_eq!((&events[1]["token"], &events[1]["signatureVerified"]), (&json!("t"), &json!(false)));
}

#[tokio::test]
async fn the_default_authorizer_decides_about_those_who_name_none() {
    for knows_nothing in [false, true] {
        let house = House::new(knows_nothing);
        assert_eq!(house.ask("me").await.unwrap_err(), Refusal::NoAuthorizer);
        house.run(Action::SetDefaultAuthorizer("free".to_owned()));
        house.ask("me").await.unwrap();
        let unknown = house.ask("?x-amz-customauthorizer-name=other").await.unwrap_err();
        assert_eq!(unknown, Refusal::Unknown("other".to_owned()));
        let impossible = house.ask("?x-amz-customauthorizer-name=a%20b").await.unwrap_err();
        assert_eq!(impossible, Refusal::Unknown("a b".to_owned()));
        let update = UpdateAuthorizer {
            authorizer_name: "free".to_owned(),
            status: Some(AuthorizerStatus::Inactive),
            ..UpdateAuthorizer::default()
        };
        house.run(Action::UpdateAuthorizer(Box::new(update)));
        assert_eq!(house.ask("me").await.unwrap_err(), Refusal::Inactive("free".to_owned()));
        assert_eq!(house.events().len(), 1);
    }
}

#[tokio::test]
async fn a_function_that_fails_lets_nobody_in() {
    let house = House::new(false);
    let ask = || house.ask("?x-amz-customauthorizer-name=free");
    *house.functions.answer.lock() = Ok(Bytes::from_static(b"{\"isAuthenticated\": false}"));
    assert_eq!(ask().await.unwrap_err(), Refusal::NotAuthenticated("free".to_owned()));
    *house.functions.answer.lock() = Ok(Bytes::from_static(b"yes"));
    assert!(matches!(ask().await.unwrap_err(), Refusal::Answer(_)));
    *house.functions.answer.lock() = Err(FunctionError::TimedOut);
    let refusal = ask().await.unwrap_err();
    assert_eq!(refusal, Refusal::Function(FunctionError::TimedOut));
    assert!(!refusal.blames_credentials());
}

#[tokio::test]
async fn values_may_come_in_headers() {
    let house = House::new(false);
    let headers = BTreeMap::from([
        ("x-amz-customauthorizer-name", "signed".to_owned()),
        ("x-amz-customauthorizer-signature", house.signature("t")),
        ("token", "t".to_owned()),
    ]);
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let http = HttpRequest { headers, query: String::new() };
    house.authorizers.authorize(&Attempt { http: Some(http), ..attempt() }).await.unwrap();
    assert_eq!(house.events()[0]["protocols"], json!(["tls", "http"]));
}

#[test]
fn a_server_name_may_begin_with_an_account() {
    let house = House::new(false);
    let default = attempt().endpoint.scope;
    let scope = |name| house.authorizers.endpoint(name, default).scope;
    let other = Scope { account: "210987654321".parse().unwrap(), ..default };
    assert_eq!(scope(Some("210987654321.data.iot.example")), other);
    for name in [None, Some("localhost"), Some("21098765432.data.iot.example"), Some("")] {
        assert_eq!(scope(name), default, "{name:?}");
    }
}

#[tokio::test]
async fn a_domain_has_a_default_authorizer_of_its_own() {
    let house = House::new(false);
    let configure = |default: &str, allow| {
        Action::CreateDomainConfiguration(Box::new(CreateDomainConfiguration {
            managed: false,
            domain_configuration_name: default.to_owned(),
            domain_name: format!("{default}.example"),
            server_certificate_arns: Vec::new(),
            validation_certificate_arn: None,
            authorizer_config: Some(AuthorizerConfig {
                default_authorizer_name: Some(default.to_owned()),
                allow_authorizer_override: Some(allow),
            }),
            service_type: ServiceType::Data,
            authentication_type: AuthenticationType::Default,
            application_protocol: ApplicationProtocol::Default,
            security_policy: None,
            ocsp_check: false,
            ocsp_function_arn: None,
            ocsp_responder_arn: None,
            certificate_callback_arn: None,
            tags: Vec::new(),
        }))
    };
    house.run(configure("free", false));
    house.run(configure("signed", true));
    let ask = async |domain: &str, username: &str| {
        let endpoint = house.authorizers.endpoint(Some(domain), attempt().endpoint.scope);
        let connect = Connect { username: Some(username.into()), password: None, client_id: None };
        house.authorizers.authorize(&Attempt { endpoint, mqtt: Some(connect), ..attempt() }).await
    };
    ask("free.example", "me").await.unwrap();
    let named = "?x-amz-customauthorizer-name=free";
    assert_eq!(ask("free.example", named).await.unwrap_err(), Refusal::Override("free".to_owned()));
    assert_eq!(ask("signed.example", "me").await.unwrap_err(), Refusal::NoToken("signed".to_owned()));
    ask("SIGNED.example", named).await.unwrap();
    assert_eq!(ask("other.example", "me").await.unwrap_err(), Refusal::NoAuthorizer);
}
