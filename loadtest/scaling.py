"""What a cluster costs per message, role by role, and whether more routers share the work: the figures of docs/scaling.md.

Starts clusters on loopback (services/fleethaven/tests/e2e/cluster.py) with one gateway and as many routers as a row asks for, drives
them with fleethaven-loadtest over the plain listener, and reads the CPU time of each process before and after. CPU time per
message is hardly disturbed by other load on the machine; rates are, and on few cores they say nothing about a cluster.

    python3 loadtest/scaling.py path touched share durable memory

Needs release builds: FLEETHAVEN_BIN and LOADTEST_BIN name them, target/release otherwise.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("FLEETHAVEN_BIN", str(ROOT / "target/release/fleethaven"))
LOADTEST = os.environ.get("LOADTEST_BIN", str(ROOT / "target/release/fleethaven-loadtest"))
sys.path.insert(0, str(ROOT / "services/fleethaven/tests/e2e"))

import cluster as clusters  # noqa: E402
from instance import ANY_PORT, Fleethaven, eventually  # noqa: E402

ROLES = ("gateway", "router", "metastore", "redis")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="+", choices=sorted(FIGURES))
    parser.add_argument("--count", type=int, default=1_000_000, help="messages of a row that is not durable")
    options = parser.parse_args()
    for figure in options.figures:
        FIGURES[figure](options.count)


def path(count):
    """The same scenarios against one process and against a gateway and a router."""
    with one_process() as whole:
        for scenario in SCENARIOS:
            show("one process", scenario, *measured(whole, scenario, count))
    with started(routers=1) as cluster:
        for scenario in SCENARIOS:
            show("gateway and router", scenario, *measured(cluster, scenario, count))


def touched(count):
    """On how many routers a publish is made durable: each counts its own."""
    for routers in (1, 2, 4, 8):
        with started(routers) as cluster:
            offline = ["offline", "--sessions", "64", "--messages", str(count // 20)]
            result, _ = measured(cluster, offline, None)
            name = "fleethaven_router_durable_publishes_total"
            each = [process.metric(name) for process in cluster.routers]
            published = count // 20
            print(f"{routers} routers: {sum(each) / published:.4f} routers a publish; {shares(each)}", flush=True)
            warn(result)


def share(count):
    """One shared group fed at full rate: which part of its work each router does."""
    for routers in (1, 2, 4):
        with started(routers) as cluster:
            scenario = ["fan-in", "--publishers", "100", "--subscribers", "8", "--shared", "--qos", "1"]
            before = [cpu(process.process.pid) for process in cluster.routers]
            result, spent = measured(cluster, scenario, count)
            each = [cpu(process.process.pid) - old for process, old in zip(cluster.routers, before)]
            show(f"{routers} routers ({shares(each)})", scenario, result, spent)


def durable(count):
    """QoS 1 for persistent sessions, with and without a replica's confirmation before PUBACK: windows full, then at fixed rates."""
    for level in ("process", "replica:1"):
        with started(routers=1, level=level) as cluster:
            messages = count // 10
            scenario = ["offline", "--sessions", "64", "--messages", str(messages)]
            result, spent = measured(cluster, scenario, None)
            result["received"] = messages
            show(f"Redis, {level}, in and out", scenario, result, spent)
            rate = result["in_per_second"]
            waiting = 1000 * 64 * 20 / rate
            print(f"    {rate:,.0f} stored a second, on average {waiting:.0f} ms from PUBLISH to PUBACK with 1,280 under way")
            for fixed in RATES:
                paced = ["offline", "--sessions", "64", "--messages", str(10 * fixed), "--rate", str(fixed)]
                result, spent = measured(cluster, paced, None)
                result["received"] = 10 * fixed
                show(f"Redis, {level}, in and out", paced, result, spent)
                late = [result[f"acknowledgement_{name}_us"] / 1000 for name in ("p50", "p99", "p999", "max")]
                print("    from PUBLISH to PUBACK: p50 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, at most {:.1f} ms".format(*late))


def memory(_count):
    """What a connected client, and a client with one subscription beside it, take in each role: from 1,000 to 9,000."""
    client = growth(lambda number: ["idle", "--connections", str(number), "--settle", "1"])
    # A single message: what is under way, and what a router remembers of topics that are published to, up to a bound, is left out.
    pair = growth(lambda number: ["pairs", "--pairs", str(number), "--qos", "1", "--count", "1"])
    for role in ROLES:
        subscriber = pair[role] - client[role]
        print(f"{role}: {client[role]:.2f} KiB a client, {subscriber:.2f} KiB one with a subscription", flush=True)


