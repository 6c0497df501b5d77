"""IAM's own API: what AWS's pages do before a rule, a role alias or an operator has a role, by AWS CLI and boto3. Every answer is held
against botocore's model as it came, before botocore reads it."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from botocore.exceptions import ClientError

import contract
from commands import fleethaven, signed_by
from test_operators import document, topics, websocket

NAMESPACE = "{https://iam.amazonaws.com/doc/2010-05-08/}"
# Errors that AWS gives for any operation (Common Errors of IAM's API reference).
COMMON = {"AccessDenied": 403, "InvalidClientTokenId": 403, "SignatureDoesNotMatch": 403, "ValidationError": 400}


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def allow(*actions: str) -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def wrong(shape, node, path: str) -> list[str]:
    """What the model does not allow in an element."""
    name = {child.tag.removeprefix(NAMESPACE): child for child in node}
    if shape.type_name == "structure":
        found = [f"{path}.{tag} is unknown" for tag in name.keys() - shape.members.keys()]
        found += [f"{path}.{member} is absent" for member in shape.required_members if member not in name]
        return found + [w for tag, child in name.items() if tag in shape.members for w in wrong(shape.members[tag], child, f"{path}.{tag}")]
    if shape.type_name == "list":
        found = [f"{path} holds {child.tag}" for child in node if child.tag != f"{NAMESPACE}member"]
        return found + [w for child in node for w in wrong(shape.member, child, f"{path}[]")]
    text = node.text or ""
    if shape.type_name == "boolean":
        return [] if text in ("true", "false") else [f"{path}: {text}"]
    if shape.type_name == "integer":
        return contract.checked(shape, int(text), path, set())
    if shape.type_name == "timestamp":
        return [] if text.endswith("Z") and "T" in text else [f"{path}: {text}"]
    return contract.checked(shape, text, path, set())


@pytest.fixture(scope="module")
def answered() -> dict[str, int]:
    """Successes by operation."""
    return {}


@pytest.fixture(scope="module")
def iam(fleet, answered):
    client = fleet.client("iam")

    def check(operation_model, response_dict, **_):
        operation, status = operation_model.name, response_dict["status_code"]
        root = ElementTree.fromstring(response_dict["body"])
        if status >= 300:
            code = root.find(f".//{NAMESPACE}Code").text
            modelled = {shape.metadata["error"]["code"]: shape.metadata["error"]["httpStatusCode"] for shape in operation_model.error_shapes}
            assert (COMMON | modelled).get(code) == status, (operation, code, status)
            return
        answered[operation] = answered.get(operation, 0) + 1
        assert root.tag == f"{NAMESPACE}{operation}Response"
        shape = operation_model.output_shape
        if shape is None:
            assert [child.tag for child in root] == [f"{NAMESPACE}ResponseMetadata"]
        else:
            assert not (found := wrong(shape, root.find(f"{NAMESPACE}{operation}Result"), operation)), found

    client.meta.events.register("before-parse.iam.*", check)
    return client


def refused(code: str, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code, caught.value


@pytest.fixture
def aws(fleet, tmp_path):
    """The AWS CLI with the file that the product writes, in a folder for documents."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment |= {"AWS_CONFIG_FILE": fleet.ready["aws_config_file"], "AWS_PROFILE": "fleethaven"}

    def run(*arguments: str):
        done = subprocess.run(
            ["aws", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return run


def test_the_role_of_a_rule_as_awss_page_makes_it(fleet, aws, connect, tmp_path, name):
    """docs.aws.amazon.com/iot/latest/developerguide/iot-create-role.html, then a rule that names the role."""
    (tmp_path / "iot-role-trust.json").write_text(trust("iot.amazonaws.com"))
    (tmp_path / "my-iot-policy.json").write_text(allow("dynamodb:*"))
    role = aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", "file://iot-role-trust.json")["Role"]
    assert role["Arn"] == f"arn:aws:iam::{fleet.account}:role/{name}" and role["Path"] == "/"
    assert role["AssumeRolePolicyDocument"] == json.loads(trust("iot.amazonaws.com"))
    made = aws("iam", "create-policy", "--policy-name", name, "--policy-document", "file://my-iot-policy.json")["Policy"]
    aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", made["Arn"])
    attached = aws("iam", "list-attached-role-policies", "--role-name", name)["AttachedPolicies"]
    assert attached == [{"PolicyName": name, "PolicyArn": made["Arn"]}]
    client = connect(name)
    client.subscribe(f"{name}/out", qos=1)
    rule = {"sql": f"SELECT * FROM '{name}/in'", "actions": [{"republish": {"roleArn": role["Arn"], "topic": f"{name}/out", "qos": 1}}]}
    (tmp_path / "rule.json").write_text(json.dumps(rule))
    rule_name = name.replace("-", "_")
    aws("iot", "create-topic-rule", "--rule-name", rule_name, "--topic-rule-payload", "file://rule.json")
    client.publish(f"{name}/in", b'{"a":1}', 1)
    assert client.expect_until(b'{"a":1}')
    aws("iot", "delete-topic-rule", "--rule-name", rule_name)
    aws("iam", "detach-role-policy", "--role-name", name, "--policy-arn", made["Arn"])
    aws("iam", "delete-policy", "--policy-arn", made["Arn"])
    aws("iam", "delete-role", "--role-name", name)


def test_a_role_as_terraform_makes_it(iam, name):
    """aws_iam_role, aws_iam_role_policy, aws_iam_policy and aws_iam_role_policy_attachment: apply, refresh, a change, destroy."""
    iam.create_role(RoleName=name, Path="/", AssumeRolePolicyDocument=trust("iot.amazonaws.com"), MaxSessionDuration=3600)
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=allow("s3:PutObject"))
    team = [{"Key": "team", "Value": "a"}]
    arn = iam.create_policy(PolicyName=name, Path="/", PolicyDocument=allow("sqs:*"), Description="queues", Tags=team)["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    role = iam.get_role(RoleName=name)["Role"]
    assert role["MaxSessionDuration"] == 3600 and role["AssumeRolePolicyDocument"]["Statement"]["Effect"] == "Allow"
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["own"]
    assert iam.get_role_policy(RoleName=name, PolicyName="own")["PolicyDocument"] == json.loads(allow("s3:PutObject"))
    assert iam.list_role_tags(RoleName=name)["Tags"] == []
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": name, "PolicyArn": arn}]
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (policy["DefaultVersionId"], policy["AttachmentCount"], policy["Description"]) == ("v1", 1, "queues")
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]
    assert version["Document"] == json.loads(allow("sqs:*")) and version["IsDefaultVersion"]
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == team == policy["Tags"]
    assert [role["RoleName"] for role in iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]] == [name]
    # Changes in place.
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust("credentials.iot.amazonaws.com"))
    iam.update_role(RoleName=name, Description="d", MaxSessionDuration=7200)
    changed = iam.update_role_description(RoleName=name, Description="e")["Role"]
    assert (changed["Description"], changed["MaxSessionDuration"]) == ("e", 7200)
    assert iam.create_policy_version(PolicyArn=arn, PolicyDocument=allow("sns:*"), SetAsDefault=True)["PolicyVersion"]["VersionId"] == "v2"
    iam.tag_role(RoleName=name, Tags=team)
    iam.tag_policy(PolicyArn=arn, Tags=[{"Key": "Team", "Value": "b"}])
    assert iam.list_role_tags(RoleName=name)["Tags"] == team == iam.get_role(RoleName=name)["Role"]["Tags"]
    assert iam.list_policy_tags(PolicyArn=arn)["Tags"] == [{"Key": "Team", "Value": "b"}], "letter case does not matter"
    iam.untag_role(RoleName=name, TagKeys=["team", "absent"])
    iam.untag_policy(PolicyArn=arn, TagKeys=["team"])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [] == iam.list_policy_tags(PolicyArn=arn)["Tags"]
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 2
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    # Destroy.
    refused("DeleteConflict", iam.delete_role, RoleName=name)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.delete_role(RoleName=name)
    refused("NoSuchEntity", iam.get_role, RoleName=name)
    refused("NoSuchEntity", iam.get_policy, PolicyArn=arn)


