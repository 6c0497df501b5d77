"""`fleethaven status` and `fleethaven doctor`: what they tell of an instance and of a cluster, well and not."""

import json
import subprocess

import pytest

from cluster import Cluster
from instance import binary, eventually


def run(*arguments) -> tuple[int, str, str]:
    done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def findings(*arguments) -> dict[str, dict]:
    """What the doctor found, by the name of the check; anything wrong ends the command with an error."""
    code, out, _ = run("doctor", *arguments, "--json")
    found = {line["check"]: line for line in map(json.loads, out.splitlines())}
    assert (code == 0) == all(line["verdict"] != "failed" for line in found.values())
    assert all("advice" in line for line in found.values() if line["verdict"] != "well")
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.close()


@pytest.fixture(scope="module")
def reach(cluster):
    return ["--metastore", cluster.metastore, "--cluster-tls", cluster.nodes.issue("doctor", "operator")]


def status(reach) -> dict:
    code, out, error = run("status", *reach, "--json")
    assert code == 0, error
    return json.loads(out)


def test_status_shows_nodes_members_and_slots(cluster, reach):
    here = {"api": cluster.apis, "gateway": cluster.gateways, "router": cluster.routers, "rules-worker": cluster.workers}
    expected = [(role, "serving") for role, processes in here.items() for _ in processes]
    in_service = lambda told: [(member["role"], member["phase"]) for member in told["members"]]
    told = eventually(lambda: (told := status(reach)) and in_service(told) == expected and told, "all members in service", 30)
    assert sorted(node["node_id"] for node in told["metastore"]) == [1, 2, 3]
    (version,) = {line["version"] for line in (*told["metastore"], *told["members"])}
    assert version == run("--version")[1].split()[-1]
    routers = [member for member in told["members"] if member["role"] == "router"]
    assert sum(router["slots"] for router in routers) == told["slots"]["all"] == told["slots"]["owned"] == 1024

    code, out, _ = run("status", *reach)
    assert code == 0
    for word in (*cluster.metastore.split(","), "leader", "follower", "gateway", "serving", "VERSION", version, "1024 of 1024 slots"):
        assert word in out


def test_the_doctor_finds_a_cluster_well_until_a_part_of_it_is_gone(cluster, reach):
    api = cluster.apis[0].ready["iot_endpoint"].removeprefix("https://")
    whole = [*reach, "--https", api, "--ca", cluster.ready["ca_file"], "--session-store", "--redis", f"redis://{cluster.redis.address}"]
    found = findings(*whole)
    assert {name for name, line in found.items() if line["verdict"] == "failed"} == set()
    for name in ("members: gateway", "members: router", "slots", "session store", f"https {api}: clock"):
        assert found[name]["verdict"] == "well", found[name]

    node = next(node for node in cluster.nodes.metastores if node is not cluster.leader())
    address = cluster.nodes.metastore_addresses[node.ready["node_id"] - 1]
    node.kill()
    try:
        gone = lambda: findings(*reach).get(f"metadata store {address}", {}).get("verdict") == "failed"
        eventually(gone, "the dead node is found", 30)
        assert any(line.get("address") == address and "error" in line for line in status(reach)["metastore"])
    finally:
        node.start()
    eventually(lambda: findings(*reach)[f"metadata store {address}"]["verdict"] == "well", "it is back", 30)


def test_the_doctor_looks_at_what_it_is_told_of(fleethaven, tmp_path):
    instance = fleethaven()
    https = instance.ready["iot_endpoint"].removeprefix("https://")
    at = ["--data-dir", instance.data_dir, "--https", https, "--ca", instance.ready["ca_file"]]
    found = findings(*at)
    assert found[f"data directory {instance.data_dir}"]["verdict"] == "well"
    assert found[f"certificate {instance.data_dir / 'server.pem'}"]["verdict"] == "well"
    assert found[f"https {https}: certificate"]["verdict"] == "well"
    instance.stop()
    assert findings(*at)[f"https {https}"]["verdict"] == "failed"
    nowhere = findings("--session-store", "--redis", "redis://127.0.0.1:1")
    assert nowhere["session store"]["verdict"] == "failed"
    code, out, error = run("doctor", "--session-store", "--redis", "redis://127.0.0.1:1")
    assert code != 0 and "FAILED" in out and "1 of 2 checks failed" in error
