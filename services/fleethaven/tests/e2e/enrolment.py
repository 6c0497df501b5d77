"""What fleet provisioning is tried with: a claim's policy, templates, and a device's side of the conversation over paho."""

from __future__ import annotations

import json

import cbor2

from device import Device, allow, key_pem, make_device, new_key, policy, signing_request
from mqtt_client import Client

ROLE = "arn:aws:iam::123456789012:role/provisioning"
TOPICS = ("certificates/create/*", "certificates/create-from-csr/*")
FORMATS = {"json": (lambda value: json.dumps(value).encode(), json.loads), "cbor": (cbor2.dumps, cbor2.loads)}


def claim_policy(template: str) -> str:
    """AWS's example: a claim may ask for a certificate and have it provisioned by one template."""
    topics = [f"$aws/{topic}" for topic in (*TOPICS, f"provisioning-templates/{template}/provision/*")]
    return policy(
        allow("Connect", "*"),
        allow("Publish", *(f"topic/{topic}" for topic in topics)),
        allow("Receive", *(f"topic/{topic}" for topic in topics)),
        allow("Subscribe", *(f"topicfilter/{topic}" for topic in topics)),
    )


OWN = {
    "Version": "2012-10-17",
    "Statement": [
        allow("Connect", "client/${iot:Connection.Thing.ThingName}"),
        allow("Publish", "topic/devices/${iot:Connection.Thing.ThingName}"),
        allow("Subscribe", "topicfilter/devices/${iot:Connection.Thing.ThingName}"),
        allow("Receive", "topic/devices/${iot:Connection.Thing.ThingName}"),
    ],
}


def template(**more) -> str:
    """Makes the thing `{Prefix}-{SerialNumber}` with a certificate that may act for it."""
    name = {"Fn::Join": ["-", [{"Ref": "Prefix"}, {"Ref": "SerialNumber"}]]}
    certificate = {"CertificateId": {"Ref": "AWS::IoT::Certificate::Id"}, "Status": "Active"}
    resources = {
        "thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": name}},
        "certificate": {"Type": "AWS::IoT::Certificate", "Properties": certificate},
        "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyDocument": OWN}},
    }
    return json.dumps(
        {
            "Parameters": {"SerialNumber": {"Type": "String"}, "Prefix": {"Type": "String", "Default": "lamp"}},
            "Resources": resources,
            "DeviceConfiguration": {"FallbackUrl": "https://www.example.com/test-site"},
        }
        | more
    )


def create_template(iot, name: str, **more) -> dict:
    arguments = {"templateBody": template(), "enabled": True, "provisioningRoleArn": ROLE} | more
    return iot.create_provisioning_template(templateName=name, **arguments)


def make_claim(fleet, folder, template: str) -> Device:
    """A claim certificate for a template that is there."""
    return make_device(fleet, folder, claim_policy(template))


class Enrolling:
    """A device with a claim: asks, and waits for the answer."""

    def __init__(self, client: Client, template: str, format: str = "json"):
        self.client, self.format = client, format
        self.write, self.read = FORMATS[format]
        self.create = f"$aws/certificates/create/{format}"
        self.from_csr = f"$aws/certificates/create-from-csr/{format}"
        self.provision = f"$aws/provisioning-templates/{template}/provision/{format}"

    def subscribe(self, qos: int = 1) -> Enrolling:
        topics = (self.create, self.from_csr, self.provision)
        answers = [f"{topic}/{last}" for topic in topics for last in ("accepted", "rejected")]
        granted = self.client.subscribe(*answers, qos=qos)
        assert granted == [qos] * len(answers), granted
        return self

    def ask(self, topic: str, payload: object = None, qos: int = 1) -> tuple[str, dict]:
        """The last level of the answer's topic, and the answer."""
        before = len(self.client.received)
        data = payload if isinstance(payload, bytes) else self.write({} if payload is None else payload)
        self.client.publish(topic, data, qos)
        self.client.expect(before + 1)
        answer = self.client.received[before]
        of, _, last = answer.topic.rpartition("/")
        assert of == topic and not answer.retain
        return last, self.read(bytes(answer.payload))

    def accepted(self, topic: str, payload: object = None, qos: int = 1) -> dict:
        last, answer = self.ask(topic, payload, qos)
        assert last == "accepted", answer
        return answer

    def rejected(self, topic: str, payload: object = None) -> tuple[int, str]:
        last, answer = self.ask(topic, payload)
        assert last == "rejected" and answer.keys() == {"statusCode", "errorCode", "errorMessage"}, answer
        return answer["statusCode"], answer["errorCode"]

    def certificate(self, folder) -> tuple[Device, str]:
        """A certificate over a key that was made here, and its ownership token."""
        key = new_key()
        made = self.accepted(self.from_csr, {"certificateSigningRequest": signing_request(key)})
        assert made.keys() == {"certificateId", "certificatePem", "certificateOwnershipToken"}
        device = Device.store(folder, "", made["certificateId"], made["certificatePem"], key_pem(key))
        return device, made["certificateOwnershipToken"]

    def request(self, token: str, serial: str, **more) -> dict:
        parameters = {"SerialNumber": serial, **more}
        return {"certificateOwnershipToken": token, "parameters": parameters}
