"""The one port of AWS's 443: MQTT by ALPN beside the API, and no certificate prompt for browsers."""

import json
import socket
import ssl
import urllib.request

import pytest

from device import tls_refusal
from mqtt_client import BOTH_VERSIONS, Client, Refused
from signed import trusting


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_mqtt_by_alpn_on_the_https_port(fleet, connect, version):
    client = connect("by-alpn", version=version, listener="https", alpn="x-amzn-mqtt-ca")
    client.subscribe("alpn/a")
    client.publish("alpn/a", b"through 443")
    assert client.expect(1) == [b"through 443"]


def test_the_offered_alpn_name_is_echoed(fleet, device):
    one = device()
    for name in ("x-amzn-mqtt-ca", "x-amzn-http-ca"):
        with socket.create_connection(fleet.https, timeout=5) as plain:
            with one.tls(fleet.ca_file, name).wrap_socket(plain, server_hostname="localhost") as secure:
                assert secure.selected_alpn_protocol() == name


def test_mqtt_by_alpn_without_a_certificate_is_refused(fleet):
    context = trusting(fleet)
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    assert tls_refusal(fleet.https, context) is not None


def asks_for_certificate(address, ca_file: str, alpn: list[str]) -> bool:
    """Whether the server sends a CertificateRequest; in a TLS 1.2 handshake it is in the clear."""
    context = ssl.create_default_context(cafile=ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    seen = b""
    with socket.create_connection(address, timeout=5) as plain:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            plain.sendall(outgoing.read())
        while b"\x0e\x00\x00\x00" not in seen:  # ServerHelloDone
            data = plain.recv(65536)
            assert data, "the handshake ended early"
            seen += data
    return 13 in handshake_types(seen)


def handshake_types(records: bytes) -> set[int]:
    """The types of the handshake messages in a run of TLS records."""
    messages = b""
    while len(records) >= 5:
        size = int.from_bytes(records[3:5], "big")
        if records[0] == 22:
            messages += records[5 : 5 + size]
        records = records[5 + size :]
    types = set()
    while len(messages) >= 4:
        types.add(messages[0])
        messages = messages[4 + int.from_bytes(messages[1:4], "big") :]
    return types


@pytest.mark.parametrize("alpn", [[], ["http/1.1"], ["h2", "http/1.1"]], ids=["none", "http/1.1", "h2"])
def test_a_browser_is_not_asked_for_a_certificate(fleet, alpn):
    assert not asks_for_certificate(fleet.https, fleet.ca_file, alpn)


@pytest.mark.parametrize("alpn", ["x-amzn-mqtt-ca", "x-amzn-http-ca"])
def test_a_device_is_asked_for_a_certificate(fleet, alpn):
    assert asks_for_certificate(fleet.https, fleet.ca_file, [alpn])


def test_a_request_without_a_signature_gets_awss_error(fleet):
    request = urllib.request.Request(fleet.ready["iot_endpoint"].rstrip("/") + "/things")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, context=trusting(fleet), timeout=10)
    assert error.value.code == 403
    assert error.value.headers["x-amzn-errortype"].startswith("MissingAuthenticationTokenException")
    assert json.loads(error.value.read())["message"] == "Missing Authentication Token"


def test_plain_http_on_the_https_port_is_no_tls(fleet):
    with socket.create_connection(fleet.https, timeout=5) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = plain.recv(100)
    assert not answer.startswith(b"HTTP/1.1 200")


def test_an_unknown_alpn_name_is_refused(fleet, device):
    with pytest.raises(Refused):
        Client(fleet, device(), "odd", listener="https", alpn="spdy/3").connect()
