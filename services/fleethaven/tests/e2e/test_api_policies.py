"""Policies, their versions and targets, and tags."""

import json

import pytest
from botocore.exceptions import ClientError

from control_plane import ANY, flat, invalid, missing, pages, refused
from device import ALLOW_ALL, allow, policy


# Policies


def test_a_policy_and_its_versions(fleet, iot, name):
    made = iot.create_policy(policyName=name, policyDocument=ANY)
    assert made["policyArn"] == fleet.arn(f"policy/{name}")
    assert made["policyVersionId"] == "1" and json.loads(made["policyDocument"]) == ALLOW_ALL
    other = policy(allow("Connect", "client/a"))
    second = iot.create_policy_version(policyName=name, policyDocument=other)
    assert (second["policyVersionId"], second["isDefaultVersion"]) == ("2", False)
    assert iot.get_policy(policyName=name)["defaultVersionId"] == "1"
    iot.set_default_policy_version(policyName=name, policyVersionId="2")
    current = iot.get_policy(policyName=name)
    assert (current["defaultVersionId"], current["policyDocument"]) == ("2", other)
    version = iot.get_policy_version(policyName=name, policyVersionId="1")
    assert (version["isDefaultVersion"], version["policyDocument"]) == (False, ANY)
    listed = iot.list_policy_versions(policyName=name)["policyVersions"]
    assert {(v["versionId"], v["isDefaultVersion"]) for v in listed} == {("1", False), ("2", True)}
    conflict = "DeleteConflictException", 409
    refused(*conflict, iot.delete_policy_version, policyName=name, policyVersionId="2")
    refused(*conflict, iot.delete_policy, policyName=name)
    iot.delete_policy_version(policyName=name, policyVersionId="1")
    missing(iot.get_policy_version, policyName=name, policyVersionId="1")
    iot.delete_policy(policyName=name)
    missing(iot.get_policy, policyName=name)


def test_the_sixth_version_is_refused_and_numbers_are_never_used_again(iot, name):
    iot.create_policy(policyName=name, policyDocument=ANY)
    for number in range(2, 6):
        made = iot.create_policy_version(policyName=name, policyDocument=ANY)
        assert made["policyVersionId"] == str(number)
    refused(
        "VersionsLimitExceededException", 409, iot.create_policy_version, policyName=name, policyDocument=ANY
    )
    iot.delete_policy_version(policyName=name, policyVersionId="5")
    made = iot.create_policy_version(policyName=name, policyDocument=ANY, setAsDefault=True)
    assert (made["policyVersionId"], made["isDefaultVersion"]) == ("6", True)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "not json",
        "{}",
        '{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"iot:*","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*"}]}',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*","Surprise":1}]}',
    ],
    ids=["empty", "text", "no statement", "effect", "no action", "unknown key"],
)
def test_a_malformed_policy_is_refused(iot, name, document):
    with pytest.raises(ClientError) as caught:
        iot.create_policy(policyName=name, policyDocument=document)
    code = caught.value.response["Error"]["Code"]
    assert code == "MalformedPolicyException" or (not document and code == "InvalidRequestException"), code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_2048_characters_of_policy_white_space_not_counted(iot, name):
    def document(length: int) -> str:
        text = policy(allow("Connect", "client/"))
        solid = len("".join(text.split()))
        return text.replace("client/", "client/" + "x" * (length - solid)) + " " * 10_000

    iot.create_policy(policyName=name, policyDocument=document(2048))
    refused(
        "MalformedPolicyException",
        400,
        iot.create_policy,
        policyName=name + "-2",
        policyDocument=document(2049),
    )


def test_a_policy_name_is_taken_once(iot, name):
    iot.create_policy(policyName=name, policyDocument=ANY)
    refused("ResourceAlreadyExistsException", 409, iot.create_policy, policyName=name, policyDocument=ANY)


def test_policies_and_targets_are_listed(iot, name, cert):
    names = [f"{name}-{n}" for n in range(3)]
    for one in names:
        iot.create_policy(policyName=one, policyDocument=ANY)
        iot.attach_policy(policyName=one, target=cert.arn)
        iot.attach_policy(policyName=one, target=cert.arn)  # again: no error
    attached = pages(iot.list_attached_policies, "policies", "pageSize", "marker", target=cert.arn)
    assert sorted(flat(attached, "policyName")) == names
    listed = flat(pages(iot.list_policies, "policies", "pageSize", "marker"), "policyName")
    assert set(names) <= set(listed) and len(listed) == len(set(listed))
    assert iot.list_targets_for_policy(policyName=names[0])["targets"] == [cert.arn]
    refused("DeleteConflictException", 409, iot.delete_policy, policyName=names[0])
    iot.detach_policy(policyName=names[0], target=cert.arn)
    iot.detach_policy(policyName=names[0], target=cert.arn)  # again: no error
    iot.delete_policy(policyName=names[0])


