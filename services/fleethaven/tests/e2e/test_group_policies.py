"""Policies of thing groups: who inherits them, what they allow on a live connection, and when changes take effect."""

import pytest

from control_plane import missing, pages, refused
from device import allow, policy
from mqtt_client import Refused

DENIED = 0x87


@pytest.fixture
def groups(iot, name):
    """`root` over `leaf`; the ARN of each."""
    root = iot.create_thing_group(thingGroupName=f"{name}-root")
    leaf = iot.create_thing_group(thingGroupName=f"{name}-leaf", parentGroupName=f"{name}-root")
    return {"root": root["thingGroupArn"], "leaf": leaf["thingGroupArn"]}


@pytest.fixture
def attach(iot, name):
    """Attaches a new policy of these statements to a target; its name."""
    made = []

    def make(target: str, *statements: dict) -> str:
        made.append(f"{name}-{len(made)}")
        iot.create_policy(policyName=made[-1], policyDocument=policy(*statements))
        iot.attach_policy(policyName=made[-1], target=target)
        return made[-1]

    return make


@pytest.fixture
def member(iot, device, name):
    """A certificate without a policy of its own, attached to a thing in `leaf`."""
    made = device(None)
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=made.arn)
    iot.add_thing_to_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    return made


def may_publish(client, topic: str) -> bool:
    return client.publish(topic) != DENIED


def deny(action: str, *resources: str) -> dict:
    return allow(action, *resources) | {"Effect": "Deny"}


def test_a_device_may_what_its_groups_may(iot, connect, groups, attach, member, name):
    with pytest.raises(Refused):
        connect(name, member)
    attach(groups["root"], allow("Connect", "client/${iot:Connection.Thing.ThingName}"))
    attach(groups["leaf"], allow("Publish", "topic/leaf/*"))
    client = connect(name, member)
    assert may_publish(client, "leaf/a") and not may_publish(client, "root/a")
    with pytest.raises(Refused):
        connect(f"{name}-other", member)


def test_changes_reach_a_live_connection(iot, connect, groups, attach, member, name):
    attach(groups["root"], allow("Connect", "*"), allow("Publish", "topic/base"))
    client = connect(name, member)
    assert may_publish(client, "base") and not may_publish(client, "more")
    extra = attach(groups["leaf"], allow("Publish", "topic/more"))
    assert may_publish(client, "more")
    iot.create_policy_version(policyName=extra, policyDocument=policy(allow("Publish", "topic/else")), setAsDefault=True)
    assert may_publish(client, "else") and not may_publish(client, "more")
    iot.detach_policy(policyName=extra, target=groups["leaf"])
    assert not may_publish(client, "else") and may_publish(client, "base")
    iot.remove_thing_from_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    assert not may_publish(client, "base")
    assert client.alive, "what was allowed at CONNECT is not asked again"
    iot.add_thing_to_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    assert may_publish(client, "base")
    iot.delete_thing_group(thingGroupName=f"{name}-leaf")
    assert not may_publish(client, "base"), "what was inherited through the group"


def test_a_group_denies_what_the_certificate_allows(iot, connect, device, groups, attach, name):
    """The quarantine of Device Defender."""
    free = device()
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=free.arn, thingPrincipalType="EXCLUSIVE_THING")
    client = connect(f"{name}-any-client-id", free)
    assert may_publish(client, "data/a")
    attach(groups["root"], deny("Publish", "topic/data/*"))
    iot.add_thing_to_thing_group(thingName=name, thingGroupName=f"{name}-leaf")
    assert not may_publish(client, "data/a") and may_publish(client, "other")


def test_effective_and_attached_policies(iot, groups, attach, member, name):
    above, below = attach(groups["root"], allow("Connect", "*")), attach(groups["leaf"], allow("Publish", "*"))
    own = attach(member.arn, allow("Receive", "*"))

    def effective(**of):
        return [found["policyName"] for found in iot.get_effective_policies(**of)["effectivePolicies"]]

    assert effective(thingName=name) == sorted([above, below])
    assert effective(principal=member.arn) == [own]
    assert effective(principal=member.arn, thingName=name) == sorted([above, below, own])
    assert effective(principal=groups["leaf"]) == sorted([above, below])

    def attached(**more):
        listing = iot.list_attached_policies
        found = pages(listing, "policies", "pageSize", "marker", target=groups["leaf"], **more)
        return [item["policyName"] for page in found for item in page]

    assert attached() == [below] and attached(recursive=True) == sorted([above, below])
    assert iot.list_targets_for_policy(policyName=above)["targets"] == [groups["root"]]


def test_authorization_is_tested_with_groups(iot, groups, attach, member, name):
    attach(groups["root"], allow("Publish", "topic/a"))
    infos = [{"actionType": "PUBLISH", "resources": [groups["root"].split(":thinggroup")[0] + ":topic/a"]}]

    def decision(**more):
        answer = iot.test_authorization(principal=member.arn, authInfos=infos, **more)
        return answer["authResults"][0]["authDecision"]

    assert decision(clientId=name) == "ALLOWED"
    assert decision(clientId=f"{name}-other") == "IMPLICIT_DENY"


def test_a_group_has_two_policies(iot, groups, attach, name):
    attach(groups["leaf"], allow("Connect", "*"))
    attach(groups["leaf"], allow("Publish", "*"))
    iot.create_policy(policyName=f"{name}-third", policyDocument=policy(allow("Receive", "*")))
    third = {"policyName": f"{name}-third", "target": groups["leaf"]}
    refused("LimitExceededException", 410, iot.attach_policy, **third)
    missing(iot.attach_policy, policyName=f"{name}-third", target=groups["leaf"] + "-none")
    foreign = groups["leaf"].replace(":123456789012:", ":210987654321:")
    missing(iot.attach_policy, policyName=f"{name}-third", target=foreign)
    refused("DeleteConflictException", 409, iot.delete_policy, policyName=f"{name}-0")
    iot.delete_thing_group(thingGroupName=f"{name}-leaf")
    iot.delete_policy(policyName=f"{name}-0")
