use serde_json::json;

use super::*;
use crate::testing::{House, KEY, SECRET, Signing, peer};

async fn signed(house: &House, signing: Signing<'_>) -> (u16, String, String) {
    let told = house.send(&peer(), House::signed(signing, ("GET", "/things"), &[], b"")).await;
    let (status, name) = told.error();
    (status, name.to_owned(), told.json()["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn signatures_are_checked() {
    let house = House::new();
    let base = Signing::default();
    let cases = [
        (base, 200, "", ""),
        (Signing { skew: 200, ..base }, 200, "", ""),
        (Signing { region: "eu-west-1", ..base }, 200, "", ""),
        (Signing { secret: "wrong", ..base }, 403, "InvalidSignatureException", "does not match"),
        (Signing { key: "AKIAUNKNOWNKEY000000", ..base }, 403, "UnrecognizedClientException", "is invalid"),
        (Signing { token: Some("t"), ..base }, 403, "UnrecognizedClientException", "is invalid"),
        (Signing { skew: -400, ..base }, 403, "InvalidSignatureException", "Signature expired"),
        (Signing { skew: 400, ..base }, 403, "InvalidSignatureException", "not yet current"),
        (Signing { service: "s3", ..base }, 403, "InvalidSignatureException", "correct service"),
        (Signing { region: "Not_A_Region", ..base }, 403, "InvalidSignatureException", "valid region"),
    ];
    for (signing, status, name, message) in cases {
        let told = signed(&house, signing).await;
        assert_eq!((told.0, told.1.as_str()), (status, name), "{}", told.2);
        assert!(told.2.contains(message), "{} in {}", message, told.2);
    }
}

#[tokio::test]
async fn unsigned_and_malformed_requests() {
    let house = House::new();
    let bare = Request::builder().uri("/things").body(Full::default()).unwrap();
    let told = house.send(&peer(), bare).await;
    assert_eq!(told.error(), (403, "MissingAuthenticationTokenException"));
    assert_eq!(told.message(), "Missing Authentication Token");
    let partial = Request::builder()
        .uri("/things")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=x")
        .body(Full::default())
        .unwrap();
    assert_eq!(house.send(&peer(), partial).await.error(), (400, "IncompleteSignatureException"));
}

#[tokio::test]
async fn changed_requests_do_not_verify() {
    let house = House::new();
    let signed = || House::signed(Signing::default(), ("POST", "/things/a"), &[], b"{}");
    let (head, _) = signed().into_parts();
    let other_body = Request::from_parts(head, Full::new(Bytes::from_static(b"{ }")));
    assert_eq!(house.send(&peer(), other_body).await.error(), (403, "InvalidSignatureException"));
    let mut other_path = signed();
    *other_path.uri_mut() = "/things/b".parse().unwrap();
    assert_eq!(house.send(&peer(), other_path).await.error(), (403, "InvalidSignatureException"));
}

#[tokio::test]
async fn presigned_requests_are_accepted() {
    let house = House::new();
    let parts = fleethaven_sigv4::RequestParts {
        method: "GET",
        path: "/things",
        query: "maxResults=5",
        headers: vec![("host", b"localhost")],
    };
    let credentials =
        fleethaven_sigv4::Credentials { access_key_id: KEY, secret_access_key: SECRET, session_token: None };
    let target = fleethaven_sigv4::Target {
        region: "us-east-1",
        service: "iot",
        path_encoding: fleethaven_sigv4::PathEncoding::Twice,
    };
    let payload = fleethaven_sigv4::PayloadHash::of(b"");
    let placement = (payload, fleethaven_sigv4::TokenPlacement::Signed);
    let uri = fleethaven_sigv4::presign(&parts, &credentials, &target, placement, 60, clock::now().as_secs());
    let request = Request::builder().uri(uri).header("host", "localhost").body(Full::default()).unwrap();
    assert_eq!(house.send(&peer(), request).await.ok(), json!({"things": []}));
}

#[tokio::test]
async fn http2_has_its_host_in_the_uri() {
    let house = House::new();
    let mut request = House::signed(Signing::default(), ("GET", "/things"), &[], b"");
    request.headers_mut().remove("host");
    *request.uri_mut() = "https://localhost/things".parse().unwrap();
    assert_eq!(house.send(&peer(), request).await.status, 200);
}

#[tokio::test]
async fn a_single_region_refuses_others() {
    let house = House::with(|config| config.single_region = true);
    let (status, name, message) = signed(&house, Signing { region: "eu-west-1", ..Signing::default() }).await;
    assert_eq!((status, name.as_str()), (403, "InvalidSignatureException"));
    assert!(message.contains("eu-west-1"));
    assert_eq!(signed(&house, Signing::default()).await.0, 200);
}

#[tokio::test]
async fn regions_are_apart() {
    let house = House::new();
    house.call("POST", "/things/a", "").await.ok();
    let european = Signing { region: "eu-west-1", ..Signing::default() };
    let there = house.send(&peer(), House::signed(european, ("GET", "/things/a"), &[], b"")).await;
    assert_eq!(there.error(), (404, "ResourceNotFoundException"));
    let made = house.send(&peer(), House::signed(european, ("POST", "/things/a"), &[], b"")).await.ok();
    assert_eq!(made["thingArn"], "arn:aws:iot:eu-west-1:123456789012:thing/a");
}

#[tokio::test]
async fn the_scope_decides_the_service() {
    let house = House::new();
    let as_service = |service| Signing { service, ..Signing::default() };
    // The same path: a control-plane operation, and no operation of the data plane.
    let request = |service| House::signed(as_service(service), ("GET", "/things"), &[], b"");
    assert_eq!(house.send(&peer(), request("iot")).await.status, 200);
    assert_eq!(house.send(&peer(), request("iotdata")).await.error(), (404, "UnknownOperationException"));
    let told = house.send(&peer(), request("iotdevicegateway")).await;
    assert_eq!(told.error(), (404, "UnknownOperationException"));
    assert!(told.json()["traceId"].is_string());
    let jobs = House::signed(as_service("iot-jobs-data"), ("GET", "/things/t/jobs"), &[], b"");
    let told = house.send(&peer(), jobs).await;
    assert_eq!(told.error(), (501, "NotImplementedException"));
    assert!(told.message().contains("GetPendingJobExecutions"));
}

#[tokio::test]
async fn operations_that_are_not_built_are_named() {
    let house = House::new();
    for operation in Service::ALL.into_iter().flat_map(Operation::all).filter(|o| !o.is_built()) {
        let service = operation.service.signing_names()[0];
        let signing = Signing { service, ..Signing::default() };
        let path = operation.pattern.replace(['{', '}', '+'], "");
        let request = House::signed(signing, (operation.method, &path), &[], b"");
        let told = house.send(&peer(), request).await;
        assert_eq!(told.error(), (501, "NotImplementedException"), "{}", operation.name);
        assert!(told.message().contains(operation.name), "{}", operation.name);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let house = House::new();
    assert_eq!(house.call("GET", "/nothing/here", "").await.error(), (404, "UnknownOperationException"));
    assert_eq!(house.call("GET", "/", "").await.error(), (404, "UnknownOperationException"));
    assert_eq!(house.call("PUT", "/things/a", "").await.error(), (405, "MethodNotAllowedException"));
    assert_eq!(house.call("GET", "/things/%FF", "").await.error(), (400, "InvalidRequestException"));
}

#[tokio::test]
async fn bodies_that_are_no_json() {
    let house = House::new();
    for body in ["{", "[]", "7", "{\"a\":}"] {
        let told = house.call("POST", "/things/a", body).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{body}");
    }
    let told = house.call("POST", "/things/a", r#"{"attributePayload":{"attributes":{"k":1}}}"#).await;
    assert_eq!(told.message(), "'attributePayload.attributes' must be a map of strings");
    house.call("POST", "/things/a", r#"{"unknownMember":[1,{"x":null}]}"#).await.ok();
}

#[tokio::test]
async fn bodies_are_bounded() {
    let house = House::with(|config| config.body_bytes = 100);
    let told = house.call("POST", "/things/a", &" ".repeat(101)).await;
    assert_eq!(told.error(), (413, "RequestEntityTooLargeException"));
    house.call("POST", "/things/a", &" ".repeat(100)).await.ok();
}

#[tokio::test]
async fn answers_say_who_and_what() {
    let house = House::new();
    let told = house.call("POST", "/things/a", "").await;
    assert_eq!(told.headers["content-type"], "application/json");
    assert!(!told.headers.contains_key("x-amzn-errortype"));
    let id: Uuid = told.headers["x-amzn-requestid"].to_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
}

#[tokio::test]
async fn changes_are_in_force_before_the_answer() {
    use std::sync::atomic::Ordering;
    let house = House::new();
    house.call("POST", "/things/a", "").await.ok();
    let awaited = house.metadata.awaited.load(Ordering::Relaxed);
    assert!(awaited > 0);
    house.call("POST", "/things/a", "").await.ok();
    assert_eq!(house.metadata.awaited.load(Ordering::Relaxed), awaited, "nothing changed");
}

#[tokio::test]
async fn an_unavailable_metastore() {
    use fleethaven_fabric::metadata::Error as MetadataError;
    let house = House::new();
    *house.metadata.failure.lock() = Some(MetadataError::Unavailable("no leader".to_owned()));
    let told = house.call("GET", "/things", "").await;
    assert_eq!(told.error(), (503, "ServiceUnavailableException"));
    *house.metadata.failure.lock() = Some(MetadataError::Unknown);
    assert_eq!(house.call("GET", "/things", "").await.error(), (500, "InternalFailureException"));
    assert_eq!(house.call("GET", "/rules", "").await.error(), (500, "InternalException"));
}

#[tokio::test]
async fn requests_are_counted() {
    let house = House::new();
    house.call("GET", "/things", "").await.ok();
    house.call("GET", "/things/none", "").await;
    house.call("GET", "/nowhere", "").await;
    let mut counts = Vec::new();
    for family in house.registry.gather() {
        if family.name() != "fleethaven_api_requests_total" {
            continue;
        }
        for metric in family.get_metric() {
            let labels: Vec<_> = metric.get_label().iter().map(|label| label.value().to_owned()).collect();
            counts.push((labels.join(" "), metric.get_counter().get_value()));
        }
    }
    let expected =
        [("DescribeThing iot 404", 1.0), ("ListThings iot 200", 1.0), ("unknown unknown 404", 1.0)];
    assert_eq!(counts, expected.map(|(labels, count)| (labels.to_owned(), count)));
}

#[test]
fn handling_can_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let house = House::new();
    let peer = peer();
    assert_send(&house.api.handle(&peer, Request::new(Full::<Bytes>::default())));
}

#[tokio::test]
async fn attempts_at_one_call_share_a_key() {
    let house = House::new();
    let attempt = async |(method, target): (&str, &str), name: Option<&str>, region: &str| {
        let headers: Vec<_> = name.map(|name| ("amz-sdk-invocation-id", name)).into_iter().collect();
        let signing = Signing { region, ..Signing::default() };
        house.send(&peer(), House::signed(signing, (method, target), &headers, b"{}")).await;
        house.metadata.keys.lock().last().copied().flatten().unwrap()
    };
    let (create, delete) = (("POST", "/things/a"), ("DELETE", "/things/a"));
    let first = attempt(create, Some("call-1"), "us-east-1").await;
    assert_eq!(attempt(create, Some("call-1"), "us-east-1").await, first);
    assert_ne!(attempt(create, Some("call-2"), "us-east-1").await, first);
    assert_ne!(attempt(create, Some("call-1"), "eu-west-1").await, first, "another region");
    assert_ne!(attempt(delete, Some("call-1"), "us-east-1").await, first, "another operation");
    let unnamed = attempt(create, None, "us-east-1").await;
    assert_ne!(attempt(create, None, "us-east-1").await, unnamed);
}

#[tokio::test]
async fn a_change_whose_outcome_is_unknown_is_asked_for_again_under_its_key() {
    let house = House::new();
    *house.metadata.failure.lock() = Some(fleethaven_fabric::metadata::Error::Unknown);
    house.metadata.keys.lock().clear();
    // The key look-up fails, too: only the command counts here.
    let command =
        fleethaven_registry::Action::DeleteThing(Box::new(fleethaven_registry::shapes::DeleteThing {
            thing_name: "a".to_owned(),
            expected_version: None,
        }));
    let scope = crate::testing::scope("us-east-1");
    let key = IdempotencyKey::of(&["k"]);
    let input = Input::new(Vec::new(), "", http::HeaderMap::new(), Bytes::new()).unwrap();
    let call = Call {
        state: house.api.state(),
        scope,
        principal: Principal::Operator(Arc::new(authentication::Signed {
            access_key_id: KEY.to_owned(),
            operator: fleethaven_operators::Operator::root(scope.account),
        })),
        source_ip: source_ip(&peer()),
        server_name: None,
        now: clock::now(),
        request_id: uuid::Uuid::new_v4(),
        key,
        trace: None,
        input,
    };
    assert!(call.execute(command).await.is_err());
    assert_eq!(*house.metadata.keys.lock(), [Some(key), Some(key)]);
}
