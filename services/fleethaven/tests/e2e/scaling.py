"""A cluster that is scaled and upgraded while it works, as Kubernetes does it: what `make upgrade` runs and a test uses.

Gateways go from one to four and back to two, one at a time; then processes are replaced, role by role, by the release of `--next`.
Nothing that was acknowledged is lost, and the only clients that connect again are those of a gateway that goes, once each."""

from __future__ import annotations

import argparse
import itertools
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho

from cluster import Cluster, Process
from device import Device, make_device
from instance import address, eventually
from traffic import MqttWorker, Traffic

# Until all goes on after a change, in seconds, on a machine that is busy with other things; and for each client that may have to connect.
SETTLED, CONNECTED = 60, 0.05
# An idle client looks up so often when nothing comes, says so often that it is there, and tries again so soon, in seconds.
LOOK, KEEP_ALIVE, RETRY = 2, 60, 0.2


class Standing(MqttWorker):
    """An idle client with a session that stays. It knows at which gateway it is."""

    gateway: str | None = None

    def work(self):
        while not self.ending.is_set():
            try:
                self.gateway = self.cluster.ready["mqtt_tls"]
                self.paho.connect(*address(self.gateway), keepalive=KEEP_ALIVE, **self.clean)
                while self.paho.loop(LOOK) == paho.MQTT_ERR_SUCCESS and not self.ending.is_set():
                    pass
            except (OSError, ssl.SSLError):
                pass
            self.connected = False
            self.ending.wait(RETRY)
        self.paho.disconnect()


@dataclass
class Change:
    """What was done: how many idle clients there were, how many of them at the gateway that went, and how many connected again."""

    what: str
    clients: int
    there: int
    again: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.what:26} {self.clients:7} {self.there:7} {self.again:7} {self.seconds:8.1f}"


HEADINGS = f"{'change':26} {'clients':>7} {'there':>7} {'again':>7} {'seconds':>8}"


class Scaling:
    """A cluster, the traffic in it, and idle clients, `clients` for each gateway. `told` gets each change when all goes on after it."""

    def __init__(
        self,
        cluster: Cluster,
        device: Device,
        clients: int,
        told: Callable[[Change], None] = lambda change: None,
        following: Path | None = None,
    ):
        self.cluster, self.device, self.clients, self.told, self.following = cluster, device, clients, told, following
        self.traffic = Traffic(cluster, device)
        self.numbers = itertools.count()
        self.standing: list[Standing] = []

    def start(self) -> Scaling:
        self.traffic.start()
        self.arrive(self.clients)
        self.settle("the start")
        return self

    def arrive(self, count: int):
        """Further idle clients. They go where a load balancer sends them; who is connected stays where it is."""
        numbers = itertools.islice(self.numbers, count)
        coming = [Standing(self.cluster, self.device, f"standing-{number}") for number in numbers]
        for client in coming:
            client.start()
        self.standing += coming
        eventually(lambda: all(client.connected for client in coming), "all new clients connected", self.patience())

    def patience(self) -> float:
        return SETTLED + CONNECTED * len(self.standing)

    def settle(self, after: str):
        """Waits until all goes on."""
        eventually(self.healthy, f"all processes ready after {after}", SETTLED)
        since = time.monotonic()
        try:
            eventually(lambda: self.traffic.flows(since), f"all goes on after {after}", SETTLED, pause=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.traffic.state(since)}") from None
        eventually(lambda: all(client.connected for client in self.standing), "all clients connected", self.patience())
        for client in self.standing:
            client.check()

    def healthy(self) -> bool:
        processes = self.cluster.nodes.processes.values()
        # Nobody is started anew here: whoever ends without being told to has failed.
        dead = [process.name for process in processes if not process.is_alive()]
        assert not dead, f"ended, and nobody told them to: {dead}"
        return all(process.is_ready() for process in processes)

    def change(self, what: str, do: Callable[[], None], going: Process | None = None):
        """Does something, waits until all goes on, and holds who had to connect again to who was at the gateway that goes."""
        at = going.ready["mqtt_tls"] if going else None
        there = {client.name for client in self.standing if client.gateway == at}
        before = {client: client.connections for client in self.standing}
        begun = time.monotonic()
        do()
        self.settle(what)
        again = {client.name: client.connections - count for client, count in before.items() if client.connections != count}
        self.told(Change(what, len(self.standing), len(there), sum(again.values()), time.monotonic() - begun))
        assert again == dict.fromkeys(there, 1), f"{what}: connected again: {again}, at the gateway that went: {there}"

    # What operators do.

    def add_gateways(self, *names: str):
        def add():
            self.cluster.nodes.until_ready([self.cluster.launch_gateway(name) for name in names])

        self.change(f"{len(names)} gateways more", add)

    def remove_gateway(self, name: str):
        going = self.cluster.nodes.processes[name]
        self.change(f"{name} less", lambda: self.end_gateway(going), going)

    def replace_gateway(self, name: str):
        """The new one serves before the old one goes (maxSurge 1, maxUnavailable 0)."""
        old = self.cluster.nodes.processes[name]

        def replace():
            new = self.cluster.launch_gateway(f"{name}-next", self.following)
            self.cluster.nodes.until_ready([new])
            self.end_gateway(old)

        self.change(f"{name} upgraded", replace, old)

    def end_gateway(self, gateway: Process):
        stop(gateway)
        del self.cluster.nodes.processes[gateway.name]

    def upgrade(self, process: Process):
        """The process ends, and its next release comes in its place."""

        def restart():
            stop(process)
            process.binary = self.following or process.binary
            process.start()

        self.change(f"{process.name} upgraded", restart)

    def end(self):
        """Stops, and holds what came to what was promised."""
        self.traffic.end()
        for client in self.standing:
            client.ending.set()
        for client in self.standing:
            client.end()


