"""What rules cost and how long they take: the figures of docs/performance.md, "Rules in a cluster".

Starts clusters on loopback (services/fleethaven/tests/e2e/cluster.py) with one gateway, one router and as many rules workers as
`--workers` says, one cluster after the other, drives them with fleethaven-loadtest over the plain listener, and reads the CPU time of
each process before and after.

    python3 loadtest/rules.py republish http latency dead many switches
    python3 loadtest/rules.py --quick republish latency

- republish: messages per second through a filter and a republish, and how many a core of the workers would do
- http: the same through an http action with batches, to a server of this script
- latency: from publish to subscriber, straight and through a republish; from publish to an HTTP server
- dead: from publish to subscriber while a rule sends the same messages to a server that never answers; with the first number of workers
- many: the republish among 10,000 rules, of which three match; with the first number of workers
- switches: how long after the API's answer a rule that is enabled, replaced, disabled or deleted is so for messages, and whether one is
  missed or comes twice; with the last number of workers

CPU time per message is hardly disturbed by other load on the machine; rates and latencies are. Needs release builds: FLEETHAVEN_BIN and
LOADTEST_BIN name them, target/release otherwise; and boto3, paho-mqtt and cryptography (the Python of `make tools`).
"""

import argparse
import asyncio
import contextlib
import itertools
import json
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

#: What workers have left over when a figure is taken.
DRAINED = 120
CONNECTIONS = 20
#: The rule of the figures: what is published below `in` comes out without it.
FILTER = "SELECT * FROM 'in/#' WHERE temperature > 70"
OUT = "${substring(topic(), 3)}"
#: Passes the filter, and is counted by the receiver.
PROBE = json.dumps({"stamp": "probe", "temperature": 71})


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
    first, last = options.workers[0], options.workers[-1]
    results = []
    for workers in options.workers:
        of_these = {"dead": workers == first, "many": workers == first, "switches": workers == last}
        figures = [figure for figure in options.figures if of_these.get(figure, True)]
        # Its rules stay until the cluster goes.
        figures.sort(key="many".__eq__)
        if figures:
            with started(workers) as cluster:
                for figure in figures:
                    for row in FIGURES[figure](cluster, options):
                        results.append({"workers": workers, **row})
    print(json.dumps(results))


def republish(cluster, options):
    """A filter and a republish at QoS 1, as fast as it goes."""
    with rules(cluster, out=(FILTER, out())):
        settled(cluster)
        yield throughput("filter and republish", cluster, through(options.count))


def many(cluster, options):
    """The same among many rules, of which three match."""
    aside = {f"aside_{number}": (FILTER.replace("in/#", "in/+/#"), out(f"aside/{number}")) for number in (2, 3)}
    with rules(cluster, out=(FILTER, out()), **aside):
        settled(cluster)
        count = options.count // 2
        yield throughput("three rules, all match", cluster, through(count))
        others = {
            f"other_{number}": (f"SELECT * FROM 'other/{number}/#' WHERE temperature > 70", out("elsewhere"))
            for number in range(options.rules - 3)
        }
        begun = time.monotonic()
        create(cluster, others)
        print(f"    {options.rules} rules are created in {time.monotonic() - begun:.1f} s", flush=True)
        settled(cluster)
        yield throughput(f"{options.rules} rules, three match", cluster, through(count))


def http(cluster, options):
    """Batches of an http action. The messages go to a subscriber, too, which paces the publishers; the target may fall behind, and is
    waited for. What the workers give up (docs/actions.md, "Retries") is told, and is no part of the rate."""
    count = options.count // 2
    with receiver() as target:
        batches = {"enableBatching": True, "batchConfig": {"maxBatchSizeBytes": 131_072}}
        action = {"http": {"url": f"{target.origin}/in", **batches}}
        with rules(cluster, web=(FILTER.replace("in/#", "load/#"), action)):
            confirm(cluster, target)
            settled(cluster, target)
            messages, requests, failed = target.messages, target.requests, failures(cluster)

            def all_there():
                done = lambda: target.messages - messages + failures(cluster) - failed >= count
                eventually(done, "every message at the target, or given up", DRAINED)

            scenario = ["fan-in", "--publishers", str(CONNECTIONS), "--qos", "1", "--json-payload"]
            row = throughput("http action with batches", cluster, scenario, count, all_there)
            row["given_up"] = failures(cluster) - failed
            row["messages_per_request"] = round((target.messages - messages) / max(target.requests - requests, 1), 2)
            given_up = f", {row['given_up']} given up" if row["given_up"] else ""
            print(f"    {row['messages_per_request']} messages a request{given_up}", flush=True)
            yield row


