"""Registry events over MQTT: which are published, once they are switched on."""

import json
import uuid

import pytest


@pytest.fixture
def events(iot, connect, name):
    """Switches event types on and subscribes: `events(["THING"], "thing/+/#")`; the client."""

    def follow(types, *filters):
        iot.update_event_configurations(eventConfigurations={kind: {"Enabled": True} for kind in types})
        client = connect(f"{name}-follower")
        client.subscribe(*(f"$aws/events/{each}" for each in filters))
        return client

    yield follow
    off = {kind: {"Enabled": False} for kind in ALL}
    iot.update_event_configurations(eventConfigurations=off)


ALL = [
    "THING",
    "THING_GROUP",
    "THING_TYPE",
    "THING_GROUP_MEMBERSHIP",
    "THING_GROUP_HIERARCHY",
    "THING_TYPE_ASSOCIATION",
]


def told(client, count: int) -> dict:
    """The payloads of that many events by topic."""
    client.expect(count)
    return {message.topic.removeprefix("$aws/events/"): json.loads(message.payload) for message in client.received}


def test_types_are_switched_one_by_one(iot):
    found = iot.describe_event_configurations()["eventConfigurations"]
    assert set(ALL) <= found.keys() and not any(found[kind]["Enabled"] for kind in ALL)
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
    described = iot.describe_event_configurations()
    assert [kind for kind in ALL if described["eventConfigurations"][kind]["Enabled"]] == ["THING"]
    assert described["creationDate"] and described["lastModifiedDate"]
    iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": False}})


def test_the_life_of_a_thing(fleet, iot, events, name):
    client = events(["THING", "THING_TYPE_ASSOCIATION"], f"thing/{name}/#", f"thingTypeAssociation/thing/{name}/#")
    iot.create_thing_type(thingTypeName=name)
    id = iot.create_thing(thingName=name, thingTypeName=name, attributePayload={"attributes": {"a": "1"}})["thingId"]
    iot.update_thing(thingName=name, attributePayload={"attributes": {"a": "2"}})
    iot.delete_thing(thingName=name)
    found = told(client, 5)
    created = found[f"thing/{name}/created"]
    uuid.UUID(created.pop("eventId"))
    assert created.pop("timestamp") > 1_600_000_000_000
    assert created == {
        "eventType": "THING_EVENT",
        "operation": "CREATED",
        "accountId": fleet.account,
        "thingId": id,
        "thingName": name,
        "versionNumber": 1,
        "thingTypeName": name,
        "billingGroupName": None,
        "attributes": {"a": "1"},
    }
    assert found[f"thing/{name}/updated"]["versionNumber"] == 2
    assert found[f"thing/{name}/deleted"]["operation"] == "DELETED"
    association = f"thingTypeAssociation/thing/{name}/thingType/{name}"
    assert found[f"{association}/added"]["thingTypeName"] == name
    assert found[f"{association}/removed"]["operation"] == "REMOVED"


def test_groups_and_their_members(iot, events, name):
    types = ["THING_GROUP", "THING_GROUP_HIERARCHY", "THING_GROUP_MEMBERSHIP"]
    filters = f"thingGroup/{name}-leaf/#", f"thingGroupHierarchy/thingGroup/{name}-root/#"
    client = events(types, *filters, f"thingGroupMembership/thingGroup/{name}-leaf/#")
    root = iot.create_thing_group(thingGroupName=f"{name}-root")
    leaf = iot.create_thing_group(thingGroupName=f"{name}-leaf", parentGroupName=f"{name}-root")
    iot.create_thing(thingName=name)
    iot.add_thing_to_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    iot.remove_thing_from_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    found = told(client, 4)
    created = found[f"thingGroup/{name}-leaf/created"]
    ancestors = [{"groupArn": root["thingGroupArn"], "groupId": root["thingGroupId"]}]
    assert created["rootToParentThingGroups"] == ancestors and created["parentGroupName"] == f"{name}-root"
    place = found[f"thingGroupHierarchy/thingGroup/{name}-root/childThingGroup/{name}-leaf/added"]
    assert place["childGroupId"] == leaf["thingGroupId"]
    membership = f"thingGroupMembership/thingGroup/{name}-leaf/thing/{name}"
    joined, left = found[f"{membership}/added"], found[f"{membership}/removed"]
    assert joined["groupArn"] == leaf["thingGroupArn"] and joined["membershipId"] == left["membershipId"]


def test_what_is_off_is_not_told(iot, events, name):
    client = events(["THING"], f"thing/{name}-last/#", f"thingType/{name}/#")
    iot.create_thing_type(thingTypeName=name)
    iot.create_thing(thingName=f"{name}-last")
    assert list(told(client, 1)) == [f"thing/{name}-last/created"]
