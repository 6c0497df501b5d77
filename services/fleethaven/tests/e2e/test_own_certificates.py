"""Device certificates made outside: X.509 version 1, as `openssl x509 -req` without extensions makes them, over both versions
of TLS and with both kinds of keys."""

import ssl
import subprocess

import pytest

from device import Device, allow, policy


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def version_1_certificate(folder, key_options):
    """A private CA's certificate for a device, without extensions."""
    ca, ca_key, key, request, made = (folder / n for n in ("ca.pem", "ca.key", "d.key", "d.csr", "d.pem"))
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", ca_key, "-out", ca, "-subj", "/CN=own CA", "-days", 2)
    openssl("genpkey", *key_options, "-out", key)
    openssl("req", "-new", "-key", key, "-out", request, "-subj", "/CN=device")
    openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-out", made, "-days", 2)
    text = subprocess.run(["openssl", "x509", "-in", made, "-noout", "-text"], check=True, capture_output=True, text=True)
    return made.read_text(), key.read_text(), text.stdout


KEYS = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "p384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
}


@pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls12", "tls13"])
@pytest.mark.parametrize("key", KEYS)
def test_a_version_1_certificate_connects(fleet, iot, connect, name, tmp_path, key, tls):
    certificate, private_key, text = version_1_certificate(tmp_path, KEYS[key])
    assert "Version: 1 " in text, "this openssl adds extensions: the test would not test what it says"
    registered = iot.register_certificate_without_ca(certificatePem=certificate, status="ACTIVE")
    iot.create_policy(policyName=name, policyDocument=policy(allow("*", "*")))
    iot.attach_policy(policyName=name, target=registered["certificateArn"])
    device = Device.store(tmp_path, registered["certificateArn"], registered["certificateId"], certificate, private_key)
    client = connect(name, device=device, tls=tls)
    client.subscribe(f"{name}/#")
    client.publish(f"{name}/a", b"version 1")
    assert client.expect(1) == [b"version 1"]
