"""The credentials provider: temporary credentials for a client certificate, by a role alias; with curl and boto3."""

import json
import subprocess

import pytest
from botocore.exceptions import ClientError

from commands import fleethaven, signed_by
from device import make_device
from instance import address
from signed import https, trusting


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--https-mtls", "127.0.0.1:0")


@pytest.fixture
def admin(fleet):
    return ["--admin", fleet.ready["admin"], "--json"]


@pytest.fixture
def role(fleet, admin, tmp_path, name):
    """A role that devices get credentials of, with an alias of its name."""

    def written(text) -> str:
        path = tmp_path / "document.json"
        path.write_text(json.dumps({"Version": "2012-10-17", "Statement": text}))
        return str(path)

    service = {"Service": "credentials.iot.amazonaws.com"}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": service}
    [made] = fleethaven("role", "create", name, "--trust", written(trust), *admin)
    own = {
        "Effect": "Allow",
        "Action": "iot:Publish",
        "Resource": "arn:aws:iot:*:*:topic/${credentials-iot:ThingName}/${credentials-iot:ThingTypeName}",
    }
    fleethaven("role", "policy", "put", "own", "--role", name, "--document", written(own), *admin)
    fleet.iot.create_role_alias(roleAlias=name, roleArn=made["arn"], credentialDurationSeconds=900)
    return made


@pytest.fixture
def device(fleet, tmp_path, name):
    """A device whose thing has the test's name, and which may ask for the alias of that name."""
    policy = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Action": "iot:AssumeRoleWithCertificate",
            "Resource": fleet.arn(f"rolealias/{name}"),
        },
    }
    made = make_device(fleet, tmp_path, policy)
    fleet.iot.create_thing_type(thingTypeName=f"{name}-type")
    fleet.iot.create_thing(thingName=name, thingTypeName=f"{name}-type")
    fleet.iot.attach_thing_principal(thingName=name, principal=made.arn)
    return made


def ask(fleet, device, alias: str, **headers):
    context = trusting(fleet)
    context.load_cert_chain(device.certificate_file, device.key_file)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    provider = fleet.iot.describe_endpoint(endpointType="iot:CredentialProvider")["endpointAddress"]
    return https(address(provider), context, "GET", f"/role-aliases/{alias}/credentials", named)


def test_boto3_works_with_what_a_device_is_given(fleet, role, device, name):
    answer = ask(fleet, device, name, x_amzn_iot_thingname=name)
    assert answer.status == 200, answer.body
    given = answer.json["credentials"]
    assert given.keys() == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
    key = {
        "AccessKeyId": given["accessKeyId"],
        "SecretAccessKey": given["secretAccessKey"],
        "SessionToken": given["sessionToken"],
    }
    data = signed_by(fleet, key, "iot-data")
    data.publish(topic=f"{name}/{name}-type", qos=1, payload=b"x")
    with pytest.raises(ClientError, match="assumed-role"):
        data.publish(topic=f"another/{name}-type", qos=1, payload=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        signed_by(fleet, key).list_things()


def test_curl_is_answered_as_by_aws(fleet, role, device, name):
    provider = fleet.iot.describe_endpoint(endpointType="iot:CredentialProvider")["endpointAddress"]
    curl = ["curl", "--silent", "--show-error", "--cacert", fleet.ca_file]
    curl += ["--cert", device.certificate_file, "--key", device.key_file]
    url = f"https://{provider}/role-aliases/{name}/credentials"
    told = subprocess.run([*curl, url], capture_output=True, text=True, timeout=30)
    assert json.loads(told.stdout)["credentials"]["accessKeyId"].startswith("ASIA"), told.stderr


def test_who_gets_no_credentials(fleet, role, device, admin, name):
    fleet.iot.create_thing(thingName=f"{name}-other")
    other = ask(fleet, device, name, x_amzn_iot_thingname=f"{name}-other")
    assert (other.status, other.json) == (403, {"message": "Invalid thing name passed"})
    refused = (403, {"message": "Access Denied"})

    def answer(alias=name):
        told = ask(fleet, device, alias)
        return told.status, told.json

    assert answer("another-alias") == refused, "no policy allows the alias"
    fleethaven("role", "delete", name, "--force", *admin)
    assert answer() == refused, "the role is gone"
