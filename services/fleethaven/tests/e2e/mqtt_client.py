"""A paho-mqtt client whose every step waits for its answer, with a deadline."""

from __future__ import annotations

import socket
import ssl
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from device import Device
from instance import Fleethaven
from instance import address as parted

V3, V5 = paho.MQTTv311, paho.MQTTv5
BOTH_VERSIONS = {"argvalues": [V3, V5], "ids": ["3.1.1", "5"]}
# Far more than any of it takes: a machine may be busy.
SECONDS = 30


class Refused(Exception):
    """The connection ended before a positive CONNACK; `code` is the reason code's name, if there was one, `reason` MQTT 5's Reason
    String."""

    def __init__(self, code: str | None, value: int | None, reason: str | None = None):
        self.code, self.value, self.reason = code, value, reason
        super().__init__(f"refused: {code} ({value}){reason and f', {reason}' or ''}")


def properties(packet_type: int, **values) -> Properties | None:
    """MQTT 5 properties by paho's names."""
    if not values:
        return None
    made = Properties(packet_type)
    for key, value in values.items():
        setattr(made, key, value)
    return made


class Client:
    """One MQTT client. `received` holds the messages in the order they came."""

    def __init__(
        self,
        fleet: Fleethaven,
        device: Device | None,
        client_id: str,
        version: int = V5,
        clean: bool = True,
        expiry: int | None = None,
        keep_alive: int = 60,
        will: tuple[str, bytes, int] | None = None,
        listener: str = "mqtt_tls",
        address: str | None = None,
        alpn: str | None = None,
        tls: ssl.TLSVersion | None = None,
        context: ssl.SSLContext | None = None,
        **connect_properties,
    ):
        self.received: list[paho.MQTTMessage] = []
        self._changed = threading.Condition()
        self._connack = self._disconnect = None
        self._acks: dict[tuple[str, int], list] = {}
        self.session_present = False
        self.connack_properties = None
        self._address = fleet.https if listener == "https" else parted(address or fleet.ready[listener])
        self._clean, self._keep_alive, self._version = clean, keep_alive, version
        if expiry is not None:
            connect_properties["SessionExpiryInterval"] = expiry
        self._properties = properties(PacketTypes.CONNECT, **connect_properties)
        self.paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            reconnect_on_failure=False,
            clean_session=clean if version == V3 else None,
        )
        if device:
            context = context or device.tls(fleet.ca_file, alpn)
            if tls:
                context.minimum_version = context.maximum_version = tls
            self.paho.tls_set_context(context)
        if will:
            self.paho.will_set(will[0], will[1], will[2])
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_message = self._on_message
        self.paho.on_subscribe = lambda _c, _u, mid, codes, _p: self._on_ack("subscribe", mid, codes)
        self.paho.on_unsubscribe = lambda _c, _u, mid, codes, _p: self._on_ack("unsubscribe", mid, codes)
        self.paho.on_publish = lambda _c, _u, mid, code, _p: self._on_ack("publish", mid, [code])

    # Callbacks, on paho's thread.

    def _on_connect(self, _client, _userdata, flags, code, props):
        with self._changed:
            self._connack, self.session_present, self.connack_properties = code, flags.session_present, props
            self._changed.notify_all()

    def _on_disconnect(self, _client, _userdata, _flags, code, _props):
        with self._changed:
            if self._disconnect is None:  # paho reports a server's DISCONNECT, then the socket's end
                self._disconnect = code
            self._changed.notify_all()

    def _on_message(self, _client, _userdata, message):
        with self._changed:
            self.received.append(message)
            self._changed.notify_all()

    def _on_ack(self, kind, mid, codes):
        with self._changed:
            self._acks[kind, mid] = codes
            self._changed.notify_all()

    def _wait(self, condition, what: str, seconds: float = SECONDS):
        with self._changed:
            value = self._changed.wait_for(condition, seconds)
        if not value:
            raise AssertionError(f"{self.paho._client_id.decode()}: not within {seconds} s: {what}")
        return value

    # Steps.

    def connect(self) -> Client:
        """CONNECT and its CONNACK; raises `Refused` when the answer is no, or none."""
        more = {"clean_start": self._clean, "properties": self._properties} if self._version == V5 else {}
        try:
            self.paho.connect(*self._address, keepalive=self._keep_alive, **more)
        except (ssl.SSLError, ConnectionError) as error:
            raise Refused(getattr(error, "reason", None) or str(error), None) from error
        self.paho.loop_start()
        self._wait(lambda: self._connack is not None or self._disconnect is not None, "a CONNACK, or the end")
        if self._connack is None or self._connack.is_failure:
            self.paho.loop_stop()
            code = self._connack
            raise Refused(code and code.getName(), code and code.value, getattr(self.connack_properties, "ReasonString", None))
        return self

    def subscribe(self, *filters: str, qos: int = 1) -> list[int]:
        """The SUBACK's reason codes, one a filter."""
        _, mid = self.paho.subscribe([(f, qos) for f in filters])
        self._wait(lambda: ("subscribe", mid) in self._acks or self._disconnect, f"SUBACK for {filters}")
        return [code.value for code in self._acks.get(("subscribe", mid), [])]

    def unsubscribe(self, topic_filter: str):
        _, mid = self.paho.unsubscribe(topic_filter)
        self._wait(lambda: ("unsubscribe", mid) in self._acks, f"UNSUBACK for {topic_filter}")

    def publish_later(self, topic: str, payload: bytes | str = b"", qos: int = 1, **props) -> int:
        """PUBLISH without waiting; returns what `acknowledged` asks for."""
        more = properties(PacketTypes.PUBLISH, **props)
        return self.paho.publish(topic, payload, qos, properties=more).mid

    def acknowledged(self, mid: int) -> int | None:
        codes = self._acks.get(("publish", mid))
        return codes[0].value if codes else None

    def publish(self, topic: str, payload: bytes | str = b"", qos: int = 1, **props) -> int | None:
        """PUBLISH; the PUBACK's reason code, or None when the connection ended first."""
        mid = self.publish_later(topic, payload, qos, **props)
        self._wait(lambda: ("publish", mid) in self._acks or self._disconnect, f"PUBACK for {topic}")
        return self.acknowledged(mid)

    def expect(self, count: int, seconds: float = SECONDS) -> list[bytes]:
        """The payloads of at least `count` messages, in order of arrival."""
        try:
            self._wait(lambda: len(self.received) >= count, f"{count} messages", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; received {self.payloads()[:20]}") from None
        return self.payloads()

    def expect_until(self, last: bytes, seconds: float = SECONDS) -> list[bytes]:
        """The payloads up to the one that a test sent to mark the end."""
        try:
            self._wait(lambda: last in self.payloads(), f"the message {last!r}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; received {self.payloads()[:20]}") from None
        return self.payloads()

    def payloads(self) -> list[bytes]:
        return [bytes(message.payload) for message in self.received]

    def closed(self, seconds: float = SECONDS) -> int:
        """Waits until the server has ended the connection; the DISCONNECT's reason code in MQTT 5."""
        self._wait(lambda: self._disconnect is not None, "the server ending the connection", seconds)
        self.paho.loop_stop()
        return self._disconnect.value

    @property
    def alive(self) -> bool:
        return self._disconnect is None

    def disconnect(self, **props):
        """DISCONNECT, and the socket's end."""
        self.paho.disconnect(properties=properties(PacketTypes.DISCONNECT, **props))
        self._wait(lambda: self._disconnect is not None, "the end of the connection")
        self.paho.loop_stop()

    def abort(self):
        """Ends the TCP connection without a DISCONNECT, as a lost network does."""
        plain = self.paho.socket()
        if plain:
            try:
                plain.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._wait(lambda: self._disconnect is not None, "the end of the connection")
        self.paho.loop_stop()

    def close(self):
        """Ends it however it stands; for clean-up only."""
        if self._connack is not None and self._disconnect is None:
            self.abort()