def failures(cluster):
    """Messages that an http action has given up, on all workers."""
    lines = itertools.chain.from_iterable(process.admin("/metrics")[1].splitlines() for process in cluster.workers)
    of_http = [line for line in lines if line.startswith("fleethaven_rule_action_total{") and 'action="HttpAction"' in line]
    return sum(int(line.rpartition(" ")[2]) for line in of_http if 'result="failure"' in line)


def latency(cluster, options):
    """At a rate at which nobody waits for anybody."""
    seconds = "2" if options.quick else "8"
    paced = ["--qos", "1", "--publishers", "5", "--rate", "200", "--duration", seconds, "--json-payload"]
    row = {"figure": "latency at 200 messages a second"}
    with rules(cluster, out=(FILTER, out())):
        settled(cluster)
        straight, _ = measured(cluster, ["fan-in", *paced], None)
        through_rule, _ = measured(cluster, ["fan-in", *paced, "--publish-below", "in"], None)
    for quantile in ("p50", "p99"):
        name = f"latency_{quantile}_us"
        row[f"straight_{quantile}_ms"] = straight[name] / 1e3
        row[f"republish_{quantile}_ms"] = through_rule[name] / 1e3
    warn(through_rule)
    with receiver() as target, rules(cluster, web=("SELECT * FROM 'load/#'", {"http": {"url": f"{target.origin}/in"}})):
        confirm(cluster, target)
        settled(cluster, target)
        publisher = anyone(cluster, "latency")
        target.latencies.clear()
        count = 100 if options.quick else 2_000
        for _ in range(count):
            publisher.publish("load/latency", json.dumps({"stamp": time.monotonic()}), qos=1)
        eventually(lambda: len(target.latencies) >= count, "every request", DRAINED)
        publisher.close()
        ordered = sorted(target.latencies)
        row["http_p50_ms"], row["http_p99_ms"] = (1e3 * ordered[int(len(ordered) * q)] for q in (0.5, 0.99))
    row = {name: round(value, 3) if isinstance(value, float) else value for name, value in row.items()}
    print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    yield row


def dead(cluster, options):
    """Messages that a rule sends to a server that takes connections and answers nothing reach their subscriber all the same."""
    seconds = "2" if options.quick else "10"
    paced = ["fan-in", "--qos", "1", "--publishers", "5", "--rate", "200", "--duration", seconds, "--json-payload"]
    with receiver() as target, rules(cluster, dead=("SELECT * FROM 'load/#'", {"http": {"url": f"{target.origin}/in"}})):
        confirm(cluster, target)
        settled(cluster, target)
        target.is_silent = True
        failed = failures(cluster)
        result, _ = measured(cluster, paced, None)
        warn(result)
        row = {"figure": "latency beside a target that does not answer, 200 messages a second", "lost": result["lost"]}
        row |= {f"{q}_ms": round(result[f"latency_{q}_us"] / 1e3, 3) for q in ("p50", "p99")}
        row["given_up"] = failures(cluster) - failed
        print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        yield row


