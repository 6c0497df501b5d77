"""The load tool against the real broker: every scenario runs, loses nothing, and says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from device import make_device
from instance import binary

# By scenario: arguments that make it short, and what its report must say.
SCENARIOS = {
    "fan-in": ("--publishers 5 --count 500 --qos 1", {"received": 500}),
    "fan-out": ("--subscribers 20 --count 50", {"received": 1000}),
    "pairs": ("--pairs 5 --count 500 --qos 1 --mqtt 3.1.1 --topics fleet", {"received": 500}),
    "sustained": ("--publishers 2 --from 500 --precision 100 --bound 10000 --duration 1 --warmup 0 --most 1000", {}),
    "retained": ("--messages 500 --publishers 2", {"received": 500, "refused": 0}),
    "offline": ("--messages 500 --sessions 5", {}),
    "connect-storm": ("--connections 50 --bystanders 2 --rate 100 --quiet 1", {"bystanders_during_lost": 0}),
    "reconnect-storm": ("--connections 50 --bystanders 2 --rate 100 --quiet 1", {"bystanders_during_lost": 0}),
    "idle": ("--connections 50 --subscribe --settle 0", {"connections_lost": 0}),
}


@pytest.fixture(scope="module")
def plain(fleethaven):
    return fleethaven("--mqtt", "127.0.0.1:0")


def load(instance, *arguments):
    tool = binary().with_name("fleethaven-loadtest")
    command = [str(tool), *arguments, "--pid", str(instance.process.pid), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_runs_and_loses_nothing(plain, scenario):
    arguments, expected = SCENARIOS[scenario]
    report = load(plain, scenario, *arguments.split(), "--target", plain.ready["mqtt"])
    for name in ("lost", "duplicated", "reordered", "connections_lost"):
        assert not report.get(name), report
    for name, value in expected.items():
        assert report[name] == value, report
    assert any(name.startswith(("broker_cpu", "in_broker_cpu", "store_broker_cpu")) for name in report), report


def test_handshakes_resume_over_mutual_tls(plain, tmp_path):
    one = make_device(plain, tmp_path)
    tls = ["--tls", "--ca", plain.ready["ca_file"], "--cert", one.certificate_file, "--key", one.key_file]
    timed = ["--duration", "1", "--in-flight", "2", "--resume"]
    report = load(plain, "handshakes", *timed, *tls, "--target", plain.ready["mqtt_tls"])
    assert report["failed"] == 0, report
    assert report["resumed"] > 0, report


@pytest.mark.timeout(240)
def test_the_figures_of_rules_lose_nothing():
    """A short run of the script; what it measures is for `docs/performance.md`, not for a test."""
    script = Path(__file__).resolve().parents[4] / "loadtest/rules.py"
    programs = {"FLEETHAVEN_BIN": str(binary()), "LOADTEST_BIN": str(binary().with_name("fleethaven-loadtest"))}
    command = [sys.executable, str(script), "--quick", "republish", "http"]
    done = subprocess.run(command, env=os.environ | programs, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert len(rows) == 2 and all(row["lost"] == 0 for row in rows), rows


def test_bystanders_lose_nothing_beside_hostile_peers():
    """A short run of the script; how long the bystanders wait is for `docs/performance.md`, not for a test."""
    script = Path(__file__).resolve().parents[4] / "loadtest/hostile.py"
    attacks = ["slow CONNECTs", "never reads", "many client ids"]
    command = [sys.executable, str(script), "--seconds", "1", "--windows", "1", "--json", "--attacks", *attacks]
    programs = {"FLEETHAVEN_BIN": str(binary()), "LOADTEST_BIN": str(binary().with_name("fleethaven-loadtest"))}
    done = subprocess.run(command, env=os.environ | programs, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [result["attack"] for result in results] == attacks
    for result in results:
        assert result["faults"] == {} and result["ratio"] > 0, result
