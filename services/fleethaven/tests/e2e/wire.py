"""MQTT packets by hand, for what a client library won't do: stay silent, withhold a PUBACK, break a rule."""

from __future__ import annotations

import socket
import ssl
import struct

CONNACK, PUBLISH, PUBACK, SUBACK, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xE0


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect(
    client_id: str,
    level: int = 5,
    clean: bool = True,
    keep_alive: int = 60,
    will: tuple[str, bytes] | None = None,
    properties: bytes = b"",
) -> bytes:
    """A CONNECT of MQTT 3.1.1 (`level` 4) or 5; `properties` are already encoded."""
    flags = (0x02 if clean else 0) | (0x04 | 0x08 if will else 0)
    body = _text("MQTT") + bytes([level, flags]) + struct.pack(">H", keep_alive)
    if level == 5:
        body += bytes([len(properties)]) + properties
    body += _text(client_id)
    if will:
        body += (b"\0" if level == 5 else b"") + _text(will[0]) + struct.pack(">H", len(will[1])) + will[1]
    return _packet(0x10, body)


def subscribe(packet_id: int, topic_filter: str, qos: int = 1, level: int = 5) -> bytes:
    body = struct.pack(">H", packet_id) + (b"\0" if level == 5 else b"") + _text(topic_filter) + bytes([qos])
    return _packet(0x82, body)


def publish(topic: str, payload: bytes, packet_id: int | None = None, level: int = 5) -> bytes:
    body = (
        _text(topic)
        + (struct.pack(">H", packet_id) if packet_id else b"")
        + (b"\0" if level == 5 else b"")
        + payload
    )
    return _packet(0x32 if packet_id else 0x30, body)


class Wire:
    """A TLS connection that carries exactly the bytes the test says."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext, seconds: float = 10):
        self._socket = context.wrap_socket(
            socket.create_connection(address, timeout=seconds), server_hostname="localhost"
        )

    def send(self, data: bytes) -> Wire:
        self._socket.sendall(data)
        return self

    def read(self) -> tuple[int, bytes] | None:
        """The next packet's first byte and body, or None at the end of the connection."""
        first = self._exactly(1)
        if first is None:
            return None
        size = shift = 0
        while True:
            digit = self._exactly(1)[0]
            size |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                break
        return first[0], self._exactly(size) if size else b""

    def _exactly(self, count: int) -> bytes | None:
        data = b""
        while len(data) < count:
            try:
                more = self._socket.recv(count - len(data))
            except (ssl.SSLError, ConnectionError):
                more = b""
            if not more:
                return None
            data += more
        return data

    def close(self):
        self._socket.close()
