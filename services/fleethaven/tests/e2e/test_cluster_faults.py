"""Processes of a cluster stand still, are cut off from each other and die, while clients work: nothing acknowledged is lost, who
comes back late does no harm, and service goes on. `make chaos` does the same for as long as one likes."""

import random

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from chaos import Chaos
from cluster import Process
from clustered import anyone, connect, running
from instance import eventually
from mqtt_client import Refused
from network import CUT
from traffic import Traffic

__all__ = ["anyone", "connect"]

SECONDS = 60
# A few of all kinds, which `make chaos` draws from; which process it is, is drawn here too.
SEED = 20
FAULTS = (
    "gateway paused 4 s",
    "router paused 4 s",
    "leader paused 4 s",
    "redis killed",
    "redis paused 0.5 s",
    "rules-worker paused, then killed",
    "gateway cut from router, reset",
    "router restarted in order",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory, faulty=True)


def back(process: Process):
    """Waits until a process that was out has ended, as it must, and starts it anew."""
    assert eventually(lambda: process.process.poll(), f"{process.name} ends", SECONDS) != 0, "with an error"
    process.start()
    eventually(process.is_ready, f"{process.name} is ready", SECONDS)


def test_a_gateway_that_stood_still_is_out(cluster, connect):
    stale, other = cluster.gateways
    watching = connect("watching", other)
    watching.subscribe("wills/#")
    connect("left", stale, will=("wills/left", b"left", 1))
    moving = connect("moving", stale, clean=False, expiry=3600, will=("wills/moved", b"moved", 1))
    moving.subscribe("moving/a")
    stale.pause()
    try:
        moved = connect("moving", other, clean=False, expiry=3600)
        assert moved.session_present
        watching.expect_until(b"left", SECONDS)
        assert watching.publish("moving/a", b"one") == 0
        moved.expect_until(b"one")
    finally:
        stale.resume()
    moving.closed(SECONDS)
    back(stale)
    assert moved.alive, "its session is its own"
    assert watching.publish("wills/last", b"last") == 0
    wills = watching.expect_until(b"last")
    assert sorted(wills) == [b"last", b"left", b"moved"], "each will once"
    assert moved.payloads() == [b"one"]


def test_who_is_told_of_no_takeover_finds_out(cluster, connect):
    old, new = cluster.gateways
    stale = connect("twice", old)
    stale.subscribe("twice/#")
    idle = connect("twice-kept", old, clean=False, expiry=3600)
    cluster.network.trouble([new.name], [old.name], CUT)
    try:
        connect("twice", new).subscribe("twice/#")
        assert connect("twice-kept", new, clean=False, expiry=3600).session_present
        new.kill()
    finally:
        cluster.network.mend()
    stale.closed(SECONDS)
    idle.closed(SECONDS)
    new.start()
    assert connect("twice-kept", new, clean=False, expiry=3600).session_present, "it was only taken over"
    again = connect("twice", new)
    again.subscribe("twice/#")
    assert again.publish("twice/a", b"once") == 0
    assert again.expect_until(b"once") == [b"once"]


def test_a_gateway_that_goes_while_there_is_no_router_leaves_its_wills(cluster, connect):
    gone, other = cluster.gateways
    watching = connect("watching-orphans", other)
    watching.subscribe("orphans/#")
    connect("orphan", gone, will=("orphans/will", b"will", 1))

    def removed() -> int:
        return sum("did not renew its lease and was removed" in line for line in list(cluster.log.all))

    before = removed()
    out = [*cluster.routers, gone]
    for process in out:
        process.kill()
    eventually(lambda: removed() >= before + len(out), "they are members no more", SECONDS)
    for process in out:
        process.launch()
    for process in out:
        process.until_ready()
    watching.expect_until(b"will", SECONDS)
    assert watching.publish("orphans/last", b"last") == 0
    assert watching.expect_until(b"last").count(b"will") == 1, "once"


def test_who_leaves_while_redis_is_away_has_left_when_it_is_back(cluster, connect):
    watching = connect("watching-away")
    watching.subscribe("away/#", qos=0)
    gone = [connect("clean-away", will=("away/will", b"clean", 1))]
    gone.append(connect("kept-away", clean=False, expiry=3600, will=("away/will", b"kept", 1)))
    cluster.redis.kill()
    for client in gone:
        client.abort()
    cluster.log.having("the end of a connection cannot be recorded yet", seconds=SECONDS)
    cluster.redis.start()
    watching.expect_until(b"clean", SECONDS)
    watching.expect_until(b"kept", SECONDS)
    cluster.log.having("the ends of all connections are recorded", seconds=SECONDS)
    assert sorted(watching.payloads()) == [b"clean", b"kept"], "each once"