def test_the_eleventh_policy_of_a_certificate_is_refused(iot, name, cert):
    for n in range(11):
        iot.create_policy(policyName=f"{name}-{n}", policyDocument=ANY)
    for n in range(10):
        iot.attach_policy(policyName=f"{name}-{n}", target=cert.arn)
    refused("LimitExceededException", 410, iot.attach_policy, policyName=f"{name}-10", target=cert.arn)


def test_unknown_policies_are_404(iot, name, cert):
    missing(iot.get_policy, policyName=name)
    missing(iot.create_policy_version, policyName=name, policyDocument=ANY)
    missing(iot.set_default_policy_version, policyName=name, policyVersionId="1")
    missing(iot.attach_policy, policyName=name, target=cert.arn)
    missing(iot.list_targets_for_policy, policyName=name)
    missing(iot.delete_policy, policyName=name)


def test_the_older_principal_policy_calls_still_work(iot, name, cert):
    iot.create_policy(policyName=name, policyDocument=ANY)
    iot.attach_principal_policy(policyName=name, principal=cert.arn)
    assert [p["policyName"] for p in iot.list_principal_policies(principal=cert.arn)["policies"]] == [name]
    assert iot.list_policy_principals(policyName=name)["principals"]
    iot.detach_principal_policy(policyName=name, principal=cert.arn)
    assert iot.list_principal_policies(principal=cert.arn)["policies"] == []


# Tags


def test_tags(fleet, iot, name):
    iot.create_thing_type(thingTypeName=name, tags=[{"Key": "made", "Value": "1"}])
    arn = fleet.arn(f"thingtype/{name}")
    iot.tag_resource(resourceArn=arn, tags=[{"Key": "site", "Value": "b"}, {"Key": "made", "Value": "2"}])
    tags = {t["Key"]: t["Value"] for t in iot.list_tags_for_resource(resourceArn=arn)["tags"]}
    assert tags == {"made": "2", "site": "b"}
    iot.untag_resource(resourceArn=arn, tagKeys=["made", "never-there"])
    assert [t["Key"] for t in iot.list_tags_for_resource(resourceArn=arn)["tags"]] == ["site"]


def test_things_have_no_tags_and_aws_owns_a_prefix(fleet, iot, name):
    iot.create_thing(thingName=name)
    iot.create_policy(policyName=name, policyDocument=ANY, tags=[{"Key": "k", "Value": "v"}])
    tag = [{"Key": "k", "Value": "v"}]
    invalid(iot.tag_resource, resourceArn=fleet.arn(f"thing/{name}"), tags=tag)
    invalid(iot.tag_resource, resourceArn=fleet.arn(f"policy/{name}"), tags=[{"Key": "aws:k", "Value": "v"}])
    missing(iot.tag_resource, resourceArn=fleet.arn("policy/no-such-policy"), tags=tag)


def test_the_51st_tag_is_refused(fleet, iot, name):
    iot.create_policy(policyName=name, policyDocument=ANY)
    arn = fleet.arn(f"policy/{name}")
    iot.tag_resource(resourceArn=arn, tags=[{"Key": f"k{n}", "Value": "v"} for n in range(50)])
    refused(
        "LimitExceededException", 410, iot.tag_resource, resourceArn=arn, tags=[{"Key": "k50", "Value": "v"}]
    )


def test_authorization_is_told_as_it_is_decided(fleet, iot, device, connect, name):
    sensor = device(policy(allow("Connect", "client/${iot:ClientId}"), allow("Publish", "topic/mine/*")))
    effective = iot.get_effective_policies(principal=sensor.arn)["effectivePolicies"]
    assert [p["policyName"] for p in effective] == [sensor.policy_name]
    asked = {"CONNECT": f"client/{name}", "PUBLISH": "topic/mine/a", "RECEIVE": "topic/mine/a"}
    told = iot.test_authorization(
        principal=sensor.arn,
        clientId=name,
        authInfos=[
            {"actionType": kind, "resources": [fleet.arn(resource)]} for kind, resource in asked.items()
        ],
    )["authResults"]
    assert [r["authDecision"] for r in told] == ["ALLOWED", "ALLOWED", "IMPLICIT_DENY"]
    client = connect(name, sensor)
    assert client.publish("mine/a") in (0, 0x10) and client.publish("other") == 0x87
