"""Nodes of the metadata store that are started as the chart's pods are: they form it without a hand, and one whose volume is lost comes
back as a new node, with everything that the others have."""

import shutil

import pytest

from cluster import Metastores, Process
from commands import fleethaven
from instance import eventually

ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Metastores(tmp_path_factory.mktemp("cluster"), joining=True)
    yield cluster.start()
    cluster.close()


def voters(cluster: Metastores, through: Process) -> dict[str, list[list[int]]]:
    """Who votes in each group, as each node sees it that answers. An operator needs no certificate beside that of a node."""
    lines = fleethaven(
        "metastore", "status", "--metastore", cluster.metastore_addresses[0], "--cluster-tls", cluster.pki / through.name
    )
    return {
        line["address"]: [
            sorted(node["node_id"] for node in group["nodes"] if node["votes"]) for group in [line, *line["state_groups"]]
        ]
        for line in lines
        if "nodes" in line
    }


def all_vote(cluster: Metastores) -> bool:
    seen = voters(cluster, cluster.metastores[0])
    return len(seen) == 3 and all(group == [1, 2, 3] for groups in seen.values() for group in groups)


def test_all_form_the_store_at_once(cluster):
    eventually(lambda: all_vote(cluster), "all vote in every group", 30)
    assert not any("comes back as a new node" in line for line in cluster.journal.all), "none came too late"


def test_an_operator_in_a_container_of_a_node_sees_the_cluster(cluster):
    node = cluster.leader()
    reach = ["--metastore", cluster.metastore_addresses[0], "--cluster-tls", cluster.pki / node.name]
    [status] = fleethaven("status", "--json", *reach)
    assert len(status["metastore"]) == 3 and status["members"] == [] and status["slots"]["owned"] == 0


def test_a_node_whose_disk_is_lost_comes_back_with_everything(cluster):
    operator = cluster.issue("operator", "operator")
    reach = ["--metastore", ",".join(cluster.metastore_addresses), "--cluster-tls", operator]
    [made] = fleethaven("account", *reach)
    for lost in list(cluster.metastores):
        lost.kill()
        shutil.rmtree(cluster.data(lost.name))
        lost.start()
        lost.log.having("comes back as a new node", seconds=30)
        eventually(lambda: all_vote(cluster), f"{lost.name} votes again in every group", 60)
        eventually(lambda: all(node.is_ready() for node in cluster.metastores), "all ready", 30)
    # Each of them has lost everything once.
    [found] = fleethaven("account", *reach)
    assert found["access_key_id"] == made["access_key_id"]


def test_a_node_that_knows_nothing_waits_while_there_is_no_quorum(cluster):
    lost, other, third = cluster.metastores
    for node in cluster.metastores:
        node.kill()
    shutil.rmtree(cluster.data(lost.name))
    lost.start()
    third.start()
    # Two of three, and one of them must not count.
    lost.log.having("not a node of the metadata store yet", "does not lead", seconds=30)
    assert not lost.is_ready() and not third.is_ready()
    other.start()
    eventually(lambda: all_vote(cluster), "all vote in every group", 60)
    eventually(lambda: all(node.is_ready() for node in cluster.metastores), "all ready", 30)
