"""The state of things in a cluster is spread over several Raft groups: no node is needed for all of them."""

import json

import pytest
from botocore.config import Config

from clustered import running
from instance import START_SECONDS, eventually

THINGS = [f"lamp-{number}" for number in range(24)]
GROUPS = range(1, 5)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    yield from running(tmp_path_factory)


def update(data, things: list[str], value: int):
    payload = json.dumps({"state": {"reported": {"value": value}}})
    for thing in things:
        data.update_thing_shadow(thingName=thing, payload=payload)


def reported(data) -> list[int]:
    documents = [json.loads(data.get_thing_shadow(thingName=thing)["payload"].read()) for thing in THINGS]
    return [document["state"]["reported"]["value"] for document in documents]


def applied(node) -> list[float]:
    sample = 'fleethaven_metastore_state_group_applied_index{group="%s"}'
    return [node.metric(sample % group) for group in GROUPS]


def test_shadows_are_in_all_groups_and_survive_the_death_of_any_node(fleet):
    # SDKs ask again when an answer is lost.
    retries = Config(retries={"max_attempts": 8})
    data = fleet.client("iot-data", config=retries, endpoint_url=fleet.ready["iot_endpoint"])
    nodes = fleet.nodes.metastores
    eventually(lambda: all(node.metric("fleethaven_metastore_state_groups_led") for node in nodes), "spread", 60)
    before = applied(nodes[0])
    update(data, THINGS, 0)
    eventually(lambda: all(new > old for new, old in zip(applied(nodes[0]), before)), "each group has some", 30)
    for value, node in enumerate(nodes, 1):
        node.kill()
        update(data, THINGS, value)
        assert reported(data) == [value] * len(THINGS)
        node.start()
        eventually(node.is_ready, f"{node.name} is back", START_SECONDS)
    for node in nodes:
        eventually(lambda: applied(node) == applied(nodes[0]), f"{node.name} is level", 30)
