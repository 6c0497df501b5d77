"""Certificates that the API and the handshake must not take: with a digest that is broken, signed by another, for another key, far
too large, and what is none. Raw handshakes with certificates of another's key are in `tests/live/forged_certificates.rs`."""

import json
import ssl

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from control_plane import missing
from device import Device, certificate, key_pem, new_key, pem
from mqtt_client import Client, Refused
from signed import call
from test_just_in_time import Authority, authority  # noqa: F401  (a fixture)
from test_own_certificates import openssl

TAKEN_FOR_BAD = {"CertificateValidationException", "InvalidRequestException"}


def by_sha1(folder, authority: Authority, name: str) -> tuple[str, str]:  # noqa: F811
    """A device certificate of the authority whose digest is SHA-1, and its key; cryptography makes no such thing any more."""
    ca, ca_key, key, request, made = (folder / n for n in ("ca.pem", "ca.key", "d.key", "d.csr", "d.pem"))
    ca.write_text(pem(authority.certificate))
    ca_key.write_text(key_pem(authority.key))
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    openssl("req", "-new", "-key", key, "-out", request, "-subj", f"/CN={name}")
    openssl("x509", "-req", "-sha1", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", made, "-days", 2)
    parsed = x509.load_pem_x509_certificate(made.read_bytes())
    assert parsed.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.1", "ecdsa-with-SHA1"
    return made.read_text(), key.read_text()


def bad(operation, **arguments):
    with pytest.raises(ClientError) as refused:
        operation(**arguments)
    answer = refused.value.response
    assert answer["Error"]["Code"] in TAKEN_FOR_BAD and answer["ResponseMetadata"]["HTTPStatusCode"] == 400, answer


def test_sha_1_is_not_registered(iot, tmp_path, authority, name):  # noqa: F811
    authority.register(iot)
    text, _ = by_sha1(tmp_path, authority, name)
    bad(iot.register_certificate, certificatePem=text)
    bad(iot.register_certificate, certificatePem=text, caCertificatePem=pem(authority.certificate))
    bad(iot.register_certificate_without_ca, certificatePem=text)


def test_sha_1_does_not_register_itself(fleet, iot, tmp_path, authority, name):  # noqa: F811
    authority.register(iot)
    text, key = by_sha1(tmp_path, authority, name)
    id = x509.load_pem_x509_certificate(text.encode()).fingerprint(hashes.SHA256()).hex()
    device = Device.store(tmp_path, "", id, text, key)
    context = ssl.create_default_context(cafile=fleet.ca_file)
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # the client's own library would not show it
    context.load_cert_chain(device.certificate_file, device.key_file)
    with pytest.raises(Refused):
        Client(fleet, device, name, context=context).connect()
    missing(iot.describe_certificate, certificateId=id)


def spoiled(made: x509.Certificate) -> dict[str, str]:
    """The certificate as it should not be."""
    text = pem(made)
    lines = text.splitlines()
    flipped = lines[-3][:4] + ("A" if lines[-3][4] != "A" else "B") + lines[-3][5:]
    return {
        "no PEM": "certificate",
        "nothing in it": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "no base64": text.replace(lines[1], "?" * 64),
        "half of it": "\n".join([*lines[: len(lines) // 2], lines[-1]]),
        "another label": text.replace("CERTIFICATE", "PUBLIC KEY"),
        "another signature": "\n".join([*lines[:-3], flipped, *lines[-2:]]),
    }


@pytest.mark.parametrize("what", spoiled(certificate("any", new_key())))
def test_what_is_no_certificate_is_not_registered(iot, authority, name, what):  # noqa: F811
    authority.register(iot)
    made = certificate(name, new_key(), authority.common_name, authority.key)
    text = spoiled(made)[what]
    bad(iot.register_certificate, certificatePem=text)
    if what != "another signature":  # nobody checks who signed a certificate that is registered without its CA
        bad(iot.register_certificate_without_ca, certificatePem=text)
    bad(iot.register_ca_certificate, caCertificate=text, certificateMode="SNI_ONLY")


def test_a_private_key_beside_it_is_not_kept(iot, name):
    key = new_key()
    text = pem(certificate(name, key))
    try:
        made = iot.register_certificate_without_ca(certificatePem=key_pem(key) + text)
    except ClientError:
        return
    described = iot.describe_certificate(certificateId=made["certificateId"])
    assert "PRIVATE" not in described["certificateDescription"]["certificatePem"]


@pytest.mark.parametrize("path", ["/certificate/register", "/certificate/register-no-ca", "/cacertificate"])
def test_far_too_large_a_certificate_is_refused(fleet, path):
    """Above the model's 65,536 characters, which boto3 would not send."""
    member = "caCertificate" if path == "/cacertificate" else "certificatePem"
    noise = "A" * 64 + "\n"
    text = "-----BEGIN CERTIFICATE-----\n" + noise * 1100 + "-----END CERTIFICATE-----\n"
    body = {member: text, "certificateMode": "SNI_ONLY"} if path == "/cacertificate" else {member: text}
    answer = call(fleet, "POST", path, json.dumps(body).encode())
    assert answer.status == 400 and answer.error in TAKEN_FOR_BAD, answer


def test_a_device_is_no_authority(iot, name):
    """A certificate that is not a CA's can neither be registered as one, nor vouch for others."""
    key = new_key()
    leaf = certificate(name, key)
    bad(iot.register_ca_certificate, caCertificate=pem(leaf), certificateMode="SNI_ONLY")
    below = pem(certificate("below", new_key(), issuer=name, issuer_key=key))
    bad(iot.register_certificate, certificatePem=below, caCertificatePem=pem(leaf))


def test_an_authority_whose_time_is_over_is_not_registered(iot, name):
    for valid in ((-7200, -3600), (3600, 7200)):
        made = certificate(name, new_key(), ca=True, valid=valid)
        bad(iot.register_ca_certificate, caCertificate=pem(made), certificateMode="SNI_ONLY")
