"""How many levels of a topic choose its slot is changed while messages flow: nothing acknowledged is lost, nothing comes out of order,
and subscribers, there or away, get what they subscribed to."""

import json
import subprocess
import time

import pytest

from clustered import anyone, connect, running
from instance import START_SECONDS, binary, eventually
from traffic import Traffic

__all__ = ["anyone", "connect"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory)


@pytest.fixture(scope="module")
def depths(cluster):
    """Runs `fleethaven metastore depths …`; what it printed, or why it did not."""
    folder = cluster.nodes.issue("ops", "operator")

    def run(*arguments: object) -> dict:
        reach = ["--metastore", ",".join(cluster.nodes.metastore_addresses), "--cluster-tls", str(folder)]
        command = [str(binary()), "metastore", "depths", *map(str, arguments), *reach]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return json.loads(done.stdout)

    return run


def test_depths_change_while_messages_flow(cluster, depths, anyone):
    first = depths("show")
    assert first["default"] == 3 and first["prefixes"]["$aws/events"] == 5
    traffic = Traffic(cluster, anyone).start()

    def flows_on():
        since = time.monotonic()
        eventually(lambda: traffic.flows(since), lambda: traffic.state(since), 30)

    flows_on()
    for arguments, now in [
        (["--levels", 1], lambda told: told["default"] == 1),
        (["--prefix", "faults", "--levels", 4], lambda told: told["prefixes"]["faults"] == 4),
        (["--levels", 4], lambda told: told["default"] == 4),
        (["--prefix", "faults"], lambda told: "faults" not in told["prefixes"]),
    ]:
        told = depths("set", *arguments)
        assert now(told) and "next" not in told
        flows_on()
    # A router dies while another change goes on: the others load, let go and take over.
    cluster.routers[0].kill()
    assert depths("set")["default"] == 3
    cluster.routers[0].start()
    flows_on()
    traffic.end()
    assert depths("show") == first


def test_who_is_away_gets_what_is_published_by_other_depths(depths, connect):
    filters = ["deep/+/x/#", "deep/one/x/y/z", "$share/g/deep/shared/#"]
    sleeper = connect("sleeper", clean=False, expiry=3600)
    sleeper.subscribe(*filters)
    sleeper.disconnect()
    publisher = connect("publisher")
    publisher.paho.publish("deep/kept/a/b/c", b"kept", 1, retain=True).wait_for_publish(30)
    depths("set", "--prefix", "deep", "--levels", 5)
    for topic in ["deep/two/x/y/w", "deep/shared/a/b/c/d"]:
        assert publisher.publish(topic, topic) == 0
    late = connect("late")
    late.subscribe("deep/kept/#")
    assert late.expect(1) == [b"kept"]
    sleeper = connect("sleeper", clean=False, expiry=3600)
    assert sleeper.session_present
    assert sorted(sleeper.expect(2)) == [b"deep/shared/a/b/c/d", b"deep/two/x/y/w"]
    assert publisher.publish("deep/one/x/y/z", b"last") == 0
    sleeper.expect_until(b"last")
    depths("set", "--prefix", "deep")


def test_what_cannot_be_is_refused(depths):
    with pytest.raises(RuntimeError, match="less than the levels of that prefix"):
        depths("set", "--prefix", "a/b/c", "--levels", 2)
    with pytest.raises(RuntimeError, match="is not a topic prefix"):
        depths("set", "--prefix", "a/+", "--levels", 4)
    with pytest.raises(RuntimeError, match="at most 32"):
        depths("set", "--levels", 33)
