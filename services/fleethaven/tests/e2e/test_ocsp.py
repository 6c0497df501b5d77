"""OCSP stapling for domain configurations, by OpenSSL's own responder and client."""

import base64
import datetime
import subprocess
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from cluster import free_port
from device import certificate as make_certificate
from device import key_pem, new_key, pem
from device import name as subject
from instance import eventually
from test_domain_certificates import ACM, certificates, put
from test_functions import arn as function_arn
from test_functions import function, webhook  # noqa: F401  (a fixture)
from test_logging import entries, logging


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--allow-outbound", "127.0.0.0/8")


class Responder:
    """A CA, and `openssl ocsp` that answers for it from its index."""

    def __init__(self, folder):
        self.folder, self.port, self.key = folder, free_port(), new_key()
        self.ca = make_certificate("ocsp CA", self.key, ca=True)
        (folder / "ca.pem").write_text(pem(self.ca))
        (folder / "ca.key").write_text(key_pem(self.key))
        (folder / "index.txt").write_text("")
        self.process = None

    def start(self, signer: str = "ca"):
        """Begins to answer by the index as it is now, signed by the certificate of that name; each answer counts for a minute."""
        self.stop()
        folder = self.folder
        self.process = subprocess.Popen(
            ["openssl", "ocsp", "-index", folder / "index.txt", "-port", str(self.port), "-CA", folder / "ca.pem"]
            + ["-rsigner", folder / f"{signer}.pem", "-rkey", folder / f"{signer}.key", "-nmin", "1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(10)

    def ask(self, request: bytes) -> bytes:
        """What it answers, in DER both ways."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/", request, {"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.read()

    def issue(self, file: str, dns: str, named: bool = True):
        """Chain and key of a server, whose certificate names the responder, or does not, and is in the index as valid."""
        key, now = new_key(), datetime.datetime.now(datetime.timezone.utc)
        place = x509.UniformResourceIdentifier(f"http://127.0.0.1:{self.port}/")
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(dns))
            .issuer_name(self.ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        if named:
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        chain, key_file = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        chain.write_text(pem(made) + pem(self.ca))
        key_file.write_text(key_pem(key))
        self.tell("V", made)
        return chain, key_file, made

    def tell(self, status: str, certificate):
        """The only line of the index (ca(1), "FILES")."""
        until = certificate.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
        revoked = datetime.datetime.now(datetime.timezone.utc).strftime("%y%m%d%H%M%SZ") if status == "R" else ""
        serial = f"{certificate.serial_number:X}"
        serial = serial if len(serial) % 2 == 0 else f"0{serial}"
        (self.folder / "index.txt").write_text(f"{status}\t{until}\t{revoked}\t{serial}\tunknown\t/CN=server\n")


@pytest.fixture
def responder(tmp_path):
    responder = Responder(tmp_path)
    yield responder
    responder.stop()


def stapled(fleet, server_name: str) -> str:
    """What OpenSSL's client says about the stapled answer."""
    host, port = fleet.mqtt_tls
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", server_name, "-status"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=20)
    return done.stdout


@pytest.mark.timeout(240)
def test_answers_are_stapled_as_long_as_they_are_asked_for(fleet, iot, responder, name):
    arn, dns = f"{ACM}{name}", f"{name}.devices.example"
    chain, key, made = responder.issue("server", dns)
    put(fleet, arn, (chain, key))
    with logging(iot):
        iot.set_v2_logging_options(eventConfigurations=[{"eventType": "RetrieveOCSPStapleData", "logLevel": "INFO"}])
        iot.create_domain_configuration(
            domainConfigurationName=name,
            domainName=dns,
            serverCertificateArns=[arn],
            serverCertificateConfig={"enableOCSPCheck": True},
        )
        assert iot.describe_domain_configuration(domainConfigurationName=name)["serverCertificateConfig"] == {
            "enableOCSPCheck": True
        }

        def told(**wanted) -> list:
            found = entries(fleet, "--event", "RetrieveOCSPStapleData")
            return [entry for entry in found if wanted.items() <= entry.items() and entry["domainConfigName"] == name]

        # Nobody answers yet: the handshake goes on without.
        eventually(lambda: told(logLevel="ERROR"), "a fetch that failed", 20)
        assert "no response sent" in stapled(fleet, dns)
        responder.start()
        eventually(lambda: "Cert Status: good" in stapled(fleet, dns), "a staple", 60)
        assert told(logLevel="INFO", ocspStatus="GOOD")
        # A certificate that is revoked is told to be.
        responder.tell("R", made)
        responder.start()
        eventually(lambda: "Cert Status: revoked" in stapled(fleet, dns), "the staple of a revoked certificate", 80)
        assert told(logLevel="INFO", ocspStatus="REVOKED")
        iot.update_domain_configuration(domainConfigurationName=name, serverCertificateConfig={"enableOCSPCheck": False})
        eventually(lambda: "no response sent" in stapled(fleet, dns), "no staple any more")
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)
    certificates(fleet, "delete", arn)


@pytest.mark.timeout(240)
def test_an_authorized_responder_signs_alone(fleet, iot, responder, name):
    """`ocspAuthorizedResponderArn`: a certificate that the issuer knows nothing of, and that is for no server."""
    server, signer, dns = f"{ACM}{name}", f"{ACM}{name}-signer", f"{name}.devices.example"
    put(fleet, server, responder.issue("server", dns)[:2])
    key, now = new_key(), datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject("responder"))
        .issuer_name(subject("responder"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = responder.folder / "signer.pem", responder.folder / "signer.key"
    files[0].write_text(pem(certificate))
    files[1].write_text(key_pem(key))
    config = {"enableOCSPCheck": True, "ocspAuthorizedResponderArn": signer}
    make = {"domainConfigurationName": name, "domainName": dns, "serverCertificateArns": [server]}
    with pytest.raises(iot.exceptions.CertificateValidationException):
        iot.create_domain_configuration(**make, serverCertificateConfig=config)
    put(fleet, signer, files)
    responder.start()
    with logging(iot):
        iot.set_v2_logging_options(eventConfigurations=[{"eventType": "RetrieveOCSPStapleData", "logLevel": "INFO"}])
        iot.create_domain_configuration(**make, serverCertificateConfig=config)
        assert iot.describe_domain_configuration(domainConfigurationName=name)["serverCertificateConfig"] == config

        def refused() -> list:
            found = entries(fleet, "--event", "RetrieveOCSPStapleData")
            return [entry for entry in found if entry["logLevel"] == "ERROR" and entry["domainConfigName"] == name]

        # The issuer's own answer counts no more.
        eventually(refused, "an answer of another's", 30)
        assert "no response sent" in stapled(fleet, dns)
        responder.start("signer")
        eventually(lambda: "Cert Status: good" in stapled(fleet, dns), "a staple", 90)
    # Without it this answer is nobody's.
    iot.update_domain_configuration(domainConfigurationName=name, serverCertificateConfig={"enableOCSPCheck": True})
    eventually(lambda: "no response sent" in stapled(fleet, dns), "no staple any more", 30)
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)
    certificates(fleet, "delete", signer)
    certificates(fleet, "delete", server)


@pytest.mark.timeout(120)
def test_a_function_answers_in_place_of_a_responder(fleet, iot, responder, webhook, name):  # noqa: F811
    """`ocspLambdaArn`: base64 of the request and of the answer. The certificate names no responder."""
    server, dns = f"{ACM}{name}", f"{name}.devices.example"
    chain, key, _ = responder.issue("server", dns, named=False)
    put(fleet, server, (chain, key))
    responder.start()
    answers = [b"no JSON", base64.b64encode(b"no OCSP").decode()]

    def reply(event):
        return answers.pop(0) if answers else base64.b64encode(responder.ask(base64.b64decode(event))).decode()

    hook = webhook(reply)
    function("put", function_arn(name), "--url", hook.url, "--admin", fleet.ready["admin"])
    config = {"enableOCSPCheck": True, "ocspLambdaArn": function_arn(name)}
    with logging(iot):
        iot.set_v2_logging_options(eventConfigurations=[{"eventType": "RetrieveOCSPStapleData", "logLevel": "INFO"}])
        made = iot.create_domain_configuration(
            domainConfigurationName=name, domainName=dns, serverCertificateArns=[server], serverCertificateConfig=config
        )
        found = iot.describe_domain_configuration(domainConfigurationName=name)
        assert found["serverCertificateConfig"] == config

        def told(level: str) -> list:
            found = entries(fleet, "--event", "RetrieveOCSPStapleData")
            return [entry for entry in found if entry["logLevel"] == level and entry["domainConfigName"] == name]

        # What is no answer is not stapled, and is asked for again.
        eventually(lambda: told("ERROR"), "an answer that is none", 30)
        assert "no response sent" in stapled(fleet, dns)
        eventually(lambda: "Cert Status: good" in stapled(fleet, dns), "a staple", 90)
        assert len(told("ERROR")) == 2 and told("INFO")[0]["ocspStatus"] == "GOOD"
    headers, _ = hook.seen[0]
    assert headers["x-fleethaven-source"] == "ocsp-responder"
    assert headers["x-fleethaven-source-arn"] == made["domainConfigurationArn"]
    # Without the function the responder counts that the certificate names: here none.
    iot.update_domain_configuration(domainConfigurationName=name, serverCertificateConfig={"enableOCSPCheck": True})
    found = iot.describe_domain_configuration(domainConfigurationName=name)
    assert found["serverCertificateConfig"] == {"enableOCSPCheck": True}
    eventually(lambda: "no response sent" in stapled(fleet, dns), "no staple any more", 30)
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)
    certificates(fleet, "delete", server)
