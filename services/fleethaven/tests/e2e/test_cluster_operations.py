"""Operating the metadata store: how its nodes stand, which ones it has, a backup, and a new store made of it."""

import json
import re
import stat
import subprocess

import pytest

from cluster import Metastores, Process, fleethaven, free_port
from instance import START_SECONDS, StartFailed, binary, eventually


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Metastores(tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.close()


@pytest.fixture(scope="module")
def operator(cluster):
    """Runs `fleethaven metastore …` with an operator's certificate; what it printed, a line each."""
    folder = cluster.issue("ops", "operator")

    def run(*arguments: object, reach: bool = True) -> list[dict]:
        known = ["--metastore", ",".join(cluster.metastore_addresses), "--cluster-tls", str(folder)] if reach else []
        command = [str(binary()), "metastore", *map(str, arguments), *known]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def voters(lines: list[dict]) -> set[int]:
    return {node["node_id"] for node in lines[0]["nodes"] if node["votes"]}


def leaders(lines: list[dict]) -> list[int | None]:
    """Who leads each state group, where all nodes agree on it."""
    told = [[group["leader"] for group in line["state_groups"]] for line in lines]
    return [leaders[0] if len(set(leaders)) == 1 else None for leaders in zip(*told)]


def metastore(cluster: Metastores, node: int, *arguments: str) -> Process:
    address = f"127.0.0.1:{free_port()}"
    name = f"metastore-{node}"
    common = ["--node-id", str(node), "--listen", address, "--data-dir", cluster.data(name)]
    return cluster.add(name, "metastore", [*common, *arguments])


def test_status_tells_of_every_node_also_of_one_that_is_down(cluster, operator):
    lines = operator("status")
    assert [line["address"] for line in lines] == sorted(cluster.metastore_addresses)
    (leader,) = [line for line in lines if line["role"] == "leader"]
    assert all(line["leader"] == leader["node_id"] and line["in_quorum"] for line in lines)
    assert leader["committed"] <= leader["last"] and leader["disk_bytes"] > 0
    for line in lines:
        assert [group["group"] for group in line["state_groups"]] == [1, 2, 3, 4]
    dead = next(p for p in cluster.metastores if p.ready["node_id"] != leader["node_id"])
    dead.kill()
    (silent,) = [line for line in operator("status") if "error" in line]
    assert silent["address"] == cluster.metastore_addresses[dead.ready["node_id"] - 1]
    dead.start()
    eventually(lambda: all("error" not in line for line in operator("status")), "all answer", START_SECONDS)


def test_the_leadership_of_state_groups_is_spread_over_the_nodes(cluster, operator):
    eventually(lambda: leaders(operator("status")) == [1, 2, 3, 1], "each group is led by its own node", 60)
    # A node that has just become a leader counts itself a moment after the others have heard of it.
    led = "fleethaven_metastore_state_groups_led"
    eventually(lambda: sum(node.metric(led) for node in cluster.metastores) == 4, "each group's leader counts itself")


def test_a_node_that_counts_other_groups_is_refused(cluster, operator):
    node = cluster.metastores[2]
    node.kill()
    with pytest.raises(StartFailed, match="holds the data of a store with 4 state groups, not 2"):
        Process("refused", "metastore", [*node.arguments, "--state-groups", "2"]).start()
    node.start()
    six = metastore(cluster, 6, "--join", "--state-groups", "2")

    def refusal() -> str:
        with pytest.raises(RuntimeError) as told:
            operator("members", "add", "--node-id", 6, "--address", six.ready["listen"])
        return str(told.value)

    # The node that was killed may have led: until there is another leader, there is nobody who refuses.
    reason = re.compile("node 6 cannot be added.*this node has 2 state groups, the one that calls has 4")
    eventually(lambda: reason.search(refusal()), "the refusal", START_SECONDS)
    six.kill()


def test_a_node_is_added_takes_the_place_of_another_and_goes(cluster, operator):
    four = metastore(cluster, 4, "--join")
    added = operator("members", "add", "--node-id", 4, "--address", four.ready["listen"])
    assert voters(added) == {1, 2, 3, 4}
    five = metastore(cluster, 5, "--join")
    replaced = operator("members", "replace", "--old", 4, "--node-id", 5, "--address", five.ready["listen"])
    assert voters(replaced) == {1, 2, 3, 5}
    four.kill()
    assert voters(operator("members", "remove", "--node-id", 5)) == {1, 2, 3}
    five.kill()
    with pytest.raises(RuntimeError, match="node 4 cannot be added"):
        operator("members", "add", "--node-id", 4, "--address", f"127.0.0.1:{free_port()}")
    with pytest.raises(RuntimeError, match="there is no node 9 that votes"):
        operator("members", "replace", "--old", 9, "--node-id", 4, "--address", "127.0.0.1:1")


def test_a_backup_is_restored_into_a_new_store(cluster, operator, tmp_path):
    certificates = ["--cluster-tls", cluster.issue("ops", "operator")]
    account = fleethaven("account", "--metastore", ",".join(cluster.metastore_addresses), *certificates)
    file = tmp_path / "backup"
    (made,) = operator("backup", "--file", file)
    assert made["bytes"] == file.stat().st_size and made["revisions"][0] > 0
    # What seals the keys of issuing CAs is the same on all nodes, and not in the backup.
    assert all(line["issuing_keys"] == made["issuing_keys"] for line in operator("status"))
    (sealed_under,) = made["issuing_keys"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    address, data = f"127.0.0.1:{free_port()}", tmp_path / "restored"
    restore = ["restore", "--data-dir", data, "--node-id", 11, "--address", address]
    broken = tmp_path / "broken"
    contents = bytearray(file.read_bytes())
    contents[len(contents) // 2] ^= 1
    broken.write_bytes(contents)
    with pytest.raises(RuntimeError, match="its checksum is wrong"):
        operator(*restore, "--file", broken, "--store", "second", reach=False)
    with pytest.raises(RuntimeError, match="needs another name"):
        operator(*restore, "--file", file, "--store", "local", reach=False)
    (restored,) = operator(*restore, "--file", file, "--store", "second", reach=False)
    assert restored["revisions"] == made["revisions"] and len(made["revisions"]) == 5
    assert restored["state_groups"] == 4
    assert restored["issuing_keys"] == restored["missing_issuing_keys"] == [sealed_under]
    keys = ["--issuing-key-file", cluster.pki / "issuing-keys"]
    again = ["restore", "--data-dir", tmp_path / "again", "--node-id", 12, "--address", address]
    (opened,) = operator(*again, "--file", file, "--store", "third", *keys, reach=False)
    assert (opened["issuing_keys"], opened["missing_issuing_keys"]) == ([sealed_under], [])
    with pytest.raises(RuntimeError, match="is not empty"):
        operator(*restore, "--file", file, "--store", "second", reach=False)

    arguments = ["--node-id", "11", "--listen", address, "--data-dir", str(data), "--store", "second"]
    node = cluster.add("metastore-11", "metastore", arguments)
    eventually(node.is_ready, "the restored store serves", START_SECONDS)
    assert node.metric("fleethaven_metastore_applied_index") > made["revisions"][0]
    assert fleethaven("account", "--metastore", address, *certificates) == account, "it was there already"
    node.kill()


def test_an_operation_needs_an_operators_certificate(cluster, tmp_path):
    folder = cluster.issue("gateway-1", "gateway")
    command = ["metastore", "status", "--metastore", cluster.metastore_addresses[0], "--cluster-tls", str(folder)]
    done = subprocess.run([str(binary()), *command], capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 1 and "not for role operator" in done.stderr


# Two nodes, each in five groups: that takes a busy machine some time.
JOIN_SECONDS = 90


@pytest.mark.timeout(400)
def test_nodes_join_by_themselves_and_are_taken_out_before_they_go(tmp_path):
    """As a StatefulSet does it: three form the store, two more are started beside them, and go again."""
    nodes = Metastores(tmp_path)
    try:
        nodes.start()
        peers = ",".join(f"{node}={address}" for node, address in enumerate(nodes.metastore_addresses, 1))
        joined = [metastore(nodes, node, "--peer", peers, "--join") for node in (4, 5)]
        eventually(lambda: all(process.is_ready() for process in nodes.metastores), "five in the quorum", JOIN_SECONDS)
        folder = nodes.issue("ops", "operator")
        reach = ["--metastore", nodes.metastore_addresses[0], "--cluster-tls", folder]

        def voting() -> set[int]:
            return voters([fleethaven("metastore", "members", "shrink", "--to", 5, *reach)])

        eventually(lambda: voting() == {1, 2, 3, 4, 5}, "all five vote", JOIN_SECONDS)
        joined[0].stop()
        joined[0].start()
        eventually(joined[0].is_ready, "back as it was", JOIN_SECONDS)
        left = fleethaven("metastore", "members", "shrink", "--to", 3, *reach)
        assert voters([left]) == {1, 2, 3}
        for process in joined:
            process.stop()
        staying = nodes.metastores[:3]
        eventually(lambda: all(process.is_ready() for process in staying), "three in the quorum", JOIN_SECONDS)
        # With what it has on its disk a node comes back.
        joined[0].start()
        eventually(lambda: voting() == {1, 2, 3, 4}, "it has joined again", JOIN_SECONDS)
    finally:
        nodes.close()


def test_a_store_is_not_shrunk_to_what_would_be_no_quorum(tmp_path):
    nodes = Metastores(tmp_path)
    try:
        nodes.start()
        reach = ["--metastore", ",".join(nodes.metastore_addresses), "--cluster-tls", nodes.issue("ops", "operator")]
        leader = nodes.leader()
        first = next(process for process in nodes.metastores if process.ready["node_id"] == 1)
        if leader is first:
            first.stop()
            first.start()
            nodes.leader()
        first.kill()
        with pytest.raises(RuntimeError, match="only 0 of the 1 nodes that would stay"):
            fleethaven("metastore", "members", "shrink", "--to", 1, *reach)
    finally:
        nodes.close()