def test_a_user_who_gets_keys_and_policies(fleet, iam, name):
    made = iam.create_user(UserName=name, Tags=[{"Key": "team", "Value": "a"}])["User"]
    assert made.pop("Tags") == [{"Key": "team", "Value": "a"}]
    assert made["Arn"] == f"arn:aws:iam::{fleet.account}:user/{name}"
    refused("EntityAlreadyExists", iam.create_user, UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    signed = {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
    things = signed_by(fleet, signed)
    refused("AccessDeniedException", things.list_things)
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=allow("iot:ListThings"))
    things.list_things()
    arn = iam.create_policy(PolicyName=name, PolicyDocument=allow("iot:ListThingTypes", "iam:GetUser"))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    things.list_thing_types()
    own = signed_by(fleet, signed, "iam")
    assert own.get_user()["User"]["UserName"] == name == iam.get_user(UserName=name)["User"]["UserName"]
    refused("AccessDenied", own.list_users)
    refused("AccessDenied", own.attach_user_policy, UserName=name, PolicyArn=arn)
    assert iam.list_user_policies(UserName=name)["PolicyNames"] == ["own"]
    assert iam.get_user_policy(UserName=name, PolicyName="own")["PolicyDocument"] == json.loads(allow("iot:ListThings"))
    assert iam.list_attached_user_policies(UserName=name)["AttachedPolicies"] == [{"PolicyName": name, "PolicyArn": arn}]
    assert iam.list_groups_for_user(UserName=name)["Groups"] == []
    tags = {f"k{number}": "v" for number in range(49)}
    iam.tag_user(UserName=name, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    refused("LimitExceeded", iam.tag_user, UserName=name, Tags=[{"Key": "more", "Value": ""}])
    refused("ValidationError", iam.tag_user, UserName=name, Tags=[{"Key": "aws:x", "Value": ""}])
    iam.untag_user(UserName=name, TagKeys=["k0"])
    walked = [tag["Key"] for page in iam.get_paginator("list_user_tags").paginate(UserName=name, PaginationConfig={"PageSize": 20}) for tag in page["Tags"]]
    assert sorted(walked) == sorted([*tags.keys() - {"k0"}, "team"])
    # What the commands make is the same.
    [line] = [line for line in fleethaven("user", "list", "--admin", fleet.ready["admin"], "--json") if line["user_name"] == name]
    assert (line["user_id"], line["policies"], line["attached_policies"]) == (made["UserId"], ["own"], [name])
    assert [one["AccessKeyId"] for one in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]] == [key["AccessKeyId"]]
    iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")
    refused("UnrecognizedClientException", things.list_things)
    refused("DeleteConflict", iam.delete_user, UserName=name)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.detach_user_policy(UserName=name, PolicyArn=arn)
    iam.delete_user_policy(UserName=name, PolicyName="own")
    iam.delete_policy(PolicyArn=arn)
    iam.delete_user(UserName=name)
    refused("NoSuchEntity", iam.get_user, UserName=name)


def test_the_account_itself(fleet, iam, name):
    # AWS tells no name of the account itself either, though its model asks for one.
    assert fleet.client("iam").get_user()["User"]["Arn"] == f"arn:aws:iam::{fleet.account}:root"
    [own] = fleet.client("iam").list_access_keys()["AccessKeyMetadata"]
    assert own["AccessKeyId"] == fleet.ready["access_key_id"]


def test_listings_are_walked_through_by_pages(iam, name):
    names = [f"{name}-{number}" for number in range(5)]
    arns = {}
    for role in names:
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust("iot.amazonaws.com"))
        iam.create_user(UserName=role)
        arns[role] = iam.create_policy(PolicyName=role, PolicyDocument=allow("iot:*"))["Policy"]["Arn"]
    for listing, member, key in [
        ("list_roles", "Roles", "RoleName"),
        ("list_users", "Users", "UserName"),
        ("list_policies", "Policies", "PolicyName"),
    ]:
        pages = iam.get_paginator(listing).paginate(PaginationConfig={"PageSize": 2})
        assert [one[key] for page in pages for one in page[member] if one[key].startswith(name)] == names
    assert iam.list_policies(Scope="AWS")["Policies"] == []
    for role in names:
        iam.delete_role(RoleName=role)
        iam.delete_user(UserName=role)
        iam.delete_policy(PolicyArn=arns[role])


