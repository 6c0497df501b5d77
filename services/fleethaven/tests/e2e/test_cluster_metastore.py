"""Three metastores as processes of their own: whoever dies, a quorum goes on, and readiness tells who is in it."""

import shutil
import signal
import socket
import ssl

import pytest

from cluster import Metastores, Process, pki
from instance import StartFailed, address, eventually

RELOADED = 'fleethaven_tls_certificate_reloads_total{result="success"}'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Metastores(tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.close()


def ready(*processes: Process):
    eventually(lambda: all(p.is_ready() for p in processes), f"{[p.name for p in processes]} ready", 30)


def test_one_leads_and_all_are_ready(cluster):
    leader = cluster.leader()
    assert leader.ready["role"] == "metastore" and leader.ready["cluster"] == "local"
    ready(*cluster.metastores)


def test_another_leads_when_the_leader_is_killed(cluster):
    dead = cluster.leader()
    dead.kill()
    alive = [process for process in cluster.metastores if process is not dead]
    ready(*alive)
    assert cluster.leader() in alive
    dead.start()
    ready(*cluster.metastores)


def test_a_node_outside_the_quorum_is_not_ready(cluster):
    last, *others = cluster.metastores
    for process in others:
        process.kill()
    eventually(lambda: last.admin("/readyz") == (503, "quorum\n"), "unready without a quorum", 30)
    assert last.admin("/livez")[0] == 200, "a restart would not help"
    for process in others:
        process.start()
    ready(*cluster.metastores)


def test_a_leader_that_is_told_to_stop_hands_over(cluster):
    leader = cluster.leader()
    term = leader.metric("fleethaven_metastore_term")
    assert leader.stop() == 0
    successor = cluster.leader()
    assert successor is not leader and successor.metric("fleethaven_metastore_term") == term + 1, "one election"
    leader.start()
    ready(*cluster.metastores)


def test_a_rotation_of_the_ca_needs_no_restart(cluster):
    nodes = cluster.metastores
    folders = {process: cluster.pki / process.name for process in nodes}

    def reload(process: Process):
        before = process.metric(RELOADED)
        process.process.send_signal(signal.SIGHUP)
        eventually(lambda: process.metric(RELOADED) > before, f"{process.name} has reloaded")

    pki("rotate", "--dir", cluster.pki)
    for process in nodes:
        shutil.copyfile(cluster.pki / "trust.pem", folders[process] / "ca.crt")
        reload(process)
    for process in nodes:
        cluster.issue(process.name, "metastore")
        reload(process)
    pki("retire", "--dir", cluster.pki)
    for process in nodes:
        shutil.copyfile(cluster.pki / "trust.pem", folders[process] / "ca.crt")
        reload(process)
    ready(*nodes)
    dead = cluster.leader()
    dead.kill()
    dead.start()
    ready(*nodes)


def test_nobody_gets_in_without_a_certificate(cluster):
    node = cluster.leader()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(address(node.ready["listen"])) as tcp:
        with pytest.raises(OSError):
            with context.wrap_socket(tcp) as tls:
                while tls.recv(1024):
                    pass
    node.log.having("no service of this cluster", seconds=10)
    ready(*cluster.metastores)


def test_a_certificate_of_another_role_is_refused_at_start(cluster, tmp_path):
    folder = cluster.issue("gateway-0", "gateway")
    arguments = ["--node-id", "9", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), "--cluster-tls", str(folder)]
    with pytest.raises(StartFailed) as failed:
        Process("metastore-9", "metastore", arguments).start()
    assert failed.value.code == 1 and "spiffe://local/role/gateway, not for role metastore" in failed.value.log
