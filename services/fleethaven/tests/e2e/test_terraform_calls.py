"""What Terraform's AWS provider asks for the beginner's fleet, call by call in its order: apply, a plan that finds nothing to do,
a change, destroy. Each resource is read after every change, read again by a plan, and looked for after it is gone; the errors that
mean "gone" or "try again" to the provider are AWS's. (The provider itself is half a gigabyte, and is not run here.)"""

from __future__ import annotations

import json

import pytest

from control_plane import missing, refused
from device import allow, policy, signing_request, new_key
from lab import ROLE

TAGS = [{"Key": "managed-by", "Value": "terraform"}]
DEFAULT_VERSION = "2016-03-23"


def described(answer: dict) -> dict:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


@pytest.fixture
def fleet_of(iot, name):
    """Creates everything as `terraform apply` does; what it keeps in its state."""
    kind = iot.create_thing_type(
        thingTypeName=name, thingTypeProperties={"thingTypeDescription": "lamps"}, tags=TAGS
    )
    thing = iot.create_thing(
        thingName=name, thingTypeName=name, attributePayload={"attributes": {"site": "b"}}
    )
    certificate = iot.create_certificate_from_csr(
        certificateSigningRequest=signing_request(new_key()), setAsActive=True
    )
    document = policy(allow("Connect", "client/${iot:Connection.Thing.ThingName}"))
    made = iot.create_policy(policyName=name, policyDocument=document, tags=TAGS)
    iot.attach_policy(policyName=name, target=certificate["certificateArn"])
    iot.attach_thing_principal(thingName=name, principal=certificate["certificateArn"])
    iot.create_topic_rule(ruleName=name, topicRulePayload=rule("a/b"), tags="managed-by=terraform")
    return {"type": kind, "thing": thing, "certificate": certificate, "policy": made, "document": document}


def rule(topic: str) -> dict:
    return {
        "sql": f"SELECT * FROM '{topic}'",
        "awsIotSqlVersion": DEFAULT_VERSION,
        "ruleDisabled": False,
        "description": "",
        "actions": [{"republish": {"roleArn": ROLE, "topic": "c", "qos": 0}}],
    }


def read(iot, fleet, name: str, state: dict) -> dict:
    """As a refresh reads everything."""
    arn = state["certificate"]["certificateArn"]
    attached = [
        found["policyName"]
        for page in iot.get_paginator("list_attached_policies").paginate(target=arn)
        for found in page["policies"]
    ]
    principals = [
        principal
        for page in iot.get_paginator("list_thing_principals").paginate(thingName=name)
        for principal in page["principals"]
    ]
    assert attached == [name] and principals == [arn]
    got_rule = iot.get_topic_rule(ruleName=name)
    return {
        "type": described(iot.describe_thing_type(thingTypeName=name)),
        "thing": described(iot.describe_thing(thingName=name)),
        "certificate": iot.describe_certificate(certificateId=state["certificate"]["certificateId"])[
            "certificateDescription"
        ],
        "policy": described(iot.get_policy(policyName=name)),
        "rule": described(got_rule),
        "tags": [
            iot.list_tags_for_resource(resourceArn=one)["tags"]
            for one in (state["type"]["thingTypeArn"], state["policy"]["policyArn"], got_rule["ruleArn"])
        ],
    }


def test_apply_and_a_plan_that_finds_nothing_to_do(fleet, iot, fleet_of, name):
    first = read(iot, fleet, name, fleet_of)
    assert first == read(iot, fleet, name, fleet_of), "what is read twice is the same: a plan would differ"
    assert first["tags"] == [TAGS] * 3
    assert first["thing"]["attributes"] == {"site": "b"} and first["thing"]["thingTypeName"] == name
    assert first["type"]["thingTypeProperties"]["thingTypeDescription"] == "lamps"
    assert first["policy"]["policyDocument"] == fleet_of["document"]
    # What was not written is not there, or is what the provider takes for the default: else each plan shows a difference.
    wrote, got = rule("a/b"), first["rule"]["rule"]
    for key in ("sql", "awsIotSqlVersion", "ruleDisabled"):
        assert got[key] == wrote[key]
    assert got.get("description", "") == "" and "errorAction" not in got
    assert got["actions"] == [{"republish": {"roleArn": ROLE, "topic": "c", "qos": 0}}]


def test_changes_in_place(fleet, iot, fleet_of, name):
    iot.update_thing(thingName=name, attributePayload={"attributes": {"site": "c"}})
    iot.update_thing(thingName=name, removeThingType=True)
    iot.update_thing(thingName=name, thingTypeName=name)
    iot.replace_topic_rule(ruleName=name, topicRulePayload=rule("d/e"))
    for number in range(6):  # the oldest version goes first, once there are five
        versions = iot.list_policy_versions(policyName=name)["policyVersions"]
        if len(versions) >= 5:
            oldest = min((v for v in versions if not v["isDefaultVersion"]), key=lambda v: v["createDate"])
            iot.delete_policy_version(policyName=name, policyVersionId=oldest["versionId"])
        changed = policy(allow("Connect", f"client/{number}"))
        iot.create_policy_version(policyName=name, policyDocument=changed, setAsDefault=True)
    iot.untag_resource(resourceArn=fleet_of["policy"]["policyArn"], tagKeys=["managed-by"])
    iot.tag_resource(resourceArn=fleet_of["policy"]["policyArn"], tags=[{"Key": "a", "Value": "b"}])
    now = read(iot, fleet, name, fleet_of)
    assert now["thing"]["attributes"] == {"site": "c"} and now["rule"]["rule"]["sql"] == "SELECT * FROM 'd/e'"
    assert now["policy"]["policyDocument"] == changed and now["policy"]["defaultVersionId"] == "7"
    assert now["tags"][1] == [{"Key": "a", "Value": "b"}]


def test_destroy(fleet, iot, fleet_of, name):
    arn, id = (fleet_of["certificate"][key] for key in ("certificateArn", "certificateId"))
    iot.delete_topic_rule(ruleName=name)
    refused("UnauthorizedException", 401, iot.get_topic_rule, ruleName=name)  # the provider takes it for gone
    iot.detach_thing_principal(thingName=name, principal=arn)
    iot.detach_policy(policyName=name, target=arn)
    refused("InvalidRequestException", 400, iot.delete_thing_type, thingTypeName=name)  # tried again until it works
    iot.delete_thing(thingName=name)
    missing(iot.describe_thing, thingName=name)
    iot.update_certificate(certificateId=id, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=id, forceDelete=True)
    missing(iot.describe_certificate, certificateId=id)
    for version in iot.list_policy_versions(policyName=name)["policyVersions"]:
        if not version["isDefaultVersion"]:
            iot.delete_policy_version(policyName=name, policyVersionId=version["versionId"])
    iot.delete_policy(policyName=name)
    missing(iot.get_policy, policyName=name)
    iot.deprecate_thing_type(thingTypeName=name)
    iot.delete_thing_type(thingTypeName=name)
    missing(iot.describe_thing_type, thingTypeName=name)