def test_wills_of_one_session_that_wait_for_a_router_come_once_each(cluster, connect):
    gateway = cluster.gateways[0]
    watching = connect("watching-hasty", gateway, clean=False, expiry=3600)
    watching.subscribe("hasty/#")
    for router in cluster.routers:
        router.kill()
    wills = [b"first", b"second", b"third"]
    for will in wills:
        connect("hasty", gateway, clean=False, expiry=3600, will=("hasty/will", will, 1)).abort()
    for router in cluster.routers:
        router.launch()
    for router in cluster.routers:
        router.until_ready()
    eventually(lambda: set(wills) <= set(watching.payloads()), "each will comes", SECONDS)
    assert watching.publish("hasty/last", b"last") == 0
    assert sorted(watching.expect_until(b"last")) == sorted([*wills, b"last"]), "once"


def test_what_rules_publish_waits_while_no_router_is_reached(cluster, connect):
    rule = {"sql": "SELECT * FROM 'parted/in'", "awsIotSqlVersion": "2016-03-23"}
    copy = {"republish": {"topic": "parted/out", "qos": 1, "roleArn": "arn:aws:iam::123456789012:role/any"}}
    cluster.iot.create_topic_rule(ruleName="parted", topicRulePayload={**rule, "actions": [copy]})
    copies = connect("copies-parted")
    copies.subscribe("parted/out")
    assert copies.publish("parted/in", b"before") == 0
    copies.expect_until(b"before", SECONDS)
    sent = [b"%d" % number for number in range(50)]
    cluster.network.trouble([worker.name for worker in cluster.workers], [router.name for router in cluster.routers], CUT)
    try:
        for payload in sent:
            assert copies.publish("parted/in", payload) == 0
        # That is after the tries that an action has otherwise.
        cluster.log.having("what rules publish waits for the broker", seconds=SECONDS)
    finally:
        cluster.network.mend()
    copies.expect(1 + len(sent), SECONDS)
    assert set(copies.payloads()) == {b"before", *sent}


def test_a_metastore_leader_that_stood_still_answers_for_nobody(cluster):
    stale = cluster.leader()
    stale.pause()
    try:

        def written():
            try:
                cluster.client("iot").create_thing(thingName="written-elsewhere")
                return True
            except (ClientError, BotoCoreError):
                return False

        eventually(written, "a thing is made without the leader", SECONDS)
    finally:
        stale.resume()
    for _ in range(10):
        try:
            cluster.client("iot").describe_thing(thingName="written-elsewhere")
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500, "it is there, whoever is asked"
    eventually(stale.is_ready, "it follows", SECONDS)


def test_an_api_that_is_cut_off_knows_who_signs(cluster):
    api, metastores = cluster.apis[0], [node.name for node in cluster.nodes.metastores]
    at = api.ready["iot_endpoint"]
    cluster.network.part([api.name], metastores)
    try:
        forged = cluster.client("iot", endpoint_url=at, aws_secret_access_key="not" * 13)
        with pytest.raises(ClientError) as refused:
            forged.list_things()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, "nobody had to be asked"
    finally:
        cluster.network.mend()
    eventually(api.is_ready, "it is in touch again", SECONDS)


def refusal(connect) -> int | None:
    """The code with which a client is refused, if it is."""
    try:
        connect("late").close()
    except Refused as refused:
        return refused.value
    except AssertionError:
        pass  # no answer in time
    return None


@pytest.mark.parametrize("fault", ["pause", "kill"])
def test_without_redis_only_qos_0_flows(cluster, connect, fault):
    kept = connect(f"{fault}d-kept", clean=False, expiry=3600)
    kept.subscribe("away/#")
    kept.disconnect(SessionExpiryInterval=3600)
    client = connect(f"{fault}d")
    client.subscribe("away/#", qos=1)
    redis = cluster.redis
    getattr(redis, fault)()
    try:
        waiting = client.publish_later("away/one", b"one", qos=1)
        for number in range(3):
            client.publish_later("away/zero", f"zero-{number}".encode(), qos=0)
            client.expect_until(f"zero-{number}".encode())
        assert client.acknowledged(waiting) is None
        if fault == "kill":
            # Until Redis has been away for ten seconds, who comes waits for it.
            eventually(lambda: refusal(connect) == 0x88, "new clients are told so", SECONDS)
    finally:
        redis.resume() if fault == "pause" else redis.start()

    # Each gateway finds out by itself that Redis is back.
    for gateway in cluster.gateways:

        def published(gateway=gateway):
            try:
                return connect(f"{fault}d-again", gateway).publish("away/last", gateway.name) == 0
            except (Refused, AssertionError):
                return False

        eventually(published, f"{gateway.name} acknowledges messages again", SECONDS)
    kept = connect(f"{fault}d-kept", clean=False, expiry=3600)
    for gateway in cluster.gateways:
        kept.expect_until(gateway.name.encode())


@pytest.fixture(scope="module")
def chaos(cluster, anyone):
    chaos = Chaos(cluster, Traffic(cluster, anyone, every=0.1).start(), random.Random(SEED))
    chaos.settle("the start")
    yield chaos
    for worker in chaos.traffic.workers:
        worker.ending.set()


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.timeout(180)
def test_all_goes_on_after(chaos, kind):
    chaos.befall(kind)


def test_nothing_was_lost(chaos):
    chaos.traffic.end()
