"""What domains show and speak: server certificates of their own, TLS policies, ways in that need no ALPN; and whose they are."""

import datetime
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from authorizer import Authorizer, answer
from commands import failure
from commands import fleethaven as command
from control_plane import flat, invalid, pages, refused
from device import certificate as make_certificate
from device import key_pem, make_device, new_key, pem
from device import name as subject
from instance import address, eventually
from mqtt_client import Client, Refused
from signed import https, trusting
from test_accounts import admin, other  # noqa: F401  (fixtures)
from test_domain_configurations import asking_for, with_certificate
from test_server_certificates import shown

ACM = "arn:aws:acm:us-east-1:123456789012:certificate/"
TLS13, TLS12 = "IoTSecurityPolicy_TLS13_1_3_2022_10", "IoTSecurityPolicy_TLS12_1_2_2022_10"
OLD = "IoTSecurityPolicy_TLS12_1_0_2016_01"
BASE = "fleet.example"


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--allow-outbound", "127.0.0.0/8", "--base-domain", BASE, "--https-mtls", "127.0.0.1:0")


class Issuer:
    """A private CA, and the chains that it makes for servers."""

    def __init__(self, folder):
        self.folder, self.key = folder, new_key()
        self.ca = make_certificate("private CA", self.key, ca=True)
        (folder / "ca.pem").write_text(pem(self.ca))

    def chain(self, file: str, *dns: str, days: float = 30, purpose=ExtendedKeyUsageOID.SERVER_AUTH):
        """The two files and the certificate's serial number."""
        key, now = new_key(), datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject(dns[0]))
            .issuer_name(self.ca.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=20))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in dns]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        chain, key_file = self.folder / f"{file}.pem", self.folder / f"{file}.key"
        chain.write_text(pem(made) + pem(self.ca))
        key_file.write_text(key_pem(key))
        return chain, key_file, made.serial_number


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("issuer"))


def certificates(fleet, *words: str):
    return command("server-certificate", *words, "--admin", fleet.ready["admin"], "--account", fleet.account, "--json")


def put(fleet, arn: str, files):
    [told] = certificates(fleet, "put", arn, "--cert", str(files[0]), "--key", str(files[1]))
    return told


def put_refused(fleet, arn: str, chain, key) -> str:
    words = ["put", arn, "--cert", str(chain), "--key", str(key)]
    return failure("server-certificate", *words, "--admin", fleet.ready["admin"], "--account", fleet.account)


@pytest.fixture
def domain(fleet, name):
    """Makes domain configurations `<name>-<number>`, of `<name>-<number>.iot.example`."""
    made = []

    def make(**settings) -> str:
        one = f"{name}-{len(made)}"
        names = {"domainConfigurationName": one, "domainName": f"{one}.iot.example"}
        fleet.iot.create_domain_configuration(**names, **settings)
        made.append(one)
        return names["domainName"]

    yield make
    for one in made:
        fleet.iot.update_domain_configuration(
            domainConfigurationName=one, domainConfigurationStatus="DISABLED", removeAuthorizerConfig=True
        )
        fleet.iot.delete_domain_configuration(domainConfigurationName=one)


def speaks(at, server_name: str, *options: str) -> bool:
    """Whether a client that may do no more than the options say is shown a certificate."""
    words = ["openssl", "s_client", "-connect", f"{at[0]}:{at[1]}", "-servername", server_name, *options]
    out = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20).stdout
    return "-----BEGIN CERTIFICATE-----" in out


def test_a_domain_shows_its_own_certificate(fleet, issuer, domain, name):
    arn = ACM + name
    first = issuer.chain(name, "*.iot.example")
    asked = {"domainConfigurationName": name, "domainName": f"{name}.iot.example", "serverCertificateArns": [arn]}
    told = refused("CertificateValidationException", 400, fleet.iot.create_domain_configuration, **asked)
    assert "server-certificate put" in told["Error"]["Message"]
    told = put(fleet, arn, first)
    assert (told["names"], told["domains"]) == (["*.iot.example"], [])
    refused(
        "CertificateValidationException",
        400,
        fleet.iot.create_domain_configuration,
        **asked | {"domainName": f"{name}.other.example"},
    )
    server_name = domain(serverCertificateArns=[arn])
    for at in (fleet.mqtt_tls, fleet.https, address(fleet.ready["https_mtls"])):
        assert shown(at, server_name) == first[2]
        assert shown(at, "localhost") != first[2] and shown(at, f"x.{server_name}") != first[2]
    configuration = server_name.split(".")[0]
    described = fleet.iot.describe_domain_configuration(domainConfigurationName=configuration)
    assert described["serverCertificates"] == [{"serverCertificateArn": arn, "serverCertificateStatus": "VALID"}]
    # In its place, from the next handshake on.
    second = issuer.chain(name, server_name)
    put(fleet, arn, second)
    assert shown(fleet.mqtt_tls, server_name) == second[2]
    assert server_name in put_refused(fleet, arn, *issuer.chain(name, "another.iot.example")[:2])
    assert shown(fleet.mqtt_tls, server_name) == second[2], "what was refused changes nothing"
    [listed] = [one for one in certificates(fleet, "list") if one["server_certificate_arn"] == arn]
    assert listed["domains"] == [server_name] and "private_key" not in listed
    words = ["delete", arn, "--admin", fleet.ready["admin"], "--account", fleet.account]
    assert server_name in failure("server-certificate", *words)


