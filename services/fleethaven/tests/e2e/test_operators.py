"""Users, roles and temporary credentials: what IAM's policies allow, through boto3, the AWS CLI and WebSocket."""

import json
import os
import subprocess

import boto3
import pytest
from awscrt.auth import AwsCredentialsProvider
from awsiot import mqtt5_client_builder
from botocore.exceptions import ClientError

from commands import failure, fleethaven, signed_by
from instance import eventually
from sdk_client import Sdk5


@pytest.fixture(scope="module")
def admin(fleet):
    return ["--admin", fleet.ready["admin"], "--json"]


def document(*statements: tuple) -> str:
    """A policy of (effect, actions, resources) or (effect, actions, resources, condition)."""
    keys = ("Effect", "Action", "Resource", "Condition")
    listed = [dict(zip(keys, statement)) for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": listed})


def trust(**principal) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


class Operators:
    """The commands, with files for documents."""

    def __init__(self, folder, target):
        self.folder, self.target = folder, target

    def file(self, text: str) -> str:
        path = self.folder / "document.json"
        path.write_text(text)
        return str(path)

    def user(self, name: str, *statements: tuple) -> dict:
        """A user with a policy, if there are statements, and an access key."""
        fleethaven("user", "create", name, *self.target)
        if statements:
            self.allow("user", name, *statements)
        [account] = {line["account_id"] for line in fleethaven("user", "list", *self.target)}
        [key] = fleethaven("access-key", "create", "--account", account, "--user", name, *self.target)
        return key

    def allow(self, kind: str, name: str, *statements: tuple, policy: str = "p"):
        text = self.file(document(*statements))
        fleethaven(kind, "policy", "put", policy, f"--{kind}", name, "--document", text, *self.target)

    def role(self, name: str, trusted: str, *statements: tuple, **options) -> dict:
        more = [text for key, value in options.items() for text in (f"--{key.replace('_', '-')}", str(value))]
        [role] = fleethaven("role", "create", name, "--trust", self.file(trusted), *more, *self.target)
        if statements:
            self.allow("role", name, *statements)
        return role


@pytest.fixture
def operators(tmp_path, admin):
    return Operators(tmp_path, admin)


def denied(call, *arguments, code="AccessDeniedException", **named) -> str:
    """The message of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (403, code)
    return answer["Error"]["Message"]


def sts(fleet, key: dict):
    return boto3.client(
        "sts",
        endpoint_url=fleet.ready["iot_endpoint"],
        region_name=fleet.region,
        verify=fleet.ca_file,
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )


def test_a_user_may_do_what_its_policies_say(fleet, operators, name):
    things = f"arn:aws:iot:{fleet.region}:{fleet.account}:thing/{name}-*"
    key = operators.user(name, ("Allow", ["iot:CreateThing", "iot:DescribeThing"], things))
    assert key["user_name"] == name
    iot = signed_by(fleet, key)
    iot.create_thing(thingName=f"{name}-1")
    iot.describe_thing(thingName=f"{name}-1")
    message = denied(iot.create_thing, thingName="another")
    assert f"arn:aws:iam::{fleet.account}:user/{name}" in message and "iot:CreateThing" in message
    assert message.endswith("no identity-based policy allows the iot:CreateThing action")
    denied(iot.list_things)
    operators.allow("user", name, ("Deny", "iot:DescribeThing", "*"), policy="deny")
    assert "explicit deny" in denied(iot.describe_thing, thingName=f"{name}-1")
    fleethaven("user", "policy", "delete", "deny", "--user", name, *operators.target)
    iot.describe_thing(thingName=f"{name}-1")


def test_get_caller_identity_tells_users_and_sessions_apart(fleet, operators, name):
    key = operators.user(name, ("Allow", "sts:AssumeRole", "*"))
    assert sts(fleet, key).get_caller_identity()["Arn"] == f"arn:aws:iam::{fleet.account}:user/{name}"
    role = operators.role(name, trust(AWS=fleet.account), ("Allow", "iot:ListThings", "*"))
    given = sts(fleet, key).assume_role(RoleArn=role["arn"], RoleSessionName="night")
    assert given["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{fleet.account}:assumed-role/{name}/night"
    credentials = given["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    signed_by(fleet, credentials).list_things()
    denied(signed_by(fleet, credentials).list_thing_types)
    environment = {key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"} | {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
        "AWS_DEFAULT_REGION": fleet.region,
    }
    line = ["aws", "--endpoint-url", fleet.ready["iot_endpoint"], "--ca-bundle", fleet.ca_file]
    asked = [*line, "sts", "get-caller-identity"]
    told = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=60)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["Arn"] == f"arn:aws:sts::{fleet.account}:assumed-role/{name}/night"


def test_a_session_ends_with_its_role(fleet, operators, name):
    key = operators.user(name, ("Allow", "sts:AssumeRole", "*"))
    role = operators.role(name, trust(AWS=f"arn:aws:iam::{fleet.account}:user/{name}"), ("Allow", "iot:*", "*"))
    narrowed = document(("Allow", "iot:DescribeEndpoint", "*"))
    given = sts(fleet, key).assume_role(RoleArn=role["arn"], RoleSessionName="s1", Policy=narrowed)
    iot = signed_by(fleet, given["Credentials"])
    iot.describe_endpoint()
    assert denied(iot.list_things).endswith("no session policy allows the iot:ListThings action")
    assert "policies" in failure("role", "delete", name, *operators.target)
    fleethaven("role", "delete", name, "--force", *operators.target)
    denied(iot.describe_endpoint, code="UnrecognizedClientException")


def test_whom_a_role_does_not_trust(fleet, operators, name):
    key = operators.user(name, ("Allow", "sts:AssumeRole", "*"))
    external = json.loads(trust(AWS=fleet.account))
    external["Statement"]["Condition"] = {"StringEquals": {"sts:ExternalId": "4711"}}
    role = operators.role(name, json.dumps(external), max_session=7200)
    assume = sts(fleet, key).assume_role
    asked = {"RoleArn": role["arn"], "RoleSessionName": "s1"}
    denied(assume, **asked, code="AccessDenied")
    assume(**asked, ExternalId="4711", DurationSeconds=7200)
    with pytest.raises(ClientError, match="DurationSeconds"):
        assume(**asked, ExternalId="4711", DurationSeconds=7201)
    root = {"access_key_id": fleet.ready["access_key_id"], "secret_access_key": fleet.ready["secret_access_key"]}
    assert "root" in denied(sts(fleet, root).assume_role, **asked, ExternalId="4711", code="AccessDenied")


def test_the_life_of_a_user(fleet, operators, name):
    key = operators.user(name, ("Allow", "iot:*", "*"))
    [line] = [line for line in fleethaven("user", "list", *operators.target) if line["user_name"] == name]
    assert line["policies"] == ["p"] and line["arn"].endswith(f":user/{name}")
    [policy] = fleethaven("user", "policy", "list", "--user", name, *operators.target)
    assert policy["policy_name"] == "p" and json.loads(policy["policy_document"])["Version"] == "2012-10-17"
    of = ["--account", fleet.account, *operators.target]
    keys = {line["access_key_id"]: line.get("user_name") for line in fleethaven("access-key", "list", *of)}
    assert keys[key["access_key_id"]] == name and keys[fleet.ready["access_key_id"]] is None
    broken = operators.file('{"Statement": []}')
    assert "statement" in failure(
        "user", "policy", "put", "q", "--user", name, "--document", broken, *operators.target
    )
    assert "access keys" in failure("user", "delete", name, *operators.target)
    fleethaven("user", "delete", name, "--force", *operators.target)
    denied(signed_by(fleet, key).list_things, code="UnrecognizedClientException")
    assert "does not exist" in failure("user", "policy", "list", "--user", name, *operators.target)


def websocket(fleet, key: dict, client_id: str, at: tuple[str, int] | None = None, **options):
    """A client of the AWS IoT Device SDK that signs with a key, at one gateway or at any."""
    credentials = AwsCredentialsProvider.new_static(
        key.get("access_key_id") or key["AccessKeyId"],
        key.get("secret_access_key") or key["SecretAccessKey"],
        session_token=key.get("SessionToken"),
    )
    host, port = at or fleet.https
    return Sdk5(
        fleet,
        None,
        client_id,
        build=mqtt5_client_builder.websockets_with_default_aws_signing,
        endpoint=host,
        port=port,
        region=fleet.region,
        credentials_provider=credentials,
        **options,
    )


def topics(fleet, name: str) -> list[tuple]:
    arn = f"arn:aws:iot:{fleet.region}:{fleet.account}:"
    return [
        ("Allow", "iot:Connect", f"{arn}client/{name}*"),
        ("Allow", ["iot:Publish", "iot:Receive"], f"{arn}topic/{name}/*"),
        ("Allow", "iot:Subscribe", f"{arn}topicfilter/{name}/*"),
    ]


def test_policies_count_over_websocket_as_they_are_now(fleet, operators, name):
    key = operators.user(name, *topics(fleet, name))
    client = websocket(fleet, key, name).connect()
    assert client.subscribe(f"{name}/#") == [1]
    client.publish(f"{name}/a", b"allowed")
    assert client.expect(1) == [b"allowed"]
    with pytest.raises(AssertionError):
        websocket(fleet, key, "another").connect()
    # What is taken away is gone with the next packet; what is left is delivered.
    operators.allow("user", name, ("Deny", "iot:Receive", f"arn:aws:iot:*:*:topic/{name}/b"), policy="deny")
    client.publish(f"{name}/b", b"not received")
    client.publish(f"{name}/a", b"received")
    assert client.expect(2) == [b"allowed", b"received"]
    client.disconnect()


def test_a_session_over_websocket_ends_with_its_role(fleet, operators, name):
    key = operators.user(name, ("Allow", "sts:AssumeRole", "*"))
    role = operators.role(name, trust(AWS=fleet.account), *topics(fleet, name))
    given = sts(fleet, key).assume_role(RoleArn=role["arn"], RoleSessionName="s1")["Credentials"]
    gone = []
    client = websocket(
        fleet,
        given,
        name,
        on_lifecycle_disconnection=lambda data: gone.append(data.disconnect_packet),
    ).connect()
    assert client.subscribe(f"{name}/#") == [1]
    client.publish(f"{name}/a", b"x")
    assert client.expect(1) == [b"x"]
    fleethaven("role", "delete", name, "--force", *operators.target)
    eventually(lambda: gone, "the end of the connection")
    assert "no longer good" in gone[0].reason_string
    client.disconnect()


def test_boto3_publishes_and_reads_shadows_as_policies_say(fleet, operators, name):
    arn = f"arn:aws:iot:{fleet.region}:{fleet.account}:"
    key = operators.user(
        name,
        ("Allow", "iot:Publish", f"{arn}topic/${{aws:username}}/*"),
        ("Allow", ["iot:UpdateThingShadow", "iot:GetThingShadow"], f"{arn}thing/{name}"),
    )
    data = signed_by(fleet, key, "iot-data")
    data.publish(topic=f"{name}/a", qos=1, payload=b"x")
    message = denied(data.publish, topic="else/a", qos=1, payload=b"x", code="ForbiddenException")
    assert "iot:Publish" in message and "topic/else/a" in message
    data.update_thing_shadow(thingName=name, payload=b'{"state":{"desired":{"a":1}}}')
    assert b'"a":1' in data.get_thing_shadow(thingName=name)["payload"].read()
    denied(data.delete_thing_shadow, thingName=name, code="ForbiddenException")
    denied(data.get_thing_shadow, thingName="another", code="ForbiddenException")


def test_conditions_and_passing_roles(fleet, operators, name):
    key = operators.user(
        name,
        ("Allow", "iot:ListThings", "*", {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}),
        ("Allow", "iot:ListPolicies", "*", {"IpAddress": {"aws:SourceIp": "198.51.100.0/24"}}),
        ("Allow", "iot:CreateThingType", "*", {"StringEquals": {"aws:RequestTag/team": name}}),
        ("Allow", "iot:CreateRoleAlias", "*"),
    )
    iot = signed_by(fleet, key)
    iot.list_things()
    denied(iot.list_policies)
    iot.create_thing_type(thingTypeName=f"{name}-a", tags=[{"Key": "team", "Value": name}])
    denied(iot.create_thing_type, thingTypeName=f"{name}-b", tags=[{"Key": "team", "Value": "other"}])
    role = f"arn:aws:iam::{fleet.account}:role/any"
    assert "iam:PassRole" in denied(iot.create_role_alias, roleAlias=name, roleArn=role)
