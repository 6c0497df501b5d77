"""What is used: exact counts of what real clients do, by account and billing group; once, whatever dies."""

import csv
import io
import json
import subprocess

import pytest

import commands
from commands import failure
from device import make_device
from instance import binary, eventually
from lab import ROLE
from mqtt_client import Client
from signed import call, https

OTHER = "210987654321"


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--usage-interval", "1")


NOTHING = {
    "connection_minutes": 0,
    "messages": 0,
    "rules_triggered": 0,
    "actions_executed": 0,
    "shadow_operations": 0,
    "registry_operations": 0,
}


def usage(fleet, *arguments: str) -> list[dict]:
    return commands.fleethaven("usage", "--admin", fleet.ready["admin"], "--json", *arguments)


def of_group(fleet, group: str) -> dict:
    """What one billing group has used; nothing when it is not there yet."""
    for row in usage(fleet, "--by", "billing-group"):
        if row["billing_group"] == group:
            return {unit: row[unit] for unit in NOTHING}
    return dict(NOTHING)


def becomes(fleet, group: str, **amounts: int):
    wanted = NOTHING | amounts
    try:
        eventually(lambda: of_group(fleet, group) == wanted, f"the usage of {group}", 15, pause=0.2)
    except AssertionError as error:
        raise AssertionError(f"{error}: {of_group(fleet, group)} instead of {wanted}") from None


@pytest.fixture
def member(fleet, device, name):
    """Makes a device whose thing is in a billing group of its own; the device and the thing's name, which is the group's too."""
    numbers = iter(range(9))

    def make():
        thing = f"{name}_{next(numbers)}"
        fleet.iot.create_billing_group(billingGroupName=thing)
        fleet.iot.create_thing(thingName=thing, billingGroupName=thing)
        made = device()
        fleet.iot.attach_thing_principal(thingName=thing, principal=made.arn)
        return made, thing

    return make


def test_messages_are_counted_both_ways_in_pieces(fleet, connect, member):
    (sender, s), (receiver, r) = member(), member()
    listener = connect(r, receiver)
    listener.subscribe(f"{s}/#")
    talker = connect(s, sender)
    topic = f"{s}/t"
    talker.publish(topic, b"x" * (5120 - len(topic)))
    talker.publish(topic, b"x" * (5121 - len(topic)))
    talker.publish(topic, b"q0", qos=0)
    listener.expect(3)
    # CONNECT, and pieces: 1 + 2 + 1.
    becomes(fleet, s, connection_minutes=1, messages=1 + 4)
    # CONNECT, SUBSCRIBE, the same pieces, and two PUBACKs.
    becomes(fleet, r, connection_minutes=1, messages=1 + 1 + 4 + 2)
    # What the broker answers, UNSUBSCRIBE and DISCONNECT cost nothing.
    listener.unsubscribe(f"{s}/#")
    listener.disconnect()
    talker.paho.publish(f"{s}/kept", b"kept", qos=1, retain=True).wait_for_publish(10)
    talker.publish("$aws/rules/none_such/t", b"x")
    becomes(fleet, s, connection_minutes=1, messages=1 + 4 + 2)
    becomes(fleet, r, connection_minutes=1, messages=8)
    # Another connection begins another minute.
    connect(r, receiver)
    becomes(fleet, r, connection_minutes=2, messages=9)


def test_rules_and_shadows_count_for_the_thing_that_sent(fleet, connect, member):
    device, thing = member()
    republish = {"republish": {"roleArn": ROLE, "topic": f"{thing}/out", "qos": 1}}
    for number, (where, actions) in enumerate([("", [republish, republish]), (" WHERE x > 1", [republish])]):
        fleet.iot.create_topic_rule(
            ruleName=f"{thing}_{number}",
            topicRulePayload={"sql": f"SELECT * FROM '{thing}/in'{where}", "actions": actions},
        )
    client = connect(thing, device)
    client.publish(f"{thing}/in", json.dumps({"x": 1}))
    # Both rules looked; one ran two actions, the other none, which counts as one.
    becomes(fleet, thing, connection_minutes=1, messages=2, rules_triggered=2, actions_executed=3)
    client.publish(f"$aws/things/{thing}/shadow/update", json.dumps({"state": {"reported": {"t": "x" * 1100}}}))
    client.publish(f"$aws/things/{thing}/shadow/get", "")
    client.publish(f"$aws/things/{thing}/shadow/update", "no JSON")
    # An update of two pieces, a get whose answer has two, and one that was refused.
    becomes(
        fleet, thing, connection_minutes=1, messages=5, rules_triggered=2, actions_executed=3, shadow_operations=4
    )


