use serde_json::json;

use crate::testing::House;

const ARN: &str = "arn:aws:iot:us-east-1:123456789012:policy/p";
const DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;

fn document() -> String {
    json!({"policyDocument": DOCUMENT}).to_string()
}

#[tokio::test]
async fn the_life_of_a_policy() {
    let house = House::new();
    let made = house.call("POST", "/policies/p", &document()).await.ok();
    assert_eq!(
        made,
        json!({"policyName": "p", "policyArn": ARN, "policyDocument": DOCUMENT, "policyVersionId": "1"})
    );
    let again = house.call("POST", "/policies/p", &document()).await;
    assert_eq!(again.error(), (409, "ResourceAlreadyExistsException"));

    let got = house.call("GET", "/policies/p", "").await.ok();
    assert_eq!(got["defaultVersionId"], "1");
    assert_eq!(got["policyDocument"], DOCUMENT);
    assert!(got["creationDate"].is_f64() && got["lastModifiedDate"].is_f64());
    assert!(got["generationId"].is_string());
    let listed = house.call("GET", "/policies?isAscendingOrder=true", "").await.ok();
    assert_eq!(listed, json!({"policies": [{"policyName": "p", "policyArn": ARN}]}));

    assert_eq!(house.call("DELETE", "/policies/p", "").await.body.len(), 0);
    let gone = house.call("GET", "/policies/p", "").await;
    assert_eq!(gone.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn versions_of_a_policy() {
    let house = House::new();
    house.call("POST", "/policies/p", &document()).await.ok();
    let second = house.call("POST", "/policies/p/version?setAsDefault=true", &document()).await.ok();
    assert_eq!(
        second,
        json!({
            "policyArn": ARN, "policyDocument": DOCUMENT, "policyVersionId": "2", "isDefaultVersion": true
        })
    );
    let got = house.call("GET", "/policies/p/version/1", "").await.ok();
    assert_eq!((&got["policyVersionId"], &got["isDefaultVersion"]), (&json!("1"), &json!(false)));
    let listed = house.call("GET", "/policies/p/version", "").await.ok();
    let versions = listed["policyVersions"].as_array().unwrap();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0]["versionId"], "2");
    assert!(versions[0]["createDate"].is_f64());

    let default = house.call("DELETE", "/policies/p/version/2", "").await;
    assert_eq!(default.error(), (409, "DeleteConflictException"));
    house.call("PATCH", "/policies/p/version/1", "").await.done();
    let in_use = house.call("DELETE", "/policies/p", "").await;
    assert_eq!(in_use.error(), (409, "DeleteConflictException"));
    house.call("DELETE", "/policies/p/version/2", "").await.done();
    for _ in 0..4 {
        house.call("POST", "/policies/p/version", &document()).await.ok();
    }
    let sixth = house.call("POST", "/policies/p/version", &document()).await;
    assert_eq!(sixth.error(), (409, "VersionsLimitExceededException"));
}

#[tokio::test]
async fn documents_that_are_no_policies() {
    let house = House::new();
    let told = house.call("POST", "/policies/p", r#"{"policyDocument":"{}"}"#).await;
    assert_eq!(told.error(), (400, "MalformedPolicyException"));
    let told = house.call("POST", "/policies/p", "{}").await;
    assert_eq!(told.error(), (400, "InvalidRequestException"));
    assert!(told.message().contains("policyDocument"));
}

#[tokio::test]
async fn policies_come_in_pages() {
    let house = House::new();
    for name in ["a", "b", "c"] {
        house.call("POST", &format!("/policies/{name}"), &document()).await.ok();
    }
    let first = house.call("GET", "/policies?pageSize=2", "").await.ok();
    assert_eq!(first["policies"].as_array().unwrap().len(), 2);
    let marker = first["nextMarker"].as_str().unwrap().replace('+', "%2B").replace('/', "%2F");
    let marker = marker.replace('=', "%3D");
    let second = house.call("GET", &format!("/policies?pageSize=2&marker={marker}"), "").await.ok();
    assert_eq!(second["policies"].as_array().unwrap().len(), 1);
    assert_eq!(second.get("nextMarker"), None);
}

#[tokio::test]
async fn targets_in_both_forms() {
    let house = House::new();
    house.call("POST", "/policies/p", &document()).await.ok();
    let made = house.call("POST", "/keys-and-certificate", "").await.ok();
    let arn = made["certificateArn"].as_str().unwrap();
    let target = json!({"target": arn}).to_string();
    house.call("PUT", "/target-policies/p", &target).await.done();
    house.call("PUT", "/target-policies/p", &target).await.done();

    let policies = json!({"policies": [{"policyName": "p", "policyArn": ARN}]});
    let encoded = arn.replace(':', "%3A").replace('/', "%2F");
    let listed = house.call("POST", &format!("/attached-policies/{encoded}?recursive=true"), "").await.ok();
    assert_eq!(listed, policies);
    let listed = house.call("POST", "/policy-targets/p", "").await.ok();
    assert_eq!(listed, json!({"targets": [arn]}));
    let by_principal = [("x-amzn-iot-principal", arn)];
    assert_eq!(house.call_with("GET", "/principal-policies", &by_principal, "").await.ok(), policies);
    let by_policy = [("x-amzn-iot-policy", "p")];
    let listed = house.call_with("GET", "/policy-principals", &by_policy, "").await.ok();
    assert_eq!(listed, json!({"principals": [arn]}));

    let in_use = house.call("DELETE", "/policies/p", "").await;
    assert_eq!(in_use.error(), (409, "DeleteConflictException"));
    house.call("POST", "/target-policies/p", &target).await.done();
    house.call_with("PUT", "/principal-policies/p", &by_principal, "").await.done();
    house.call_with("DELETE", "/principal-policies/p", &by_principal, "").await.done();
    let listed = house.call("POST", "/policy-targets/p", "").await.ok();
    assert_eq!(listed, json!({"targets": []}));
    let unknown = house.call_with("DELETE", "/principal-policies/none", &by_principal, "").await;
    assert_eq!(unknown.error(), (404, "ResourceNotFoundException"));
    let nobody = house.call("PUT", "/principal-policies/p", "").await;
    assert_eq!(nobody.error(), (400, "InvalidRequestException"));
}
