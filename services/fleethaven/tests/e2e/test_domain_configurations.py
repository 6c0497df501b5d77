"""Domain configurations: names (SNI) with an authorizer, an authentication type and a status of their own."""

import ssl
from http.client import HTTPException

import pytest

from authorizer import NAME, Authorizer, answer, by_password, document, statement
from control_plane import invalid, refused
from device import Device, make_device
from instance import eventually
from mqtt_client import Client, Refused
from signed import https, trusting

LOOPBACK = ("--allow-outbound", "127.0.0.0/8")
NOT_AUTHORIZED = 135


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


@pytest.fixture
def domain(fleet, name):
    """Makes domain configurations `<name>`, of `<name>.iot.example`."""
    made = []

    def make(**settings) -> str:
        made.append(f"{name}-{len(made)}")
        names = {"domainConfigurationName": made[-1], "domainName": f"{made[-1]}.iot.example"}
        fleet.iot.create_domain_configuration(**names, **settings)
        return names["domainName"]

    yield make
    for one in made:
        fleet.iot.update_domain_configuration(
            domainConfigurationName=one, domainConfigurationStatus="DISABLED", removeAuthorizerConfig=True
        )
        fleet.iot.delete_domain_configuration(domainConfigurationName=one)


@pytest.fixture
def authorizer(fleet, name, domain):
    made = []

    def make(decide=lambda event: answer()) -> Authorizer:
        made.append(Authorizer(fleet, f"{name}-{len(made)}", decide))
        return made[-1]

    yield make
    for one in made:
        for configuration in fleet.iot.list_domain_configurations()["domainConfigurations"]:
            if configuration["domainConfigurationName"].startswith("iot:"):
                continue
            fleet.iot.update_domain_configuration(
                domainConfigurationName=configuration["domainConfigurationName"], removeAuthorizerConfig=True
            )
        one.close()


def asking_for(context: ssl.SSLContext, server_name: str) -> ssl.SSLContext:
    """The same context, which asks for this name whatever is connected to; the certificate is not for it."""
    context.check_hostname = False
    wrap = context.wrap_socket

    def wrapped(*arguments, **options):
        return wrap(*arguments, **options | {"server_hostname": server_name})

    context.wrap_socket = wrapped
    return context


def by_both(authorizer: Authorizer, protocol: str) -> dict:
    """The settings of a domain that takes who has a certificate and whom an authorizer lets in, too."""
    return {
        "authorizerConfig": {"defaultAuthorizerName": authorizer.name, "allowAuthorizerOverride": False},
        "authenticationType": "CUSTOM_AUTH_X509",
        "applicationProtocol": protocol,
    }


def post(fleet, device: Device, server_name: str, path: str) -> int:
    """The status of a POST with a client certificate."""
    context = asking_for(device.tls(fleet.ca_file), server_name)
    return https(fleet.https, context, "POST", path, body=b"x").status


def enter(fleet, server_name: str, client_id: str, username: str) -> Client:
    client = by_password(fleet, client_id, username)
    asking_for(client.paho._ssl_context, server_name)
    return client.connect()


def with_certificate(fleet, device, server_name: str, client_id: str) -> Client:
    context = asking_for(device.tls(fleet.ca_file, None), server_name)
    return Client(fleet, device, client_id, context=context).connect()


def test_the_life_of_a_domain_configuration(fleet, name):
    iot = fleet.iot
    names = {"domainConfigurationName": name, "domainName": f"{name}.iot.example"}
    made = iot.create_domain_configuration(**names)
    assert made["domainConfigurationArn"].startswith(fleet.arn(f"domainconfiguration/{name}/"))
    refused("ResourceAlreadyExistsException", 409, iot.create_domain_configuration, **names)
    invalid(iot.create_domain_configuration, **names | {"domainConfigurationName": name + "b"})
    invalid(iot.create_domain_configuration, domainConfigurationName=name + "c")
    found = iot.describe_domain_configuration(domainConfigurationName=name)
    assert found["domainName"] == names["domainName"] and found["domainConfigurationStatus"] == "ENABLED"
    assert (found["authenticationType"], found["applicationProtocol"]) == ("DEFAULT", "DEFAULT")
    assert found["tlsConfig"] == {"securityPolicy": "IoTSecurityPolicy_TLS13_1_2_2022_10"}
    assert found["domainType"] == "CUSTOMER_MANAGED" and found["serviceType"] == "DATA"
    [listed] = [
        item
        for item in iot.list_domain_configurations()["domainConfigurations"]
        if item["domainConfigurationName"] == name
    ]
    assert listed["domainConfigurationArn"] == made["domainConfigurationArn"]
    update = {"domainConfigurationName": name, "authenticationType": "AWS_SIGV4", "applicationProtocol": "SECURE_MQTT"}
    invalid(iot.update_domain_configuration, **update)
    invalid(iot.delete_domain_configuration, domainConfigurationName=name)
    iot.update_domain_configuration(domainConfigurationName=name, domainConfigurationStatus="DISABLED")
    iot.delete_domain_configuration(domainConfigurationName=name)
    refused("ResourceNotFoundException", 404, iot.describe_domain_configuration, domainConfigurationName=name)


