"""Hostile peers of the HTTPS port: half requests are cut off, bombs are refused, and others are served meanwhile."""

import json
import socket

import pytest

from device import allow, policy
from signed import call, sign, trusting

DEADLINE = 40


def open_socket(fleet) -> socket.socket:
    plain = socket.create_connection(fleet.https, timeout=DEADLINE)
    return trusting(fleet).wrap_socket(plain, server_hostname="localhost")


def end_of(connection: socket.socket, name: str) -> bytes:
    """All that comes until the server closes."""
    received = b""
    try:
        while chunk := connection.recv(4096):
            received += chunk
    except TimeoutError:
        pytest.fail(f"{name}: not cut off; it sent {received}")
    except OSError:
        pass  # A reset is an end, too.
    return received


HALF = {
    "nothing": b"",
    "half a head": b"GET /things HTTP/1.1\r\nHost: x\r\n",
    "half a WebSocket upgrade": b"GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    "an HTTP/2 preface and no settings": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[:20],
}


def test_half_requests_are_cut_off_while_others_are_served(fleet, iot):
    connections = {name: [open_socket(fleet) for _ in range(20)] for name in HALF}
    connections["no handshake"] = [socket.create_connection(fleet.https, timeout=DEADLINE) for _ in range(20)]
    for name, sockets in connections.items():
        for connection in sockets:
            connection.sendall(HALF.get(name, b"\x16\x03\x01"))
    assert iot.list_things()["things"] == []
    for name, sockets in connections.items():
        for connection in sockets:
            end_of(connection, name)
            connection.close()
    assert iot.list_things()["things"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"attributePayload":{"attributes":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_002,
        b'{"thingTypeName":' + b"9" * 100_000 + b"}",
        b'{"thingTypeName":1e999999999}',
        b'{"thingTypeName":"' + b"\\u0000" * 10_000 + b'"}',
        b'{"thingTypeName":"\\ud800"}',
        b'{"a":1,' * 20_000,
        b"\xff" * 1000,
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_bombs_of_json_are_refused(fleet, body):
    answer = call(fleet, "POST", "/things/bomb", body)
    assert 400 <= answer.status < 500 and answer.error, answer


def test_a_body_above_the_bound_is_refused_unread(fleet):
    headers = sign(fleet, "POST", "/things/large", b"")
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection = open_socket(fleet)
    connection.sendall(f"POST /things/large HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {1 << 40}\r\n\r\n".encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 4")


def written(resource: str, condition: str = "{}") -> str:
    return (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"'
        + resource
        + f'","Condition":{condition}}}]}}'
    )


@pytest.mark.parametrize(
    "text",
    ["[" * 3000, written("*", '{"StringLike":' * 200), written("${iot:ClientId" * 50)],
    ids=["brackets", "nested conditions", "open variables"],
)
def test_policies_that_cannot_be_meant_are_refused(fleet, name, text):
    answer = call(fleet, "POST", f"/policies/{name}", json.dumps({"policyDocument": text}).encode())
    assert (answer.status, answer.error) == (400, "MalformedPolicyException"), answer


def test_pathological_wildcards_decide_at_once(fleet, device, connect):
    """`*a*a*…*b` against a long run of `a`: a matcher that goes back for every star would not come to an end."""
    deny = {"Effect": "Deny", "Action": "iot:Publish", "Resource": "arn:aws:iot:*:*:topic/" + "*a" * 60 + "*b"}
    document = policy(allow("*", "*"), deny)
    client = connect("stars", device=device(document))
    for _ in range(50):
        client.publish("a" * 60_000, b"x", qos=1)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 2000 + "1" + ")" * 2000 + " AS x FROM 'a'",
        "SELECT " + "NOT " * 5000 + "true AS x FROM 'a'",
        "SELECT " + "[" * 2000 + "]" * 2000 + " AS x FROM 'a'",
        "SELECT " + "abs(" * 2000 + "1" + ")" * 2000 + " AS x FROM 'a'",
        "SELECT * FROM 'a' WHERE " + "CASE 1 WHEN 1 THEN " * 1000,
    ],
    ids=["parentheses", "not", "arrays", "calls", "cases"],
)
def test_deep_sql_is_refused(fleet, name, sql):
    rule = {"sql": sql, "actions": [{"republish": {"topic": "b", "roleArn": "arn:aws:iam::000000000000:role/r"}}]}
    answer = call(fleet, "POST", f"/rules/{name}", json.dumps(rule).encode())
    assert 400 <= answer.status < 500, answer
    assert answer.error in ("SqlParseException", "InvalidRequestException"), answer