def growth(scenario):
    """KiB that each role's largest resident set grows by for each of 8,000 more."""
    highest = []
    for number in (1_000, 9_000):
        with started(routers=1) as cluster:
            measured(cluster, scenario(number), None)
            highest.append({role: sum(map(most_memory, pids)) for role, pids in processes(cluster).items()})
    return {role: (highest[1][role] - highest[0][role]) / 8_000 / 1024 for role in ROLES}


# Messages a second for which the time to PUBACK is measured.
RATES = (1_000, 5_000, 10_000)
FIGURES = {"path": path, "touched": touched, "share": share, "durable": durable, "memory": memory}
SCENARIOS = [
    ["fan-in", "--qos", "0"],
    ["fan-in", "--qos", "1"],
    ["pairs", "--pairs", "500", "--qos", "0"],
    ["pairs", "--pairs", "500", "--qos", "1"],
]


@contextlib.contextmanager
def one_process():
    with tempfile.TemporaryDirectory(prefix="fleethaven-scaling-") as folder:
        whole = Fleethaven(Path(folder), "--mqtt", ANY_PORT)
        try:
            yield whole.start()
        finally:
            whole.close()


@contextlib.contextmanager
def started(routers, level="process"):
    clusters.ROUTERS, clusters.GATEWAYS, clusters.WORKERS, clusters.APIS = routers, 1, 1, 1
    with tempfile.TemporaryDirectory(prefix="fleethaven-scaling-") as folder, replicated(level, folder) as replica:
        cluster = ScalingCluster(Path(folder), level, replica)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


class ScalingCluster(clusters.Cluster):
    """A cluster with plain MQTT, whose Redis may have a replica that PUBACK waits for."""

    def __init__(self, folder, level, replica):
        super().__init__(folder, "--mqtt", ANY_PORT)
        self.level, self.replica = level, replica

    def start(self):
        os.environ["FLEETHAVEN_REDIS_DURABILITY"] = self.level
        self.redis.start()
        self.replica(self.redis.port)
        self.redis.start = lambda: self.redis
        super().start()
        return self


@contextlib.contextmanager
def replicated(level, folder):
    """What makes a replica of the Redis at a port, where the level needs one, in a folder; it ends with the context."""
    children = []

    def make(port):
        if not level.startswith("replica"):
            return
        own = clusters.free_port()
        command = ["redis-server", "--port", str(own), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", folder, "--replicaof", f"127.0.0.1 {port}"]
        children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        cli = ["redis-cli", "-p", str(own), "role"]
        follows = lambda: "connected" in subprocess.run(cli, capture_output=True, text=True).stdout.split()
        eventually(follows, "the replica follows", 30)
        needed = ["config", "set", "min-replicas-to-write", "1"]
        subprocess.run(["redis-cli", "-p", str(port), *needed], check=True, stdout=subprocess.DEVNULL)

    try:
        yield make
    finally:
        for child in children:
            child.kill()
            child.wait()


def processes(broker):
    """Process ids by role."""
    if not isinstance(broker, clusters.Cluster):
        return {"gateway": [broker.process.pid]}
    found = {role: [process.process.pid for process in broker.nodes.of_role(role)] for role in ROLES[:3]}
    return {**found, "redis": [broker.redis.process.pid]}


def measured(broker, scenario, count):
    """The load tool's report, and the CPU seconds that each role has spent meanwhile."""
    address = broker.ready["mqtt"]
    command = [LOADTEST, scenario[0], "--target", address, "--json", *scenario[1:]]
    if count:
        command += ["--count", str(count)]
    before = {role: sum(map(cpu, pids)) for role, pids in processes(broker).items()}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    spent = {role: sum(map(cpu, pids)) - before[role] for role, pids in processes(broker).items()}
    return json.loads(done.stdout), spent


def cpu(pid):
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_memory(pid):
    """The largest resident set of a process so far, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def shares(numbers):
    total = sum(numbers) or 1
    return " : ".join(f"{100 * number / total:.0f} %" for number in numbers)


def show(what, scenario, result, spent):
    messages = result["received"]
    roles = ", ".join(f"{role} {1e6 * seconds / messages:.2f}" for role, seconds in spent.items() if seconds)
    total = 1e6 * (spent.get("gateway", 0) + spent.get("router", 0)) / messages
    print(f"{what}: {' '.join(scenario)}: {total:.2f} us of gateway and router a message ({roles})", flush=True)
    warn(result)


def warn(result):
    for warning in result.get("warnings", []):
        print(f"    {warning}", flush=True)


if __name__ == "__main__":
    main()
