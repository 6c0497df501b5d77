"""Faults that befall a cluster while it works, and what clients feel of each: what `make chaos` runs and tests use.

`FAULTS` in a row, drawn by `SEED`: each lasts for a while, is mended, and is over when all goes on as before. At the end nothing
that was acknowledged may be lost, twice at QoS 2, or out of order."""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import Cluster, Pausable, Process
from device import make_device
from instance import eventually
from network import CUT, HELD, Trouble
from traffic import Felt, Traffic

# Until all goes on after a fault, in seconds, on a machine that is busy with other things.
SETTLED = 60
# Less than a lease, and more than one and what follows it.
SHORT, LONG = 0.5, 4
SLOW = Trouble(seconds=0.1)


@dataclass
class Fault:
    """Something that goes wrong, how it ends, and how long it lasts, in seconds."""

    kind: str
    begin: Callable[[], None]
    end: Callable[[], None]
    seconds: float


class Chaos:
    """A cluster, the traffic in it, and the faults that there are."""

    def __init__(self, cluster: Cluster, traffic: Traffic, chance: random.Random):
        self.cluster, self.traffic, self.chance = cluster, traffic, chance
        self.kinds: dict[str, Callable[[], Fault]] = {}
        self._describe()

    # What there is.

    def any(self, role: str) -> Callable[[], Pausable]:
        """One process of a role, by chance. Of the metastores the leader of the control group, or a follower."""

        def draw() -> Pausable:
            if role == "redis":
                return self.cluster.redis
            if role in ("leader", "follower"):
                leader = self.cluster.leader()
                followers = [node for node in self.cluster.nodes.metastores if node is not leader]
                return leader if role == "leader" else self.chance.choice(followers)
            return self.chance.choice(self.cluster.nodes.of_role(role))

        return draw

    def _describe(self):
        for role in ("gateway", "router", "leader", "follower", "rules-worker", "api", "redis"):
            draw = self.any(role)
            self.kinds[f"{role} killed"] = lambda draw=draw: self.killed(draw())
            self.kinds[f"{role} paused {SHORT} s"] = lambda draw=draw: self.paused(draw(), SHORT)
            self.kinds[f"{role} paused {LONG} s"] = lambda draw=draw: self.paused(draw(), LONG)
            if role != "redis":
                self.kinds[f"{role} restarted in order"] = lambda draw=draw: self.restarted(draw())
        worker = self.any("rules-worker")
        self.kinds["rules-worker paused, then killed"] = lambda: self.killed_at_work(worker())
        metastores = [node.name for node in self.cluster.nodes.metastores]
        for one, other in (
            ("gateway", "metastore"),
            ("gateway", "router"),
            ("gateway", "redis"),
            ("router", "metastore"),
            ("router", "redis"),
            ("rules-worker", "redis"),
            ("rules-worker", "router"),
            ("leader", "metastore"),
            ("follower", "metastore"),
        ):
            draw = self.any(one)
            # All metastores; the one Redis; one of the routers.
            to = {"metastore": lambda: metastores}.get(other, lambda other=other: [self.any(other)().name])
            for manner, trouble in (("held", HELD), ("reset", CUT)):
                self.kinds[f"{one} cut from {other}, {manner}"] = (
                    lambda draw=draw, to=to, trouble=trouble: self.parted(draw(), to(), trouble)
                )
            for manner, way in (("only what it sends", True), ("only what it gets", False)):
                self.kinds[f"{one} cut from {other}, {manner}"] = (
                    lambda draw=draw, to=to, way=way: self.parted(draw(), to(), HELD, way)
                )
        self.kinds["everything 100 ms late"] = self.late
        # The name of the fault is the row of the table.
        for kind, make in list(self.kinds.items()):

            def named(kind=kind, make=make) -> Fault:
                fault = make()
                fault.kind = kind
                return fault

            self.kinds[kind] = named

    def killed(self, process: Pausable) -> Fault:
        return Fault("", process.kill, process.start, 1)

    def killed_at_work(self, process: Pausable) -> Fault:
        """What it has begun stays begun, and then it is gone."""

        def end():
            process.kill()
            process.start()

        return Fault("", process.pause, end, SHORT)

    def restarted(self, process: Process) -> Fault:
        """SIGTERM, and the same again at once, as a rolling restart does it."""

        def restart():
            assert process.stop() == 0, f"{process.name} did not end in order"
            process.launch().until_ready()

        return Fault("", restart, lambda: None, 0)

    def paused(self, process: Pausable, seconds: float) -> Fault:
        return Fault("", process.pause, process.resume, seconds)

    def parted(self, process: Pausable, others: list[str], trouble: Trouble, out: bool | None = None) -> Fault:
        """Cut off from others in both directions, or only in one."""
        network, own = self.cluster.network, [process.name]

        def begin():
            if out is None:
                network.part(own, others, trouble)
            elif out:
                network.trouble(own, others, trouble)
            else:
                network.trouble(others, own, trouble)

        return Fault("", begin, network.mend, LONG)

    def late(self) -> Fault:
        names = [*self.cluster.nodes.processes, self.cluster.redis.name]
        return Fault("", lambda: self.cluster.network.trouble(names, names, SLOW), self.cluster.network.mend, LONG)

    # What happens.

    def befall(self, kind: str) -> Felt:
        """Lets a fault happen, mends it, and waits until all goes on."""
        fault = self.kinds[kind]()
        since = time.monotonic()
        fault.begin()
        # A fault lasts as long as it lasts: there is nothing to wait for.
        threading.Event().wait(fault.seconds)
        fault.end()
        self.settle(kind)
        return self.traffic.felt(since)

    def settle(self, after: str):
        """Waits until all processes serve, those that ended with an error started again, and all goes on."""
        mended = time.monotonic()
        try:
            eventually(self.healthy, "all processes ready", SETTLED)
            mended = time.monotonic()
            eventually(lambda: self.traffic.flows(mended), "all goes on", SETTLED, pause=0.1)
        except AssertionError as error:
            said = [line for line in self.cluster.log.all if '"level":"INFO"' not in line]
            print(*said[-100:], sep="\n")
            raise AssertionError(f"after {after}: {error}; {self.traffic.state(mended)}") from None

    def healthy(self) -> bool:
        self.cluster.nodes.revive()
        return all(process.is_ready() for process in self.cluster.nodes.processes.values())



