//! security.md sections 6 and 8, over the registry in memory.

use bytes::Bytes;
use fleethaven_fabric::FunctionError;
use serde_json::{Value, json};

use crate::testing::{ACCOUNT, House};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:decide";
const ROLE: &str = "arn:aws:iam::123456789012:role/device";

fn free() -> Value {
    json!({"authorizerFunctionArn": FUNCTION, "signingDisabled": true, "status": "ACTIVE"})
}

async fn create(house: &House, name: &str, body: &Value) -> crate::testing::Told {
    house.call("POST", &format!("/authorizer/{name}"), &body.to_string()).await
}

#[tokio::test]
async fn authorizers_and_the_default_one() {
    let house = House::new();
    let arn = format!("arn:aws:iot:us-east-1:{ACCOUNT}:authorizer/a");
    let told = create(&house, "a", &free()).await.ok();
    assert_eq!(told, json!({"authorizerName": "a", "authorizerArn": arn}));
    let described = house.call("GET", "/authorizer/a", "").await.ok()["authorizerDescription"].clone();
    assert_eq!((&described["status"], &described["signingDisabled"]), (&json!("ACTIVE"), &json!(true)));
    assert_eq!(described["authorizerFunctionArn"], FUNCTION);
    assert_eq!(described["tokenSigningPublicKeys"], json!({}));
    assert!(described["creationDate"].is_f64() && described.get("tokenKeyName").is_none());
    let listed = house.call("GET", "/authorizers/?isAscendingOrder=true&status=ACTIVE", "").await.ok();
    assert_eq!(listed["authorizers"], json!([told]));
    let set = || house.call("POST", "/default-authorizer", r#"{"authorizerName": "a"}"#);
    set().await.ok();
    assert_eq!(set().await.error(), (409, "ResourceAlreadyExistsException"));
    let default = house.call("GET", "/default-authorizer", "").await.ok();
    assert_eq!(default["authorizerDescription"], described);
    house.call("DELETE", "/default-authorizer", "").await.ok();
    let delete = || house.call("DELETE", "/authorizer/a", "");
    assert_eq!(delete().await.error(), (409, "DeleteConflictException"));
    house.call("PUT", "/authorizer/a", r#"{"status": "INACTIVE"}"#).await.ok();
    delete().await.ok();
    assert_eq!(delete().await.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn keys_must_be_keys() {
    let house = House::new();
    let body = |pem: &str| json!({"authorizerFunctionArn": FUNCTION, "tokenKeyName": "t", "tokenSigningPublicKeys": {"k": pem}});
    for pem in ["", "x", "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n"] {
        let refused = create(&house, "a", &body(pem)).await;
        assert_eq!(refused.error(), (400, "InvalidRequestException"));
        assert!(refused.message().starts_with("the key 'k'"), "{}", refused.message());
    }
}

#[tokio::test]
async fn an_authorizer_is_tested_with_what_the_operator_says() {
    let house = House::new();
    create(&house, "a", &free()).await.ok();
    let document =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iot:*","Resource":"*"}}"#;
    let answer = json!({"isAuthenticated": true, "principalId": "me", "policyDocuments": [document],
        "refreshAfterInSeconds": 300, "disconnectAfterInSeconds": 600});
    *house.functions.answer.lock() = Ok(answer.to_string().into());
    let body = json!({
        "token": "t",
        "mqttContext": {"username": "u", "password": "cA==", "clientId": "c"},
        "httpContext": {"headers": {"h": "v"}, "queryString": "?q=1"},
        "tlsContext": {"serverName": "s"},
    });
    let house = &house;
    let test = |body: Value| async move { house.call("POST", "/authorizer/a/test", &body.to_string()).await };
    assert_eq!(test(body).await.ok(), answer);
    let event: Value = serde_json::from_slice(&house.functions.calls.lock()[0].payload).unwrap();
    assert_eq!(event["token"], "t");
    assert_eq!(
        event["protocolData"],
        json!({
            "tls": {"serverName": "s"}, "http": {"headers": {"h": "v"}, "queryString": "?q=1"},
            "mqtt": {"username": "u", "password": "cA==", "clientId": "c"},
        })
    );
    *house.functions.answer.lock() = Ok(Bytes::from_static(br#"{"isAuthenticated": false}"#));
    assert_eq!(test(json!({})).await.ok(), json!({"isAuthenticated": false}));
    for (answer, error) in [
        (Ok(Bytes::from_static(b"{}")), (400, "InvalidResponseException")),
        (Err(FunctionError::TimedOut), (400, "InvalidResponseException")),
        (Err(FunctionError::Unmapped(FUNCTION.to_owned())), (400, "InvalidRequestException")),
        (Err(FunctionError::Unavailable("down".to_owned())), (503, "ServiceUnavailableException")),
    ] {
        *house.functions.answer.lock() = answer;
        assert_eq!(test(json!({})).await.error(), error);
    }
    for wrong in [json!({"token": ""}), json!({"mqttContext": {"password": "*"}})] {
        assert_eq!(test(wrong).await.error(), (400, "InvalidRequestException"));
    }
}

#[tokio::test]
async fn role_aliases() {
    let house = House::new();
    let body = json!({"roleArn": ROLE, "credentialDurationSeconds": 900}).to_string();
    let told = house.call("POST", "/role-aliases/a", &body).await.ok();
    let arn = format!("arn:aws:iot:us-east-1:{ACCOUNT}:rolealias/a");
    assert_eq!(told, json!({"roleAlias": "a", "roleAliasArn": arn}));
    house.call("PUT", "/role-aliases/a", r#"{"credentialDurationSeconds": 43200}"#).await.ok();
    let found = house.call("GET", "/role-aliases/a", "").await.ok()["roleAliasDescription"].clone();
    assert_eq!((&found["owner"], &found["credentialDurationSeconds"]), (&json!(ACCOUNT), &json!(43200)));
    assert_eq!(house.call("GET", "/role-aliases", "").await.ok()["roleAliases"], json!(["a"]));
    house.call("DELETE", "/role-aliases/a", "").await.ok();
    assert_eq!(house.call("GET", "/role-aliases/a", "").await.error(), (404, "ResourceNotFoundException"));
}
