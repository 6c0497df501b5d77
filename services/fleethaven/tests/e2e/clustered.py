"""What tests share whose file has a cluster of its own: `from clustered import anyone, connect`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import Cluster, Process
from device import make_device
from mqtt_client import Client


def running(tmp_path_factory, *gateway: str, **options) -> Iterator[Cluster]:
    """For a fixture that says which cluster it is: `yield from running(tmp_path_factory, faulty=True)`."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), *gateway, **options)
    try:
        yield cluster.start()
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def anyone(cluster, tmp_path_factory):
    """A device that may do everything."""
    return make_device(cluster, tmp_path_factory.mktemp("device"))


@pytest.fixture
def connect(cluster, anyone):
    """Connects clients as that device: `connect("sensor", clean=False)`."""
    clients = []

    def make(client_id: str, at: Process | None = None, **options) -> Client:
        """A client, at one gateway or at any."""
        listener = {"address": at.ready["mqtt_tls"]} if at else {}
        clients.append(Client(cluster, anyone, client_id, **listener, **options))
        return clients[-1].connect()

    yield make
    for client in clients:
        client.close()