def switches(cluster, options):
    """Numbers go in all the time; each change of the rule is seen by which of them come out, and where. A rule that is never changed
    shows how far the workers are."""
    turns = 2 if options.quick else 10
    with rules(cluster, steady=("SELECT * FROM 'numbers'", out("steady"))):
        watching = anyone(cluster, "watching")
        watching.subscribe("seen/#", "steady")
        numbers = Numbers(anyone(cluster, "counting"), watching)
        try:
            changes = [change for turn in range(turns) for change in switched(cluster.iot, numbers, turn)]
        finally:
            numbers.end()
        longest, missed, doubled = judged(numbers, changes)
        watching.close()
    row = {"figure": "from the API's answer to the first message that knows", "seconds": longest}
    row |= {"numbers": len(numbers.published), "missed": missed, "twice": doubled}
    print(", ".join(f"{change} {took:.3f} s at most" for change, took in longest.items()), flush=True)
    print(f"    of {row['numbers']} numbers {missed} missed, {doubled} twice", flush=True)
    yield row


class Change:
    """A change of the rule: when it was asked for and answered, and where numbers are to come out from then on."""

    def __init__(self, name, topic, call):
        self.name, self.topic = name, topic
        self.asked = time.monotonic()
        call()
        self.answered = time.monotonic()


def switched(iot, numbers, turn):
    """One turn of changes, each made when what came before it has settled."""
    old, new = f"seen/{turn}", f"seen/{turn}-new"

    def payload(topic):
        return {"sql": "SELECT * FROM 'numbers'", "awsIotSqlVersion": "2016-03-23", "actions": [out(topic)]}

    name = {"ruleName": "switched"}
    for change, topic, call in (
        ("create", old, lambda: iot.create_topic_rule(**name, topicRulePayload=payload(old))),
        ("disable", None, lambda: iot.disable_topic_rule(**name)),
        ("enable", old, lambda: iot.enable_topic_rule(**name)),
        ("replace", new, lambda: iot.replace_topic_rule(**name, topicRulePayload=payload(new))),
        ("delete", None, lambda: iot.delete_topic_rule(**name)),
    ):
        yield Change(change, topic, call)
        numbers.pass_through(0.3)


def judged(numbers, changes):
    """By change the longest time after its answer at which a number was published that the change did not count for; numbers that the rule
    was on for, and that came out nowhere; and those that came out twice.

    The rule is on for a number that was published after the answer that switched it on, plus what that is measured to take, and was
    acknowledged before the next change was asked for. Of what is in the hands of workers when a rule is disabled or deleted AWS promises
    nothing: the last 200 ms before are left out. When it is replaced, each number is the old rule's or the new one's."""
    came = numbers.came()
    longest, missed = {}, 0
    ends = [change.asked for change in changes[1:]] + [numbers.ended]
    for number, (change, end) in enumerate(zip(changes, ends)):
        between = [n for n, at in numbers.published.items() if change.answered < at < end]
        wrong = [n for n in between if any(topic != change.topic for topic in came.get(n, ()))]
        if change.topic:
            # Numbers before the first that comes out were published in vain.
            first = next((n for n in between if change.topic in came.get(n, ())), None)
            if change.name != "replace":
                wrong += [n for n in between if first is None or n < first]
            margin = 0 if number + 1 < len(changes) and changes[number + 1].name == "replace" else 0.2
            due = [n for n in between if numbers.published[n] < end - margin and n not in wrong]
            missed += sum(not came.get(n) for n in due)
        took = max((numbers.published[n] - change.answered for n in wrong), default=0.0)
        longest[change.name] = round(max(longest.get(change.name, 0.0), took), 4)
        if change.name == "replace":
            meanwhile = [n for n, at in numbers.published.items() if change.asked <= at <= change.answered]
            missed += sum(not came.get(n) for n in meanwhile)
    return longest, missed, sum(len(topics) > 1 for topics in came.values())


