"""What holds for every request: endpoints, headers, signatures, regions, and operations that are not built."""

import re
import subprocess

import pytest
from botocore.exceptions import ClientError

from control_plane import invalid, missing, refused
from lab import Lab
from signed import call, https, sign, trusting


# Endpoints


@pytest.mark.parametrize("kind", ["iot:Data", "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs"])
def test_an_endpoint_is_host_and_port(iot, kind):
    assert re.fullmatch(r"[\w.\-\[\]:]+", iot.describe_endpoint(endpointType=kind)["endpointAddress"])


def test_the_data_endpoint_is_where_the_api_listens(fleet, iot):
    _, port = fleet.https
    assert iot.describe_endpoint()["endpointAddress"].endswith(f":{port}")


def test_an_unknown_endpoint_type_is_refused(iot):
    invalid(iot.describe_endpoint, endpointType="iot:Nothing")


# What is not built, and what every answer carries


@pytest.mark.parametrize(
    "operation, arguments",
    [
        ("list_streams", {}),
        ("list_jobs", {}),
        ("describe_account_audit_configuration", {}),
        ("list_custom_metrics", {}),
        ("list_packages", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operation_that_is_not_built_says_so_by_name(iot, operation, arguments):
    name = "".join(part.capitalize() for part in operation.split("_"))
    with pytest.raises(ClientError) as caught:
        getattr(iot, operation)(**arguments)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 400
    assert name in str(caught.value.response["Error"]["Message"]), caught.value


def test_a_path_of_no_operation_is_refused(fleet):
    answer = call(fleet, "GET", "/no/such/path")
    assert answer.status >= 400 and answer.error, answer


def test_every_answer_carries_a_request_id_and_errors_their_type(fleet, iot, name):
    iot.create_thing(thingName=name)
    good = call(fleet, "GET", f"/things/{name}")
    bad = call(fleet, "GET", "/things/no-such-thing")
    unsigned = call(fleet, "GET", "/things", secret="wrong")
    ids = [answer.headers["x-amzn-requestid"] for answer in (good, bad, unsigned)]
    assert len({*ids}) == 3 and all(ids)
    assert good.status == 200 and "x-amzn-errortype" not in good.headers
    assert good.headers["content-type"].startswith("application/json")
    assert (bad.status, bad.error) == (404, "ResourceNotFoundException")
    assert bad.json["message"]


def test_a_body_that_is_no_json_is_refused(fleet, name):
    answer = call(fleet, "POST", f"/things/{name}", b"{not json")
    assert answer.status == 400 and answer.error in ("InvalidRequestException", "SerializationException"), (
        answer
    )


# Signatures


def test_a_wrong_secret_is_refused(fleet):
    answer = call(fleet, "GET", "/things", secret="wrong")
    assert (answer.status, answer.error) == (403, "SignatureDoesNotMatchException") or (
        answer.status == 403 and answer.error in ("SignatureDoesNotMatch", "InvalidSignatureException")
    ), answer


def test_an_unknown_key_is_refused(fleet):
    answer = call(fleet, "GET", "/things", key="AKIDOESNOTEXIST00000")
    assert (answer.status, answer.error) == (403, "UnrecognizedClientException"), answer


@pytest.mark.parametrize("seconds", [-400, 400], ids=["late", "early"])
def test_a_date_out_of_the_window_is_refused(fleet, seconds):
    answer = call(fleet, "GET", "/things", skew_seconds=seconds)
    assert answer.status == 403, answer
    assert (
        "expired" in answer.json["message"].lower() or "not yet current" in answer.json["message"].lower()
    ), answer


@pytest.mark.parametrize("seconds", [-240, 240])
def test_a_date_within_the_window_is_accepted(fleet, seconds):
    assert call(fleet, "GET", "/things", skew_seconds=seconds).status == 200


def test_a_changed_body_is_refused(fleet, name):
    headers = sign(fleet, "POST", f"/things/{name}", b"{}")
    answer = https(
        fleet.https, trusting(fleet), "POST", f"/things/{name}", headers, b'{"thingTypeName": "x"}'
    )
    assert answer.status == 403, answer


def test_a_signature_for_another_service_is_refused(fleet):
    answer = call(fleet, "GET", "/things", service="s3")
    assert answer.status in (403, 404) and answer.error, answer


# Regions


def test_every_region_is_a_world_of_its_own(fleet, iot, name):
    other = fleet.client("iot", region_name="eu-west-3")
    iot.create_thing(thingName=name)
    missing(other.describe_thing, thingName=name)
    made = other.create_thing(thingName=name, attributePayload={"attributes": {"a": "1"}})
    assert made["thingArn"] == f"arn:aws:iot:eu-west-3:{fleet.account}:thing/{name}"
    assert (
        "attributes" not in iot.describe_thing(thingName=name)
        or not iot.describe_thing(thingName=name)["attributes"]
    )


def test_a_single_region_refuses_others(fleethaven):
    fleet = fleethaven("--single-region")
    fleet.iot.list_things()
    with pytest.raises(ClientError) as caught:
        fleet.client("iot", region_name="eu-west-3").list_things()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "eu-west-3" in caught.value.response["Error"]["Message"], caught.value


def test_the_caller_is_the_root_of_the_account(fleet, tmp_path):
    # With the config file alone, as Terraform's AWS provider asks it before it does anything.
    told = Lab(fleet, tmp_path).aws("get-caller-identity", service="sts")
    root = f"arn:aws:iam::{fleet.account}:root"
    assert told == {"UserId": fleet.account, "Account": fleet.account, "Arn": root}


def test_a_caller_that_nobody_knows_is_refused(fleet):
    sts = fleet.client("sts", aws_access_key_id="AKIAUNKNOWN000000000")
    refused("InvalidClientTokenId", 403, sts.get_caller_identity)
    sts = fleet.client("sts", aws_secret_access_key="wrong")
    refused("SignatureDoesNotMatch", 403, sts.get_caller_identity)


def test_an_accounts_own_key_assumes_no_role(fleet):
    role = "arn:aws:iam::123456789012:role/any"
    refused("AccessDenied", 403, fleet.client("sts").assume_role, RoleArn=role, RoleSessionName="session")


@pytest.mark.parametrize("megabytes", [1.5, 5, 40])
def test_too_large_a_body_is_told_so(fleet, megabytes):
    """The client sends all of it before it looks at the answer."""
    with pytest.raises(ClientError) as caught:
        fleet.iot.create_policy(policyName="large", policyDocument="x" * int(megabytes * 1_000_000))
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 413, answer
    assert answer["Error"]["Code"] == "RequestEntityTooLargeException"


@pytest.mark.parametrize("version, wait", [("--http1.1", "30"), ("--http2", "1")])
def test_a_client_that_asks_first_is_told_at_once(fleet, tmp_path, version, wait):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 30_000_000)
    ready = fleet.ready
    command = ["curl", "-sS", version, "--cacert", fleet.ca_file, "-o", "/dev/null", "-H", "Expect: 100-continue"]
    command += ["--aws-sigv4", f"aws:amz:{fleet.region}:iot", "--user"]
    command += [f"{ready['access_key_id']}:{ready['secret_access_key']}", "-w", "%{http_code} %{size_upload}"]
    command += ["--expect100-timeout", wait, "-X", "POST", "--data-binary", f"@{body}", f"{ready['iot_endpoint']}/policies/large"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    status, uploaded = answer.stdout.split()
    assert status == "413", answer
    if version == "--http1.1":
        assert int(uploaded) == 0, "it was to be told before it sends"
