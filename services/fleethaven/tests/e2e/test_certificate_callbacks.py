"""Pre-authentication checks: a domain's function says whether a client with a good certificate gets past its handshake."""

import json
import ssl
from http.client import HTTPException

import pytest

from authorizer import answer, statement
from control_plane import invalid
from instance import eventually
from mqtt_client import Refused
from test_domain_configurations import authorizer, by_both, domain, post, with_certificate  # noqa: F401  (fixtures)
from test_functions import LOOPBACK, arn, function, webhook  # noqa: F401  (a fixture)

X509 = {"authenticationType": "AWS_X509", "applicationProtocol": "SECURE_MQTT"}


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


def put(fleet, name: str, url: str):
    function("put", arn(name), "--url", url, "--admin", fleet.ready["admin"])


def callback(name: str) -> dict:
    return {"clientCertificateConfig": {"clientCertificateCallbackArn": arn(name)}}


def test_the_function_decides(fleet, domain, device, webhook, name):  # noqa: F811
    said = {"isAuthenticated": True}
    hook = webhook(lambda event: said)
    put(fleet, name, hook.url)
    server_name = domain(**X509, **callback(name))
    configuration = server_name.split(".")[0]
    found = fleet.iot.describe_domain_configuration(domainConfigurationName=configuration)
    assert found["clientCertificateConfig"] == callback(name)["clientCertificateConfig"]
    anyone = device()
    with_certificate(fleet, anyone, server_name, name).close()
    [(headers, body)] = hook.seen
    assert headers["x-fleethaven-source"] == "certificate-callback"
    assert headers["x-fleethaven-source-arn"] == found["domainConfigurationArn"]
    event = json.loads(body)
    assert event["connectionMetadata"].pop("id")
    [certificate] = event.pop("clientCertificateChain")
    with open(anyone.certificate_file) as file:
        assert ssl.PEM_cert_to_DER_cert(certificate) == ssl.PEM_cert_to_DER_cert(file.read())
    assert event == {"connectionMetadata": {}, "principalId": anyone.id, "serverName": server_name}
    # Asked at every attempt; whatever is not true is a no.
    for no in ({"isAuthenticated": False}, {"isAuthenticated": "true"}, {}, [], b"no JSON", (500, {})):
        said = no
        asked = len(hook.seen)
        with pytest.raises(Refused) as refusal:
            with_certificate(fleet, anyone, server_name, name)
        assert refusal.value.value is None, "the handshake is all that there was: no CONNACK"
        assert len(hook.seen) == asked + 1
    fleet.log.having("Connection.AuthNError", "PRE_AUTHENTICATION_REFUSED")
    fleet.log.having("Connection.AuthNError", "PRE_AUTHENTICATION_FAILED")
    # A certificate that is not good is not asked about.
    asked = len(hook.seen)
    fleet.iot.update_certificate(certificateId=anyone.id, newStatus="INACTIVE")
    with pytest.raises(Refused):
        with_certificate(fleet, anyone, server_name, name)
    fleet.iot.update_certificate(certificateId=anyone.id, newStatus="ACTIVE")
    assert len(hook.seen) == asked
    # Other names ask nobody, and this one neither when the function is taken away.
    with_certificate(fleet, anyone, domain(**X509), name).close()
    fleet.iot.update_domain_configuration(domainConfigurationName=configuration, clientCertificateConfig={})
    assert "clientCertificateConfig" not in fleet.iot.describe_domain_configuration(
        domainConfigurationName=configuration
    )
    eventually(lambda: with_certificate(fleet, anyone, server_name, name).close() or True, "nobody is asked")
    assert len(hook.seen) == asked


def test_a_function_that_is_mapped_to_nothing_lets_nobody_in(fleet, domain, device, name):  # noqa: F811
    server_name = domain(**X509, **callback(name))
    with pytest.raises(Refused):
        with_certificate(fleet, device(), server_name, name)
    fleet.log.having("Connection.AuthNError", "PRE_AUTHENTICATION_FAILED", arn(name))


def test_over_https_and_before_an_authorizer(fleet, domain, authorizer, device, webhook, name):  # noqa: F811
    says = {"isAuthenticated": False}
    put(fleet, name, webhook(lambda event: says).url)
    said = answer(statement("iot:*"))
    del said["principalId"]
    one = authorizer(lambda event: said)
    server_name = domain(**by_both(one, "HTTPS"), **callback(name))
    anyone, path = device(), f"/topics/{name}?qos=1"
    with pytest.raises((OSError, HTTPException)):
        post(fleet, anyone, server_name, path)
    assert one.events == []
    says["isAuthenticated"] = True
    assert post(fleet, anyone, server_name, path) == 200
    assert len(one.events) == 1


def test_what_can_be_configured(fleet, name):
    names = {"domainConfigurationName": name, "domainName": f"{name}.iot.example"}
    create = fleet.iot.create_domain_configuration
    for kind, protocol in (("DEFAULT", "DEFAULT"), ("CUSTOM_AUTH", "SECURE_MQTT"), ("AWS_SIGV4", "HTTPS")):
        invalid(create, **names, authenticationType=kind, applicationProtocol=protocol, **callback(name))
    invalid(create, **names, **X509, clientCertificateConfig={"clientCertificateCallbackArn": "no ARN"})
