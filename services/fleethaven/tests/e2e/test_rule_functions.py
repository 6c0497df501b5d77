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