def test_a_domain_has_an_authorizer_of_its_own(fleet, domain, authorizer, name):
    one, other = authorizer(), authorizer()
    config = {"defaultAuthorizerName": one.name, "allowAuthorizerOverride": False}
    server_name = domain(authorizerConfig=config)
    enter(fleet, server_name, name, "me").close()
    [event] = one.events
    assert event["protocolData"]["tls"] == {"serverName": server_name}
    with pytest.raises(Refused) as refusal:
        enter(fleet, server_name, name, f"?{NAME}={other.name}")
    assert refusal.value.value == NOT_AUTHORIZED and other.events == []
    fleet.iot.update_domain_configuration(
        domainConfigurationName=server_name.split(".")[0], authorizerConfig=config | {"allowAuthorizerOverride": True}
    )
    enter(fleet, server_name, name, f"?{NAME}={other.name}").close()
    assert len(other.events) == 1
    refused("DeleteConflictException", 409, fleet.iot.delete_authorizer, authorizerName=one.name)


def test_a_domain_takes_only_those_whom_it_is_for(fleet, domain, authorizer, device, name):
    one = authorizer()
    config = {"defaultAuthorizerName": one.name, "allowAuthorizerOverride": True}
    tokens = domain(authorizerConfig=config, authenticationType="CUSTOM_AUTH", applicationProtocol="SECURE_MQTT")
    certificates = domain(authenticationType="AWS_X509", applicationProtocol="SECURE_MQTT")
    anyone = device()
    enter(fleet, tokens, name, "me").close()
    with_certificate(fleet, anyone, certificates, name).close()
    with pytest.raises(Refused):
        enter(fleet, certificates, name, f"?{one.query()}")
    # Nobody is asked for a certificate: the authorizer decides about a device that has one, too.
    with_certificate(fleet, anyone, tokens, name).close()
    assert [event["protocolData"]["tls"] for event in one.events] == [{"serverName": tokens}] * 2
    with pytest.raises((OSError, HTTPException)):  # It is for MQTT.
        https(fleet.https, asking_for(trusting(fleet), tokens), "POST", f"/topics/{name}?{one.query()}", body=b"{}")
    web = domain(authorizerConfig=config, authenticationType="CUSTOM_AUTH", applicationProtocol="HTTPS")
    with pytest.raises(Refused):
        with_certificate(fleet, anyone, web, name)
    fleet.log.having("Connection.AuthNError", "DOMAIN_CONFIGURATION_APPLICATION_PROTOCOL")
    assert len(one.events) == 2


def test_a_disabled_domain_takes_nobody(fleet, domain, device, name):
    server_name = domain()
    anyone = device()
    with_certificate(fleet, anyone, server_name, name).close()
    configuration = server_name.split(".")[0]
    fleet.iot.update_domain_configuration(
        domainConfigurationName=configuration, domainConfigurationStatus="DISABLED"
    )
    with pytest.raises(Refused):
        with_certificate(fleet, anyone, server_name, name)
    fleet.log.having("Connection.AuthNError", "DOMAIN_CONFIGURATION_DISABLED")
    fleet.iot.update_domain_configuration(domainConfigurationName=configuration, domainConfigurationStatus="ENABLED")
    with_certificate(fleet, anyone, server_name, name).close()


def test_a_certificate_and_an_authorizer(fleet, domain, authorizer, tmp_path, name):
    """CUSTOM_AUTH_X509: what the certificate's policies and the authorizer's allow together."""
    said = answer(statement("iot:Publish"), statement(["iot:Subscribe", "iot:Receive"]))
    del said["principalId"]
    one = authorizer(lambda event: said)
    server_name = domain(**by_both(one, "SECURE_MQTT"))
    connecting = make_device(fleet, tmp_path, document(statement("iot:Connect")))
    client = with_certificate(fleet, connecting, server_name, name)
    client.subscribe(name)
    assert client.publish(name, b"x") == 0
    assert client.expect(1) == [b"x"]
    [event] = one.events
    tls = event["protocolData"]["tls"]
    assert tls["principalId"] == connecting.arn.rpartition("/")[2] and tls["serverName"] == server_name
    assert ssl.PEM_cert_to_DER_cert(tls["x509CertificatePem"])
    client.close()
    said["principalId"] = "another"
    with pytest.raises(Refused) as refusal:
        with_certificate(fleet, connecting, server_name, name)
    assert refusal.value.value == NOT_AUTHORIZED
    del said["principalId"]
    said["isAuthenticated"] = False
    with pytest.raises(Refused):
        with_certificate(fleet, connecting, server_name, name)
    said["isAuthenticated"] = True
    again = with_certificate(fleet, connecting, server_name, name)
    # A certificate that is not active any more ends the connection, whatever its authorizer allows.
    fleet.iot.update_certificate(certificateId=tls["principalId"], newStatus="INACTIVE")
    eventually(lambda: not again.alive, "the end of the connection")


def test_a_certificate_and_an_authorizer_over_https(fleet, domain, authorizer, tmp_path, connect, name):
    """CUSTOM_AUTH_X509 for publishes over HTTPS: both are needed, and what both allow counts."""
    said = answer(statement("iot:Publish"))
    del said["principalId"]
    one = authorizer(lambda event: said)
    server_name = domain(**by_both(one, "HTTPS"))
    device = make_device(fleet, tmp_path, document(statement("iot:Connect")))
    listener = connect(name)
    listener.subscribe(name)
    assert post(fleet, device, server_name, f"/topics/{name}?qos=1") == 200
    assert listener.expect(1) == [b"x"]
    [event] = one.events
    assert event["protocolData"]["tls"]["principalId"] == device.id and "http" in event["protocolData"]
    # An authorizer's word is for publishes only.
    assert post(fleet, device, server_name, f"/things/{name}/shadow") == 403
    said["policyDocuments"] = [document(statement("iot:Subscribe"))]
    assert post(fleet, device, server_name, f"/topics/{name}?qos=1") == 403
    said["isAuthenticated"] = False
    assert post(fleet, device, server_name, f"/topics/{name}?qos=1") == 403



