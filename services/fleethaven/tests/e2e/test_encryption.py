"""Encryption at rest: nothing that was said is on the disk, under one master key after another."""

import contextlib
import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from cluster import Metastores, fleethaven, free_port
from device import make_device
from instance import START_SECONDS, Fleethaven, StartFailed, binary, eventually
from mqtt_client import Client

# What is looked for: in a payload, in a shadow, in a policy.
MARKERS = [b"reading-of-meter-4711", b"combination-of-the-shadow", b"topic-of-the-policy"]


def new_key() -> str:
    done = subprocess.run([binary(), "encryption-key", "new"], capture_output=True, text=True, timeout=START_SECONDS)
    return done.stdout.strip()


def status(data: Path) -> list[dict]:
    """What `encryption-key status` says, which needs no key."""
    command = [binary(), "encryption-key", "status", "--data-dir", data]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
    return [json.loads(line) for line in done.stdout.splitlines()]


def standing(reach: list) -> list[dict]:
    """How every node of a metadata store stands."""
    command = [binary(), "metastore", "status", *map(str, reach)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS)
    return [json.loads(line) for line in done.stdout.splitlines()]


def found(folder: Path, names: str = "*") -> set[bytes]:
    """Those markers that some file of such a name holds; files may go meanwhile."""
    markers = set()
    for path in Path(folder).rglob(names):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            content = path.read_bytes()
            markers |= {marker for marker in MARKERS if marker in content}
    return markers