def stop(process: Process):
    """What Kubernetes does to a pod: no new connections, SIGTERM, and the end that the process chooses."""
    process.leaving = True
    assert process.stop() == 0, f"{process.name} did not end in order"


def scenario(scaling: Scaling, some: bool = False):
    """Gateways from one to four and back to two; then all processes, or `some` of each role, are upgraded."""
    cluster = scaling.cluster
    names = [f"gateway-{number}" for number in range(1, 5)]
    scaling.add_gateways(*names[1:])
    scaling.arrive(scaling.clients * 3)
    for name in reversed(names[2:]):
        scaling.remove_gateway(name)
    leader = cluster.leader()
    # As a StatefulSet does, and a Deployment; the leader last, so that there is one hand-over.
    metastores = sorted(cluster.metastores, key=lambda node: node is leader)
    one = slice(-1, None) if some else slice(None)
    for role in (metastores, cluster.routers, cluster.workers, cluster.apis):
        for process in role[one]:
            scaling.upgrade(process)
    for name in names[:2][one]:
        scaling.replace_gateway(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50, help="idle clients for each gateway")
    parser.add_argument("--drain-delay", type=int, default=10, help="as the chart's gateway.drain.delay, in seconds")
    parser.add_argument("--grace-period", type=int, default=40, help="as the chart's gateway.drain.grace-period, in seconds")
    parser.add_argument("--next", type=Path, help="the binary of the next release; the same again unless given")
    parser.add_argument("--pause", type=float, default=5, help="seconds under load after each change")
    arguments = parser.parse_args()
    drain = ["--drain-delay", str(arguments.drain_delay), "--grace-period", str(arguments.grace_period)]

    def told(change: Change):
        print(change, flush=True)
        threading.Event().wait(arguments.pause)

    with tempfile.TemporaryDirectory(prefix="fleethaven-upgrade-") as folder:
        cluster = Cluster(Path(folder), *drain, gateways=1)
        try:
            cluster.start()
            device = make_device(cluster, Path(folder))
            scaling = Scaling(cluster, device, arguments.clients, told, arguments.next).start()
            print(HEADINGS, flush=True)
            scenario(scaling)
            scaling.end()
        finally:
            cluster.close()
    sent = sum(len(publisher.acknowledged) for publisher in scaling.traffic.publishers)
    print(f"\n{sent} messages acknowledged, {len(scaling.traffic.api.written)} things written: none lost")


if __name__ == "__main__":
    main()
