"""Operators' commands for accounts and access keys, and two accounts side by side in one process."""

import subprocess

import pytest
from botocore.exceptions import ClientError

from commands import failure, fleethaven, signed_by
from device import make_device
from instance import binary

OTHER = "210987654321"


class Account:
    """Another account of an instance, as `make_device` and clients want an instance."""

    def __init__(self, fleet, key: dict):
        self.fleet, self.account, self.iot = fleet, key["account_id"], signed_by(fleet, key)

    def __getattr__(self, name):
        return getattr(self.fleet, name)


@pytest.fixture(scope="module")
def admin(fleet):
    return ["--admin", fleet.ready["admin"], "--json"]


@pytest.fixture(scope="module")
def other(fleet, admin):
    [key] = fleethaven("account", "create", OTHER, "--name", "the other", *admin)
    assert key.keys() == {"account_id", "access_key_id", "secret_access_key"}
    assert key["account_id"] == OTHER
    return Account(fleet, key)


def test_two_accounts_have_their_own_resources(fleet, other, name):
    mine = fleet.iot.create_thing(thingName=name)["thingArn"]
    theirs = other.iot.create_thing(thingName=name)["thingArn"]
    assert (mine, theirs) == (fleet.arn(f"thing/{name}"), fleet.arn(f"thing/{name}").replace(fleet.account, OTHER))
    other.iot.delete_thing(thingName=name)
    fleet.iot.describe_thing(thingName=name)


def test_the_devices_of_two_accounts_never_meet(fleet, other, connect, tmp_path, name):
    """The same client id and topic in both, over the same listener."""
    their_device = make_device(other, tmp_path)
    assert OTHER in their_device.arn
    here, there = connect(name), connect(name, their_device)
    for client in (here, there):
        client.subscribe("shared/topic")
    here.publish("shared/topic", b"from here", 1)
    there.publish("shared/topic", b"from there", 1)
    assert here.expect(1) == [b"from here"]
    assert there.expect(1) == [b"from there"]
    with pytest.raises(ClientError):
        fleet.iot.describe_certificate(certificateId=their_device.id)


def test_an_account_exists_once(other, admin):
    assert OTHER in failure("account", "create", OTHER, *admin)
    accounts = {line["account_id"]: line["name"] for line in fleethaven("account", "list", *admin)}
    assert accounts[OTHER] == "the other" and len(accounts) >= 2
    assert "there are several accounts" in failure("access-key", "list", *admin)


def test_the_life_of_an_access_key(fleet, admin):
    of = ["--account", fleet.account, *admin]
    [key] = fleethaven("access-key", "create", *of)
    assert key["account_id"] == fleet.account
    client, id = signed_by(fleet, key), key["access_key_id"]
    client.list_things()
    assert {"account_id", "access_key_id", "status", "created_at"} == fleethaven("access-key", "list", *of)[0].keys()

    def status():
        [line] = [line for line in fleethaven("access-key", "list", *of) if line["access_key_id"] == id]
        return line["status"]

    def refused():
        with pytest.raises(ClientError) as caught:
            client.list_things()
        answer = caught.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert answer["Error"]["Code"] == "UnrecognizedClientException"

    assert fleethaven("access-key", "deactivate", id, *of) == [] and status() == "Inactive"
    refused()
    assert fleethaven("access-key", "activate", id, *of) == [] and status() == "Active"
    client.list_things()
    assert id in failure("access-key", "delete", id, "--account", OTHER, *admin), "the key is not of that account"
    assert fleethaven("access-key", "delete", id, *of) == []
    refused()


def test_an_account_that_is_not_there_has_no_keys(admin):
    assert "000000000001" in failure("access-key", "create", "--account", "000000000001", *admin)


def test_a_data_directory_is_changed_whether_or_not_a_process_runs_on_it(fleethaven_stopped):
    fleet, target = fleethaven_stopped
    [made] = fleethaven("account", "create", OTHER, *target)
    [second] = fleethaven("access-key", "create", "--account", OTHER, *target)
    assert made["access_key_id"] != second["access_key_id"]
    own = ["--account", fleet.account, *target]
    fleethaven("access-key", "deactivate", fleet.ready["access_key_id"], *own)
    before = fleet.ready["access_key_id"]
    fleet.start()
    assert fleet.ready["access_key_id"] != before, "the ready line shows a key that works"
    fleet.iot.list_things()
    for key in (made, second):
        signed_by(fleet, key).list_things()
    # The process that runs on it is asked.
    assert {line["account_id"] for line in fleethaven("account", "list", *target)} == {fleet.account, OTHER}


@pytest.fixture
def fleethaven_stopped(fleethaven):
    fleet = fleethaven()
    assert fleet.stop() == 0
    return fleet, ["--data-dir", fleet.data_dir, "--json"]


def test_people_get_lines(fleet):
    done = subprocess.run(
        [binary(), "account", "list", "--admin", fleet.ready["admin"]], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[0].split("\t")[0] == fleet.account
