"""The audit journal: who called what, from where, with what outcome; through a restart, by port and by folder."""

import json
import subprocess

import pytest
from botocore.exceptions import ClientError

from commands import failure, fleethaven, signed_by
from instance import binary, eventually


def records(fleet, *filters: str) -> list[dict]:
    return fleethaven("audit", "--admin", fleet.ready["admin"], "--json", *filters)


def test_a_change_is_on_record_when_it_is_answered(fleet, name):
    answer = fleet.iot.create_thing(thingName=name)
    [record] = [record for record in records(fleet, "--operation", "CreateThing") if name in record["path"]]
    assert record["request_id"] == answer["ResponseMetadata"]["RequestId"]
    assert (record["outcome"], record["status"], record["service"]) == ("done", 200, "iot")
    assert record["principal"] == f"arn:aws:iam::{fleet.account}:root"
    assert record["access_key_id"] == fleet.ready["access_key_id"]
    assert (record["account"], record["region"]) == (fleet.account, fleet.region)
    assert record["source_ip"] == "127.0.0.1" and "oto" in record["user_agent"]
    assert record["time"].endswith("Z")


def test_reads_and_refusals_are_on_record(fleet, name):
    with pytest.raises(ClientError):
        fleet.iot.describe_thing(thingName=name)
    asked = ("--operation", "DescribeThing", "--error", "ResourceNotFoundException", "--since", "1h")
    found = eventually(lambda: [r for r in records(fleet, *asked) if name in r["path"]], "the record of a read")
    assert found[0]["outcome"] == "refused" and name in found[0]["reason"]


def test_denials_tell_who_it_was(fleet, name):
    of = ["--admin", fleet.ready["admin"], "--json"]
    fleethaven("user", "create", name, *of)
    [key] = fleethaven("access-key", "create", "--account", fleet.account, "--user", name, *of)
    with pytest.raises(ClientError):
        signed_by(fleet, key).list_things()
    with pytest.raises(ClientError):
        signed_by(fleet, key, "iot-data").publish(topic="t", payload=b"x")
    who = ("--principal", f"user/{name}", "--outcome", "denied")
    denied = eventually(lambda: (r := records(fleet, *who)) and len(r) == 2 and r, "two records")
    assert [record["operation"] for record in denied] == ["ListThings", "Publish"]
    wrong = {**key, "secret_access_key": "wrong"}
    with pytest.raises(ClientError):
        signed_by(fleet, wrong).list_things()
    forged = ("--principal", key["access_key_id"], "--error", "InvalidSignatureException")
    [record] = eventually(lambda: records(fleet, *forged), "the record of a forged signature")
    assert "principal" not in record, "nobody believed it"
    commands = [record["operation"] for record in records(fleet, "--limit", "1000") if record["service"] == "fleethaven"]
    assert {"CreateUser", "CreateAccessKey"} <= set(commands)
    journal = json.dumps(records(fleet, "--limit", "10000"))
    assert key["secret_access_key"] not in journal and fleet.ready["secret_access_key"] not in journal


def test_the_journal_outlives_its_process(fleethaven, tmp_path, name):
    fleet = fleethaven()
    fleet.iot.create_thing(thingName=name)
    folder = fleet.data_dir
    fleet.kill()
    asked = [binary(), "audit", "--data-dir", str(folder), "--operation", "CreateThing", "--json"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    assert name in told.stdout, told.stderr
    assert "neither a time" in failure("audit", "--audit-dir", str(folder / "audit"), "--since", "yesterday")
