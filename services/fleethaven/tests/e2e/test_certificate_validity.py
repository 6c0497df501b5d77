"""When a client certificate counts: within its validity period only, whose end ends the connection; and in the `aws` profile,
without a CA that is registered, with a server name only."""

import json
import socket
import ssl

import pytest

import wire
from device import certificate, make_device, new_key, registered_device
from instance import eventually
from mqtt_client import BOTH_VERSIONS, V5, Client, Refused
from test_encryption import metrics

MAXIMUM_CONNECT_TIME = 0xA0


@pytest.fixture
def valid(fleet, tmp_path, name):
    """Makes devices whose certificates are valid from when to when, in seconds from now."""

    def make(*period: float):
        key = new_key()
        return registered_device(fleet, tmp_path, certificate(name, key, valid=period), key)

    return make


@pytest.mark.parametrize(
    ("period", "reason"),
    [((3600, 7200), "DEVICE_CERTIFICATE_NOT_YET_VALID"), ((-7200, -3600), "DEVICE_CERTIFICATE_EXPIRED")],
    ids=["not begun", "over"],
)
def test_outside_its_validity_a_certificate_lets_nobody_in(fleet, valid, name, period, reason):
    device = valid(*period)
    since = len(fleet.log.all)
    with pytest.raises(Refused) as refused:
        Client(fleet, device, name).connect()
    assert refused.value.value is None, "no CONNACK"
    fleet.log.having(device.id, reason, "Connection.AuthNError", since=since)


def test_certificates_are_counted_by_what_is_left_of_them(fleet, valid, name):
    """The metric of devices' certificates: each ACTIVE one once."""

    def counted() -> dict[str, int]:
        wanted = f'fleethaven_device_certificates{{account="{fleet.account}",left="'
        lines = metrics(fleet.ready["admin"], wanted)
        return {line.removeprefix(wanted).partition('"')[0]: int(line.rpartition(" ")[2]) for line in lines}

    lefts = ("expired", "7d", "30d", "90d", "later")
    day = 86_400
    made = [valid(-2 * day, days * day) for days in (-1, 1, 6, 20, 80, 100)]
    fleet.iot.create_keys_and_certificate(setAsActive=False)

    def all_there() -> bool:
        now = counted()
        # Others of this file may be expired, or in their last seconds.
        return now.keys() == set(lefts) and (now["30d"], now["90d"], now["later"]) == (1, 1, 1) and now["7d"] >= 2 and now["expired"] >= 1

    eventually(all_there, f"each in its place, not {counted()}", 40)
    for device in made:
        fleet.iot.update_certificate(certificateId=device.id, newStatus="INACTIVE")
    eventually(lambda: counted().get("later", 0) == 0 == counted().get("30d", 0), "none of them counts any more", 40)


@pytest.mark.parametrize("version", **BOTH_VERSIONS)
def test_a_connection_ends_with_its_certificate(fleet, connect, valid, name, version):
    watcher = connect(f"watcher-of-{name}")
    watcher.subscribe(f"will/{name}", f"$aws/events/presence/disconnected/{name}")
    # Long enough to connect on a busy machine.
    device = valid(-3600, 4)
    since = len(fleet.log.all)
    client = connect(name, device=device, version=version, will=(f"will/{name}", b"expired", 1), expiry=60 if version == V5 else None)
    code = client.closed()
    assert version != V5 or code == MAXIMUM_CONNECT_TIME
    payloads = watcher.expect(2)
    assert b"expired" in payloads
    event = next(json.loads(payload) for payload in payloads if payload != b"expired")
    assert event["disconnectReason"] == "SERVER_INITIATED_DISCONNECT"
    assert event["clientInitiatedDisconnect"] is False
    fleet.log.having(name, "the client's certificate has expired", since=since)
    with pytest.raises(Refused):
        Client(fleet, device, name, version=version).connect()
    fleet.log.having(device.id, "DEVICE_CERTIFICATE_EXPIRED", since=since)


def answered(fleet, device, server_name: str | None) -> bool:
    """Whether a CONNECT gets its CONNACK on a connection that asks for this server name."""
    context = device.tls(fleet.ca_file)
    context.check_hostname = False
    try:
        with socket.create_connection(fleet.mqtt_tls, timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=server_name) as secure:
                secure.sendall(wire.connect("named"))
                return secure.recv(4)[:1] == bytes([wire.CONNACK])
    except (ssl.SSLError, ConnectionError):
        return False


@pytest.mark.parametrize("profile", ["standard", "aws"])
def test_aws_wants_a_server_name_of_certificates_registered_without_a_ca(fleethaven, tmp_path, name, profile):
    fleet = fleethaven("--profile", profile)
    key = new_key()
    without_ca = registered_device(fleet, tmp_path, certificate(name, key), key)
    assert answered(fleet, without_ca, "localhost")
    since = len(fleet.log.all)
    assert answered(fleet, without_ca, None) is (profile == "standard")
    if profile == "aws":
        fleet.log.having(without_ca.id, "SNI_MISUSED", since=since)
    assert answered(fleet, make_device(fleet, tmp_path), None), "one that we issued is found without"
