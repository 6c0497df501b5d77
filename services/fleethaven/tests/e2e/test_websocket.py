"""MQTT over WebSocket on the HTTPS port: the SDK's SigV4 builder, a presigned URL with paho, a signature in the headers."""

import datetime
import hashlib
import hmac
import socket
import urllib.parse

import pytest
from awscrt.auth import AwsCredentialsProvider
from awsiot import mqtt5_client_builder, mqtt_connection_builder
from paho.mqtt.client import CallbackAPIVersion, Client, WebsocketConnectionError

import wire
from instance import eventually
from mqtt_client import BOTH_VERSIONS
from sdk_client import Sdk3, Sdk5
from signed import https, sign, trusting


def sdk(fleet, kind, client_id: str, secret: str | None = None):
    builders = {Sdk5: mqtt5_client_builder, Sdk3: mqtt_connection_builder}
    credentials = AwsCredentialsProvider.new_static(
        fleet.ready["access_key_id"], secret or fleet.ready["secret_access_key"], session_token=None
    )
    host, port = fleet.https
    return kind(
        fleet,
        None,
        client_id,
        build=builders[kind].websockets_with_default_aws_signing,
        endpoint=host,
        port=port,
        region=fleet.region,
        credentials_provider=credentials,
    )


@pytest.mark.parametrize("kind", [Sdk5, Sdk3], ids=["MQTT 5", "MQTT 3.1.1"])
def test_the_device_sdk_publishes_and_subscribes(fleet, kind):
    client = sdk(fleet, kind, f"by-websocket-{kind.version}").connect()
    assert client.subscribe("ws/a") == [1]
    client.publish("ws/a", b"through a WebSocket")
    assert client.expect(1) == [b"through a WebSocket"]
    client.disconnect()


def test_messages_cross_from_websocket_to_tls(fleet, connect):
    subscriber = connect("by-tls")
    subscriber.subscribe("ws/cross")
    client = sdk(fleet, Sdk5, "crossing").connect()
    client.publish("ws/cross", b"over")
    assert subscriber.expect(1) == [b"over"]
    client.disconnect()


def test_a_wrong_secret_is_refused(fleet):
    with pytest.raises(AssertionError, match="refused"):
        sdk(fleet, Sdk5, "wrong-secret", secret="wrong").connect()


def presigned_path(fleet, region: str | None = None, expires: int = 300, ago: int = 0) -> str:
    """`/mqtt` with a SigV4 query, written out as AWS documents it for `iotdevicegateway`."""
    region = region or fleet.region
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{region}/iotdevicegateway/aws4_request"
    host = "{}:{}".format(*fleet.https)
    query = urllib.parse.urlencode(
        {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{fleet.ready['access_key_id']}/{scope}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": expires,
            "X-Amz-SignedHeaders": "host",
        },
        quote_via=urllib.parse.quote,
        safe="",
    )
    canonical = f"GET\n/mqtt\n{query}\nhost:{host}\n\nhost\n{hashlib.sha256(b'').hexdigest()}"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + fleet.ready["secret_access_key"]).encode()
    for part in (day, region, "iotdevicegateway", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"/mqtt?{query}&X-Amz-Signature={hmac.new(key, to_sign.encode(), 'sha256').hexdigest()}"


def paho_over_websocket(fleet, version: int, path: str) -> Client:
    client = Client(
        CallbackAPIVersion.VERSION2,
        "paho-ws",
        protocol=version,
        transport="websockets",
        reconnect_on_failure=False,
    )
    client.tls_set_context(trusting(fleet))
    client.ws_set_options(path=path)
    client.connect(*fleet.https, keepalive=60)
    return client


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_paho_connects_with_a_presigned_url(fleet, version):
    client = paho_over_websocket(fleet, version, presigned_path(fleet))
    client.loop_start()
    try:
        eventually(client.is_connected, "a CONNACK over the WebSocket")
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.parametrize("changes", [{"ago": 4000}, {"ago": -4000}], ids=["expired", "from the future"])
def test_a_url_out_of_its_time_is_refused(fleet, changes):
    with pytest.raises(WebsocketConnectionError):
        paho_over_websocket(fleet, 4, presigned_path(fleet, **changes))


def test_a_tampered_url_is_refused(fleet):
    path = presigned_path(fleet)
    with pytest.raises(WebsocketConnectionError):
        paho_over_websocket(fleet, 4, path[:-1] + ("0" if path[-1] != "0" else "1"))


@pytest.mark.parametrize(("secret", "status"), [(None, 101), ("wrong", 403)], ids=["right", "wrong"])
def test_a_websocket_signed_in_its_headers(fleet, secret, status):
    headers = sign(fleet, "GET", "/mqtt", service="iotdevicegateway", secret=secret)
    headers |= {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAECAwQFBgcICQoLDA0ODw==",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if name.lower() != "host"]
    host = "{}:{}".format(*fleet.https)
    request = "\r\n".join(["GET /mqtt HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()
    connect = wire.connect("headers")
    # A binary frame, masked with zeros.
    frame = bytes([0x82, 0x80 | len(connect), 0, 0, 0, 0]) + connect
    with socket.create_connection(fleet.https, timeout=10) as plain:
        with trusting(fleet).wrap_socket(plain, server_hostname="localhost") as secure:
            secure.sendall(request)
            answer = secure.makefile("rb")
            assert answer.readline().split()[1] == str(status).encode()
            if status != 101:
                return
            while answer.readline().strip():
                pass
            secure.sendall(frame)
            assert answer.read(3)[2] == wire.CONNACK


def test_a_signed_request_that_opens_no_websocket_is_told_why(fleet):
    # Without a Sec-WebSocket-Key.
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    answer = https(fleet.https, trusting(fleet), "GET", presigned_path(fleet), headers)
    assert (answer.status, answer.error) == (400, "InvalidRequestException"), answer
    assert answer.headers["x-amzn-requestid"] and answer.json["message"]
