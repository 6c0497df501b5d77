"""The PROXY protocol: a load balancer's word for whom it carries a connection, on every listener."""

import json
import socket
import ssl
import struct

import pytest

from device import make_device
from instance import address
from wire import CONNACK, connect

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 8883\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack(">H", 12 + 7)
V2 += bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack(">HH", 50000, 8883) + b"\x04\0\x04\0\0\0\0"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20, 0x00, 0, 0])
HEADERS = {"argvalues": [V1, V2], "ids": ["v1", "v2"]}

ONLY_FROM_THERE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "iot:*",
            "Resource": "*",
            "Condition": {"IpAddress": {"aws:SourceIp": "192.0.2.7/32"}},
        }
    ],
}


@pytest.fixture(scope="module")
def proxied(fleethaven):
    """Behind a balancer on this machine; the API's own clients are not, so HTTPS is asked of another loopback address."""
    return fleethaven(
        *("--mqtt", "127.0.0.1:0", "--mqtt-proxy", "127.0.0.1/32"),
        *("--mqtt-tls-proxy", "127.0.0.1/32", "--https-proxy", "127.0.0.9/32"),
    )


def opened(at, header: bytes, tls: ssl.SSLContext | None, source: str = "127.0.0.1"):
    plain = socket.create_connection(at, timeout=10, source_address=(source, 0))
    plain.sendall(header)
    return tls.wrap_socket(plain, server_hostname="localhost") if tls else plain


def answer(stream, client_id: str) -> int | None:
    """CONNACK's reason code, or None when the connection ends instead."""
    try:
        stream.sendall(connect(client_id))
        head = stream.recv(4)
    except (ssl.SSLError, ConnectionError):
        return None
    return head[3] if head[:1] == bytes([CONNACK]) else None


@pytest.mark.parametrize("header", **HEADERS)
def test_the_clients_address_decides(proxied, tmp_path, name, header):
    tls = make_device(proxied, tmp_path, ONLY_FROM_THERE).tls(proxied.ca_file)
    with opened(proxied.mqtt_tls, header, tls) as stream:
        assert answer(stream, name) == 0
    elsewhere = header.replace(b"192.0.2.7", b"192.0.2.8").replace(bytes([192, 0, 2, 7]), bytes([192, 0, 2, 8]))
    with opened(proxied.mqtt_tls, elsewhere, tls) as stream:
        assert answer(stream, name) == 0x87


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"], ids=["local", "unknown"])
def test_the_balancer_speaks_for_itself(proxied, tmp_path, name, header):
    tls = make_device(proxied, tmp_path, ONLY_FROM_THERE).tls(proxied.ca_file)
    with opened(proxied.mqtt_tls, header, tls) as stream:
        assert answer(stream, name) == 0x87, "its own address is not the client's"


@pytest.mark.parametrize("header", **HEADERS)
def test_on_the_plain_listener(proxied, name, header):
    with opened(address(proxied.ready["mqtt"]), header, None) as stream:
        assert answer(stream, name) == 0


@pytest.mark.parametrize("header", **HEADERS)
def test_on_the_https_listener(proxied, header):
    tls = ssl.create_default_context(cafile=proxied.ca_file)
    since = len(proxied.log.all)
    with opened(proxied.https, header, tls, source="127.0.0.9") as stream:
        stream.sendall(b"GET /things HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(12) == b"HTTP/1.1 403"
    line = json.loads(proxied.log.having("api request", "192.0.2.7", since=since))
    assert line["source"] == "192.0.2.7"


def test_the_trusted_must_send_it(proxied, tmp_path, name):
    tls = make_device(proxied, tmp_path).tls(proxied.ca_file)
    since = len(proxied.log.all)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        opened(proxied.mqtt_tls, b"", tls)
    proxied.log.having("no PROXY protocol header", "127.0.0.1", since=since)
    with opened(address(proxied.ready["mqtt"]), b"", None) as stream:
        assert answer(stream, name) is None


def test_others_must_not(proxied, fleet, tmp_path, name):
    tls = make_device(proxied, tmp_path).tls(proxied.ca_file)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        opened(proxied.mqtt_tls, V1, tls, source="127.0.0.5")
    with opened(proxied.mqtt_tls, b"", tls, source="127.0.0.5") as stream:
        assert answer(stream, name) == 0
    # Nobody is trusted unless the settings say so.
    with pytest.raises((ssl.SSLError, ConnectionError)):
        opened(fleet.mqtt_tls, V1, make_device(fleet, tmp_path).tls(fleet.ca_file))


def test_a_header_that_never_ends_is_timed_out(fleethaven, tmp_path):
    settings = tmp_path / "settings.toml"
    settings.write_text("[limits]\nconnect-timeout-secs = 1\n")
    fleet = fleethaven("--config", str(settings), "--mqtt-tls-proxy", "127.0.0.1/32")
    with socket.create_connection(fleet.mqtt_tls, timeout=15) as slow:
        slow.sendall(b"PROXY TCP4 192.0")
        assert slow.recv(1) == b""


def test_a_refused_handshake_is_one_line_with_certificate_and_address(fleet, iot, device):
    one = device()
    iot.update_certificate(certificateId=one.id, newStatus="REVOKED")
    since = len(fleet.log.all)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with opened(fleet.mqtt_tls, b"", one.tls(fleet.ca_file)) as stream:
            if stream.recv(1) == b"":
                raise ConnectionError
    line = json.loads(fleet.log.having(one.id, "revoked", since=since))
    assert line["source_ip"] == "127.0.0.1"
    # Whatever follows is later than a second refusal's line would be.
    fleet.iot.create_thing(thingName="after")
    fleet.log.having("CreateThing", since=since)
    refusals = [line for line in fleet.log.all[since:] if "AuthNError" in line]
    assert len(refusals) == 1, refusals