def test_a_client_checks_the_chain(fleet, issuer, domain, device, name):
    """A client that trusts the private CA, and nothing else, connects by the name."""
    arn = ACM + name
    put(fleet, arn, issuer.chain(name, "*.iot.example"))
    server_name = domain(serverCertificateArns=[arn], authenticationType="AWS_X509", applicationProtocol="SECURE_MQTT")
    anyone = device()
    context = anyone.tls(str(issuer.folder / "ca.pem"))
    wrap = context.wrap_socket
    context.wrap_socket = lambda *words, **options: wrap(*words, **options | {"server_hostname": server_name})
    Client(fleet, anyone, name, context=context).connect().close()


def test_certificates_that_cannot_be_shown(fleet, issuer, name, tmp_path):
    arn = ACM + name
    chain, key, _ = issuer.chain(name, "a.iot.example")
    _, other_key, _ = issuer.chain(name + "b", "a.iot.example")
    assert "does not belong" in put_refused(fleet, arn, chain, other_key)
    client = issuer.chain(name + "c", "a.iot.example", purpose=ExtendedKeyUsageOID.CLIENT_AUTH)
    assert "serverAuth" in put_refused(fleet, arn, *client[:2])
    expired = issuer.chain(name + "d", "a.iot.example", days=-1)
    assert "expired" in put_refused(fleet, arn, *expired[:2])
    stranger = tmp_path / "chain.pem"
    foreign = Issuer(tmp_path)
    stranger.write_text(chain.read_text().split("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n" + pem(foreign.ca))
    assert "not signed" in put_refused(fleet, arn, stranger, key)
    assert "arn:aws:acm" in put_refused(fleet, "arn:aws:iot:us-east-1:123456789012:cert/a", chain, key)
    assert certificates(fleet, "list") == [] or arn not in str(certificates(fleet, "list"))


def test_tls_policies(fleet, domain):
    newer = domain(tlsConfig={"securityPolicy": TLS13})
    older = domain(tlsConfig={"securityPolicy": TLS12})
    both = domain()
    for at in (fleet.mqtt_tls, fleet.https):
        for server_name, wanted in ((newer, [False, True]), (older, [True, False]), (both, [True, True])):
            assert [speaks(at, server_name, version) for version in ("-tls1_2", "-tls1_3")] == wanted
    chacha = ("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert speaks(fleet.https, "localhost", *chacha)
    assert not speaks(fleet.https, both, *chacha), "AWS's policies have none"
    configuration = newer.split(".")[0]
    fleet.iot.update_domain_configuration(domainConfigurationName=configuration, tlsConfig={"securityPolicy": TLS12})
    assert not speaks(fleet.mqtt_tls, newer, "-tls1_3")
    told = invalid(
        fleet.iot.update_domain_configuration,
        domainConfigurationName=configuration,
        tlsConfig={"securityPolicy": OLD},
    )
    assert TLS12 in told["Error"]["Message"]


def test_what_is_not_built_is_refused(fleet, domain, name):
    names = {"domainConfigurationName": name, "domainName": f"{name}.iot.example"}
    for config in ({"enableOCSPCheck": True}, {"ocspAuthorizedResponderArn": "no ARN"}):
        invalid(fleet.iot.create_domain_configuration, **names, serverCertificateConfig=config)
    server_name = domain(serverCertificateConfig={"enableOCSPCheck": False})
    described = fleet.iot.describe_domain_configuration(domainConfigurationName=server_name.split(".")[0])
    assert described["serverCertificateConfig"] == {"enableOCSPCheck": False}


def by_token(fleet, server_name: str, client_id: str, listener: str, username: str = "me") -> Client:
    """A client without certificate and without ALPN."""
    client = Client(fleet, None, client_id, listener=listener)
    client.paho.tls_set_context(asking_for(ssl.create_default_context(cafile=fleet.ca_file), server_name))
    client.paho.username_pw_set(username)
    return client.connect()


@pytest.mark.parametrize("listener", ["mqtt_tls", "https"])
def test_tokens_without_alpn(fleet, domain, name, listener):
    """A CUSTOM_AUTH domain asks for no certificate, on 8883 and on 443."""
    one = Authorizer(fleet, f"{name}-authorizer", lambda event: answer())
    config = {"defaultAuthorizerName": one.name, "allowAuthorizerOverride": False}
    server_name = domain(
        authorizerConfig=config, authenticationType="CUSTOM_AUTH", applicationProtocol="SECURE_MQTT"
    )
    client = by_token(fleet, server_name, name, listener)
    client.subscribe(name)
    assert client.publish(name, b"x") == 0
    assert client.expect(1) == [b"x"]
    client.close()
    [event] = one.events
    assert event["protocolData"]["tls"] == {"serverName": server_name}
    # Elsewhere on that listener a certificate is asked for, or MQTT is not spoken without ALPN.
    with pytest.raises(Refused):
        by_token(fleet, "localhost", name, listener)
    fleet.iot.update_domain_configuration(
        domainConfigurationName=server_name.split(".")[0], domainConfigurationStatus="DISABLED"
    )
    with pytest.raises(Refused):
        by_token(fleet, server_name, name, listener)
    fleet.iot.update_domain_configuration(
        domainConfigurationName=server_name.split(".")[0], removeAuthorizerConfig=True
    )
    one.close()


def test_certificates_without_alpn(fleet, domain, device, name):
    """What a domain is for counts, not the port: MQTT on 443, HTTPS with a certificate on 443."""
    anyone = device()
    mqtt = domain(authenticationType="AWS_X509", applicationProtocol="SECURE_MQTT")
    context = asking_for(anyone.tls(fleet.ca_file), mqtt)
    Client(fleet, anyone, name, listener="https", context=context).connect().close()
    web = domain(authenticationType="AWS_X509", applicationProtocol="HTTPS")
    published = https(
        fleet.https, asking_for(anyone.tls(fleet.ca_file), web), "POST", f"/topics/{name}?qos=1", body=b"{}"
    )
    assert published.status == 200
    with pytest.raises(Refused):
        with_certificate(fleet, anyone, web, name)


def test_default_endpoints(fleet):
    iot = fleet.iot
    described = iot.describe_domain_configuration(domainConfigurationName="iot:Data-ATS")
    assert described["domainName"] == f"{fleet.account}.data.{BASE}"
    assert (described["domainType"], described["serviceType"]) == ("ENDPOINT", "DATA")
    assert described["domainConfigurationStatus"] == "ENABLED" and described["serverCertificates"] == []
    for name in ("iot:Jobs", "iot:CredentialProvider"):
        assert iot.describe_domain_configuration(domainConfigurationName=name)["domainType"] == "ENDPOINT"
        invalid(iot.update_domain_configuration, domainConfigurationName=name, domainConfigurationStatus="DISABLED")
        invalid(iot.delete_domain_configuration, domainConfigurationName=name)
    made = iot.create_domain_configuration(domainConfigurationName="managed")
    found = pages(iot.list_domain_configurations, "domainConfigurations", "pageSize", "marker")
    names = flat(found, "domainConfigurationName")
    assert names[:3] == ["iot:CredentialProvider", "iot:Data-ATS", "iot:Jobs"] and "managed" in names[3:]
    assert len(names) == len(set(names))
    only = iot.list_domain_configurations(serviceType="JOBS")["domainConfigurations"]
    assert [one["domainConfigurationName"] for one in only] == ["iot:Jobs"]
    # One without a name gets a name of the service's own.
    described = iot.describe_domain_configuration(domainConfigurationName="managed")
    assert described["domainType"] == "AWS_MANAGED" and described["domainName"].endswith(f".iot.{BASE}")
    assert described["domainConfigurationArn"] == made["domainConfigurationArn"]
    iot.update_domain_configuration(domainConfigurationName="managed", domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName="managed")


def test_a_device_is_let_in_only_where_its_account_is(fleet, other, domain, tmp_path, name):  # noqa: F811
    """By another account's endpoints and domains a certificate is as unknown as one that nobody has registered."""
    ours, theirs = make_device(fleet, tmp_path), make_device(other, tmp_path)
    server_name = domain()
    own = f"{fleet.account}.data.{BASE}"
    for asked in (server_name, own):
        with_certificate(fleet, ours, asked, name).close()
        with pytest.raises(Refused) as caught:
            with_certificate(fleet, theirs, asked, name)
        assert caught.value.value is None
        fleet.log.having("Connection.AuthNError", "DEVICE_CERTIFICATE_NOT_REGISTERED", theirs.id)
    with_certificate(fleet, theirs, f"{other.account}.data.{BASE}", name).close()
    with_certificate(fleet, theirs, "localhost", name).close()
