"""The beginner's lab, unchanged, on a cluster: its clients are spread over the gateways."""

import pytest

from clustered import running
from test_lab import *  # noqa: F403


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    yield from running(tmp_path_factory)
