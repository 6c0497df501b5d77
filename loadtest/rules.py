"""What rules cost and how long they take: the figures of docs/performance.md, "Rules".

Starts clusters on loopback (services/fleethaven/tests/e2e/cluster.py) with one gateway, one router and as many rules workers as a row
asks for, drives them with fleethaven-loadtest over the plain listener, and reads the CPU time of each process before and after.

    python3 loadtest/rules.py republish http latency many switches
    python3 loadtest/rules.py --quick republish latency

- republish: messages per second through a filter and a republish, and how many a core of the workers would do
- http: the same through an http action with batches, to a server of this script
- latency: from publish to subscriber, straight and through a republish; from publish to an HTTP server
- many: the republish among 10,000 rules, of which three match
- switches: how long after the API's answer a rule that is enabled, replaced, disabled or deleted is so for messages

CPU time per message is hardly disturbed by other load on the machine; rates and latencies are. Needs release builds: FLEETHAVEN_BIN and
LOADTEST_BIN name them, target/release otherwise; and boto3, paho-mqtt and cryptography (the Python of `make tools`).
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import scaling
from scaling import cpu, measured, warn

sys.path.insert(0, str(scaling.ROOT / "services/fleethaven/tests/e2e"))

import cluster as clusters  # noqa: E402
from device import make_device  # noqa: E402
from instance import ANY_PORT, eventually  # noqa: E402
from lab import ROLE  # noqa: E402
from mqtt_client import Client  # noqa: E402
from receiving import HttpServer  # noqa: E402

#: What workers have left over when a figure is taken.
DRAINED = 300
CONNECTIONS = 20
#: The rule of the figures: what is published below `in` comes out without it.
FILTER = "SELECT * FROM 'in/#' WHERE temperature > 70"
OUT = "${substring(topic(), 3)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="+", choices=sorted(FIGURES))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--count", type=int, default=200_000, help="messages of a row")
    parser.add_argument("--rules", type=int, default=10_000, help="rules of `many`")
    parser.add_argument("--quick", action="store_true", help="few of everything: shows that it runs, and no more")
    options = parser.parse_args()
    if options.quick:
        options.workers, options.count, options.rules = options.workers[:1], 2_000, 100
    results = [result for figure in options.figures for result in FIGURES[figure](options)]
    print(json.dumps(results))


def republish(options):
    """A filter and a republish at QoS 1, as fast as it goes, with one worker and with several."""
    for workers in options.workers:
        with started(workers) as cluster:
            rule(cluster, "out", FILTER, out())
            settled(cluster)
            yield throughput(f"filter and republish, {workers} workers", cluster, through(options.count))


def many(options):
    """The same among many rules, of which three match."""
    with started(1) as cluster:
        rule(cluster, "out", FILTER, out())
        for number in (2, 3):
            rule(cluster, f"aside_{number}", FILTER.replace("in/#", "in/+/#"), out(f"aside/{number}"))
        settled(cluster)
        yield throughput("three rules, all match", cluster, through(options.count))
        begun = time.monotonic()
        fill(cluster, options.rules - 3)
        print(f"{options.rules} rules created in {time.monotonic() - begun:.1f} s", flush=True)
        settled(cluster)
        yield throughput(f"{options.rules} rules, three match", cluster, through(options.count))


def http(options):
    """Batches of an http action. The messages go to a subscriber, too, which paces the publishers; the target may fall behind."""
    for workers in options.workers:
        with started(workers) as cluster, receiver() as target:
            batches = {"enableBatching": True, "batchConfig": {"maxBatchSizeBytes": 131_072}}
            rule(cluster, "web", FILTER.replace("in/#", "load/#"), {"http": {"url": f"{target.origin}/in", **batches}})
            confirm(cluster, target)
            settled(cluster)
            before = target.messages

            def all_there():
                eventually(lambda: target.messages - before >= options.count, "every message at the target", DRAINED)

            requests = target.requests
            scenario = ["fan-in", "--publishers", str(CONNECTIONS), "--qos", "1", "--json-payload"]
            row = throughput(f"http action with batches, {workers} workers", cluster, scenario, options.count, all_there)
            row["messages_per_request"] = round((target.messages - before) / (target.requests - requests), 2)
            print(f"    {row['messages_per_request']} messages a request", flush=True)
            yield row


def latency(options):
    """At a rate at which nobody waits for anybody."""
    seconds = "2" if options.quick else "30"
    paced = ["--qos", "1", "--publishers", "5", "--rate", "200", "--duration", seconds, "--json-payload"]
    with started(1) as cluster, receiver() as target:
        rule(cluster, "out", FILTER, out())
        settled(cluster)
        straight, _ = measured(cluster, ["fan-in", *paced], None)
        through_rule, _ = measured(cluster, ["fan-in", *paced, "--publish-below", "in"], None)
        row = {"figure": "latency at 200 messages a second"}
        for quantile in ("p50", "p99"):
            name = f"latency_{quantile}_us"
            row[f"straight_{quantile}_ms"] = straight[name] / 1e3
            row[f"republish_{quantile}_ms"] = through_rule[name] / 1e3
        warn(through_rule)
        rule(cluster, "web", "SELECT * FROM 'web'", {"http": {"url": f"{target.origin}/in"}})
        confirm(cluster, target)
        publisher = anyone(cluster, "latency")
        # The first message opens the connection to the target.
        publisher.publish("web", json.dumps({"stamp": time.monotonic()}), qos=1)
        eventually(lambda: target.latencies, "the first request", DRAINED)
        target.latencies.clear()
        count = 100 if options.quick else 3_000
        for _ in range(count):
            publisher.publish("web", json.dumps({"stamp": time.monotonic()}), qos=1)
        eventually(lambda: len(target.latencies) >= count, "every request", DRAINED)
        ordered = sorted(target.latencies)
        row["http_p50_ms"], row["http_p99_ms"] = (1e3 * ordered[int(len(ordered) * q)] for q in (0.5, 0.99))
        row = {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        yield row


def switches(options):
    """Numbers go in all the time; each change of the rule is seen by which of them come out, and where."""
    with started(2) as cluster:
        iot = cluster.iot
        watching = anyone(cluster, "watching")
        watching.subscribe("seen/#")
        seen = lambda topic: [m for m in list(watching.received) if m.topic == f"seen/{topic}"]
        payload = lambda topic: {
            "sql": "SELECT * FROM 'numbers'",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [out(f"seen/{topic}")],
        }
        longest = {}
        numbers = Numbers(anyone(cluster, "counting"))
        try:
            for turn in range(2 if options.quick else 20):
                topic = f"at-{turn}"
                made = lambda: iot.create_topic_rule(ruleName="switched", topicRulePayload=payload(topic))
                for change, call, comes in (
                    ("create", made, f"{topic}"),
                    ("disable", lambda: iot.disable_topic_rule(ruleName="switched"), None),
                    ("enable", lambda: iot.enable_topic_rule(ruleName="switched"), f"{topic}"),
                    ("replace", lambda: replace(iot, payload(f"{topic}-new")), f"{topic}-new"),
                    ("delete", lambda: iot.delete_topic_rule(ruleName="switched"), None),
                ):
                    took = switched(numbers, call, comes, seen, watching)
                    longest[change] = max(longest.get(change, 0), took)
        finally:
            numbers.end()
        row = {"figure": "from the API's answer to the first message that knows", "seconds": longest}
        print(", ".join(f"{change} {took:.3f} s at most" for change, took in longest.items()), flush=True)
        yield row


def replace(iot, payload):
    iot.replace_topic_rule(ruleName="switched", topicRulePayload=payload)


def switched(numbers, call, comes, seen, watching):
    """Makes a change; how long after its answer the last number was published that the change did not count for."""
    call()
    answered = time.monotonic()
    if comes:
        first = lambda: [int(m.payload) for m in seen(comes) if numbers.published.get(int(m.payload), 0) > answered]
        number = min(eventually(first, f"a number at {comes}", DRAINED))
        # Numbers between the answer and the first that came were published in vain.
        return max(0.0, numbers.published[number] - answered)
    # No more come once the workers have caught up with two seconds of numbers.
    until = answered + 2
    eventually(lambda: time.monotonic() > until + 1, "the workers have caught up", DRAINED)
    late = [numbers.published[int(m.payload)] for m in list(watching.received) if int(m.payload) in numbers.published]
    return max(0.0, max((at for at in late), default=answered) - answered)


class Numbers:
    """Publishes numbers, each when the one before is acknowledged, until it is ended."""

    def __init__(self, client):
        self.client, self.published = client, {}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        number = 0
        while not self.ending.wait(0.005):
            self.published[number] = time.monotonic()
            self.client.publish("numbers", str(number), qos=1)
            number += 1

    def end(self):
        self.ending.set()
        self.thread.join()


class Receiver(HttpServer):
    """Counts messages, and takes the time of those that say when they were sent."""

    def __init__(self):
        self.tokens, self.latencies = [], []
        self.messages = self.requests = 0
        self.lock = threading.Lock()
        super().__init__()

    def answer(self, request):
        now = time.monotonic()
        if "x-amz-rules-engine-message-type" in request.headers:
            self.tokens.append(json.loads(request.body)["confirmationToken"])
            return 200, b""
        with self.lock:
            self.requests += 1
            self.messages += request.body.count(b'"stamp"')
            if request.body.startswith(b'{"stamp": '):
                self.latencies.append(now - json.loads(request.body)["stamp"])
        return 200, b""


@contextlib.contextmanager
def receiver():
    target = Receiver()
    try:
        yield target
    finally:
        target.close()


@contextlib.contextmanager
def started(workers):
    clusters.ROUTERS, clusters.GATEWAYS, clusters.WORKERS, clusters.APIS = 1, 1, workers, 1
    with tempfile.TemporaryDirectory(prefix="fleethaven-rules-") as folder:
        cluster = clusters.Cluster(Path(folder), "--mqtt", ANY_PORT, outbound="127.0.0.0/8")
        try:
            yield cluster.start()
        finally:
            cluster.close()


def anyone(cluster, name):
    with tempfile.TemporaryDirectory(prefix="fleethaven-rules-") as folder:
        return Client(cluster, make_device(cluster, Path(folder)), name).connect()


def out(topic=OUT):
    return {"republish": {"roleArn": ROLE, "topic": topic, "qos": 1}}


def rule(cluster, name, sql, *actions):
    payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": list(actions)}
    cluster.iot.create_topic_rule(ruleName=name, topicRulePayload=payload)


def fill(cluster, count):
    """Rules that look elsewhere."""

    def one(number):
        rule(cluster, f"other_{number}", f"SELECT * FROM 'other/{number}/#' WHERE temperature > 70", out("elsewhere"))

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(one, range(count)):
            pass


def confirm(cluster, target):
    token = eventually(lambda: target.tokens, "the challenge", DRAINED)[-1]
    cluster.iot.confirm_topic_rule_destination(confirmationToken=token)


def settled(cluster):
    """A second is what a change of rules may take until all processes know of it."""
    time.sleep(2)
    assert all(process.is_ready() for process in cluster.workers)


def through(count):
    scenario = ["fan-in", "--publishers", str(CONNECTIONS), "--qos", "1", "--json-payload", "--publish-below", "in"]
    return [*scenario, "--count", str(count)]


def throughput(what, cluster, scenario, count=None, done=lambda: None):
    """Rate, and CPU time by role, from the first message until everything is done."""
    pids = {role: [process.process.pid for process in cluster.nodes.of_role(role)] for role in ROLES}
    pids["redis"] = [cluster.redis.process.pid]
    before = {role: sum(map(cpu, of_role)) for role, of_role in pids.items()}
    begun = time.monotonic()
    result, _ = measured(cluster, scenario, count)
    done()
    seconds = time.monotonic() - begun
    messages = result["received"]
    spent = {role: 1e6 * (sum(map(cpu, of_role)) - before[role]) / messages for role, of_role in pids.items()}
    row = {
        "figure": what,
        "messages": messages,
        "lost": result["lost"],
        "duplicated": result["duplicated"],
        "per_second": round(messages / seconds),
        "cpu_us_per_message": {role: round(cost, 2) for role, cost in spent.items()},
        "per_second_and_worker_core": round(1e6 / max(spent["rules-worker"], 0.01)),
    }
    costs = ", ".join(f"{role} {cost:.1f}" for role, cost in spent.items())
    core = row["per_second_and_worker_core"]
    print(f"{what}: {row['per_second']:,}/s, {core:,}/s for a core of the workers; µs of CPU a message: {costs}", flush=True)
    if row["lost"] or row["duplicated"]:
        print(f"    {row['lost']} lost, {row['duplicated']} twice", flush=True)
    warn(result)
    return row


FIGURES = {"republish": republish, "http": http, "latency": latency, "many": many, "switches": switches}
ROLES = ("gateway", "router", "rules-worker", "metastore")


if __name__ == "__main__":
    main()
