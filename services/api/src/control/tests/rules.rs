use serde_json::{Value, json};

use crate::testing::House;

fn payload() -> Value {
    json!({
        "sql": "SELECT * FROM 'sensors/+/telemetry' WHERE temperature > 30",
        "awsIotSqlVersion": "2016-03-23",
        "actions": [{"republish": {
            "roleArn": "arn:aws:iam::123456789012:role/rules", "topic": "sensors/${topic(2)}/alerts", "qos": 1
        }}],
    })
}

#[tokio::test]
async fn the_life_of_a_rule() {
    let house = House::new();
    let tags = [("x-amz-tagging", "team=water&env=test%20bed")];
    house.call_with("POST", "/rules/high_temp", &tags, &payload().to_string()).await.done();
    let again = house.call("POST", "/rules/high_temp", &payload().to_string()).await;
    assert_eq!(again.error(), (409, "ResourceAlreadyExistsException"));

    let got = house.call("GET", "/rules/high_temp", "").await.ok();
    assert_eq!(got["ruleArn"], "arn:aws:iot:us-east-1:123456789012:rule/high_temp");
    let rule = &got["rule"];
    assert_eq!(rule["ruleName"], "high_temp");
    assert_eq!(rule["actions"], payload()["actions"]);
    assert_eq!(rule["ruleDisabled"], false);
    assert_eq!(rule["awsIotSqlVersion"], "2016-03-23");
    assert!(rule["createdAt"].is_f64());
    assert_eq!((rule.get("description"), rule.get("errorAction")), (None, None));

    let listed = house.call("GET", "/rules?topic=sensors%2Fa%2Ftelemetry", "").await.ok();
    assert_eq!(
        listed,
        json!({"rules": [{
            "ruleArn": got["ruleArn"], "ruleName": "high_temp", "topicPattern": "sensors/+/telemetry",
            "createdAt": rule["createdAt"], "ruleDisabled": false,
        }]})
    );
    assert_eq!(house.call("GET", "/rules?topic=other", "").await.ok(), json!({"rules": []}));
    let arn = "arn%3Aaws%3Aiot%3Aus-east-1%3A123456789012%3Arule%2Fhigh_temp";
    let tags = house.call("GET", &format!("/tags?resourceArn={arn}"), "").await.ok();
    let both = json!([{"Key": "env", "Value": "test bed"}, {"Key": "team", "Value": "water"}]);
    assert_eq!(tags["tags"], both);

    house.call("POST", "/rules/high_temp/disable", "").await.done();
    let listed = house.call("GET", "/rules?ruleDisabled=true", "").await.ok();
    assert_eq!(listed["rules"].as_array().unwrap().len(), 1);
    house.call("POST", "/rules/high_temp/enable", "").await.done();

    let mut changed = payload();
    changed["description"] = json!("hot");
    changed["errorAction"] = changed["actions"][0].clone();
    house.call("PATCH", "/rules/high_temp", &changed.to_string()).await.done();
    let got = house.call("GET", "/rules/high_temp", "").await.ok();
    assert_eq!(got["rule"]["description"], "hot");
    assert_eq!(got["rule"]["errorAction"], changed["errorAction"]);

    house.call("DELETE", "/rules/high_temp", "").await.done();
    house.call("DELETE", "/rules/high_temp", "").await.done();
}

#[tokio::test]
async fn rules_that_are_refused() {
    let house = House::new();
    let with = |member: &str, value: Value| {
        let mut payload = payload();
        payload[member] = value;
        payload.to_string()
    };
    for (body, name) in [
        (with("sql", json!("SELEKT")), "SqlParseException"),
        (with("sql", json!(null)), "InvalidRequestException"),
        (with("sql", json!(1)), "InvalidRequestException"),
        (with("actions", json!(null)), "InvalidRequestException"),
        (with("actions", json!(["republish"])), "InvalidRequestException"),
        (with("errorAction", json!([])), "InvalidRequestException"),
        (with("ruleDisabled", json!("no")), "InvalidRequestException"),
    ] {
        assert_eq!(house.call("POST", "/rules/r", &body).await.error(), (400, name), "{body}");
    }
    // Rule operations do not tell what exists.
    for (method, target) in [("GET", "/rules/none"), ("POST", "/rules/none/enable")] {
        assert_eq!(house.call(method, target, "").await.error(), (401, "UnauthorizedException"));
    }
}

const TRY: &str = "/fleethaven/rules/test-sql";

#[tokio::test]
async fn a_statement_is_tried() {
    let house = House::new();
    let tried = json!({
        "sql": "SELECT t, topic(2) AS line FROM 'plant/+' WHERE t > 30", "topic": "plant/l1", "payload": "{\"t\": 31}",
        "template": "${accountid()}/${topic(2)}",
    });
    let told = house.call("POST", TRY, &tried.to_string()).await.ok();
    assert_eq!((&told["matches"], &told["fires"]), (&json!(true), &json!(true)));
    assert_eq!(told["output"], json!({"t": 31, "line": "l1"}));
    assert_eq!(told["where"], json!({"name": "WHERE", "type": "Boolean", "value": true}));
    assert_eq!(told["items"][1], json!({"name": "line", "type": "String", "value": "l1"}));
    assert_eq!(told["template"], "123456789012/l1");
    let raw = json!({"sql": "SELECT * FROM 't'", "topic": "t", "payloadBase64": "/w=="});
    assert_eq!(house.call("POST", TRY, &raw.to_string()).await.ok()["outputBase64"], "/w==");
    let wrong = json!({"sql": "SELECT FROM 't'", "topic": "t"});
    let error = &house.call("POST", TRY, &wrong.to_string()).await.ok()["error"];
    assert_eq!((&error["code"], &error["column"]), (&json!("SqlParseException"), &json!(8)));
}

#[tokio::test]
async fn what_is_no_trial_is_refused() {
    let house = House::with(|config| config.body_bytes = 16 << 20);
    let limits = fleethaven_types::Limits::of(fleethaven_types::Profile::Standard);
    let long = "x".repeat(limits.payload_bytes + 1);
    for wrong in [
        json!({"sql": "SELECT 1"}),
        json!({"topic": "t"}),
        json!({"sql": "SELECT 1", "topic": "t", "payload": "1", "payloadBase64": "MQ=="}),
        json!({"sql": "SELECT 1", "topic": "t", "payloadBase64": "?"}),
        json!({"sql": "SELECT 1", "topic": "t", "payload": long}),
        json!({"sql": "SELECT 1", "topic": "t", "awsIotSqlVersion": "1"}),
    ] {
        let error = house.call("POST", TRY, &wrong.to_string()).await;
        assert_eq!(error.error(), (400, "InvalidRequestException"), "{}", wrong["topic"]);
    }
    assert_eq!(house.call("GET", TRY, "").await.error().0, 405);
}
