use serde_json::{Value, json};

use crate::testing::{House, csr};

const SCOPE: &str = "arn:aws:iot:us-east-1:123456789012";

async fn policy(house: &House, name: &str, statements: Value) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let body = json!({"policyDocument": document}).to_string();
    house.call("POST", &format!("/policies/{name}"), &body).await.ok();
}

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": format!("iot:{action}"), "Resource": format!("{SCOPE}:{resource}")})
}

/// A certificate with the policies `devices` and `secrets`; its ARN.
async fn device(house: &House) -> String {
    let body = json!({"certificateSigningRequest": csr("pump")}).to_string();
    let made = house.call("POST", "/certificates?setAsActive=true", &body).await.ok();
    let arn = made["certificateArn"].as_str().unwrap().to_owned();
    let devices = json!([
        statement("Allow", "Connect", "client/${iot:ClientId}"),
        statement("Allow", "Publish", "topic/${iot:Connection.Thing.ThingName}/*"),
    ]);
    policy(house, "devices", devices).await;
    policy(house, "secrets", json!([statement("Deny", "Publish", "topic/*/secret")])).await;
    for name in ["devices", "secrets"] {
        let target = json!({"target": arn}).to_string();
        house.call("PUT", &format!("/target-policies/{name}"), &target).await.done();
    }
    arn
}

fn names(of: &Value) -> Vec<&str> {
    of["policies"].as_array().unwrap().iter().map(|policy| policy["policyName"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn effective_policies_are_those_of_the_principal() {
    let house = House::new();
    let arn = device(&house).await;
    let asked = json!({"principal": arn}).to_string();
    let told = house.call("POST", "/effective-policies", &asked).await.ok();
    let policies = told["effectivePolicies"].as_array().unwrap();
    assert_eq!(policies.len(), 2);
    assert_eq!(policies[0]["policyName"], "devices");
    assert_eq!(policies[0]["policyArn"], format!("{SCOPE}:policy/devices"));
    assert!(policies[0]["policyDocument"].as_str().unwrap().contains("iot:Connect"));

    house.call("POST", "/things/pump-1", "{}").await.ok();
    let of_thing = house.call("POST", "/effective-policies?thingName=pump-1", "{}").await.ok();
    assert_eq!(of_thing, json!({"effectivePolicies": []}));
    let unknown = house.call("POST", "/effective-policies?thingName=pump-2", &asked).await;
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    assert_eq!(house.call("POST", "/effective-policies", "{}").await.error().0, 400);
}

#[tokio::test]
async fn authorization_is_tested_with_what_a_connection_would_bring() {
    let house = House::new();
    let arn = device(&house).await;
    let publish =
        |topic: &str| json!({"actionType": "PUBLISH", "resources": [format!("{SCOPE}:topic/{topic}")]});
    let connect = json!({"actionType": "CONNECT", "resources": [format!("{SCOPE}:client/pump-1")]});
    let infos = [connect, publish("pump-1/rpm"), publish("pump-1/secret")];
    let asked = json!({"principal": arn, "authInfos": infos}).to_string();
    let ask = async || {
        let told = house.call("POST", "/test-authorization?clientId=pump-1", &asked).await.ok();
        told["authResults"].as_array().unwrap().clone()
    };
    // Without the thing, its variable has no value.
    let told = ask().await;
    assert_eq!(told[0]["authDecision"], "ALLOWED");
    assert_eq!(
        (names(&told[0]["allowed"]), names(&told[0]["denied"]["implicitDeny"])),
        (vec!["devices"], vec!["secrets"])
    );
    assert_eq!(told[1]["authDecision"], "IMPLICIT_DENY");
    assert_eq!(told[1]["missingContextValues"], json!(["iot:Connection.Thing.ThingName"]));
    assert_eq!(names(&told[1]["denied"]["implicitDeny"]), ["devices", "secrets"]);

    house.call("POST", "/things/pump-1", "{}").await.ok();
    let principal = [("x-amzn-principal", arn.as_str())];
    house.call_with("PUT", "/things/pump-1/principals", &principal, "").await.ok();
    let told = ask().await;
    assert_eq!(told[1]["authDecision"], "ALLOWED");
    assert_eq!(told[1]["missingContextValues"], json!([]));
    assert_eq!(told[2]["authDecision"], "EXPLICIT_DENY");
    assert_eq!(
        (names(&told[2]["allowed"]), names(&told[2]["denied"]["explicitDeny"])),
        (vec!["devices"], vec!["secrets"])
    );
}

#[tokio::test]
async fn policies_are_added_and_skipped_for_a_test() {
    let house = House::new();
    let arn = device(&house).await;
    policy(&house, "everything", json!([statement("Allow", "*", "*")])).await;
    let topics = [format!("{SCOPE}:topic/a/secret"), format!("{SCOPE}:topic/b")];
    let info = json!([{"actionType": "PUBLISH", "resources": topics}]);
    let cases = [
        (json!({"principal": arn, "policyNamesToAdd": ["everything"]}), "EXPLICIT_DENY"),
        (
            json!({"principal": arn, "policyNamesToAdd": ["everything"], "policyNamesToSkip": ["secrets"]}),
            "ALLOWED",
        ),
        (json!({"principal": arn, "policyNamesToSkip": ["secrets"]}), "IMPLICIT_DENY"),
        (json!({"policyNamesToAdd": ["everything"]}), "ALLOWED"),
    ];
    for (mut asked, decision) in cases {
        asked["authInfos"] = info.clone();
        let told = house.call("POST", "/test-authorization", &asked.to_string()).await.ok();
        assert_eq!(told["authResults"][0]["authDecision"], decision, "{asked}");
    }
}

#[tokio::test]
async fn bad_tests_are_refused() {
    let house = House::new();
    let arn = device(&house).await;
    let info = json!({"actionType": "CONNECT", "resources": [format!("{SCOPE}:client/a")]});
    let strange = SCOPE.to_owned() + ":cert/" + &"0".repeat(64);
    let cases = [
        (json!({"principal": arn}), 400),
        (json!({"principal": arn, "authInfos": []}), 400),
        (json!({"principal": arn, "authInfos": vec![info.clone(); 11]}), 400),
        (json!({"principal": arn, "authInfos": [{"actionType": "DELETE", "resources": ["arn:a"]}]}), 400),
        (json!({"principal": arn, "authInfos": [{"actionType": "CONNECT"}]}), 400),
        (json!({"principal": arn, "authInfos": [{"actionType": "CONNECT", "resources": ["a"]}]}), 400),
        (json!({"authInfos": [info.clone()]}), 400),
        (json!({"principal": "nobody", "authInfos": [info.clone()]}), 400),
        (json!({"principal": strange, "authInfos": [info.clone()]}), 404),
        (json!({"principal": arn, "authInfos": [info], "policyNamesToAdd": ["no-such"]}), 404),
    ];
    for (asked, status) in cases {
        let told = house.call("POST", "/test-authorization", &asked.to_string()).await;
        assert_eq!(told.status, status, "{asked} was answered {:?}", told.body);
    }
}