def table(felt: list[tuple[str, Felt]]) -> str:
    """Medians and greatest values by kind of fault, in seconds."""
    kinds: dict[str, list[Felt]] = {}
    for kind, one in felt:
        kinds.setdefault(kind, []).append(one)
    columns = {
        "PUBLISH to PUBACK or PUBCOMP, worst client": lambda one: one.acknowledged,
        "least affected": lambda one: one.acknowledged_least,
        "PUBLISH to delivery, worst": lambda one: one.delivered,
        "least affected ": lambda one: one.delivered_least,
        "QoS 0, silence": lambda one: one.silence,
        "API": lambda one: one.api,
    }
    lines = ["| fault | times | " + " | ".join(columns) + " |", "|---|---|" + "---|" * len(columns)]
    for kind, ones in sorted(kinds.items()):
        cells = []
        for column in columns.values():
            values = [column(one) for one in ones]
            median, most = statistics.median(values), max(values)
            cells.append(f"{median:.2f}" if len(values) == 1 else f"{median:.2f} (≤ {most:.2f})")
        lines.append(f"| {kind} | {len(ones)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def drawn(kinds: list[str], faults: int, chance: random.Random) -> list[str]:
    """Faults by chance; every kind once before any comes twice."""
    order: list[str] = []
    while len(order) < faults:
        order += chance.sample(kinds, len(kinds))
    return order[:faults]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", default="", help="only kinds with this in their names")
    parser.add_argument("--log", type=Path, help="where the log of all processes is written")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="fleethaven-chaos-") as folder:
        cluster = Cluster(Path(folder), faulty=True)
        try:
            cluster.start()
            traffic = Traffic(cluster, make_device(cluster, Path(folder))).start()
            chaos = Chaos(cluster, traffic, random.Random(arguments.seed))
            kinds = [kind for kind in chaos.kinds if arguments.only in kind]
            chaos.settle("the start")
            felt = []
            for number, kind in enumerate(drawn(kinds, arguments.faults, chaos.chance), 1):
                felt.append((kind, chaos.befall(kind)))
                print(f"{number:4} {kind:48} {felt[-1][1]}", flush=True)
            traffic.end()
        except BaseException as error:
            print(f"\n{error}", flush=True)
            raise
        finally:
            cluster.close()
            if arguments.log:
                arguments.log.write_text("\n".join(cluster.log.all))
    sent = sum(len(publisher.acknowledged) for publisher in traffic.publishers)
    print(f"\n{sent} messages acknowledged, {len(traffic.api.written)} things written: none lost\n")
    print(table(felt))


if __name__ == "__main__":
    main()