def metrics(address: str, name: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return [line for line in answer.read().decode().splitlines() if line.startswith(name)]


def data_keys(fleet: Fleethaven) -> list[str]:
    return metrics(fleet.ready["admin"], "fleethaven_encryption_data_keys{")


def fill(fleet: Fleethaven, tmp_path: Path):
    device = make_device(fleet, tmp_path)
    reader = Client(fleet, device, "reader", clean=True, expiry=3600).connect()
    reader.subscribe("meters/#")
    reader.disconnect()
    writer = Client(fleet, device, "writer").connect()
    for number in range(20):
        writer.publish(f"meters/{number}", MARKERS[0] + b"-%d" % number)
    writer.paho.publish("kept", MARKERS[0], 1, retain=True).wait_for_publish(5)
    writer.close()
    allow = {"Effect": "Allow", "Action": "iot:Publish", "Resource": fleet.arn(f"topic/{MARKERS[2].decode()}")}
    document = {"Version": "2012-10-17", "Statement": [allow]}
    fleet.iot.create_policy(policyName="meter", policyDocument=json.dumps(document))
    fleet.iot.create_thing(thingName="meter")
    state = b'{"state":{"desired":{"a":"%s"}}}' % MARKERS[1]
    fleet.client("iot-data").update_thing_shadow(thingName="meter", payload=state)
    return device


def holds_everything(fleet: Fleethaven, device):
    assert MARKERS[2].decode() in fleet.iot.get_policy(policyName="meter")["policyDocument"]
    data = fleet.client("iot-data")
    assert MARKERS[1] in data.get_thing_shadow(thingName="meter")["payload"].read()
    assert data.get_retained_message(topic="kept")["payload"] == MARKERS[0]
    reader = Client(fleet, device, "reader", clean=False, expiry=3600).connect()
    assert reader.session_present
    reader.abort()


@pytest.fixture
def instance(tmp_path):
    """An instance of the test's own; its settings name a file of keys when there are any."""
    made = []

    def make(*keys: str, settings: tuple[str, ...] = ()) -> Fleethaven:
        if keys:
            (tmp_path / "keys").write_text("\n".join(keys) + "\n")
            settings = (*settings, "--encryption-key-file", str(tmp_path / "keys"))
        made.append(Fleethaven(tmp_path / "data", *settings))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


def test_the_disk_tells_nothing_and_without_encryption_everything(instance, tmp_path):
    plain = instance().start()
    fill(plain, tmp_path)
    plain.stop()
    assert found(plain.data_dir) == set(MARKERS)


def test_what_is_encrypted_survives_a_kill_and_opens_with_its_key_only(instance, tmp_path):
    key = new_key()
    fleet = instance(key).start()
    device = fill(fleet, tmp_path)
    assert found(fleet.data_dir) == set()
    fleet.restart_after_kill()
    holds_everything(fleet, device)
    fleet.stop()
    assert found(fleet.data_dir) == set()
    with pytest.raises(StartFailed, match="it is encrypted under file:.*--encryption-key-file"):
        instance().start()
    with pytest.raises(StartFailed, match="is not in .*put that key back"):
        instance(new_key()).start()
    with pytest.raises(StartFailed, match="line 1 is no key"):
        instance("password").start()
    again = instance(key).start()
    holds_everything(again, device)


def test_a_store_that_was_plain_is_encrypted_while_it_is_used(instance, tmp_path):
    plain = instance().start()
    device = fill(plain, tmp_path)
    plain.stop()
    fleet = instance(new_key()).start()
    holds_everything(fleet, device)

    def done():
        lines = metrics(fleet.ready["admin"], "fleethaven_encryption_plain_values{")
        return len(lines) == 2 and all(line.endswith(" 0") for line in lines)

    eventually(done, "everything is encrypted", 120)
    holds_everything(fleet, device)
    # Journals that nobody needs any more are deleted in the background.
    eventually(lambda: found(fleet.data_dir, "*.jnl") == set(), "no journal tells anything", 60)
    # Tables that were replaced are there as long as the process, and at the latest until the next one opens the store.
    assert all(line["plain_values"] for line in status(fleet.data_dir))
    fleet.stop()
    holds_everything(fleet.start(), device)
    eventually(lambda: not any(line["plain_values"] for line in status(fleet.data_dir)), "nothing is plain", 20)
    fleet.stop()
    assert found(fleet.data_dir) == set()


def test_master_keys_are_rotated_under_load_and_the_old_one_goes(instance, tmp_path):
    old, new = new_key(), new_key()
    fleet = instance(old).start()
    device = fill(fleet, tmp_path)
    (before,) = {line["master_key"] for line in status(fleet.data_dir)}
    writer = Client(fleet, device, "load").connect()
    sent = [writer.publish_later("meters/load", MARKERS[0]) for _ in range(200)]
    (tmp_path / "keys").write_text(f"{new}\n{old}\n")
    fleet.process.send_signal(signal.SIGHUP)
    sent += [writer.publish_later("meters/load", MARKERS[0]) for _ in range(200)]
    eventually(lambda: not any(before in line for line in data_keys(fleet)), "the old key is in use no more", 30)
    eventually(lambda: all(writer.acknowledged(mid) == 0 for mid in sent), "every message is acknowledged", 30)
    writer.close()
    lines = status(fleet.data_dir)
    assert {line["store"] for line in lines} == {"metastore", "sessions"}
    assert all(line["master_key"] != before and line["data_keys"] == 2 for line in lines)
    # A file that cannot be used changes nothing.
    (tmp_path / "keys").write_text("nonsense\n")
    fleet.log.having("the master keys cannot be used", seconds=30)
    holds_everything(fleet, device)
    (tmp_path / "keys").write_text(f"{new}\n")
    fleet.restart_after_kill()
    holds_everything(fleet, device)
    fleet.stop()
    assert found(fleet.data_dir) == set()



def test_encryption_is_given_up(instance, tmp_path):
    """The way back, of both stores: with the key, while no process runs."""
    key = new_key()
    fleet = instance(key).start()
    device = fill(fleet, tmp_path)
    command = ["encryption-key", "remove", "--data-dir", fleet.data_dir]
    with_key = (*command, "--encryption-key-file", tmp_path / "keys")
    with pytest.raises(RuntimeError, match="cannot be made plain"):
        fleethaven(*with_key)
    holds_everything(fleet, device)
    fleet.stop()
    with pytest.raises(RuntimeError, match="--encryption-key-file"):
        fleethaven(*command)
    assert status(fleet.data_dir), "nothing has changed"
    done = subprocess.run([binary(), *map(str, with_key)], capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr
    told = {line["store"]: line["values"] for line in map(json.loads, done.stdout.splitlines())}
    assert told.keys() == {"metastore", "sessions"} and min(told.values()) > 0
    assert status(fleet.data_dir) == [] and found(fleet.data_dir) == set(MARKERS)
    with pytest.raises(RuntimeError, match="nothing is encrypted"):
        fleethaven(*with_key)
    plain = instance().start()
    holds_everything(plain, device)
    plain.restart_after_kill()
    holds_everything(plain, device)
    # And encrypted once more.
    plain.stop()
    again = instance(new_key()).start()
    holds_everything(again, device)


def test_commands_on_a_directory_need_the_key_unless_a_process_has_it(instance, tmp_path):
    fleet = instance(new_key()).start()
    command = ["account", "list", "--json", "--data-dir", fleet.data_dir]
    assert fleethaven(*command)["account_id"] == fleet.account
    fleet.stop()
    with pytest.raises(RuntimeError, match="--encryption-key-file"):
        fleethaven(*command)
    assert fleethaven(*command, "--encryption-key-file", tmp_path / "keys")["account_id"] == fleet.account


@pytest.fixture
def kms(monkeypatch):
    """A key service that speaks AWS KMS's API, and a client of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    client = boto3.client("kms", region_name="eu-central-1", endpoint_url=f"http://{host}:{port}")
    yield client
    server.stop()


def test_master_keys_of_a_key_service(instance, tmp_path, kms):
    """From a file to a key service, and from one of its keys to another, by an alias."""
    key = new_key()
    by_file = instance(key).start()
    device = fill(by_file, tmp_path)
    by_file.stop()
    first, second = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.create_alias(AliasName="alias/fleethaven", TargetKeyId=first["KeyId"])
    named = ("--encryption-kms-key", "alias/fleethaven", "--encryption-kms-url")
    service = (*named, kms.meta.endpoint_url)
    by_both = instance(key, settings=service).start()

    def all_under(key: dict) -> bool:
        lines = status(by_both.data_dir)
        return len(lines) == 2 and all(line["master_key"] == f"kms:{key['Arn']}" for line in lines)

    eventually(lambda: all_under(first), "the data keys are under the service's key", 30)
    by_both.stop()
    fleet = instance(settings=service).start()
    holds_everything(fleet, device)
    kms.update_alias(AliasName="alias/fleethaven", TargetKeyId=second["KeyId"])
    fleet.process.send_signal(signal.SIGHUP)
    eventually(lambda: all_under(second), "the data keys are under the other key", 30)
    fleet.restart_after_kill()
    holds_everything(fleet, device)
    fleet.stop()
    with pytest.raises(StartFailed, match="or a key of a service by --encryption-kms-key"):
        instance().start()
    away = (*named, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StartFailed, match="data key 1 is wrapped under master key kms:.*Decrypt by the key service"):
        instance(settings=away).start()
    holds_everything(fleet.start(), device)


@pytest.mark.timeout(300)
def test_a_cluster_and_its_backups(tmp_path, monkeypatch):
    """Three nodes, another one that joins, a backup, a restore: no disk tells anything."""
    keys = tmp_path / "keys"
    keys.write_text(new_key() + "\n")
    monkeypatch.setenv("FLEETHAVEN_ENCRYPTION_KEY_FILE", str(keys))
    nodes = Metastores(tmp_path / "cluster")
    try:
        nodes.start()
        reach = ["--metastore", ",".join(nodes.metastore_addresses), "--cluster-tls", nodes.issue("ops", "operator")]
        account = fleethaven("account", *reach)
        secret = account["secret_access_key"].encode()
        address = f"127.0.0.1:{free_port()}"
        peers = ",".join(f"{node}={address}" for node, address in enumerate(nodes.metastore_addresses, 1))
        arguments = ["--node-id", "4", "--listen", address, "--peer", peers, "--join", "--data-dir"]
        joined = nodes.add("metastore-4", "metastore", [*arguments, nodes.data("metastore-4")])
        eventually(joined.is_ready, "the fourth node is level", 90)
        backup = tmp_path / "backup"
        fleethaven("metastore", "backup", *reach, "--file", backup)
        restore = ["metastore", "restore", "--file", backup, "--store", "second", "--address", "127.0.0.1:1"]
        with monkeypatch.context() as without:
            without.delenv("FLEETHAVEN_ENCRYPTION_KEY_FILE")
            with pytest.raises(RuntimeError, match="the backup cannot be opened.*--encryption-key-file"):
                fleethaven(*restore, "--data-dir", tmp_path / "none")
        (told,) = {tuple(line["master_keys"]) for line in standing(reach)}
        assert len(told) == 1, told
        fleethaven(*restore, "--data-dir", tmp_path / "restored")
        for path in tmp_path.rglob("*"):
            assert not path.is_file() or secret not in path.read_bytes(), path
        (line,) = status(tmp_path / "restored")
        assert (line["store"], line["plain_values"], line["master_key"]) == ("metastore", False, told[0])
        # The way back: the key opens the backup, and the new store has none.
        fleethaven(*restore, "--plain", "--data-dir", tmp_path / "plain")
        assert status(tmp_path / "plain") == []
        assert any(secret in path.read_bytes() for path in (tmp_path / "plain").rglob("*") if path.is_file())
    finally:
        nodes.close()
