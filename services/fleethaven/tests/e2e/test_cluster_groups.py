"""Groups of shared subscriptions in a cluster: routers hold them, one of them their queue, and gateways their members. Whichever of
these die, what was acknowledged reaches a member."""

import pytest

from clustered import anyone, connect, running
from instance import eventually

__all__ = ["anyone", "connect"]

SECONDS = 60
# Of the topics of one router, and of those of all.
PINNED, SPREAD = "$share/near/crew/near/a/#", "$share/far/crew/#"
TOPICS = ["crew/near/a/1", "crew/near/a/2", "crew/far/b/1", "crew/far/c/1", "crew/far/d/1"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory)


class Crew:
    """Members of both groups, persistent ones and one without a session of its own, and what was published to them."""

    def __init__(self, cluster, connect):
        self.connect, self.published = connect, 0
        here, there = cluster.gateways
        self.members = {
            PINNED: [self.member("near-1", PINNED, here), self.member("near-2", PINNED, there)],
            SPREAD: [self.member("far-1", SPREAD, here), self.member("far-2", SPREAD, there)],
        }
        brief = connect("far-brief", there)
        brief.subscribe(SPREAD)
        self.members[SPREAD].append(brief)
        self.publisher = connect("publisher", there)

    def member(self, name, group, at):
        client = self.connect(name, at, clean=False, expiry=3600)
        assert client.subscribe(group) == [1]
        return client

    def publish(self, count):
        """To each topic so many, all acknowledged."""
        later = []
        for _ in range(count):
            self.published += 1
            for topic in TOPICS:
                later.append(self.publisher.publish_later(topic, f"{topic} {self.published}"))
        eventually(lambda: all(self.publisher.acknowledged(mid) == 0 for mid in later), "all acknowledged", SECONDS)

    def missing(self, group):
        got = {payload.decode() for member in self.members[group] for payload in member.payloads()}
        topics = [topic for topic in TOPICS if group == SPREAD or topic.startswith("crew/near")]
        return {f"{topic} {number}" for topic in topics for number in range(1, self.published + 1)} - got

    def has_everything(self):
        for group in self.members:
            eventually(lambda: not self.missing(group), lambda: f"{group} lacks {sorted(self.missing(group))[:10]}", SECONDS)


def test_routers_and_gateways_die_and_no_share_is_lost(cluster, connect):
    crew = Crew(cluster, connect)
    crew.publish(20)
    for router in cluster.routers:
        router.kill()
        crew.publish(20)
        router.start()
        crew.publish(20)
    crew.has_everything()
    # With members, and then whoever held what they had not acknowledged.
    here, _ = cluster.gateways
    here.kill()
    crew.publish(20)
    cluster.routers[0].kill()
    crew.publish(20)
    for process in (here, cluster.routers[0]):
        process.start()
    crew.has_everything()


def test_a_group_whose_last_member_left_begins_anew(cluster, connect):
    group, topic = "$share/again/again/#", "again/1"
    publisher, first = connect("again-publisher"), connect("again-1", clean=False, expiry=3600)
    assert first.subscribe(group) == [1]
    assert publisher.publish(topic, "one") == 0
    first.expect_until(b"one")
    first.unsubscribe(group)
    second = connect("again-2", cluster.gateways[1], clean=False, expiry=3600)
    assert second.subscribe(group) == [1]
    second.disconnect()
    assert publisher.publish(topic, "two") == 0
    third = connect("again-3")
    assert third.subscribe(group) == [1]
    third.expect_until(b"two")
    assert third.payloads() == [b"two"]
