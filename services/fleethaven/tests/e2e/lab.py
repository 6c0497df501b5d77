"""The beginner's lab, step by step with real clients. `test_lab.py` asserts it, `demo.py` shows it."""

from __future__ import annotations

import collections
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from botocore.exceptions import ClientError

from device import Device, allow, make_device, policy, tls_refusal, unregistered_device
from instance import Fleethaven, Lines
from mqtt_client import V3, V5, Client, Refused
from sdk_client import Sdk3, Sdk5

TELEMETRY = "sensors/sensor01/telemetry"
ROLE = "arn:aws:iam::123456789012:role/iot-republish"
ENDPOINT_TYPES = ("iot:Data", "iot:Data-ATS", "iot:CredentialProvider", "iot:Jobs")
ACTIVE, INACTIVE, REVOKED = "ACTIVE", "INACTIVE", "REVOKED"
NOT_AUTHORIZED = 0x87


def reading(temperature: float, thing: str = "sensor01") -> bytes:
    """One telemetry message; its odd spacing shows whether a rule sends the bytes on as they came."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return (
        f'{{"thingName": "{thing}",  "timestamp": "{now}", "temperature": {temperature}, "unit": "celsius"}}'
    ).encode()


class Quiet:
    """Says nothing; the demo brings a narrator with the same two calls."""

    def does(self, text: str):
        """A command, as a person would type it."""

    def sees(self, text: str):
        """What came of it."""


class CommandFailed(Exception):
    """A command line tool ended with an error."""


class Lab:
    """One run of the lab on one instance. The steps build on each other, in order."""

    def __init__(self, fleet: Fleethaven, folder: Path, narrator=None):
        self.fleet, self.folder, self.narrator = fleet, folder, narrator or Quiet()
        self.clients: list[Client] = []

    def close(self):
        for client in self.clients:
            client.close()

    # The clients.

    def run(self, command: list[str], environment: dict | None = None, shown: str | None = None) -> str:
        self.narrator.does(shown or shlex.join(command))
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            self.narrator.sees(done.stderr.strip())
            raise CommandFailed(done.stderr.strip())
        if done.stdout.strip():
            self.narrator.sees(done.stdout.strip())
        return done.stdout

    def aws(self, *arguments: str, service: str = "iot") -> dict:
        """`aws iot …` with nothing but the shared-config file that the ready line names."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_PROFILE": "fleethaven",
            "AWS_CONFIG_FILE": self.fleet.ready["aws_config_file"],
        }
        program = Path(sys.executable).parent / "aws"
        text = self.run(
            [str(program), service, *arguments], environment, shlex.join(["aws", service, *arguments])
        )
        return json.loads(text) if text.strip() else {}

    def client(self, device: Device, client_id: str, **options) -> Client:
        client = Client(self.fleet, device, client_id, **options)
        self.clients.append(client)
        self.narrator.does(
            f"paho: CONNECT as {client_id}, keep-alive 60, MQTT {'3.1.1' if client._version == V3 else '5'}"
        )
        return client.connect()

    def mosquitto(self, tool: str, device: Device, client_id: str, *arguments: str) -> list[str]:
        host, port = self.fleet.mqtt_tls
        return [
            tool,
            "-h",
            host,
            "-p",
            str(port),
            "--cafile",
            self.fleet.ca_file,
            "--cert",
            device.certificate_file,
            "--key",
            device.key_file,
            "-i",
            client_id,
            "-k",
            "60",
            *arguments,
        ]

    # 1. A thing, its certificate and its policy.

    def endpoints(self) -> dict[str, str]:
        return {
            kind: self.aws("describe-endpoint", "--endpoint-type", kind)["endpointAddress"]
            for kind in ENDPOINT_TYPES
        }

    def provision_sensor(self) -> Device:
        """With the AWS CLI."""
        self.aws("create-thing", "--thing-name", "sensor01")
        made = self.aws("create-keys-and-certificate", "--set-as-active")
        document = policy(
            allow("Connect", "client/sensor01"),
            allow("Publish", "topic/sensors/sensor01/*"),
            allow("Receive", "topic/sensors/sensor01/*"),
            allow("Subscribe", "topicfilter/sensors/sensor01/*"),
        )
        self.aws("create-policy", "--policy-name", "sensor01", "--policy-document", document)
        self.aws("attach-policy", "--policy-name", "sensor01", "--target", made["certificateArn"])
        self.aws("attach-thing-principal", "--thing-name", "sensor01", "--principal", made["certificateArn"])
        self.sensor = Device.store(
            self.folder,
            made["certificateArn"],
            made["certificateId"],
            made["certificatePem"],
            made["keyPair"]["PrivateKey"],
        )
        self.sensor.policy_name = "sensor01"
        return self.sensor

    def provision_application(self) -> Device:
        """With boto3."""
        iot = self.fleet.iot
        self.narrator.does(
            "boto3: create_keys_and_certificate, create_policy, attach_policy for the application"
        )
        made = iot.create_keys_and_certificate(setAsActive=True)
        document = policy(
            allow("Connect", "client/dashboard*"),
            allow(
                "Subscribe",
                "topicfilter/sensors/+/telemetry",
                "topicfilter/sensors/+/alerts",
                "topicfilter/alerts/*",
            ),
            allow("Receive", "topic/sensors/*", "topic/alerts/*"),
        )
        iot.create_policy(policyName="dashboard", policyDocument=document)
        iot.attach_policy(policyName="dashboard", target=made["certificateArn"])
        self.application = Device.store(
            self.folder,
            made["certificateArn"],
            made["certificateId"],
            made["certificatePem"],
            made["keyPair"]["PrivateKey"],
        )
        self.narrator.sees(f"certificate {self.application.id[:12]}… with the policy dashboard")
        return self.application

    # 2. Telemetry over mutual TLS.

    def paho_telemetry(self, version: int) -> list[bytes]:
        application = self.client(self.application, "dashboard", version=version)
        granted = application.subscribe("sensors/+/telemetry")
        assert granted == [1], f"the application's subscription was answered {granted}"
        sensor = self.client(self.sensor, "sensor01", version=version)
        sent = [reading(20 + n) for n in range(3)]
        for payload in sent:
            self.narrator.does(f"paho: PUBLISH {TELEMETRY} {payload.decode()}")
            assert sensor.publish(TELEMETRY, payload) == 0
        got = application.expect(3)
        for payload in got:
            self.narrator.sees(f"dashboard received {payload.decode()}")
        assert got == sent
        sensor.disconnect()
        application.disconnect()
        return got

    def mosquitto_telemetry(self) -> str:
        watch = self.mosquitto(
            "mosquitto_sub",
            self.application,
            "dashboard",
            "-t",
            "sensors/+/telemetry",
            "-q",
            "1",
            "-C",
            "1",
            "-W",
            "20",
            "-d",
        )
        self.narrator.does(shlex.join(watch))
        # Line-buffered, so that "Subscribed" is seen when it is said.
        subscriber = subprocess.Popen(
            ["stdbuf", "-oL", *watch], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines = Lines(subscriber.stdout)
        try:
            lines.having("Subscribed", seconds=15)
            payload = reading(21.5).decode()
            self.run(
                self.mosquitto(
                    "mosquitto_pub", self.sensor, "sensor01", "-t", TELEMETRY, "-q", "1", "-m", payload
                )
            )
            line = lines.having(payload, seconds=15)
            assert subscriber.wait(15) == 0, "mosquitto_sub did not end well"
        finally:
            subscriber.kill()
            subscriber.wait(5)
        self.narrator.sees(f"mosquitto_sub printed {line}")
        return line

    # 3. The AWS IoT Device SDK.

    def sdk_session(self, kind: type[Sdk5 | Sdk3]) -> list[bytes]:
        """QoS 0 and 1 both ways, then a persistent session resumed with what was queued meanwhile."""
        self.narrator.does(
            f"awsiotsdk: MQTT {kind.version} client by the mTLS builder, as dashboard-sdk and sensor01"
        )
        application = kind(self.fleet, self.application, f"dashboard-sdk-{kind.version}").connect()
        sensor = kind(self.fleet, self.sensor, "sensor01").connect()
        assert application.subscribe("sensors/+/telemetry") == [1]
        sent = [reading(22.0), reading(22.5)]
        sensor.publish(TELEMETRY, sent[0], qos=0)
        sensor.publish(TELEMETRY, sent[1], qos=1)
        got = application.expect(2)
        assert got == sent, f"sent {sent}, received {got}"
        self.narrator.sees("QoS 0 and QoS 1 arrived")
        # The SDK acknowledges on its own time. A SUBACK tells that the PUBACK before it has gone out, so that nothing
        # of the first connection is delivered again on the second.
        application.subscribe("sensors/+/telemetry")
        application.disconnect()
        queued = [reading(23.0 + n) for n in range(5)]
        for payload in queued:
            sensor.publish(TELEMETRY, payload, qos=1)
        self.narrator.does(
            "awsiotsdk: dashboard-sdk goes away; sensor01 publishes 5 readings; dashboard-sdk comes back"
        )
        application.connect()
        assert application.session_present, "the session was not resumed"
        got = application.expect(7)[2:]
        assert got == queued, f"queued {queued}, received {got}"
        self.narrator.sees("session present, and the 5 readings in order")
        application.disconnect()
        sensor.disconnect()
        return got

    # 4. A rule.

    def rule_payload(self) -> dict:
        republish = [
            {"republish": {"roleArn": ROLE, "topic": topic, "qos": 1}}
            for topic in ("sensors/sensor01/alerts", "alerts/${topic(2)}")
        ]
        sql = "SELECT * FROM 'sensors/+/telemetry' WHERE temperature > 30"
        return {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": republish}

    def create_rule(self):
        document = json.dumps(self.rule_payload())
        self.aws("create-topic-rule", "--rule-name", "high_temp_alerts", "--topic-rule-payload", document)

    def hot_readings(self) -> dict[str, list[bytes]]:
        """Publishes cold and hot readings; checks that each hot one arrived once, and returns them by topic."""
        application = self.client(self.application, "dashboard-alerts")
        assert application.subscribe("sensors/+/alerts", "alerts/+") == [1, 1]
        sensor = self.client(self.sensor, "sensor01")
        hot = [reading(30.5), reading(31), reading(99)]
        for payload in (reading(12), hot[0], reading(30), hot[1], b"not json", reading(-3), hot[2]):
            self.narrator.does(f"paho: PUBLISH {TELEMETRY} {payload.decode()}")
            assert sensor.publish(TELEMETRY, payload) == 0
        application.expect(2 * len(hot))
        # A later reading, seen on both topics, has given any second copy of an earlier one its time.
        hot.append(reading(100))
        assert sensor.publish(TELEMETRY, hot[-1]) == 0
        application.expect(2 * len(hot))
        arrived = collections.defaultdict(list)
        for message in application.received:
            arrived[message.topic].append(bytes(message.payload))
            self.narrator.sees(f"{message.topic}: {bytes(message.payload).decode()}")
        sensor.disconnect()
        application.disconnect()
        for topic in ("sensors/sensor01/alerts", "alerts/sensor01"):
            assert sorted(arrived[topic]) == sorted(hot), (
                f"{topic}: sent hot {hot}, received {arrived[topic]}"
            )
        assert len(arrived) == 2, f"alerts came on {sorted(arrived)}"
        return dict(arrived)

    # 5. Denials. Each answers what the client saw, and the words that the log line of the refusal holds.

    def refused_connect(self, device: Device, client_id: str, version: int = V5) -> str:
        try:
            self.client(device, client_id, version=version)
        except Refused as refused:
            return (
                f"CONNACK {refused.code}"
                if refused.value is not None
                else f"the TLS connection ended ({refused.code})"
            )
        raise AssertionError(f"{client_id} was let in")

    def spare(self, name: str, *statements: dict) -> tuple[Device, str]:
        """A device for one denial, and its client id; by default it may connect and use `spare/<name>`."""
        document = (
            policy(*statements)
            if statements
            else policy(
                allow("Connect", f"client/{name}"),
                allow("Publish", f"topic/spare/{name}"),
                allow("Subscribe", f"topicfilter/spare/{name}"),
                allow("Receive", f"topic/spare/{name}"),
            )
        )
        return make_device(self.fleet, self.folder, document), name

    def wrong_client_id(self, version: int):
        saw = self.refused_connect(self.sensor, f"intruder-{version}", version)
        assert saw == "CONNACK Not authorized", saw
        return saw, (f"intruder-{version}", "AUTHORIZATION_FAILURE")

    def foreign_publish_v5(self):
        device, name = self.spare("publisher5")
        client = self.client(device, name)
        code = client.publish("foreign/topic", b"x")
        assert code == NOT_AUTHORIZED and client.alive, f"PUBACK {code}, alive {client.alive}"
        assert client.publish(f"spare/{name}", b"x") in (0, 0x10), "the connection no longer serves"
        return "PUBACK 0x87, connection stays", (name, "AUTHORIZATION_FAILURE", "foreign/topic")

    def foreign_publish_v3(self):
        device, name = self.spare("publisher3")
        client = self.client(device, name, version=V3)
        client.publish_later("foreign/topic", b"x")
        client.closed()
        return "connection closed, no PUBACK", (name, "AUTHORIZATION_FAILURE", "foreign/topic")

    def foreign_subscribe_v5(self):
        device, name = self.spare("subscriber5")
        codes = self.client(device, name).subscribe("foreign/#", f"spare/{name}")
        assert codes == [NOT_AUTHORIZED, 1], codes
        return "SUBACK 0x87 for that filter, the other granted", (name, "AUTHORIZATION_FAILURE", "foreign/#")

    def foreign_subscribe_v3(self):
        device, name = self.spare("subscriber3")
        codes = self.client(device, name, version=V3).subscribe("foreign/#", f"spare/{name}")
        assert codes == [0x80, 1], codes
        return "SUBACK 0x80 for that filter, the other granted", (name, "AUTHORIZATION_FAILURE", "foreign/#")

    def foreign_receive(self):
        device, name = self.spare(
            "receiver",
            allow("Connect", "client/receiver"),
            allow("Subscribe", "topicfilter/sensors/#"),
            allow("Receive", "topic/sensors/public/*"),
        )
        client = self.client(device, name)
        assert client.subscribe("sensors/#") == [1]
        publisher, other = self.spare(
            "broadcaster", allow("Connect", "client/broadcaster"), allow("Publish", "topic/sensors/*")
        )
        sender = self.client(publisher, other)
        sender.publish("sensors/secret/a", b"secret")
        sender.publish("sensors/public/a", b"public")
        assert client.expect_until(b"public") == [b"public"]
        return "silently not delivered, the allowed one is", (
            name,
            "AUTHORIZATION_FAILURE",
            "sensors/secret/a",
        )

    def certificate_at_connect(self, status: str):
        device, name = self.spare(f"certificate-{status.lower()}")
        self.fleet.iot.update_certificate(certificateId=device.id, newStatus=status)
        alert = tls_refusal(self.fleet.mqtt_tls, device.tls(self.fleet.ca_file))
        # Known from before, it is an alert; looked up after the handshake, just the end, as by AWS.
        assert alert == "closed" or (alert and "certificate_revoked" in alert), alert
        self.refused_connect(device, name)
        return f"TLS: {alert}", (device.id, f"DEVICE_CERTIFICATE_{status}")

    def unknown_certificate(self):
        device = unregistered_device(self.folder)
        alert = tls_refusal(self.fleet.mqtt_tls, device.tls(self.fleet.ca_file))
        assert alert and "certificate_unknown" in alert, alert
        self.refused_connect(device, "stranger")
        return f"TLS: {alert}", ("DEVICE_CERTIFICATE_NOT_REGISTERED",)

    def no_policy(self):
        device = make_device(self.fleet, self.folder, None)
        saw = self.refused_connect(device, "without-policy")
        assert saw == "CONNACK Not authorized", saw
        return saw, ("without-policy", "AUTHORIZATION_FAILURE")

    def certificate_while_connected(self, status: str):
        device, name = self.spare(f"live-{status.lower()}")
        client = self.client(device, name)
        self.fleet.iot.update_certificate(certificateId=device.id, newStatus=status)
        code = client.closed(seconds=1)
        assert code == 0x98, f"DISCONNECT {code}"
        return "DISCONNECT 0x98 within a second", (name, "Disconnect", "the certificate is no longer active")

    def policy_detached_while_connected(self):
        device, name = self.spare("live-detached")
        client = self.client(device, name)
        assert client.publish(f"spare/{name}", b"x") in (0, 0x10)
        self.fleet.iot.detach_policy(policyName=device.policy_name, target=device.arn)
        code = client.publish(f"spare/{name}", b"x")
        assert code == NOT_AUTHORIZED and client.alive, f"PUBACK {code}, alive {client.alive}"
        return "PUBACK 0x87, connection stays", (name, "AUTHORIZATION_FAILURE")

    DENIALS = {
        "wrong client id, MQTT 5": (wrong_client_id, V5),
        "wrong client id, MQTT 3.1.1": (wrong_client_id, V3),
        "publish to a foreign topic, MQTT 5": (foreign_publish_v5,),
        "publish to a foreign topic, MQTT 3.1.1": (foreign_publish_v3,),
        "subscribe to a foreign topic, MQTT 5": (foreign_subscribe_v5,),
        "subscribe to a foreign topic, MQTT 3.1.1": (foreign_subscribe_v3,),
        "receive from a foreign topic": (foreign_receive,),
        "inactive certificate": (certificate_at_connect, INACTIVE),
        "revoked certificate": (certificate_at_connect, REVOKED),
        "unknown certificate": (unknown_certificate,),
        "certificate without a policy": (no_policy,),
        "certificate deactivated while connected": (certificate_while_connected, INACTIVE),
        "certificate revoked while connected": (certificate_while_connected, REVOKED),
        "policy detached while connected": (policy_detached_while_connected,),
    }

    def deny(self, what: str) -> str:
        """Provokes one denial: what the client saw, and the log line that gives the reason."""
        before = len(self.fleet.log.all)
        provoke, *arguments = self.DENIALS[what]
        saw, words = provoke(self, *arguments)
        line = self.fleet.log.having(*words, since=before)
        self.narrator.sees(f"{what}: {saw}")
        self.narrator.sees(f"log: {line}")
        return saw

    # 6. Clean-up.

    def refused_call(self, error: str, status: int, call, **arguments) -> str:
        """Makes an API call that must be refused so; the error's message."""
        try:
            call(**arguments)
        except ClientError as refusal:
            got = refusal.response["Error"]["Code"], refusal.response["ResponseMetadata"]["HTTPStatusCode"]
            assert got == (error, status), f"{call.__name__}{arguments} was refused with {got}: {refusal}"
            self.narrator.sees(f"boto3: {call.__name__} refused: {error}")
            return str(refusal)
        raise AssertionError(f"{call.__name__}{arguments} was accepted, {error} was expected")

    def wrong_order(self):
        """What AWS says when things are taken apart in the wrong order; nothing changes by it."""
        iot, sensor = self.fleet.iot, self.sensor
        refused = self.refused_call
        refused("InvalidRequestException", 400, iot.delete_thing, thingName="sensor01")
        refused("DeleteConflictException", 409, iot.delete_policy, policyName="sensor01")
        refused("CertificateStateException", 406, iot.delete_certificate, certificateId=sensor.id)
        refused("VersionConflictException", 409, iot.update_thing, thingName="sensor01", expectedVersion=7)
        refused("ResourceNotFoundException", 404, iot.delete_policy, policyName="no-such-policy")
        refused(
            "ResourceNotFoundException",
            404,
            iot.attach_policy,
            policyName="no-such-policy",
            target=sensor.arn,
        )

    def clean_up(self):
        """In order, with the AWS CLI; a wrong step in between is refused still."""
        iot, sensor = self.fleet.iot, self.sensor
        self.aws("delete-topic-rule", "--rule-name", "high_temp_alerts")
        self.aws("detach-policy", "--policy-name", "sensor01", "--target", sensor.arn)
        self.aws("update-certificate", "--certificate-id", sensor.id, "--new-status", "INACTIVE")
        self.refused_call("DeleteConflictException", 409, iot.delete_certificate, certificateId=sensor.id)
        self.aws("detach-thing-principal", "--thing-name", "sensor01", "--principal", sensor.arn)
        self.aws("delete-certificate", "--certificate-id", sensor.id)
        self.aws("delete-policy", "--policy-name", "sensor01")
        self.aws("delete-thing", "--thing-name", "sensor01")
        self.refused_call("ResourceNotFoundException", 404, iot.describe_certificate, certificateId=sensor.id)
        self.refused_call("ResourceNotFoundException", 404, iot.get_policy, policyName="sensor01")
        self.refused_call("ResourceNotFoundException", 404, iot.describe_thing, thingName="sensor01")
