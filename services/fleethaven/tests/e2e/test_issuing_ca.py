"""Issuing CAs: their keys are sealed in the metadata store, or in a PKCS#11 token (SoftHSM2), behind the external signer that is delivered."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from cryptography import x509

import commands
from device import ALLOW_ALL, Device, key_pem, new_key, signing_request
from instance import Lines, binary, eventually
from mqtt_client import Client

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
SIGNER = Path(__file__).resolve().parents[4] / "deploy/signer/pkcs11_signer.py"
PIN = "1234"
CREATE, FROM_CSR = "$aws/certificates/create", "$aws/certificates/create-from-csr"


class Token:
    """A token with its keys, and signers in front of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "tokens").mkdir()
        (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
        self.environment = os.environ | {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
        self.pin = folder / "pin"
        self.pin.write_text(PIN + "\n")
        self.run("softhsm2-util", "--init-token", "--free", "--label", "devices", "--so-pin", "4321", "--pin", PIN)
        self.signers = []

    def run(self, *command: str):
        subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=60)

    def make_key(self, id: str, kind: str) -> Path:
        """A new key of this id, hexadecimal digits; the file of its public half."""
        tool = ["pkcs11-tool", "--module", MODULE, "--token-label", "devices", "--login", "--pin", PIN]
        self.run(*tool, "--keypairgen", "--key-type", kind, "--id", id)
        public = self.folder / f"{id}.der"
        self.run(*tool, "--read-object", "--type", "pubkey", "--id", id, "--output-file", str(public))
        return public

    def signer(self, keys: str) -> Path:
        """Starts a signer for keys of this kind; its socket."""
        socket = self.folder / f"{keys}.sock"
        command = [sys.executable, SIGNER, "--socket", socket, "--module", MODULE, "--token", "devices"]
        signer = subprocess.Popen(
            [*map(str, command), "--pin-file", str(self.pin), "--keys", keys],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self.signers.append(signer)
        assert json.loads(Lines(signer.stdout).first(20))["ready"]
        return socket

    def close(self):
        for signer in self.signers:
            signer.kill()
            signer.wait(10)


@pytest.fixture(scope="module")
def token(tmp_path_factory):
    token = Token(tmp_path_factory.mktemp("token"))
    yield token
    token.close()


def made(socket: Path, key: str, public: Path, folder: Path) -> tuple[x509.Certificate, Path]:
    command = ["issuing-ca", "make", "--signer", socket, "--external-key", key, "--public-key", public]
    done = subprocess.run([binary(), *map(str, command)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    file = folder / f"{key}.pem"
    file.write_text(done.stdout)
    return x509.load_pem_x509_certificate(done.stdout.encode()), file


@pytest.mark.parametrize("id, keys, kind", [("e0", "ec", "EC:prime256v1"), ("a1", "rsa", "rsa:2048")])
def test_certificates_are_signed_in_the_token(fleethaven, token, tmp_path, id, keys, kind):
    public, socket = token.make_key(id, kind), token.signer(keys)
    ca, file = made(socket, id, public, tmp_path)
    ca.verify_directly_issued_by(ca)
    fleet = fleethaven("--issuing-signer", str(socket))
    place = ["--admin", fleet.ready["admin"], "--json"]
    before = fleet.iot.create_keys_and_certificate(setAsActive=True)
    assert commands.fleethaven("issuing-ca", "put", "--certificate", file, "--external-key", id, *place) == []
    [shown] = commands.fleethaven("issuing-ca", "show", *place)
    assert (shown["external_key"], shown["certificate_pem"].strip()) == (id, file.read_text().strip())

    issued = fleet.iot.create_keys_and_certificate(setAsActive=True)
    certificate = x509.load_pem_x509_certificate(issued["certificatePem"].encode())
    certificate.verify_directly_issued_by(ca)
    key = new_key()
    by_request = fleet.iot.create_certificate_from_csr(certificateSigningRequest=signing_request(key), setAsActive=True)
    x509.load_pem_x509_certificate(by_request["certificatePem"].encode()).verify_directly_issued_by(ca)

    fleet.iot.create_policy(policyName="all", policyDocument=json.dumps(ALLOW_ALL))
    fleet.iot.attach_policy(policyName="all", target=by_request["certificateArn"])
    device = Device.store(
        tmp_path, by_request["certificateArn"], by_request["certificateId"], by_request["certificatePem"], key_pem(key)
    )
    from mqtt_client import Client

    client = Client(fleet, device, "device").connect()
    client.subscribe(f"{CREATE}/json/accepted", f"{FROM_CSR}/json/accepted")
    client.publish(f"{CREATE}/json", "{}")
    client.publish(f"{FROM_CSR}/json", json.dumps({"certificateSigningRequest": signing_request(new_key())}))
    for answer in client.expect(2):
        pem = json.loads(answer)["certificatePem"]
        x509.load_pem_x509_certificate(pem.encode()).verify_directly_issued_by(ca)

    # Without its signer, nothing is issued, and all else goes on.
    token.signers.pop().kill()
    with pytest.raises(ClientError) as refused:
        fleet.iot.create_keys_and_certificate()
    assert refused.value.response["Error"]["Code"] == "ServiceUnavailableException"
    fleet.log.having("the external signer cannot be reached")
    fleet.iot.describe_certificate(certificateId=before["certificateId"])
    assert client.publish("a", "still here") < 0x80
    client.disconnect()


def new_keys() -> str:
    return subprocess.run([binary(), "encryption-key", "new"], capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.timeout(120)
def test_keys_are_sealed_under_a_key_outside_of_the_store(fleethaven, tmp_path):
    fleet = fleethaven()
    file = Path(fleet.data_dir) / "issuing-keys"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def shown() -> dict:
        [line] = commands.fleethaven("issuing-ca", "show", "--admin", fleet.ready["admin"], "--json")
        return line

    first, old = shown(), file.read_text()
    assert first["sealed_under"].startswith("file:") and first["opens"]
    fleet.iot.create_keys_and_certificate()
    # The next key is put in front while the process runs; then the old one is needed no more.
    new = new_keys()
    file.write_text(new + old)
    eventually(lambda: shown()["sealed_under"] != first["sealed_under"], "another key seals", 30)
    file.write_text(new)
    fleet.stop()
    fleet.start()
    assert shown()["opens"] and shown()["certificate_pem"] == first["certificate_pem"]
    fleet.iot.create_keys_and_certificate()
    fleet.stop()
    # Without it nothing is issued, and who looks is told what is missing.
    other = new_keys()
    file.write_text(other)
    fleet.start()
    fleet.log.having("sealed under", "put that key back into it", seconds=30)
    assert not shown()["opens"]
    with pytest.raises(ClientError) as refused:
        fleet.iot.create_keys_and_certificate()
    assert refused.value.response["Error"]["Code"] == "ServiceUnavailableException"
    fleet.log.having("which the metadata store does not have", "--issuing-key-file")
    file.write_text(other + new)
    eventually(lambda: shown()["opens"], "the key is back", 30)
    fleet.iot.create_keys_and_certificate()


def test_commands_on_a_directory_make_the_key_that_the_process_finds(fleethaven, tmp_path):
    directory = tmp_path / "new"
    commands.fleethaven("account", "create", "210987654321", "--data-dir", directory, "--json")
    made = (directory / "issuing-keys").read_text()
    place = ["--account", "210987654321", "--data-dir", directory, "--json"]
    [shown] = commands.fleethaven("issuing-ca", "show", *place)
    assert shown["opens"] and (directory / "issuing-keys").read_text() == made
    named = tmp_path / "keys"
    named.write_text(new_keys())
    [elsewhere] = commands.fleethaven("issuing-ca", "show", "--issuing-key-file", named, *place)
    assert elsewhere["sealed_under"] == shown["sealed_under"] and not elsewhere["opens"]


def test_a_key_of_another_name_or_owner_makes_no_ca(token, tmp_path):
    public, other = token.make_key("01", "EC:prime256v1"), token.make_key("02", "EC:prime256v1")
    socket = token.signer("ec")

    def refused(key: str, file: Path) -> str:
        return commands.failure("issuing-ca", "make", "--signer", socket, "--external-key", key, "--public-key", file)

    assert "the external signer refuses" in refused("99", public)
    assert "another one" in refused("01", other)
    assert "no id of a key" in refused("a/b", public)
    made(socket, "01", public, tmp_path)
    (tmp_path / "none").write_text("no certificate")
    account = ["--account", "123456789012", "--data-dir", tmp_path / "data"]
    put = ["issuing-ca", "put", "--certificate", tmp_path / "none", "--external-key", "01", *account]
    assert "the CA cannot be put" in commands.failure(*put)
