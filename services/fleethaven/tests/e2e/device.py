"""Device identities: a key, a certificate and the policy that it stands under."""

from __future__ import annotations

import datetime
import itertools
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from instance import Fleethaven

_numbers = itertools.count(1)

ALLOW_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}


def allow(action: str, *resources: str) -> dict:
    """One Allow statement; resources are written `client/a`, for any region and account."""
    arns = [r if r == "*" else f"arn:aws:iot:*:*:{r}" for r in resources]
    return {"Effect": "Allow", "Action": f"iot:{action}", "Resource": arns}


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def pem(certificate_or_request) -> str:
    return certificate_or_request.public_bytes(serialization.Encoding.PEM).decode()


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def signing_request(key, common_name: str = "device") -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(common_name))
    return pem(builder.sign(key, hashes.SHA256()))


def certificate(
    subject: str,
    key,
    issuer: str | None = None,
    issuer_key=None,
    ca: bool = False,
    valid: tuple[float, float] = (-3600, 30 * 86400),
) -> x509.Certificate:
    """A certificate made outside of Fleethaven; self-signed unless an issuer is given. `valid`: from when to when, in seconds
    from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    begins, ends = (now + datetime.timedelta(seconds=seconds) for seconds in valid)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer or subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if ca:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True
        )
    return builder.sign(issuer_key or key, hashes.SHA256())


@dataclass
class Device:
    """A certificate with its key on disk, as a client's options want them."""

    arn: str
    id: str
    certificate_file: str
    key_file: str
    policy_name: str | None = None

    @classmethod
    def store(cls, folder: Path, arn: str, id: str, certificate_pem: str, private_key_pem: str) -> Device:
        stem = folder / f"device-{next(_numbers)}"
        files = stem.with_suffix(".crt"), stem.with_suffix(".key")
        for file, text in zip(files, (certificate_pem, private_key_pem)):
            file.touch(mode=0o600)
            file.write_text(text)
        return cls(arn, id, *map(str, files))

    def tls(self, ca_file: str, alpn: str | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca_file)
        context.load_cert_chain(self.certificate_file, self.key_file)
        if alpn:
            context.set_alpn_protocols([alpn])
        return context


def registered_device(fleet: Fleethaven, folder: Path, certificate: x509.Certificate, key) -> Device:
    """A device with a certificate made outside, which may do everything."""
    text = pem(certificate)
    made = fleet.iot.register_certificate_without_ca(certificatePem=text, status="ACTIVE")
    device = Device.store(folder, made["certificateArn"], made["certificateId"], text, key_pem(key))
    device.policy_name = f"policy-of-{device.id[:16]}"
    fleet.iot.create_policy(policyName=device.policy_name, policyDocument=json.dumps(ALLOW_ALL))
    fleet.iot.attach_policy(policyName=device.policy_name, target=device.arn)
    return device


def unregistered_device(folder: Path) -> Device:
    """A device whose certificate no one has registered."""
    key = new_key()
    return Device.store(folder, "", "", pem(certificate("stranger", key)), key_pem(key))


def make_device(
    fleet: Fleethaven, folder: Path, document: dict | str | None = ALLOW_ALL, active: bool = True
) -> Device:
    """A new certificate over a key made here, under a new policy `document` (None: no policy at all)."""
    key = new_key()
    made = fleet.iot.create_certificate_from_csr(
        certificateSigningRequest=signing_request(key), setAsActive=active
    )
    device = Device.store(
        folder, made["certificateArn"], made["certificateId"], made["certificatePem"], key_pem(key)
    )
    if document is not None:
        text = document if isinstance(document, str) else json.dumps(document)
        device.policy_name = f"policy-of-{device.id[:16]}"
        fleet.iot.create_policy(policyName=device.policy_name, policyDocument=text)
        fleet.iot.attach_policy(policyName=device.policy_name, target=device.arn)
    return device


def tls_refusal(address: tuple[str, int], context: ssl.SSLContext, seconds: float = 5) -> str | None:
    """How the server ends a connection on which the client is silent: an alert's name, `closed`, or None if it stays.

    With TLS 1.3 the client has finished before the server has looked at its certificate: the alert comes with the
    first read.
    """
    with socket.create_connection(address, timeout=seconds) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                secure.settimeout(seconds)
                return "closed" if secure.recv(1) == b"" else None
        except ssl.SSLError as error:
            return (error.reason or str(error)).lower()
        except TimeoutError:
            return None
        except ConnectionError:
            return "closed"
