"""What the tests of every file share: instances, devices and clients, each ended with the test or file that asked."""

from __future__ import annotations

import json
import uuid

import pytest

from device import make_device
from instance import Fleethaven
from lab import ROLE
from mqtt_client import Client


@pytest.fixture(scope="module")
def fleethaven(tmp_path_factory):
    """Starts instances with settings of their own: `fleethaven("--profile", "aws")`."""
    started = []

    def start(*settings: str, data_dir=None) -> Fleethaven:
        instance = Fleethaven(data_dir or tmp_path_factory.mktemp("data") / "fleethaven", *settings)
        started.append(instance)
        return instance.start()

    yield start
    for instance in started:
        instance.close()


@pytest.fixture(scope="module")
def fleet(fleethaven) -> Fleethaven:
    """The file's instance, with default settings."""
    return fleethaven()


@pytest.fixture(scope="module")
def iot(fleet):
    """The control plane of the file's instance."""
    return fleet.iot


@pytest.fixture
def device(fleet, tmp_path):
    """Makes devices: `device()` may do everything, `device(document)` what the policy says."""

    def make(*document, active: bool = True):
        return make_device(fleet, tmp_path, *document, active=active)

    return make


@pytest.fixture
def connect(fleet, tmp_path):
    """Connects clients: `connect("sensor01", version=V3)`; as a device that may do all unless one is given."""
    clients = []
    anyone = []

    def make(client_id: str, device=None, to: Fleethaven = fleet, **options) -> Client:
        if device is None:
            anyone or anyone.append(make_device(to, tmp_path))
            device = anyone[0]
        client = Client(to, device, client_id, **options)
        clients.append(client)
        return client.connect()

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return "n" + uuid.uuid4().hex[:12]


@pytest.fixture
def cert(fleet, tmp_path):
    """An active certificate without a policy."""
    return make_device(fleet, tmp_path, None)


class Rules:
    """Rules of one test, each for a topic of its own. What fails comes on the topic `<name>/errors`."""

    def __init__(self, iot, client: Client, name: str):
        self.iot, self.client, self.name = iot, client, name
        self.made: list[str] = []
        client.subscribe(f"{name}/errors")

    def send(self, action: dict, *payloads, sql: str = "SELECT *", of_errors: dict | None = None) -> str:
        """Makes a rule with one action, and sends it messages; its topic."""
        rule, topic = f"{self.name}_{len(self.made)}", f"{self.name}/{len(self.made)}"
        error = {"republish": {"roleArn": ROLE, "topic": f"{self.name}/errors", "qos": 1}}
        payload = {
            "sql": f"{sql} FROM '{topic}'",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [action],
            "errorAction": of_errors or error,
        }
        self.iot.create_topic_rule(ruleName=rule, topicRulePayload=payload)
        self.made.append(rule)
        assert self.iot.get_topic_rule(ruleName=rule)["rule"]["actions"] == [action]
        for message in payloads:
            self.client.publish(topic, message, qos=1)
        return topic

    def failures(self, count: int = 1) -> list[list[dict]]:
        """The failures in each of so many error documents."""
        return [json.loads(document)["failures"] for document in self.client.expect(count)]

    def failure(self, number: int = 1) -> dict:
        """The first failure in an error document, counted from 1."""
        return self.failures(number)[number - 1][0]


@pytest.fixture
def rules(iot, connect, name):
    rules = Rules(iot, connect(name), name)
    yield rules
    for rule in rules.made:
        iot.delete_topic_rule(ruleName=rule)
