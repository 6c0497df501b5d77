//! rules-sql.md sections 12 and 13.

use serde_json::{Value, json};

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn payload(sql: &str, actions: Vec<Value>) -> TopicRulePayload {
    TopicRulePayload { sql: sql.to_owned(), actions, ..TopicRulePayload::default() }
}

fn rule(name: &str, payload: TopicRulePayload) -> Box<TopicRule> {
    Box::new(TopicRule { rule_name: name.to_owned(), payload, tags: Vec::new() })
}

fn create(registry: &mut Registry, name: &str, sql: &str) -> Result<Reply, crate::Error> {
    registry.run(Action::CreateTopicRule(rule(name, payload(sql, vec![]))))
}

fn described(registry: &Registry, name: &str) -> Result<RuleDescription, crate::Error> {
    match registry.ask(QueryKind::GetTopicRule(name.to_owned()))? {
        QueryReply::Rule(rule) => Ok(*rule),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_comes_back_as_it_was_given() {
    let mut registry = registry();
    let republish = json!({"republish": {"topic": "b/${topic(1)}", "roleArn": ROLE, "qos": 1, "later": [1]}});
    let given = TopicRulePayload {
        description: Some("text".to_owned()),
        error_action: Some(json!({"sqs": {"queueUrl": "https://q", "roleArn": ROLE}})),
        ..payload("SELECT * FROM 'a/#'", vec![republish])
    };
    let args = TopicRule { tags: vec![tag("k", "v")], ..*rule("r", given.clone()) };
    assert!(is_done(registry.run(Action::CreateTopicRule(Box::new(args)))));
    let found = described(&registry, "r").unwrap();
    assert_eq!((found.topic_pattern.as_str(), found.rule_arn.as_str()), ("a/#", arn("rule", "r").as_str()));
    let version = Some("2015-10-08".to_owned());
    assert_eq!(found.payload, TopicRulePayload { aws_iot_sql_version: version, ..given });
    let all = registry.ask(QueryKind::Rules).unwrap();
    assert_eq!(all, QueryReply::Rules(vec![found]));
    let again = create(&mut registry, "r", "SELECT * FROM 'a'").unwrap_err();
    assert_eq!(again.code, ResourceAlreadyExistsException);
    assert_eq!(again.resource, Some(("r".to_owned(), arn("rule", "r"))));
}

#[test]
fn unknown_rules_are_unauthorized_except_when_deleted() {
    let mut registry = registry();
    let unauthorized = (UnauthorizedException, 401);
    let replace = Action::ReplaceTopicRule(rule("r", payload("SELECT * FROM 'a'", vec![])));
    assert_eq!(refusal(registry.run(replace)), unauthorized);
    assert_eq!(refusal(registry.run(Action::EnableTopicRule("r".to_owned()))), unauthorized);
    assert_eq!(refusal(registry.run(Action::DisableTopicRule("r".to_owned()))), unauthorized);
    assert_eq!(refusal(described(&registry, "r")), unauthorized);
    assert!(is_done(registry.run(Action::DeleteTopicRule("r".to_owned()))));
}

#[test]
fn replacing_keeps_the_date_of_creation() {
    let mut registry = registry();
    create(&mut registry, "r", "SELECT * FROM 'a'").unwrap();
    let created_at = described(&registry, "r").unwrap().created_at;
    registry.wait(5);
    let replacement = payload("SELECT * FROM 'b'", vec![]);
    registry.run(Action::ReplaceTopicRule(rule("r", replacement))).unwrap();
    let after = described(&registry, "r").unwrap();
    assert_eq!((after.created_at, after.topic_pattern.as_str()), (created_at, "b"));
}

#[test]
fn rules_that_are_refused() {
    let with = |actions: Vec<Value>| payload("SELECT * FROM 'a'", actions);
    let lambda = || json!({"lambda": {"functionArn": "f"}});
    let version =
        |text: &str| TopicRulePayload { aws_iot_sql_version: Some(text.to_owned()), ..with(vec![]) };
    let error_action = |action| TopicRulePayload { error_action: Some(action), ..with(vec![]) };
    let invalid = (InvalidRequestException, 400);
    let sql = (SqlParseException, 400);
    for (payload, expected) in [
        (payload("SELECT", vec![]), sql),
        (payload("SELECT * FROM 'a/#/b'", vec![]), sql),
        (version("2014-01-01"), invalid),
        (with((0..11).map(|_| lambda()).collect()), invalid),
        (with(vec![json!({})]), invalid),
        (with(vec![json!("lambda")]), invalid),
        (with(vec![json!({"lambda": {"functionArn": "f"}, "sqs": {}})]), invalid),
        (with(vec![json!({"telegram": {}})]), invalid),
        (with(vec![json!({"lambda": {}})]), invalid),
        (with(vec![json!({"lambda": {"functionArn": 1}})]), invalid),
        (with(vec![json!({"republish": {"topic": "b"}})]), invalid),
        (with(vec![json!({"republish": {"topic": "b", "roleArn": "role"}})]), invalid),
        (with(vec![json!({"republish": {"topic": "b", "roleArn": ROLE, "qos": 2}})]), invalid),
        (with(vec![json!({"republish": {"topic": "b/${", "roleArn": ROLE}})]), sql),
        (
            with(vec![json!({"republish": {"topic": "b", "roleArn": ROLE,
                "headers": {"userProperties": [{"key": "k", "value": "${1 +}"}]}}})]),
            sql,
        ),
        (
            with(vec![json!({"republish": {"topic": "b", "roleArn": ROLE,
                "headers": {"userProperties": [{"key": "k"}]}}})]),
            invalid,
        ),
        (with(vec![json!({"dynamoDBv2": {"roleArn": ROLE, "putItem": {}}})]), invalid),
        (
            with(vec![json!({"s3": {"roleArn": ROLE, "bucketName": "b", "key": "k", "cannedAcl": "x"}})]),
            invalid,
        ),
        (with(vec![json!({"http": {"url": format!("https://{}", "x".repeat(2000))}})]), invalid),
        (error_action(json!({})), invalid),
        (with(vec![json!({"lambda": {"functionArn": "x".repeat(256 * 1024)}})]), invalid),
    ] {
        let result = registry().run(Action::CreateTopicRule(rule("r", payload.clone())));
        assert_eq!(refusal(result), expected, "{payload:?}");
    }
}

#[test]
fn every_type_of_action_has_an_accepted_form() {
    let accepted = [
        json!({"republish": {"roleArn": ROLE, "topic": "$$aws/things/${topic(2)}/shadow/update"}}),
        json!({"http": {"url": "https://x", "headers": [{"key": "k", "value": "v"}]}}),
        json!({"lambda": {"functionArn": "f"}}),
        json!({"s3": {"roleArn": ROLE, "bucketName": "b", "key": "${topic()}", "cannedAcl": "private"}}),
        json!({"sqs": {"roleArn": ROLE, "queueUrl": "u", "useBase64": true}}),
        json!({"sns": {"roleArn": ROLE, "targetArn": "t", "messageFormat": "JSON"}}),
        json!({"kinesis": {"roleArn": ROLE, "streamName": "s", "partitionKey": "${newuuid()}"}}),
        json!({"firehose": {"roleArn": ROLE, "deliveryStreamName": "d", "separator": "\n"}}),
        json!({"dynamoDB": {"roleArn": ROLE, "tableName": "t", "hashKeyField": "h", "hashKeyValue": "v"}}),
        json!({"dynamoDBv2": {"roleArn": ROLE, "putItem": {"tableName": "t"}}}),
    ];
    let more = [
        json!({"cloudwatchMetric": {"roleArn": ROLE, "metricNamespace": "n", "metricName": "m",
            "metricValue": "1", "metricUnit": "None"}}),
        json!({"cloudwatchAlarm": {"roleArn": ROLE, "alarmName": "a", "stateReason": "r",
            "stateValue": "OK"}}),
        json!({"cloudwatchLogs": {"roleArn": ROLE, "logGroupName": "l", "batchMode": false}}),
        json!({"openSearch": {"roleArn": ROLE, "endpoint": "https://e", "index": "i", "type": "t",
            "id": "1"}}),
        json!({"elasticsearch": {"roleArn": ROLE, "endpoint": "https://e", "index": "i", "type": "t",
            "id": "1"}}),
        json!({"timestream": {"roleArn": ROLE, "databaseName": "d", "tableName": "t",
            "dimensions": [{"name": "n", "value": "v"}]}}),
        json!({"influxDB": {"roleArn": ROLE, "destinationArn": "d", "databaseName": "db", "tableName": "t",
            "tags": {"k": "v"}}}),
        json!({"kafka": {"destinationArn": "d", "topic": "t", "clientProperties": {"a": "b"}}}),
        json!({"stepFunctions": {"roleArn": ROLE, "stateMachineName": "s"}}),
        json!({"location": {"roleArn": ROLE, "trackerName": "t", "deviceId": "d", "latitude": "1",
            "longitude": "2"}}),
    ];
    let last = [
        json!({"iotAnalytics": {"channelName": "c"}}),
        json!({"iotEvents": {"roleArn": ROLE, "inputName": "i"}}),
        json!({"iotSiteWise": {"roleArn": ROLE, "putAssetPropertyValueEntries": [{"propertyValues":
            [{"value": {"stringValue": "x"}, "timestamp": {"timeInSeconds": "1"}}]}]}}),
        json!({"salesforce": {"token": "t", "url": "https://x"}}),
    ];
    let mut registry = registry();
    for (index, actions) in [accepted.to_vec(), more.to_vec(), last.to_vec()].into_iter().enumerate() {
        let name = format!("r{index}");
        let args = rule(&name, payload("SELECT * FROM 'a'", actions.clone()));
        registry.run(Action::CreateTopicRule(args)).unwrap();
        assert_eq!(described(&registry, &name).unwrap().payload.actions, actions);
    }
}

#[test]
fn listings_filter_by_topic_and_switch() {
    let mut registry = registry();
    for (name, filter) in [("a", "x/#"), ("b", "x/+/y"), ("c", "z")] {
        create(&mut registry, name, &format!("SELECT * FROM '{filter}'")).unwrap();
    }
    registry.run(Action::DisableTopicRule("a".to_owned())).unwrap();
    registry.run(Action::DisableTopicRule("a".to_owned())).unwrap();
    let list = |topic: Option<&str>, rule_disabled| {
        let (topic, page) = (topic.map(str::to_owned), PageRequest { token: None, limit: Some(1000) });
        names(registry.ask(QueryKind::ListTopicRules { topic, rule_disabled, page }).unwrap())
    };
    assert_eq!(list(None, None), ["a", "b", "c"]);
    assert_eq!(list(Some("x/1/y"), None), ["a", "b"]);
    assert_eq!(list(Some("x"), None), Vec::<String>::new());
    assert_eq!(list(Some("x/1/y"), Some(false)), ["b"]);
    assert_eq!(list(None, Some(true)), ["a"]);
}

#[test]
fn rules_are_counted() {
    let mut registry = registry();
    registry.limits.rules = 1;
    create(&mut registry, "a", "SELECT * FROM 'a'").unwrap();
    assert_eq!(refusal(create(&mut registry, "b", "SELECT * FROM 'a'")), (LimitExceededException, 410));
    registry.run(Action::DeleteTopicRule("a".to_owned())).unwrap();
    assert!(create(&mut registry, "b", "SELECT * FROM 'a'").is_ok());
}
