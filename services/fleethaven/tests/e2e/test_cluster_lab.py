"""The beginner's lab, unchanged, on a cluster: its clients are spread over the gateways."""

import pytest

from cluster import Cluster
from test_lab import *  # noqa: F403


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster.start()
    cluster.close()
