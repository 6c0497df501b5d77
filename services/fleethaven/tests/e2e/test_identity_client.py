"""Fleet provisioning by the AWS IoT Device SDK's own identity clients, the first and the second."""

import concurrent.futures

import pytest
from awscrt import mqtt, mqtt_request_response
from awsiot import V2ServiceException, iotidentity, mqtt5_client_builder, mqtt_connection_builder

from device import Device, key_pem, new_key, signing_request
from enrolment import create_template, make_claim
from sdk_client import SECONDS, Sdk3, Sdk5


@pytest.fixture(scope="module")
def template(iot) -> str:
    create_template(iot, "IdentityClient")
    return "IdentityClient"


def settings(fleet, claim: Device, client_id: str) -> dict:
    host, port = fleet.mqtt_tls
    files = {"cert_filepath": claim.certificate_file, "pri_key_filepath": claim.key_file}
    return {"endpoint": host, "port": port, "ca_filepath": fleet.ca_file, "client_id": client_id} | files


class First:
    """`IotIdentityClient` over MQTT 3.1.1: subscribe to the answers, publish, wait."""

    def __init__(self, fleet, claim: Device, client_id: str):
        options = settings(fleet, claim, client_id) | {"clean_session": True}
        self.connection = mqtt_connection_builder.mtls_from_path(**options)
        self.connection.connect().result(SECONDS)
        self.client = iotidentity.IotIdentityClient(self.connection)

    def _ask(self, operation: str, subscription, request):
        answered = concurrent.futures.Future()
        for last in ("accepted", "rejected"):
            subscribe = getattr(self.client, f"subscribe_to_{operation}_{last}")
            done, _ = subscribe(subscription, mqtt.QoS.AT_LEAST_ONCE, answered.set_result)
            done.result(SECONDS)
        getattr(self.client, f"publish_{operation}")(request, mqtt.QoS.AT_LEAST_ONCE).result(SECONDS)
        answer = answered.result(SECONDS)
        assert not isinstance(answer, iotidentity.ErrorResponse), answer.error_code
        return answer

    def create_keys_and_certificate(self, request):
        return self._ask(
            "create_keys_and_certificate", iotidentity.CreateKeysAndCertificateSubscriptionRequest(), request
        )

    def create_certificate_from_csr(self, request):
        return self._ask(
            "create_certificate_from_csr", iotidentity.CreateCertificateFromCsrSubscriptionRequest(), request
        )

    def register_thing(self, request):
        subscription = iotidentity.RegisterThingSubscriptionRequest(template_name=request.template_name)
        return self._ask("register_thing", subscription, request)

    def close(self):
        self.connection.disconnect().result(SECONDS)


class Second:
    """`IotIdentityClientV2`, over either version of MQTT."""

    def __init__(self, fleet, claim: Device, client_id: str):
        self.open(settings(fleet, claim, client_id))
        options = mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=4,
            max_streaming_subscriptions=0,
            operation_timeout_in_seconds=SECONDS,
        )
        self.client = iotidentity.IotIdentityClientV2(self.protocol, options)

    def create_keys_and_certificate(self, request):
        return self.client.create_keys_and_certificate(request).result(SECONDS)

    def create_certificate_from_csr(self, request):
        return self.client.create_certificate_from_csr(request).result(SECONDS)

    def register_thing(self, request):
        return self.client.register_thing(request).result(SECONDS)


class SecondOver3(Second):
    def open(self, options: dict):
        self.protocol = mqtt_connection_builder.mtls_from_path(clean_session=True, **options)
        self.protocol.connect().result(SECONDS)

    def close(self):
        self.protocol.disconnect().result(SECONDS)


class SecondOver5(Second):
    def open(self, options: dict):
        connected = concurrent.futures.Future()
        self.protocol = mqtt5_client_builder.mtls_from_path(
            on_lifecycle_connection_success=connected.set_result,
            on_lifecycle_stopped=lambda data: self.stopped.set_result(data),
            **options,
        )
        self.stopped = concurrent.futures.Future()
        self.protocol.start()
        connected.result(SECONDS)

    def close(self):
        self.protocol.stop()
        self.stopped.result(SECONDS)


CLIENTS = pytest.mark.parametrize("kind", [First, SecondOver3, SecondOver5])


@pytest.fixture
def identity(fleet, tmp_path, template, name, kind):
    client = kind(fleet, make_claim(fleet, tmp_path, template), f"{name}-claim")
    yield client
    client.close()


def register(identity, template: str, token: str, serial: str):
    request = iotidentity.RegisterThingRequest(
        template_name=template, certificate_ownership_token=token, parameters={"SerialNumber": serial}
    )
    return identity.register_thing(request)


@CLIENTS
def test_keys_and_certificate(fleet, identity, tmp_path, template, name):
    made = identity.create_keys_and_certificate(iotidentity.CreateKeysAndCertificateRequest())
    provisioned = register(identity, template, made.certificate_ownership_token, name)
    assert provisioned.thing_name == f"lamp-{name}"
    assert provisioned.device_configuration == {"FallbackUrl": "https://www.example.com/test-site"}
    device = Device.store(tmp_path, "", made.certificate_id, made.certificate_pem, made.private_key)
    for sdk in (Sdk5, Sdk3):
        sdk(fleet, device, f"lamp-{name}").connect().disconnect()


@CLIENTS
def test_certificate_from_a_request(fleet, identity, tmp_path, template, name):
    key = new_key()
    request = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=signing_request(key))
    made = identity.create_certificate_from_csr(request)
    assert register(identity, template, made.certificate_ownership_token, name).thing_name == f"lamp-{name}"
    device = Device.store(tmp_path, "", made.certificate_id, made.certificate_pem, key_pem(key))
    Sdk5(fleet, device, f"lamp-{name}").connect().disconnect()


@pytest.mark.parametrize("kind", [SecondOver3, SecondOver5])
def test_a_refusal_is_an_exception_with_its_code(identity, template, name):
    with pytest.raises(V2ServiceException) as refused:
        register(identity, template, "no such token", name)
    error = refused.value.modeled_error
    assert (error.status_code, error.error_code) == (400, "InvalidCertificateOwnershipToken")
