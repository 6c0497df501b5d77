use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_types::{QoS, Timestamp};
use http::Request;
use http_body_util::Full;
use serde_json::json;

use super::*;
use crate::Peer;
use crate::testing::{House, KEY, Signing, Told, device, peer};

async fn signed(house: &House, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Told {
    let signing = Signing { service: "iotdata", ..Signing::default() };
    house.send(&peer(), House::signed(signing, ("POST", target), headers, body)).await
}

async fn as_device(house: &House, peer: &Peer, target: &str) -> Told {
    let request = Request::post(target).header("host", "localhost");
    house.send(peer, request.body(Full::new(Bytes::from_static(b"{}"))).unwrap()).await
}

/// A device with one policy that has this statement; its certificate's id and ARN.
async fn with_policy(house: &House, statement: &serde_json::Value) -> (String, String) {
    let made = house.call("POST", "/keys-and-certificate?setAsActive=true", "").await.ok();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (id, arn) = (text("certificateId"), text("certificateArn"));
    let document = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    let body = json!({"policyDocument": document}).to_string();
    house.call("POST", "/policies/p", &body).await.ok();
    house.call("PUT", "/target-policies/p", &json!({"target": arn}).to_string()).await.done();
    (id, arn)
}

#[tokio::test]
async fn operators_publish_with_every_parameter() {
    let house = House::new();
    let properties = STANDARD.encode(r#"[{"deviceName":"alpha"},{"deviceCnt":"45"}]"#);
    let correlation = STANDARD.encode([0, 255]);
    let headers = [
        ("x-amz-mqtt5-user-properties", properties.as_str()),
        ("x-amz-mqtt5-correlation-data", correlation.as_str()),
        ("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA"),
    ];
    let target =
        "/topics/a%2Fb/c%20d?qos=1&retain=true&contentType=text%2Fplain&responseTopic=r%2Ft&messageExpiry=60";
    let told = signed(&house, target, &headers, b"hot").await.ok();
    assert_eq!(told["message"], "OK");
    let messages = house.published.messages.lock();
    let [message] = messages.as_slice() else { panic!("one message") };
    assert_eq!(message.topic.as_str(), "a/b/c d");
    assert_eq!((message.qos, message.retain), (QoS::AtLeastOnce, true));
    assert_eq!(message.payload, "hot");
    assert_eq!(message.expires_at, Some(Timestamp(message.received_at.as_millis() + 60_000)));
    assert_eq!(message.publisher.principal.as_ref().unwrap().as_str(), KEY);
    assert_eq!(message.publisher.client_id, None);
    assert_eq!(told["traceId"], uuid::Uuid::from_u128(message.trace_id()).to_string());
    let properties = message.properties.as_ref().unwrap();
    assert_eq!(properties.payload_is_utf8, Some(true));
    assert_eq!(properties.content_type.as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(properties.response_topic.as_ref().unwrap().as_str(), "r/t");
    assert_eq!(properties.correlation_data.as_ref().unwrap().as_ref(), [0, 255]);
    assert_eq!(properties.user_properties.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_published() {
    let house = House::new();
    for target in [
        "/topics/a%2B",
        "/topics/a%23",
        "/topics/%00",
        "/topics/a?qos=2",
        "/topics/a?qos=x",
        "/topics/a?retain=yes",
        "/topics/a?messageExpiry=soon",
        "/topics/$aws/unheard/of",
        "/topics/$aws/certificates/create/json",
    ] {
        let told = signed(&house, target, &[], b"").await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{target}");
        assert!(told.json()["traceId"].is_string());
    }
    assert!(house.published.messages.lock().is_empty());
}

#[tokio::test]
async fn payloads_are_bounded() {
    let house = House::with(|config| config.limits.payload_bytes = 3);
    assert_eq!(signed(&house, "/topics/a", &[], b"abc").await.status, 200);
    let told = signed(&house, "/topics/a", &[], b"abcd").await;
    assert_eq!(told.error(), (413, "RequestEntityTooLargeException"));
}

#[tokio::test]
async fn the_brokers_refusals() {
    let house = House::new();
    for (failure, expected) in [
        (Error::Throttled, (429, "ThrottlingException")),
        (Error::Invalid("no".to_owned()), (400, "InvalidRequestException")),
        (Error::Unavailable("no".to_owned()), (503, "ServiceUnavailableException")),
        (Error::Internal("no".to_owned()), (500, "InternalFailureException")),
    ] {
        *house.published.failure.lock() = Some(failure);
        assert_eq!(signed(&house, "/topics/a", &[], b"").await.error(), expected);
    }
}

#[tokio::test]
async fn devices_publish_as_their_policies_say() {
    let house = House::new();
    let statement = json!([
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": [
            "arn:aws:iot:us-east-1:123456789012:topic/plain/*",
            "arn:aws:iot:us-east-1:123456789012:topic/${iot:ClientId}/*",
            "arn:aws:iot:us-east-1:123456789012:topic/by/${iot:Certificate.Subject.CommonName}"
        ]},
        {"Effect": "Allow", "Action": "iot:RetainPublish", "Resource":
            "arn:aws:iot:us-east-1:123456789012:topic/plain/kept"},
        {"Effect": "Deny", "Action": "iot:*", "Resource":
            "arn:aws:iot:us-east-1:123456789012:topic/plain/secret"}
    ]);
    let (id, _) = with_policy(&house, &statement).await;
    let device = device(&id);
    for target in ["/topics/plain/a", "/topics/plain/kept?retain=true", "/topics/by/AWS%20IoT%20Certificate"]
    {
        assert_eq!(as_device(&house, &device, target).await.status, 200, "{target}");
    }
    for target in ["/topics/other", "/topics/plain/a?retain=true", "/topics/plain/secret", "/topics/x/y"] {
        let told = as_device(&house, &device, target).await;
        assert_eq!(told.error(), (403, "ForbiddenException"), "{target}");
        assert_eq!(told.message(), "Forbidden");
    }
    let messages = house.published.messages.lock();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0].publisher.principal.as_ref().unwrap().as_str(), id);
}

#[tokio::test]
async fn policies_and_certificates_are_asked_each_time() {
    let house = House::new();
    let (id, arn) =
        with_policy(&house, &json!({"Effect": "Allow", "Action": "iot:*", "Resource": "*"})).await;
    let device = device(&id);
    assert_eq!(as_device(&house, &device, "/topics/a").await.status, 200);
    house.call("POST", "/target-policies/p", &json!({"target": arn}).to_string()).await.done();
    assert_eq!(as_device(&house, &device, "/topics/a").await.error(), (403, "ForbiddenException"));
    house.call("PUT", "/target-policies/p", &json!({"target": arn}).to_string()).await.done();
    assert_eq!(as_device(&house, &device, "/topics/a").await.status, 200);
    house.call("PUT", &format!("/certificates/{id}?newStatus=INACTIVE"), "").await.done();
    assert_eq!(as_device(&house, &device, "/topics/a").await.error(), (403, "ForbiddenException"));
}

#[tokio::test]
async fn devices_have_no_control_plane() {
    let house = House::new();
    let (id, _) = with_policy(&house, &json!({"Effect": "Allow", "Action": "iot:*", "Resource": "*"})).await;
    let told = as_device(&house, &device(&id), "/things/a").await;
    assert_eq!(told.error(), (404, "UnknownOperationException"));
    let told = as_device(&house, &device(&"ab".repeat(32)), "/topics/a").await;
    assert_eq!(told.error(), (403, "ForbiddenException"));
    let told = as_device(&house, &device(&id), "/things/a/jobs/j").await;
    assert_eq!(told.error(), (501, "NotImplementedException"));
}

#[tokio::test]
async fn a_server_name_tells_the_account() {
    let house = House::new();
    let (id, _) = with_policy(&house, &json!({"Effect": "Allow", "Action": "iot:*", "Resource": "*"})).await;
    let named = |name: &str| Peer { server_name: Some(name.to_owned()), ..device(&id) };
    for name in ["123456789012.data.example", "localhost"] {
        assert_eq!(as_device(&house, &named(name), "/topics/a").await.status, 200, "{name}");
    }
    let other = as_device(&house, &named("999999999999.data.example"), "/topics/a").await;
    assert_eq!(other.error(), (403, "ForbiddenException"));
}
