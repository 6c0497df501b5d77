"""Topic rules as resources; what they do with messages is in the lab."""

import json
import subprocess

import pytest

from control_plane import flat, invalid, pages, refused
from instance import binary
from lab import ROLE
from signed import call


def rule(sql: str = "SELECT * FROM 'a/b'", topic: str = "c", **more) -> dict:
    return {"sql": sql, "actions": [{"republish": {"roleArn": ROLE, "topic": topic}}]} | more


def test_the_life_of_a_rule(fleet, iot):
    made = rule(description="d", awsIotSqlVersion="2016-03-23")
    iot.create_topic_rule(ruleName="life", topicRulePayload=made)
    got = iot.get_topic_rule(ruleName="life")
    assert got["ruleArn"] == fleet.arn("rule/life")
    assert got["rule"]["sql"] == made["sql"] and got["rule"]["description"] == "d"
    assert got["rule"]["actions"][0]["republish"]["topic"] == "c"
    assert got["rule"]["ruleDisabled"] is False and got["rule"]["awsIotSqlVersion"] == "2016-03-23"
    refused(
        "ResourceAlreadyExistsException", 409, iot.create_topic_rule, ruleName="life", topicRulePayload=rule()
    )
    iot.disable_topic_rule(ruleName="life")
    assert iot.get_topic_rule(ruleName="life")["rule"]["ruleDisabled"] is True
    iot.enable_topic_rule(ruleName="life")
    iot.replace_topic_rule(ruleName="life", topicRulePayload=rule("SELECT x FROM 'other/#'"))
    replaced = iot.get_topic_rule(ruleName="life")["rule"]
    assert replaced["sql"] == "SELECT x FROM 'other/#'" and replaced["createdAt"] == got["rule"]["createdAt"]
    assert replaced["awsIotSqlVersion"] == "2015-10-08"
    iot.delete_topic_rule(ruleName="life")
    iot.delete_topic_rule(ruleName="life")  # again: no error
    refused("UnauthorizedException", 401, iot.get_topic_rule, ruleName="life")


def test_rules_are_listed_by_pages_topic_and_state(iot):
    for n in range(3):
        iot.create_topic_rule(ruleName=f"listed_{n}", topicRulePayload=rule(f"SELECT * FROM 'listed/{n}/+'"))
    iot.disable_topic_rule(ruleName="listed_1")
    listed = flat(pages(iot.list_topic_rules, "rules", "maxResults", "nextToken"), "ruleName")
    assert {"listed_0", "listed_1", "listed_2"} <= set(listed)
    assert [r["ruleName"] for r in iot.list_topic_rules(topic="listed/2/x")["rules"]] == ["listed_2"]
    assert [r["ruleName"] for r in iot.list_topic_rules(ruleDisabled=True)["rules"]] == ["listed_1"]
    one = iot.list_topic_rules(topic="listed/2/x")["rules"][0]
    assert one["topicPattern"] == "listed/2/+" and one["ruleArn"].endswith(":rule/listed_2")


@pytest.mark.parametrize(
    "sql", ["SELEKT * FROM 'a'", "SELECT * FROM", "SELECT (1 FROM 'a'", "SELECT nofunction(1) FROM 'a'"]
)
def test_sql_that_does_not_parse_is_refused(iot, sql):
    refused("SqlParseException", 400, iot.create_topic_rule, ruleName="bad", topicRulePayload=rule(sql))


@pytest.mark.parametrize(
    "payload",
    [
        rule(awsIotSqlVersion="1999-01-01"),
        rule() | {"actions": [{"republish": {"roleArn": "no arn", "topic": "c"}}]},
        rule() | {"actions": [{"republish": {"roleArn": ROLE, "topic": "c"}}] * 11},
    ],
    ids=["version", "role", "11 actions"],
)
def test_a_bad_rule_is_refused(iot, payload):
    invalid(iot.create_topic_rule, ruleName="bad", topicRulePayload=payload)
    refused("UnauthorizedException", 401, iot.get_topic_rule, ruleName="bad")


def test_a_role_is_checked_for_syntax_only(iot):
    iot.create_topic_rule(
        ruleName="foreign_role",
        topicRulePayload=rule()
        | {
            "actions": [
                {"s3": {"roleArn": "arn:aws:iam::999999999999:role/any", "bucketName": "b", "key": "k"}}
            ]
        },
    )
    assert "s3" in iot.get_topic_rule(ruleName="foreign_role")["rule"]["actions"][0]


def test_a_statement_is_tried_by_the_api_as_by_the_command(fleet):
    """Signed for `iot`, on a path that no operation of AWS's has."""
    tried = {"sql": "SELECT t * 2 AS twice FROM 'plant/+' WHERE t > 30", "topic": "plant/l1", "payload": '{"t": 31}'}
    answer = call(fleet, "POST", "/fleethaven/rules/test-sql", json.dumps(tried).encode())
    assert answer.status == 200 and answer.json["fires"] is True and answer.json["output"] == {"twice": 62}
    command = [binary(), "sql", "test", "--json", *(part for name, value in tried.items() for part in (f"--{name}", value))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == answer.json
    sent = {"userProperties": [["site", "north"], ["site", "hall 2"]], "correlationData": "YQ==", "payloadFormatIndicator": 1}
    sql = "SELECT get_user_properties('site') AS s, get_mqtt_property('correlation_data') AS c, get_mqtt_property('format_indicator') AS f FROM 'a'"
    asked = json.dumps({"sql": sql, "topic": "a", "mqttProperties": sent}).encode()
    wanted = {"s": ["north", "hall 2"], "c": "YQ==", "f": "UTF8_DATA"}
    assert call(fleet, "POST", "/fleethaven/rules/test-sql", asked).json["output"] == wanted
    command = [binary(), "sql", "test", "--json", "--sql", sql, "--topic", "a", "--mqtt-properties"]
    done = subprocess.run([*command, json.dumps(sent)], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["output"] == wanted
    done = subprocess.run([*command, '{"userProperties": 1}'], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "userProperties" in done.stderr
    wrong = json.dumps({"sql": sql, "topic": "a", "mqttProperties": 1}).encode()
    assert call(fleet, "POST", "/fleethaven/rules/test-sql", wrong).error == "InvalidRequestException"
    refused = call(fleet, "POST", "/fleethaven/rules/test-sql", json.dumps(tried | {"sql": "SELECT FROM 'a'"}).encode())
    assert refused.status == 200 and refused.json["error"]["column"] == 8
    unsigned = call(fleet, "POST", "/fleethaven/rules/test-sql", json.dumps(tried).encode(), secret="another")
    assert unsigned.status == 403
    assert call(fleet, "POST", "/fleethaven/rules/test-sql", b"{}").error == "InvalidRequestException"
