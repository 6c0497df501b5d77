"""Certificate providers: a webhook in place of the Lambda function signs what devices ask for over MQTT."""

import json
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from control_plane import invalid, missing, refused
from device import certificate, key_pem, make_device, new_key, pem, signing_request
from enrolment import Enrolling, create_template, make_claim
from test_functions import LOOPBACK, arn, function, webhook  # noqa: F401  (a fixture)

OPERATIONS = ["CreateCertificateFromCsr"]
FAILED = 500, "InternalError"


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


class Signer:
    """A CA outside of Fleethaven; `change` spoils what it gives."""

    def __init__(self):
        self.key, self.change = new_key(), lambda builder, request: builder
        self.certificate = certificate("outer CA", self.key, ca=True)

    def __call__(self, event: dict):
        request = x509.load_pem_x509_csr(event["certificateSigningRequest"].encode())
        plain = certificate("any", self.key)
        builder = x509.CertificateBuilder().subject_name(request.subject).issuer_name(self.certificate.subject)
        builder = builder.public_key(request.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(plain.not_valid_before_utc).not_valid_after(plain.not_valid_after_utc)
        return {"certificatePem": pem(self.change(builder, request).sign(self.key, hashes.SHA256()))}


@pytest.fixture
def provider(fleet, iot, webhook, name):  # noqa: F811
    """The account's provider, and what signs for it."""
    signer = Signer()
    signer.hook = webhook(signer)
    function("put", arn(name), "--url", signer.hook.url, "--admin", fleet.ready["admin"])
    made = iot.create_certificate_provider(
        certificateProviderName=name, lambdaFunctionArn=arn(name), accountDefaultForOperations=OPERATIONS
    )
    assert made["certificateProviderArn"].startswith("arn:aws:iot:") and made["certificateProviderName"] == name
    yield signer
    iot.delete_certificate_provider(certificateProviderName=name)


@pytest.fixture
def enrolling(fleet, iot, connect, tmp_path, name) -> Enrolling:
    create_template(iot, name)
    claim = make_claim(fleet, tmp_path, name)
    enrolling = Enrolling(connect(f"{name}-device", claim), name).subscribe()
    enrolling.claim = claim
    return enrolling


def test_the_provider_signs(fleet, iot, enrolling, provider, connect, tmp_path, name):
    device, token = enrolling.certificate(tmp_path)
    with open(device.certificate_file, "rb") as file:
        signed = x509.load_pem_x509_certificate(file.read())
    assert signed.issuer == provider.certificate.subject
    event = json.loads(provider.hook.seen[0][1])
    assert event.pop("certificateSigningRequest").startswith("-----BEGIN CERTIFICATE REQUEST-----")
    assert event == {"principalId": enrolling.claim.id, "clientId": f"{name}-device"}
    headers = provider.hook.seen[0][0]
    assert headers["x-fleethaven-source"] == "certificate-provider"
    enrolling.accepted(enrolling.provision, enrolling.request(token, name))
    connect(f"lamp-{name}", device)
    # What operators ask for, and keys that are made here, are signed here.
    enrolling.accepted(enrolling.create)
    make_device(fleet, tmp_path, None)
    assert len(provider.hook.seen) == 1


def test_a_provider_that_gives_something_else(iot, enrolling, provider, name):
    key = new_key()
    request = {"certificateSigningRequest": signing_request(key)}
    before = len(iot.list_certificates(pageSize=250)["certificates"])
    stranger = new_key().public_key()
    for change in (
        lambda builder, request: x509.CertificateBuilder(
            builder._issuer_name,
            builder._subject_name,
            stranger,
            builder._serial_number,
            builder._not_valid_before,
            builder._not_valid_after,
        ),
        lambda builder, request: x509.CertificateBuilder(
            builder._issuer_name,
            builder._issuer_name,
            builder._public_key,
            builder._serial_number,
            builder._not_valid_before,
            builder._not_valid_after,
        ),
    ):
        provider.change = change
        assert enrolling.rejected(enrolling.from_csr, request) == FAILED
    for answer in ({}, {"certificatePem": "no certificate"}, {"certificatePem": 7}, b"no JSON", (500, {})):
        provider.hook.reply = lambda event, answer=answer: answer
        assert enrolling.rejected(enrolling.from_csr, request) == FAILED
    assert len(iot.list_certificates(pageSize=250)["certificates"]) == before


def test_the_life_of_a_provider(iot, name):
    arguments = {"lambdaFunctionArn": arn(name), "accountDefaultForOperations": OPERATIONS}
    token = str(uuid.uuid4())
    create = {"certificateProviderName": name, "clientToken": token, **arguments}
    tags = [{"Key": "k", "Value": "v"}]
    made = iot.create_certificate_provider(tags=tags, **create)
    assert iot.create_certificate_provider(**create)["certificateProviderArn"] == made["certificateProviderArn"]
    another = create | {"clientToken": str(uuid.uuid4())}
    refused("ResourceAlreadyExistsException", 409, iot.create_certificate_provider, **another)
    another["certificateProviderName"] = f"{name}-2"
    refused("LimitExceededException", 410, iot.create_certificate_provider, **another)
    described = iot.describe_certificate_provider(certificateProviderName=name)
    assert described["lambdaFunctionArn"] == arn(name)
    assert described["accountDefaultForOperations"] == OPERATIONS and described["creationDate"]
    listed = iot.list_certificate_providers()["certificateProviders"]
    summary = {"certificateProviderName": name, "certificateProviderArn": made["certificateProviderArn"]}
    assert listed == [summary]
    assert iot.list_tags_for_resource(resourceArn=made["certificateProviderArn"])["tags"] == tags
    iot.update_certificate_provider(certificateProviderName=name, lambdaFunctionArn=arn("other"))
    described = iot.describe_certificate_provider(certificateProviderName=name)
    assert described["lambdaFunctionArn"] == arn("other")
    iot.delete_certificate_provider(certificateProviderName=name)
    missing(iot.describe_certificate_provider, certificateProviderName=name)
    missing(iot.delete_certificate_provider, certificateProviderName=name)
    missing(iot.update_certificate_provider, certificateProviderName=name)
    wrong = {"certificateProviderName": name, "lambdaFunctionArn": "sign", "accountDefaultForOperations": OPERATIONS}
    invalid(iot.create_certificate_provider, **wrong)
