"""Clients of the AWS IoT Device SDK v2, built by its own builders: MQTT 5 and MQTT 3.1.1 behind the same steps."""

from __future__ import annotations

import threading

from awscrt import mqtt, mqtt5
from awsiot import mqtt5_client_builder, mqtt_connection_builder

from device import Device
from instance import Fleethaven

SECONDS = 30


class _Inbox:
    """Received (topic, payload) pairs, in order."""

    def __init__(self):
        self.received: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def _add(self, topic: str, payload: bytes):
        with self._changed:
            self.received.append((topic, bytes(payload)))
            self._changed.notify_all()

    def expect(self, count: int, seconds: float = SECONDS) -> list[bytes]:
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.received) >= count, seconds)
        payloads = [payload for _, payload in self.received]
        assert enough, f"not within {seconds} s: {count} messages; received {payloads}"
        return payloads


class Sdk5(_Inbox):
    """`mqtt5_client_builder`: an MQTT 5 client that rejoins its session."""

    version = "5"

    def __init__(self, fleet: Fleethaven, device: Device | None, client_id: str, build=None, **options):
        super().__init__()
        self._connected, self._stopped = threading.Event(), threading.Event()
        self._failure = None
        host, port = fleet.mqtt_tls
        settings = {
            "endpoint": host,
            "port": port,
            "ca_filepath": fleet.ca_file,
            "client_id": client_id,
            "session_expiry_interval_sec": 600,
            "session_behavior": mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
            "on_publish_received": lambda data: self._add(
                data.publish_packet.topic, data.publish_packet.payload
            ),
            "on_lifecycle_connection_success": self._on_success,
            "on_lifecycle_connection_failure": self._on_failure,
            "on_lifecycle_stopped": lambda _data: self._stopped.set(),
        } | options
        if build is None:
            settings |= {"cert_filepath": device.certificate_file, "pri_key_filepath": device.key_file}
        self._client = (build or mqtt5_client_builder.mtls_from_path)(**settings)

    def _on_success(self, data):
        self.session_present = data.connack_packet.session_present
        self.negotiated = data.negotiated_settings
        self._connected.set()

    def _on_failure(self, data):
        self._failure = data
        self._connected.set()

    def connect(self):
        self._connected.clear()
        self._stopped.clear()
        self._failure = None
        self._client.start()
        assert self._connected.wait(SECONDS), "the SDK neither connected nor failed"
        assert self._failure is None, (
            f"connection refused: {self._failure.exception} {self._failure.connack_packet}"
        )
        return self

    def subscribe(self, topic_filter: str, qos: int = 1) -> list[int]:
        subscription = mqtt5.Subscription(topic_filter=topic_filter, qos=mqtt5.QoS(qos))
        packet = mqtt5.SubscribePacket(subscriptions=[subscription])
        return [int(code) for code in self._client.subscribe(packet).result(SECONDS).reason_codes]

    def publish(self, topic: str, payload: bytes, qos: int = 1):
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS(qos))
        done = self._client.publish(packet).result(SECONDS)
        if qos:
            assert done.puback.reason_code == mqtt5.PubackReasonCode.SUCCESS, done.puback

    def disconnect(self):
        self._client.stop()
        assert self._stopped.wait(SECONDS), "the SDK's client did not stop"


class Sdk3(_Inbox):
    """`mqtt_connection_builder`: an MQTT 3.1.1 connection with CleanSession=0."""

    version = "3.1.1"

    def __init__(self, fleet: Fleethaven, device: Device | None, client_id: str, build=None, **options):
        super().__init__()
        host, port = fleet.mqtt_tls
        settings = {
            "endpoint": host,
            "port": port,
            "ca_filepath": fleet.ca_file,
            "client_id": client_id,
            "clean_session": False,
            "keep_alive_secs": 60,
        } | options
        if build is None:
            settings |= {"cert_filepath": device.certificate_file, "pri_key_filepath": device.key_file}
        self._connection = (build or mqtt_connection_builder.mtls_from_path)(**settings)
        self._connection.on_message(lambda topic, payload, **_more: self._add(topic, payload))

    def connect(self):
        self.session_present = self._connection.connect().result(SECONDS)["session_present"]
        return self

    def subscribe(self, topic_filter: str, qos: int = 1) -> list[int]:
        future, _ = self._connection.subscribe(topic_filter, mqtt.QoS(qos))
        return [int(future.result(SECONDS)["qos"])]

    def publish(self, topic: str, payload: bytes, qos: int = 1):
        future, _ = self._connection.publish(topic, payload, mqtt.QoS(qos))
        future.result(SECONDS)

    def disconnect(self):
        self._connection.disconnect().result(SECONDS)
