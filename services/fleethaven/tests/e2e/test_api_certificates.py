"""Certificates: every way to get one, its status machine and its end."""

import datetime
import hashlib
import ssl

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from control_plane import ANY, flat, invalid, missing, pages, refused
from device import certificate, new_key, pem, signing_request


def test_keys_and_certificate(fleet, iot):
    made = iot.create_keys_and_certificate(setAsActive=True)
    parsed = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    assert isinstance(parsed.public_key(), rsa.RSAPublicKey) and parsed.public_key().key_size == 2048
    der = ssl.PEM_cert_to_DER_cert(made["certificatePem"])
    assert made["certificateId"] == hashlib.sha256(der).hexdigest()
    assert made["certificateArn"] == fleet.arn(f"cert/{made['certificateId']}")
    assert parsed.not_valid_after_utc.year == 2049
    assert made["keyPair"]["PrivateKey"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert made["keyPair"]["PublicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    described = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert described["status"] == "ACTIVE"
    assert described["certificatePem"] == made["certificatePem"]
    assert described["ownedBy"] == fleet.account
    assert described["certificateMode"] == "DEFAULT"
    assert isinstance(described["creationDate"], datetime.datetime)
    assert described["validity"]["notAfter"].year == 2049


def test_a_certificate_is_inactive_unless_told(iot):
    made = iot.create_keys_and_certificate()
    described = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert described["status"] == "INACTIVE"


@pytest.mark.parametrize(
    "key",
    [ec.SECP256R1, ec.SECP384R1, lambda: 2048],
    ids=["P-256", "P-384", "RSA-2048"],
)
def test_a_signing_request_becomes_a_certificate_over_its_key(iot, key):
    kind = key()
    private = rsa.generate_private_key(65537, kind) if kind == 2048 else ec.generate_private_key(kind)
    made = iot.create_certificate_from_csr(
        certificateSigningRequest=signing_request(private), setAsActive=True
    )
    parsed = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    assert parsed.public_key() == private.public_key()


def test_the_same_signing_request_twice_is_two_certificates(iot):
    request = signing_request(new_key())
    ids = {
        iot.create_certificate_from_csr(certificateSigningRequest=request)["certificateId"] for _ in range(2)
    }
    assert len(ids) == 2


def test_a_bad_signing_request_is_refused(iot):
    good = signing_request(new_key())
    invalid(iot.create_certificate_from_csr, certificateSigningRequest="no request")
    lines = good.splitlines()
    lines[2] = lines[2][:10] + ("A" if lines[2][10] != "A" else "B") + lines[2][11:]
    invalid(iot.create_certificate_from_csr, certificateSigningRequest="\n".join(lines))


def test_a_certificate_without_a_registered_authority(fleet, iot):
    text = pem(certificate("own", new_key()))
    made = iot.register_certificate_without_ca(certificatePem=text, status="ACTIVE")
    assert made["certificateArn"] == fleet.arn(f"cert/{made['certificateId']}")
    described = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert (described["status"], described["certificateMode"]) == ("ACTIVE", "SNI_ONLY")
    refused("ResourceAlreadyExistsException", 409, iot.register_certificate_without_ca, certificatePem=text)


def test_no_certificate_at_all_is_refused(iot):
    for operation in (iot.register_certificate, iot.register_certificate_without_ca):
        with pytest.raises(ClientError) as caught:
            operation(certificatePem="-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")
        assert caught.value.response["Error"]["Code"] in (
            "CertificateValidationException",
            "InvalidRequestException",
        )


def authority(iot, common_name: str, active: bool = True):
    """A CA registered with proof of possession: its key, certificate and id."""
    key = new_key()
    root = certificate(common_name, key, ca=True)
    code = iot.get_registration_code()["registrationCode"]
    proof = certificate(code, new_key(), issuer=common_name, issuer_key=key)
    made = iot.register_ca_certificate(
        caCertificate=pem(root), verificationCertificate=pem(proof), setAsActive=active
    )
    return key, root, made["certificateId"]


def test_a_certificate_of_a_registered_authority(iot, name):
    key, root, ca_id = authority(iot, name)
    text = pem(certificate("device", new_key(), issuer=name, issuer_key=key))
    made = iot.register_certificate(certificatePem=text, caCertificatePem=pem(root), status="ACTIVE")
    described = iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
    assert (described["status"], described["caCertificateId"]) == ("ACTIVE", ca_id)
    refused("ResourceAlreadyExistsException", 409, iot.register_certificate, certificatePem=text)


def test_an_authority_that_does_not_prove_its_key_is_refused(iot, name):
    key = new_key()
    root = certificate(name, key, ca=True)
    proof = certificate("not the code", new_key(), issuer=name, issuer_key=key)
    refused(
        "RegistrationCodeValidationException",
        400,
        iot.register_ca_certificate,
        caCertificate=pem(root),
        verificationCertificate=pem(proof),
    )


def test_an_inactive_authority_registers_nothing(iot, name):
    key, root, _ = authority(iot, name, active=False)
    text = pem(certificate("device", new_key(), issuer=name, issuer_key=key))
    refused(
        "CertificateStateException",
        406,
        iot.register_certificate,
        certificatePem=text,
        caCertificatePem=pem(root),
    )


def test_a_certificate_that_its_authority_did_not_sign_is_refused(iot, name):
    _, root, _ = authority(iot, name)
    text = pem(certificate("device", new_key(), issuer=name, issuer_key=new_key()))
    refused(
        "CertificateValidationException",
        400,
        iot.register_certificate,
        certificatePem=text,
        caCertificatePem=pem(root),
    )


def test_two_authorities_of_one_subject_need_to_be_told_apart(iot, name):
    key, root, _ = authority(iot, name)
    authority(iot, name)
    text = pem(certificate("device", new_key(), issuer=name, issuer_key=key))
    refused("CertificateConflictException", 409, iot.register_certificate, certificatePem=text)
    iot.register_certificate(certificatePem=text, caCertificatePem=pem(root))


def test_certificates_are_listed_by_pages_in_both_directions(iot, cert):
    for _ in range(3):
        iot.create_certificate_from_csr(certificateSigningRequest=signing_request(new_key()))
    up = flat(
        pages(iot.list_certificates, "certificates", "pageSize", "marker", ascendingOrder=True),
        "certificateId",
    )
    down = flat(
        pages(iot.list_certificates, "certificates", "pageSize", "marker", ascendingOrder=False),
        "certificateId",
    )
    assert up == down[::-1] and cert.id in up and len(up) == len(set(up))


@pytest.mark.parametrize("to", ["ACTIVE", "INACTIVE", "REVOKED"])
@pytest.mark.parametrize("start", ["ACTIVE", "INACTIVE", "REVOKED"])
def test_the_status_of_a_certificate(iot, cert, start, to):
    iot.update_certificate(certificateId=cert.id, newStatus=start)
    if start == "REVOKED" and to != "REVOKED":
        refused("CertificateStateException", 406, iot.update_certificate, certificateId=cert.id, newStatus=to)
        to = start
    else:
        iot.update_certificate(certificateId=cert.id, newStatus=to)
    assert iot.describe_certificate(certificateId=cert.id)["certificateDescription"]["status"] == to


@pytest.mark.parametrize("status", ["PENDING_TRANSFER", "PENDING_ACTIVATION", "NONSENSE"])
def test_a_status_that_cannot_be_set_is_refused(iot, cert, status):
    invalid(iot.update_certificate, certificateId=cert.id, newStatus=status)


def test_deleting_a_certificate(iot, cert, name):
    """ACTIVE: 406. With a policy: 409 unless forced. With a thing: 409 even then."""
    iot.create_policy(policyName=name, policyDocument=ANY)
    iot.attach_policy(policyName=name, target=cert.arn)
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=cert.arn)
    refused("CertificateStateException", 406, iot.delete_certificate, certificateId=cert.id)
    iot.update_certificate(certificateId=cert.id, newStatus="INACTIVE")
    conflict = "DeleteConflictException", 409
    refused(*conflict, iot.delete_certificate, certificateId=cert.id, forceDelete=True)
    iot.detach_thing_principal(thingName=name, principal=cert.arn)
    refused(*conflict, iot.delete_certificate, certificateId=cert.id)
    iot.delete_certificate(certificateId=cert.id, forceDelete=True)
    missing(iot.describe_certificate, certificateId=cert.id)
    assert iot.list_targets_for_policy(policyName=name)["targets"] == []


def test_unknown_certificates_are_404(iot):
    unknown = "0" * 64
    missing(iot.describe_certificate, certificateId=unknown)
    missing(iot.update_certificate, certificateId=unknown, newStatus="ACTIVE")
    missing(iot.delete_certificate, certificateId=unknown)
