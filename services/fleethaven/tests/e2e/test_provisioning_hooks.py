"""Pre-provisioning hooks: a webhook in place of the Lambda function decides, and overrides parameters."""

import json

import pytest

from control_plane import missing
from enrolment import Enrolling, create_template, make_claim
from test_functions import LOOPBACK, arn, function, webhook  # noqa: F401  (a fixture)


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


@pytest.fixture
def enrolling(fleet, iot, connect, tmp_path, name) -> Enrolling:
    """A device whose template asks the function of the same name."""
    hook = {"payloadVersion": "2020-04-01", "targetArn": arn(name)}
    create_template(iot, name, preProvisioningHook=hook)
    claim = make_claim(fleet, tmp_path, name)
    enrolling = Enrolling(connect(f"{name}-device", claim), name).subscribe()
    enrolling.claim = claim
    return enrolling


def put(fleet, name: str, url: str):
    function("put", arn(name), "--url", url, "--admin", fleet.ready["admin"])


def test_a_hook_allows_and_overrides(fleet, iot, enrolling, webhook, tmp_path, name):  # noqa: F811
    overrides = {"SerialNumber": f"{name}-7", "Prefix": "sensor"}
    hook = webhook(lambda event: {"allowProvisioning": True, "parameterOverrides": overrides})
    put(fleet, name, hook.url)
    device, token = enrolling.certificate(tmp_path)
    answer = enrolling.accepted(enrolling.provision, enrolling.request(token, "asked", Extra="for the hook"))
    assert answer["thingName"] == f"sensor-{name}-7"
    [(headers, body)] = hook.seen
    template_arn = fleet.arn(f"provisioningtemplate/{name}")
    assert (headers["x-fleethaven-source"], headers["x-fleethaven-source-arn"]) == ("provisioning-hook", template_arn)
    with open(device.certificate_file) as file:
        certificate = file.read()
    assert json.loads(body) == {
        "claimCertificateId": enrolling.claim.id,
        "certificateId": device.id,
        "certificatePem": certificate,
        "templateArn": template_arn,
        "clientId": f"{name}-device",
        "parameters": {"SerialNumber": "asked", "Extra": "for the hook"},
    }


def test_a_hook_that_does_not_say_yes(fleet, iot, enrolling, webhook, tmp_path, name):  # noqa: F811
    answers = [{"allowProvisioning": False}, {"allowProvisioning": "true"}, {}, [], b"no JSON", (500, {})]
    hook = webhook(lambda event: answers.pop(0))
    put(fleet, name, hook.url)
    _, token = enrolling.certificate(tmp_path)
    while answers:
        assert enrolling.rejected(enrolling.provision, enrolling.request(token, name)) == (403, "AccessDenied")
    missing(iot.describe_thing, thingName=f"lamp-{name}")
    # The token is good still.
    answers.append({"allowProvisioning": True})
    assert enrolling.accepted(enrolling.provision, enrolling.request(token, name))["thingName"] == f"lamp-{name}"


def test_a_function_that_is_mapped_to_nothing(iot, enrolling, tmp_path, name):
    _, token = enrolling.certificate(tmp_path)
    assert enrolling.rejected(enrolling.provision, enrolling.request(token, name)) == (403, "AccessDenied")
    iot.update_provisioning_template(templateName=name, removePreProvisioningHook=True)
    enrolling.accepted(enrolling.provision, enrolling.request(token, name))
