use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_fabric::connections::{
    ConnectionState, Departure, Disconnection, Error as ConnectionError, Presence, SubscriptionState,
};
use fleethaven_types::{Limits, QoS, Timestamp};
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

async fn ask(house: &House, method: &str, target: &str) -> Told {
    let signing = Signing { service: "iotdata", ..Signing::default() };
    house.send(&peer(), House::signed(signing, (method, target), &[], b"")).await
}

#[tokio::test(start_paused = true)]
async fn requests_have_rates() {
    let house = House::with(|config| {
        let limits = &mut config.limits.default;
        limits.retained_reads_per_sec = Some(3);
        limits.retained_lists_per_sec = Some(1);
        limits.connection_requests_per_sec = Some(2);
    });
    for (method, target, rate) in [
        ("GET", "/retainedMessage/a", 3),
        ("GET", "/retainedMessage", 1),
        ("GET", "/connections/c", 2),
        ("DELETE", "/connections/c", 2),
        ("GET", "/connections/c/subscriptions", 2),
        ("POST", "/connections/c/messages?topic=t", 2),
    ] {
        for _ in 0..2 {
            for _ in 0..rate {
                assert_ne!(ask(&house, method, target).await.status, 429, "{method} {target}");
            }
            let told = ask(&house, method, target).await;
            assert_eq!(told.error(), (429, "ThrottlingException"), "{method} {target}");
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test]
async fn an_account_has_limits_of_its_own() {
    let house = House::with(|config| {
        let own = Limits { payload_bytes: 2, ..config.limits.default.clone() };
        config.limits.accounts.insert(crate::testing::ACCOUNT.parse().unwrap(), own);
    });
    assert_eq!(signed(&house, "/topics/a", &[], b"ab").await.status, 200);
    assert_eq!(signed(&house, "/topics/a", &[], b"abc").await.error().0, 413);
}

#[tokio::test]
async fn every_failure_of_a_connection_has_its_error() {
    let house = House::new();
    for (failure, expected) in [
        (ConnectionError::NotFound, (404, "ResourceNotFoundException")),
        (ConnectionError::Offline, (404, "ResourceNotFoundException")),
        (ConnectionError::ReceiverDenied, (403, "ForbiddenException")),
        (ConnectionError::Busy, (429, "ThrottlingException")),
        (ConnectionError::TooLarge, (413, "RequestEntityTooLargeException")),
        (ConnectionError::Timeout, (504, "GatewayTimeoutException")),
        (ConnectionError::Unavailable("x".to_owned()), (500, "InternalFailureException")),
    ] {
        *house.broker.failure.lock() = Some(failure);
        let told = ask(&house, "POST", "/connections/c/messages?topic=t").await;
        assert_eq!(told.error(), expected);
        assert!(told.json()["traceId"].is_string() && told.json()["message"].is_string());
    }
}

#[tokio::test]
async fn a_connection_is_described_in_awss_words() {
    let house = House::new();
    let socket = ("192.0.2.7:50000".parse().unwrap(), Some("[::ffff:192.0.2.1]:8883".parse().unwrap()));
    let live = ConnectionState {
        presence: Presence::Connected { since: Timestamp(5), socket },
        thing_name: Some("t".to_owned()),
        clean_session: false,
        session_expiry: 60,
        keep_alive: Some(30),
    };
    *house.broker.state.lock() = Some(live.clone());
    let told = ask(&house, "GET", "/connections/a%2Fb").await.ok();
    let mut expected = json!({
        "connected": true, "clientId": "a/b", "thingName": "t", "cleanSession": false, "keepAliveDuration": 30,
        "sessionExpiry": 60, "connectedSince": 5,
    });
    assert_eq!(told, expected);
    let told = ask(&house, "GET", "/connections/a%2Fb?includeSocketInformation=true").await.ok();
    for (name, value) in [
        ("sourceIp", json!("192.0.2.7")),
        ("sourcePort", json!(50000)),
        ("targetIp", json!("192.0.2.1")),
        ("targetPort", json!(8883)),
    ] {
        expected[name] = value;
    }
    assert_eq!(told, expected);
    let departure = Departure { at: Timestamp(9), reason: "CONNECTION_LOST".into() };
    let presence = Presence::Disconnected(Some(departure));
    *house.broker.state.lock() =
        Some(ConnectionState { presence, thing_name: None, keep_alive: None, ..live });
    let told = ask(&house, "GET", "/connections/c?includeSocketInformation=true").await.ok();
    let expected = json!({
        "connected": false, "clientId": "c", "cleanSession": false, "sessionExpiry": 60,
        "disconnectedSince": 9, "disconnectReason": "CONNECTION_LOST",
    });
    assert_eq!(told, expected);
}

#[tokio::test]
async fn client_ids_are_checked() {
    let house = House::with(|config| config.limits.default.client_id_bytes = 128);
    for id in ["$abc", "%24GEN%2Fx", &"x".repeat(129), "a%00"] {
        let told = ask(&house, "GET", &format!("/connections/{id}")).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{id}");
    }
    let longest = ask(&house, "GET", &format!("/connections/{}", "x".repeat(128))).await;
    assert_eq!(longest.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn deletions_say_how() {
    let house = House::new();
    for target in ["/connections/a%2Fb", "/connections/c?cleanSession=true&preventWillMessage=true"] {
        ask(&house, "DELETE", target).await.done();
    }
    let both = Disconnection { clean_session: true, prevent_will: true };
    let expected = [("a/b".to_owned(), Disconnection::default()), ("c".to_owned(), both)];
    assert_eq!(*house.broker.disconnected.lock(), expected);
    assert_eq!(ask(&house, "DELETE", "/connections/c?cleanSession=1").await.error().0, 400);
}

#[tokio::test]
async fn direct_messages_carry_what_was_sent() {
    let house = House::new();
    signed(&house, "/connections/c/messages?topic=a%2Fb&confirmation=true", &[], b"x").await.ok();
    signed(&house, "/connections/c/messages?topic=t&confirmation=true&timeout=15", &[], b"").await.ok();
    signed(&house, "/connections/c/messages?topic=t&timeout=3&contentType=text", &[], b"").await.ok();
    let sent = std::mem::take(&mut *house.broker.sent.lock());
    let waits: Vec<_> = sent.iter().map(|direct| direct.confirm_within.map(|time| time.as_secs())).collect();
    assert_eq!(waits, [Some(5), Some(15), None]);
    assert_eq!((sent[0].client_id.as_str(), sent[0].message.topic.as_str()), ("c", "a/b"));
    assert_eq!(sent[0].message.payload, "x");
    let properties = sent[2].message.properties.as_ref().unwrap();
    assert_eq!(properties.content_type.as_ref().unwrap().as_str(), "text");
    for query in ["", "topic=a/%23", "topic=$aws/x", "topic=t&timeout=16", "topic=t&timeout=0"] {
        let told = signed(&house, &format!("/connections/c/messages?{query}"), &[], b"").await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{query}");
    }
}

#[tokio::test]
async fn retained_messages_and_subscriptions_are_listed_in_pages() {
    let house = House::new();
    signed(&house, "/topics/source?qos=1", &[], b"hot").await.ok();
    let message = house.published.messages.lock().remove(0);
    for topic in ["a", "b/ü", "c"] {
        let message = Message { topic: topic.into(), ..message.clone() };
        house.broker.retained.lock().insert(topic.to_owned(), message.into());
        let held = SubscriptionState { filter: topic.into(), qos: QoS::AtLeastOnce };
        house.broker.held.lock().push(held);
    }
    for (path, items, name) in [
        ("/retainedMessage", "retainedTopics", "topic"),
        ("/connections/c/subscriptions", "subscriptions", "topicFilter"),
    ] {
        let first = ask(&house, "GET", &format!("{path}?maxResults=2")).await.ok();
        let names = |page: &serde_json::Value| {
            page[items]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item[name].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&first), ["a", "b/ü"]);
        let token = first["nextToken"].as_str().unwrap();
        let second = ask(&house, "GET", &format!("{path}?maxResults=2&nextToken={token}")).await.ok();
        assert_eq!(names(&second), ["c"]);
        assert!(second.get("nextToken").is_none());
        assert_eq!(ask(&house, "GET", &format!("{path}?maxResults=201")).await.error().0, 400);
    }
    let told = ask(&house, "GET", "/retainedMessage/b%2F%C3%BC").await.ok();
    let expected = json!({
        "topic": "b/ü", "payload": STANDARD.encode("hot"), "qos": 1,
        "lastModifiedTime": message.received_at.as_millis(),
    });
    assert_eq!(told, expected);
    assert_eq!(ask(&house, "GET", "/retainedMessage/none").await.error(), (404, "ResourceNotFoundException"));
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
    let house = House::with(|config| config.limits.default.payload_bytes = 3);
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

async fn shadow(house: &House, method: &str, target: &str, body: &str) -> Told {
    let signing = Signing { service: "iotdata", ..Signing::default() };
    house.send(&peer(), House::signed(signing, (method, target), &[], body.as_bytes())).await
}

#[tokio::test]
async fn shadows_live_over_https() {
    let house = House::new();
    let gone = shadow(&house, "GET", "/things/t/shadow", "").await;
    assert_eq!(gone.error(), (404, "ResourceNotFoundException"));
    assert_eq!(gone.message(), "No shadow exists with name: 't'");
    let body = r#"{"state":{"desired":{"a":1}},"clientToken":"c"}"#;
    let accepted = shadow(&house, "POST", "/things/t/shadow", body).await.ok();
    assert_eq!((&accepted["version"], &accepted["clientToken"]), (&json!(1), &json!("c")));
    let named = shadow(&house, "POST", "/things/t/shadow?name=n%24", body).await.ok();
    assert_eq!(named["version"], 1);
    let got = shadow(&house, "GET", "/things/t/shadow?name=", "").await.ok();
    assert_eq!(got["state"], json!({"desired": {"a": 1}, "delta": {"a": 1}}));
    let list = "/api/things/shadow/ListNamedShadowsForThing/t";
    let listed = shadow(&house, "GET", list, "").await.ok();
    assert_eq!(listed["results"], json!(["n$"]));
    assert!(listed["timestamp"].is_u64() && listed.get("nextToken").is_none());
    let deleted = shadow(&house, "DELETE", "/things/t/shadow", "").await.ok();
    assert_eq!(deleted["version"], 1);
    assert_eq!(shadow(&house, "GET", list, "").await.ok()["results"], json!(["n$"]));
    for (method, target, body, expected) in [
        ("POST", "/things/t/shadow?name=n%24", r#"{"state":{},"version":9}"#, (409, "ConflictException")),
        ("POST", "/things/t/shadow", "{", (400, "InvalidRequestException")),
        ("POST", "/things/t/shadow?name=a%2Fb", r#"{"state":{}}"#, (400, "InvalidRequestException")),
        ("DELETE", "/things/t/shadow", "", (404, "ResourceNotFoundException")),
        ("PUT", "/things/t/shadow", "", (405, "MethodNotAllowedException")),
        ("GET", &format!("{list}?pageSize=101"), "", (400, "InvalidRequestException")),
        ("GET", &format!("{list}?nextToken=x"), "", (400, "InvalidRequestException")),
    ] {
        assert_eq!(shadow(&house, method, target, body).await.error(), expected, "{method} {target}");
    }
    let large = format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(9000));
    let told = shadow(&house, "POST", "/things/t/shadow", &large).await;
    assert_eq!(told.error(), (413, "RequestEntityTooLargeException"));
    let latin = signed(&house, "/things/t/shadow", &[], b"{\"state\":\"\xe9\"}").await;
    assert_eq!(latin.error(), (415, "UnsupportedDocumentEncodingException"));
}

#[tokio::test]
async fn devices_reach_the_shadows_that_their_policies_name() {
    let house = House::new();
    let arn = |resource: &str| format!("arn:aws:iot:us-east-1:123456789012:thing/{resource}");
    let statement = json!([
        {"Effect": "Allow", "Action": ["iot:GetThingShadow", "iot:UpdateThingShadow"], "Resource": arn("t")},
        {"Effect": "Allow", "Action": "iot:UpdateThingShadow", "Resource": arn("t/n")},
        {"Effect": "Allow", "Action": "iot:ListNamedShadowsForThing", "Resource": arn("t")},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": "*"},
    ]);
    let (id, _) = with_policy(&house, &statement).await;
    let device = device(&id);
    let ask = async |method: &str, target: &str| {
        let request = Request::builder().method(method).uri(target).header("host", "localhost");
        let body = Full::new(Bytes::from_static(b"{\"state\":{}}"));
        house.send(&device, request.body(body).unwrap()).await
    };
    for (method, target) in [
        ("POST", "/things/t/shadow"),
        ("GET", "/things/t/shadow"),
        ("POST", "/things/t/shadow?name=n"),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/t"),
    ] {
        assert_eq!(ask(method, target).await.status, 200, "{method} {target}");
    }
    for (method, target) in [
        ("GET", "/things/t/shadow?name=n"),
        ("DELETE", "/things/t/shadow"),
        ("GET", "/things/other/shadow"),
        ("GET", "/api/things/shadow/ListNamedShadowsForThing/other"),
    ] {
        assert_eq!(ask(method, target).await.error(), (403, "ForbiddenException"), "{method} {target}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_to_shadows_have_rates() {
    let house = House::with(|config| config.limits.default.shadow_requests_per_sec_thing = Some(2));
    for _ in 0..2 {
        assert_eq!(ask(&house, "GET", "/things/t/shadow").await.status, 404);
    }
    assert_eq!(ask(&house, "GET", "/things/t/shadow").await.error(), (429, "ThrottlingException"));
    assert_eq!(ask(&house, "GET", "/things/other/shadow").await.status, 404);
}
