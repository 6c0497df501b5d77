"""Every query of the chart's dashboards and rules, put to a real Prometheus that scrapes a cluster which has seen work."""

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from cluster import Cluster, free_port
from device import make_device
from instance import START_SECONDS, eventually
from lab import ROLE, TELEMETRY, Lab, reading
from mqtt_client import Client, Refused

pytestmark = pytest.mark.timeout(400)

CHART = Path(__file__).resolve().parents[4] / "helm" / "fleethaven"
RULES = CHART / "rules.yaml"


def queries() -> list[tuple[str, str]]:
    found = []
    for file in sorted(CHART.glob("dashboards/*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            found += [(f"{file.stem}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


class Prometheus:
    """A Prometheus that scrapes the processes of a cluster each second."""

    def __init__(self, folder: Path, cluster: Cluster):
        self.port = free_port()
        targets = [
            {"targets": [process.ready["admin"]], "labels": {"role": process.role, "instance": process.name}}
            for process in cluster.nodes.processes.values()
        ]
        (folder / "targets.json").write_text(json.dumps(targets))
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "fleethaven", "file_sd_configs": [{"files": [str(folder / "targets.json")]}]}
            ],
        }
        # JSON is YAML.
        (folder / "prometheus.yaml").write_text(json.dumps(settings))
        program = shutil.which("prometheus")
        assert program, "there is no prometheus: `.ci/debian prometheus=prometheus` installs it"
        command = [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=folder)
        eventually(lambda: self.ask("up"), "scraped", START_SECONDS)

    def ask(self, query: str) -> list:
        """The samples of a query; none while nobody answers."""
        text = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{text}", timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def close(self):
        self.process.kill()
        self.process.wait(START_SECONDS)


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """A cluster and its Prometheus; the lab has run, and goes on in small."""
    folder = tmp_path_factory.mktemp("cluster")
    # With log entries, whose counters the alerts name.
    cluster = Cluster(folder, "--iot-log", "stderr")
    prometheus = None
    try:
        cluster.start()
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), cluster)
        lab = Lab(cluster, folder)
        lab.provision_sensor()
        lab.provision_application()
        lab.create_rule()
        # One that cannot be carried out, with an error action.
        failing = {
            "sql": "SELECT * FROM 'sensors/+/telemetry' WHERE temperature > 30",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{"republish": {"roleArn": ROLE, "topic": "${nothing.at.all}/#", "qos": 1}}],
            "errorAction": {"republish": {"roleArn": ROLE, "topic": "sensors/errors", "qos": 1}},
        }
        cluster.iot.create_topic_rule(ruleName="failing", topicRulePayload=failing)

        anyone = make_device(cluster, folder)

        def work():
            # A gateway that stood still for too long, on a machine that is busy, has ended: the next one then.
            with contextlib.suppress(Refused):
                reader = Client(cluster, anyone, "reader").connect()
                reader.subscribe(TELEMETRY)
                sensor = Client(cluster, lab.sensor, "sensor01").connect()
                for payload in (reading(20), reading(31), b"not json"):
                    sensor.publish(TELEMETRY, payload)
                sensor.disconnect()
                # What a gateway takes with it comes the next time.
                with contextlib.suppress(AssertionError):
                    reader.expect(3)
                reader.close()
            cluster.iot.list_things()

        yield prometheus, work
        lab.close()
    finally:
        if prometheus:
            prometheus.close()
        cluster.close()


def test_no_panel_is_empty(worked):
    prometheus, work = worked
    filled = {"$job": "fleethaven", "$__rate_interval": "15s"}
    waiting = {}
    for panel, query in queries():
        for variable, value in filled.items():
            query = query.replace(variable, value)
        waiting[panel, query] = None

    def all_have_samples() -> bool:
        work()
        for key in list(waiting):
            samples = prometheus.ask(key[1])
            if any(sample["value"][1] != "NaN" for sample in samples):
                del waiting[key]
        return not waiting

    try:
        eventually(all_have_samples, "samples for every query", 120, pause=0.2)
    except AssertionError:
        pytest.fail("no samples: " + "\n".join(f"{panel}: {query}" for panel, query in waiting))


def test_rules_name_no_unknown_metric(worked):
    prometheus, work = worked
    named = set(re.findall(r"fleethaven_[a-z0-9_]+", RULES.read_text()))
    missing = set(named)

    def all_have_samples():
        work()
        missing.difference_update([name for name in missing if prometheus.ask(f"count({name})")])
        return not missing

    try:
        eventually(all_have_samples, "samples of all metrics", 120, pause=0.2)
    except AssertionError:
        pytest.fail(f"no samples of {missing}")
    recorded = set(re.findall(r"record: (\S+)", RULES.read_text()))
    eventually(lambda: work() or all(prometheus.ask(name) for name in recorded), f"samples of all of {recorded}", 120, pause=0.2)
