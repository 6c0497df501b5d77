"""Functions of the rules SQL that ask the registry and the shadows."""

import json

from lab import ROLE


def make_rule(iot, name, sql, topic=None):
    action = {"republish": {"roleArn": ROLE, "topic": topic or f"{name}/out", "qos": 1}}
    payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
    iot.create_topic_rule(ruleName=name, topicRulePayload=payload)


def test_a_message_is_enriched_with_its_thing(fleet, iot, connect, name):
    iot.create_thing(thingName=name, attributePayload={"attributes": {"site": "north"}})
    iot.create_thing_group(thingGroupName=name + "-g")
    iot.add_thing_to_thing_group(thingGroupName=name + "-g", thingName=name)
    data = fleet.client("iot-data")
    data.update_thing_shadow(thingName=name, payload=json.dumps({"state": {"reported": {"limit": 30}}}))
    named = json.dumps({"state": {"desired": {"on": True}}})
    data.update_thing_shadow(thingName=name, shadowName="lamp", payload=named)
    sql = (
        f"SET @s = get_thing_shadow(topic(2), '{ROLE}') "
        f"SELECT t, @s.state.reported.limit AS lim, get_thing_shadow(topic(2), 'lamp', '{ROLE}').state.desired.on AS lamp, "
        f"get_registry_data('DescribeThing', topic(2), '{ROLE}').attributes.site AS site, "
        f"get_registry_data('ListThingGroupsForThing', topic(2), '{ROLE}').thingGroups AS groups "
        f"FROM '{name}/+/up' WHERE t > @s.state.reported.limit"
    )
    make_rule(iot, name, sql, f"{name}/${{get_registry_data('DescribeThing', topic(2), '{ROLE}').attributes.site}}/out")
    client = connect(name)
    client.subscribe(f"{name}/+/out")
    client.publish(f"{name}/{name}/up", '{"t": 20}')
    client.publish(f"{name}/{name}/up", '{"t": 31.5}')
    [enriched] = [json.loads(payload) for payload in client.expect(1)]
    group = {"groupName": name + "-g", "groupArn": fleet.arn(f"thinggroup/{name}-g")}
    assert enriched == {"t": 31.5, "lim": 30, "lamp": True, "site": "north", "groups": [group]}
    assert [message.topic for message in client.received] == [f"{name}/north/out"]


def test_a_call_that_fails_ends_the_rule_unless_there_is_a_default(iot, connect, name):
    missing = f"get_thing_shadow('{name}-none', '{ROLE}').state"
    make_rule(iot, name + "_fails", f"SELECT {missing} AS s FROM '{name}/up'")
    make_rule(iot, name, f"SELECT get_or_default({missing}, 'none') AS s, get_or_default(aws_lambda('f', 1), 'n/a') AS l FROM '{name}/up'")
    client = connect(name)
    client.subscribe(f"{name}/out", f"{name}_fails/out")
    client.publish(f"{name}/up", "{}")
    assert json.loads(client.expect(1)[0]) == {"s": "none", "l": "n/a"}
    assert [message.topic for message in client.received] == [f"{name}/out"]


def test_what_fails_is_a_line_of_the_log_with_the_trace_of_the_message(fleet, iot, connect, name):
    make_rule(iot, name + "_asks", f"SELECT get_thing_shadow('{name}-none', '{ROLE}') AS s FROM '{name}/up'")
    make_rule(iot, name + "_traces", f"SELECT traceid() AS t FROM '{name}/up'", f"{name}/traces")
    bad, told = ({"republish": {"roleArn": ROLE, "topic": topic, "qos": 1}} for topic in (f"{name}/#", f"{name}/errors"))
    payload = {"sql": f"SELECT * FROM '{name}/acts'", "actions": [bad], "errorAction": told}
    iot.create_topic_rule(ruleName=name + "_acts", topicRulePayload=payload)
    client = connect(name)
    client.subscribe(f"{name}/traces", f"{name}/errors")
    client.publish(f"{name}/up", "{}")
    trace = json.loads(client.expect(1)[0])["t"]
    line = fleet.log.having("a function failed", f"{name}_asks")
    assert all(word in line for word in ("get_thing_shadow", trace, f"{name}/up", "No shadow")), line
    assert trace in fleet.log.having("the rule ended", f"{name}_asks")
    # A message that did not come over MQTT has a trace as well, which traceid() does not tell.
    fleet.client("iot-data").publish(topic=f"{name}/acts", qos=1, payload=b"{}")
    trace = json.loads(client.expect(2)[1])["cloudwatchTraceId"]
    line = fleet.log.having("action failed", f"{name}_acts")
    assert all(word in line for word in ("RepublishAction", trace, "wildcard")), line
