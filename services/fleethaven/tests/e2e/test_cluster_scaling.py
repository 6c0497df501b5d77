"""Gateways are added and taken away, and one process of each role is replaced, while messages flow: nothing acknowledged is lost,
and only the clients of the gateway that goes connect again."""

from cluster import Cluster
from device import make_device
from scaling import Change, Scaling, scenario


def test_scaling_and_upgrading_cost_only_the_clients_of_a_gateway_that_goes(tmp_path):
    cluster = Cluster(tmp_path, "--drain-delay", "1", gateways=1)
    changes: list[Change] = []
    try:
        cluster.start()
        scaling = Scaling(cluster, make_device(cluster, tmp_path), 3, changes.append).start()
        scenario(scaling, some=True)
        scaling.end()
    finally:
        cluster.close()
    assert [change.what for change in changes if change.again] == ["gateway-4 less", "gateway-3 less", "gateway-2 upgraded"]