def test_what_there_is_none_of_is_refused(iam, name):
    role = {"RoleName": name, "AssumeRolePolicyDocument": trust("iot.amazonaws.com")}
    for more in (
        {"Path": "/teams/"},
        {"PermissionsBoundary": "arn:aws:iam::aws:policy/PowerUserAccess"},
    ):
        refused("ValidationError", iam.create_role, **role, **more)
    refused("MalformedPolicyDocument", iam.create_role, **role | {"AssumeRolePolicyDocument": "{}"})
    iam.create_role(**role)
    refused("NoSuchEntity", iam.attach_role_policy, RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.delete_role(RoleName=name)


def test_what_is_attached_counts_on_a_live_connection(fleet, iam, name):
    """Another version of a managed policy counts for who is connected with the next packet, as a policy of its own does."""
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    allowed = topics(fleet, name)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=document(*allowed))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=name, PolicyArn=arn)
    client = websocket(fleet, key, name).connect()
    assert client.subscribe(f"{name}/#") == [1]
    client.publish(f"{name}/a", b"allowed")
    assert client.expect(1) == [b"allowed"]
    denied = ("Deny", "iot:Receive", f"arn:aws:iot:*:*:topic/{name}/b")
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=document(*allowed, denied), SetAsDefault=True)
    client.publish(f"{name}/b", b"not received")
    client.publish(f"{name}/a", b"received")
    assert client.expect(2) == [b"allowed", b"received"]
    client.disconnect()


def test_every_operation_was_answered(answered):
    """The last test: what the compatibility page lists was driven above."""
    page = open(os.path.join(os.path.dirname(__file__), "../../../../docs/compatibility.md"), encoding="utf-8").read()
    section = page.partition("### Operations of `iam`\n")[2].partition("\n#")[0]
    listed = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert listed and listed == answered.keys(), listed ^ answered.keys()
