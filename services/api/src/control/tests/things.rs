use serde_json::{Value, json};

use crate::testing::House;

const ARN: &str = "arn:aws:iot:us-east-1:123456789012";

#[tokio::test]
async fn endpoints() {
    let house = House::new();
    for (target, address) in [
        ("/endpoint", "localhost"),
        ("/endpoint?endpointType=iot%3AData-ATS", "localhost"),
        ("/endpoint?endpointType=iot:CredentialProvider", "localhost:8443"),
    ] {
        assert_eq!(house.call("GET", target, "").await.ok(), json!({"endpointAddress": address}));
    }
    let told = house.call("GET", "/endpoint?endpointType=iot:Nothing", "").await;
    assert_eq!(told.error(), (400, "InvalidRequestException"));
    assert!(told.message().contains("iot:Nothing"));
}

#[tokio::test]
async fn the_life_of_a_thing() {
    let house = House::new();
    let body = r#"{"attributePayload":{"attributes":{"site":"north"}}}"#;
    let made = house.call("POST", "/things/sensor01", body).await.ok();
    assert_eq!(made["thingName"], "sensor01");
    assert_eq!(made["thingArn"], format!("{ARN}:thing/sensor01"));
    assert_eq!(house.call("POST", "/things/sensor01", body).await.ok(), made);

    let other = house.call("POST", "/things/sensor01", "{}").await;
    assert_eq!(other.error(), (409, "ResourceAlreadyExistsException"));
    let told = other.json();
    assert_eq!(told["resourceArn"], format!("{ARN}:thing/sensor01"));
    assert!(told["resourceId"].is_string());

    let update =
        r#"{"attributePayload":{"attributes":{"site":"","floor":"3"},"merge":true},"expectedVersion":1}"#;
    assert_eq!(house.call("PATCH", "/things/sensor01", update).await.ok(), json!({}));
    let stale = house.call("PATCH", "/things/sensor01", update).await;
    assert_eq!(stale.error(), (409, "VersionConflictException"));

    let described = house.call("GET", "/things/sensor01", "").await.ok();
    assert_eq!(
        described,
        json!({
            "defaultClientId": "sensor01", "thingName": "sensor01", "thingId": made["thingId"],
            "thingArn": made["thingArn"], "attributes": {"floor": "3"}, "version": 2,
        })
    );
    let stale = house.call("DELETE", "/things/sensor01?expectedVersion=1", "").await;
    assert_eq!(stale.error(), (409, "VersionConflictException"));
    assert_eq!(house.call("DELETE", "/things/sensor01?expectedVersion=2", "").await.ok(), json!({}));
    let gone = house.call("GET", "/things/sensor01", "").await;
    assert_eq!(gone.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn malformed_members_of_things() {
    let house = House::new();
    for (method, target, body, member) in [
        ("POST", "/things/a", r#"{"thingTypeName":5}"#, "thingTypeName"),
        ("POST", "/things/a", r#"{"attributePayload":[]}"#, "attributePayload"),
        ("PATCH", "/things/a", r#"{"expectedVersion":"1"}"#, "expectedVersion"),
        ("PATCH", "/things/a", r#"{"removeThingType":"yes"}"#, "removeThingType"),
        ("DELETE", "/things/a?expectedVersion=one", "", "expectedVersion"),
        ("GET", "/things?maxResults=many", "", "maxResults"),
        ("GET", "/things?usePrefixAttributeValue=1", "", "usePrefixAttributeValue"),
    ] {
        let told = house.call(method, target, body).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{target}");
        assert!(told.message().contains(member), "{}", told.message());
    }
    let told = house.call("POST", "/things/a%20b", "").await;
    assert_eq!(told.error(), (400, "InvalidRequestException"));
}

#[tokio::test]
async fn things_come_in_pages() {
    let house = House::new();
    for name in ["a", "b", "c", "d", "e"] {
        house.call("POST", &format!("/things/{name}"), "").await.ok();
    }
    let (mut names, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let target = format!("/things?maxResults=2&nextToken={token}");
        let page = house.call("GET", &target, "").await.ok();
        names.extend(page["things"].as_array().unwrap().iter().map(|thing| thing["thingName"].clone()));
        pages += 1;
        let Some(next) = page["nextToken"].as_str() else { break };
        token = next.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    }
    assert_eq!((names, pages), (vec!["a".into(), "b".into(), "c".into(), "d".into(), "e".into()], 3));
    for bad in ["nextToken=bogus", "maxResults=0", "maxResults=251"] {
        let told = house.call("GET", &format!("/things?{bad}"), "").await;
        assert_eq!(told.error(), (400, "InvalidRequestException"), "{bad}");
    }
}

#[tokio::test]
async fn things_are_found_by_attribute_and_type() {
    let house = House::new();
    house.call("POST", "/thing-types/pump", "").await.ok();
    let body = r#"{"thingTypeName":"pump","attributePayload":{"attributes":{"site":"north-1"}}}"#;
    house.call("POST", "/things/p1", body).await.ok();
    house.call("POST", "/things/p2", "").await.ok();
    for target in [
        "/things?thingTypeName=pump",
        "/things?attributeName=site&attributeValue=north-1",
        "/things?attributeName=site&attributeValue=north&usePrefixAttributeValue=true",
    ] {
        let page = house.call("GET", target, "").await.ok();
        let expected = json!([{
            "thingName": "p1", "thingTypeName": "pump", "thingArn": format!("{ARN}:thing/p1"),
            "attributes": {"site": "north-1"}, "version": 1,
        }]);
        assert_eq!(page, json!({"things": expected}), "{target}");
    }
}

#[tokio::test]
async fn the_life_of_a_thing_type() {
    let house = House::new();
    let properties = json!({
        "thingTypeDescription": "a pump",
        "searchableAttributes": ["site"],
        "mqtt5Configuration": {"propagatingAttributes": [
            {"userPropertyKey": "site", "thingAttribute": "site"},
            {"userPropertyKey": "client", "connectionAttribute": "iot:ClientId"},
        ]},
    });
    let body = json!({"thingTypeProperties": properties, "tags": [{"Key": "team", "Value": "water"}]});
    let made = house.call("POST", "/thing-types/pump", &body.to_string()).await.ok();
    assert_eq!(made["thingTypeArn"], format!("{ARN}:thingtype/pump"));
    assert!(made["thingTypeId"].is_string());

    let described = house.call("GET", "/thing-types/pump", "").await.ok();
    assert_eq!(described["thingTypeProperties"], properties);
    assert_eq!(described["thingTypeMetadata"]["deprecated"], false);
    assert!(described["thingTypeMetadata"]["creationDate"].as_f64().unwrap() > 1.6e9);
    assert_eq!(described["thingTypeMetadata"].get("deprecationDate"), None);
    let mut listed = house.call("GET", "/thing-types?thingTypeName=pump", "").await.ok();
    assert_eq!(listed["thingTypes"][0].get("thingTypeId"), None);
    listed["thingTypes"][0]["thingTypeId"] = made["thingTypeId"].clone();
    assert_eq!(listed, json!({"thingTypes": [described]}));

    let update = json!({"thingTypeProperties": {"mqtt5Configuration": {"propagatingAttributes": []}}});
    assert_eq!(house.call("PATCH", "/thing-types/pump", &update.to_string()).await.ok(), json!({}));

    let early = house.call("DELETE", "/thing-types/pump", "").await;
    assert_eq!(early.error(), (400, "InvalidRequestException"));
    assert_eq!(house.call("POST", "/thing-types/pump/deprecate", "").await.ok(), json!({}));
    let described = house.call("GET", "/thing-types/pump", "").await.ok();
    assert!(described["thingTypeMetadata"]["deprecationDate"].is_number());
    let undo = house.call("POST", "/thing-types/pump/deprecate", r#"{"undoDeprecate":true}"#).await;
    assert_eq!(undo.ok(), json!({}));
    house.call("POST", "/thing-types/pump/deprecate", "").await.ok();
    assert_eq!(house.call("DELETE", "/thing-types/pump", "").await.ok(), json!({}));
    let gone = house.call("GET", "/thing-types/pump", "").await;
    assert_eq!(gone.error(), (404, "ResourceNotFoundException"));
}

#[tokio::test]
async fn propagating_attributes_have_one_source() {
    let house = House::new();
    for item in [json!({"userPropertyKey": "k"}), json!({"thingAttribute": "a"})] {
        let body = json!({"thingTypeProperties": {"mqtt5Configuration": {"propagatingAttributes": [item]}}});
        let told = house.call("POST", "/thing-types/t", &body.to_string()).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"));
    }
}

#[tokio::test]
async fn tags_of_resources() {
    let house = House::new();
    house.call("POST", "/thing-types/pump", r#"{"tags":[{"Key":"a","Value":"1"}]}"#).await.ok();
    let arn = format!("{ARN}:thingtype/pump");
    let body = json!({"resourceArn": arn, "tags": [{"Key": "b"}]}).to_string();
    assert_eq!(house.call("POST", "/tags", &body).await.ok(), json!({}));
    let target = format!("/tags?resourceArn={}", arn.replace(':', "%3A").replace('/', "%2F"));
    let tags = |list: Value| json!({"tags": list});
    let both = tags(json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]));
    assert_eq!(house.call("GET", &target, "").await.ok(), both);
    let body = json!({"resourceArn": arn, "tagKeys": ["a"]}).to_string();
    assert_eq!(house.call("POST", "/untag", &body).await.ok(), json!({}));
    assert_eq!(house.call("GET", &target, "").await.ok(), tags(json!([{"Key": "b", "Value": ""}])));

    for (method, target, body, member) in [
        ("POST", "/tags", json!({"resourceArn": arn}), "tags"),
        ("POST", "/tags", json!({"tags": []}), "resourceArn"),
        ("POST", "/tags", json!({"resourceArn": arn, "tags": [{"Value": "x"}]}), "tags[0].Key"),
        ("POST", "/untag", json!({"resourceArn": arn}), "tagKeys"),
        ("GET", "/tags", json!(null), "resourceArn"),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let told = house.call(method, target, &body).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"));
        assert!(told.message().contains(member), "{}", told.message());
    }
}

#[tokio::test]
async fn principals_of_things() {
    let house = House::new();
    house.call("POST", "/things/t", "").await.ok();
    let made = house.call("POST", "/keys-and-certificate?setAsActive=true", "").await.ok();
    let arn = made["certificateArn"].as_str().unwrap();
    let principal = [("x-amzn-principal", arn)];
    let told = house.call("PUT", "/things/t/principals", "").await;
    assert_eq!(told.error(), (400, "InvalidRequestException"));
    assert!(told.message().contains("x-amzn-principal"));
    let bad = house.call_with("PUT", "/things/t/principals?thingPrincipalType=ANY", &principal, "").await;
    assert_eq!(bad.error(), (400, "InvalidRequestException"));
    let target = "/things/t/principals?thingPrincipalType=EXCLUSIVE_THING";
    assert_eq!(house.call_with("PUT", target, &principal, "").await.ok(), json!({}));

    let listed = house.call("GET", "/things/t/principals", "").await.ok();
    assert_eq!(listed, json!({"principals": [arn]}));
    let object = json!([{"principal": arn, "thingPrincipalType": "EXCLUSIVE_THING"}]);
    let listed = house.call("GET", "/things/t/principals-v2", "").await.ok();
    assert_eq!(listed, json!({"thingPrincipalObjects": object}));
    let listed = house.call_with("GET", "/principals/things", &principal, "").await.ok();
    assert_eq!(listed, json!({"things": ["t"]}));
    let object = json!([{"thingName": "t", "thingPrincipalType": "EXCLUSIVE_THING"}]);
    let listed = house.call_with("GET", "/principals/things-v2", &principal, "").await.ok();
    assert_eq!(listed, json!({"principalThingObjects": object}));

    let attached = house.call("DELETE", "/things/t", "").await;
    assert_eq!(attached.error(), (400, "InvalidRequestException"));
    assert_eq!(house.call_with("DELETE", "/things/t/principals", &principal, "").await.ok(), json!({}));
    let listed = house.call("GET", "/things/t/principals", "").await.ok();
    assert_eq!(listed, json!({"principals": []}));
}
