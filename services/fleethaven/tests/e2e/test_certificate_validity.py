"""A client certificate counts within its validity period only: outside it nobody gets in, and its end ends the connection."""

import json

import pytest

from device import certificate, new_key, registered_device
from mqtt_client import BOTH_VERSIONS, V5, Client, Refused

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