def test_requests_of_a_device_count_for_the_group_of_its_thing(fleet, member):
    """There is no client id over HTTPS: the only thing that the certificate is attached to is meant."""
    device, thing = member()

    def ask(method: str, path: str, body: bytes = b""):
        answer = https(fleet.https, device.tls(fleet.ca_file, "x-amzn-http-ca"), method, path, body=body)
        assert answer.status == 200, answer

    ask("POST", f"/topics/{thing}?qos=1", b"x" * 6000)
    ask("POST", f"/things/{thing}/shadow", b'{"state":{"reported":{"on":true}}}')
    ask("GET", f"/things/{thing}/shadow")
    becomes(fleet, thing, messages=2, shadow_operations=2)


def test_requests_count_for_the_account(fleet, name):
    [key] = commands.fleethaven("account", "create", OTHER, "--admin", fleet.ready["admin"], "--json")
    keys = {"aws_access_key_id": key["access_key_id"], "aws_secret_access_key": key["secret_access_key"]}
    iot, data = fleet.client("iot", **keys), fleet.client("iot-data", **keys)

    def of_account() -> dict:
        rows = usage(fleet, "--account", OTHER)
        assert len(rows) <= 1
        return {unit: rows[0][unit] for unit in NOTHING} if rows else NOTHING

    iot.create_thing(thingName=name)
    iot.describe_thing(thingName=name)
    iot.list_things()
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing(thingName="none_such")
    iot.list_policies()
    data.update_thing_shadow(thingName=name, payload=b'{"state":{"desired":{"on":true}}}')
    data.get_thing_shadow(thingName=name)
    data.publish(topic="a/b", qos=1, payload=b"x" * 6000)
    iot.delete_thing(thingName=name)
    wanted = NOTHING | {"registry_operations": 3, "shadow_operations": 2, "messages": 2}
    eventually(lambda: of_account() == wanted, f"{wanted}", 15, pause=0.2)
    assert all(row["account_id"] != OTHER for row in usage(fleet, "--account", fleet.account))

    def signed(path: str):
        secret = {"key": key["access_key_id"], "secret": key["secret_access_key"]}
        return call(fleet, "GET", path, **secret)

    answer = signed("/fleethaven/usage?by=month")
    [row] = answer.json["usage"]
    assert (answer.status, row["account_id"], row["messages"]) == (200, OTHER, 2)
    assert signed("/fleethaven/usage?by=year").status == 400
    assert signed("/fleethaven/usage?from=1999-01&to=1999-12").json == {"usage": []}


def test_the_export_names_the_dimensions_of_the_price_list(fleet, connect, member, tmp_path):
    device, thing = member()
    client = connect(thing, device)
    client.publish("a", "x")
    becomes(fleet, thing, connection_minutes=1, messages=2)
    [today] = {row["period"] for row in usage(fleet, "--by", "day")}
    command = ["usage", "--admin", fleet.ready["admin"], "--month", today[:7], "--by", "billing-group", "--csv"]
    done = subprocess.run([binary(), *command], capture_output=True, text=True, timeout=60, check=True)
    lines = [line for line in csv.DictReader(io.StringIO(done.stdout)) if line["billing_group"] == thing]
    assert [(line["unit"], line["quantity"], line["aws_component"]) for line in lines] == [
        ("connection_minutes", "1", "Connectivity"),
        ("messages", "2", "Messaging"),
    ]
    place = ["--admin", fleet.ready["admin"], "--csv", "--into", tmp_path]
    [kept] = commands.fleethaven("usage", "--month", today[:7], "--by", "billing-group", *place)
    assert kept["file"] == str(tmp_path / f"usage-{today[:7]}.csv") and kept["lines"] >= 2
    assert (tmp_path / f"usage-{today[:7]}.csv").read_text().startswith("account_id,region,period,billing_group,unit,")
    [last] = commands.fleethaven("usage", "--month", "last", *place)
    assert last["lines"] == 0 and last["file"] < kept["file"], "nothing was used in the month before"
    assert "is neither a day" in failure("usage", "--admin", fleet.ready["admin"], "--from", "yesterday")


def test_nothing_is_counted_twice_and_the_end_reports_what_is_left(fleethaven, tmp_path, name):
    fleet = fleethaven("--usage-interval", "3600")
    device = make_device(fleet, tmp_path)
    client = Client(fleet, device, name).connect()
    for _ in range(5):
        client.publish("a", "x")
    client.disconnect()
    fleet.stop()
    place = ["usage", "--data-dir", fleet.data_dir, "--json"]
    [row] = commands.fleethaven(*place)
    # The registry was asked for nothing that AWS bills.
    assert {unit: row[unit] for unit in NOTHING} == NOTHING | {"connection_minutes": 1, "messages": 6}
    fleet.start()
    fleet.restart_after_kill()
    fleet.stop()
    assert commands.fleethaven(*place) == [row]