class Numbers:
    """Publishes numbers, each when the one before is acknowledged, until it is ended; and knows where they come out."""

    def __init__(self, client, watching):
        self.client, self.watching, self.published = client, watching, {}
        self.ending, self.ended = threading.Event(), 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for number in itertools.count():
            if self.ending.wait(0.003):
                return
            self.published[number] = time.monotonic()
            self.client.publish("numbers", str(number), qos=1)

    def pass_through(self, seconds):
        """Numbers of so many seconds have gone in, and workers are done with all up to the last of them."""
        begin = time.monotonic()
        until = lambda: [n for n, at in list(self.published.items()) if at > begin + seconds]
        last = min(eventually(until, "numbers", DRAINED))
        # The store gives messages out in their order, to several workers: what is in their hands is done with soon after.
        eventually(lambda: self.steady() >= set(range(last)), "the steady rule has seen all numbers", DRAINED, 0.05)

    def steady(self):
        return {int(message.payload) for message in list(self.watching.received) if message.topic == "steady"}

    def came(self):
        """By number the topics where it came out."""
        came = {}
        for message in list(self.watching.received):
            if message.topic != "steady":
                came.setdefault(int(message.payload), []).append(message.topic)
        return came

    def end(self):
        self.pass_through(0)
        self.ended = time.monotonic()
        self.ending.set()
        self.thread.join()
        self.client.close()


class Receiver:
    """An HTTP server that counts messages, and takes the time of those that say when they were sent. On an event loop of its own: a thread a
    connection, as the tests have, would be what is measured."""

    def __init__(self):
        self.tokens, self.latencies = [], []
        self.messages = self.requests = 0
        self.is_silent = False
        self.loop = asyncio.new_event_loop()
        bound = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(bound,), daemon=True)
        self.thread.start()
        bound.wait()

    def run(self, bound):
        async def serve():
            server = await self.loop.create_server(lambda: Exchange(self), "127.0.0.1", 0, backlog=1024)
            self.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            bound.set()

        self.loop.run_until_complete(serve())
        self.loop.run_forever()

    def take(self, body):
        now = time.monotonic()
        if b'"confirmationToken"' in body:
            self.tokens.append(json.loads(body)["confirmationToken"])
            return
        self.requests += 1
        self.messages += body.count(b'"stamp"')
        if body.startswith(b'{"stamp": ') and not body.startswith(b'{"stamp": "'):
            self.latencies.append(now - json.loads(body)["stamp"])

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


class Exchange(asyncio.Protocol):
    """A connection of HTTP/1.1: requests with a content-length, each answered at once."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"

    def __init__(self, receiver):
        self.receiver, self.inbox = receiver, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.inbox += data
        while b"\r\n\r\n" in self.inbox:
            head, _, rest = self.inbox.partition(b"\r\n\r\n")
            lines = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
            length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
            if len(rest) < length:
                return
            self.inbox = rest[length:]
            if not self.receiver.is_silent:
                self.receiver.take(rest[:length])
                self.transport.write(self.ANSWER)


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
    print(f"{workers} rules worker{'s' if workers > 1 else ''}:", flush=True)
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


@contextlib.contextmanager
def rules(cluster, **made):
    """Rules by name, each of a statement and an action, until the end of the block."""
    create(cluster, made)
    try:
        yield
    finally:
        for name in made:
            cluster.iot.delete_topic_rule(ruleName=name)


def create(cluster, made):
    def one(name):
        sql, action = made[name]
        payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
        cluster.iot.create_topic_rule(ruleName=name, topicRulePayload=payload)

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(one, made):
            pass


def confirm(cluster, target):
    token = eventually(lambda: target.tokens, "the challenge", DRAINED)[-1]
    cluster.iot.confirm_topic_rule_destination(confirmationToken=token)


def settled(cluster, target=None):
    """Probes come through the rule, to a subscriber or to the target, so many in a row that each worker has had some."""
    prober = anyone(cluster, "prober")
    prober.subscribe("probe")
    came = (lambda: target.messages) if target else (lambda: len(prober.received))
    topic = "load/probe" if target else "in/probe"

    def comes_through():
        before = came()
        prober.publish(topic, PROBE, qos=1)
        # The next is sent when this one has come, or is late: none is under way when something is counted.
        with contextlib.suppress(AssertionError):
            eventually(lambda: came() > before, "the probe", 1, 0.002)
        return came() > before

    for _ in range(8 * len(cluster.workers)):
        eventually(comes_through, "a probe", DRAINED)
    prober.close()


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


FIGURES = {"republish": republish, "http": http, "latency": latency, "dead": dead, "many": many, "switches": switches}
ROLES = ("gateway", "router", "rules-worker", "metastore")


if __name__ == "__main__":
    main()
