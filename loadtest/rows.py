"""The rows of the comparison: what the load tool does, which figure counts, and what it is held against.

Targets are ratios to Mosquitto in the same run, or absolute where it says so. The best peer is the lowest ratio among
FlashMQ, rumqttd, rmqttd, NATS and RabbitMQ, measured on a machine of the same kind.
"""

from dataclasses import dataclass, field


@dataclass
class Figure:
    """One figure of the load tool's report."""

    label: str
    name: str
    unit: str
    scale: float = 1.0
    # Ratio to Mosquitto that is aimed at.
    target: float | None = None
    # Fleethaven's own figure that is aimed at.
    at_most: float | None = None
    at_least: float | None = None
    best_peer: str = ""
    lower_is_better: bool = True


@dataclass
class Row:
    """A scenario and the figures read from it."""

    name: str
    arguments: list
    figures: list
    tls: bool = False
    # Takes --duration.
    timed: bool = True
    # As fast as it goes.
    saturates: bool = True
    # Further arguments with --quick.
    quick: list = field(default_factory=list)
    # Arguments for Mosquitto where they are not the same.
    mosquitto: list | None = None
    # A first run that does not count, so that what a broker loads once is not counted per connection.
    first: list | None = None


def cpu(label, per, target, best_peer):
    name = f"broker_cpu_us_per_{per}"
    return Figure(f"{label}: broker CPU per {per}", name, "µs", target=target, best_peer=best_peer)


def rate(name, unit="msg/s"):
    return Figure("the same: rate", name, unit, lower_is_better=False)


def fan_in(name, qos, target, best_peer, *more, label, tls=False, per="message"):
    arguments = ["fan-in", "--publishers", "100", "--qos", str(qos), *more]
    figures = [cpu(f"{label}, QoS {qos}", per, target, best_peer)]
    if "--rate" in more:
        figures.append(Figure("the same: latency, 99th percentile", "latency_p99_us", "µs"))
    else:
        figures.append(rate("messages_per_second"))
    return Row(name, arguments, figures, tls=tls, saturates="--rate" not in more)


def pairs(qos, target, best_peer):
    figures = [cpu(f"500 pairs, QoS {qos}", "message", target, best_peer), rate("messages_per_second")]
    return Row(f"pairs-qos{qos}", ["pairs", "--pairs", "500", "--qos", str(qos)], figures)


def connect(name, label, target, best_peer, resumed):
    arguments = ["handshakes", "--in-flight", "32"]
    figures = [cpu(label, "handshake", target, best_peer), rate("handshakes_per_second", "/s")]
    # Mosquitto cannot resume sessions of clients with certificates: it is measured with full handshakes.
    return Row(name, arguments + ["--resume"] * resumed, figures, tls=True, mosquitto=arguments)


def idle(name, label, at_most, best_peer, tls):
    figure = Figure(label, "broker_bytes_per_connection", "KB", 1e-3, at_most=at_most, best_peer=best_peer)
    row = Row(name, ["idle", "--connections", "5000"], [figure], tls=tls, timed=False)
    row.quick = ["--connections", "500", "--settle", "1"]
    row.first = ["--connections", "20", "--settle", "1"]
    return row


def sustained(qos, at_least, best_peer):
    figure = Figure(f"sustained open-loop rate, QoS {qos}, one core", "sustained_per_second", "msg/s")
    figure.at_least, figure.best_peer, figure.lower_is_better = at_least, best_peer, False
    # What comes due within a millisecond goes out together: with a write for each message the generator is the first to be full.
    arguments = ["sustained", "--publishers", "100", "--qos", str(qos), "--window", "1000", "--tick", "1000"]
    return Row(f"sustained-qos{qos}", arguments, [figure])


ROWS = [
    fan_in("fan-in-qos0", 0, 0.45, "0.48 NATS", label="fan-in 100 → 1"),
    fan_in("fan-in-qos1", 1, 0.27, "0.27 FlashMQ", label="fan-in 100 → 1"),
    fan_in("fan-in-4", 0, 0.18, "0.18 FlashMQ", "--subscribers", "4", label="fan-in 100 → 4", per="delivery"),
    Row("fan-out", ["fan-out", "--subscribers", "1000", "--qos", "0"], [
        cpu("fan-out 1 → 1,000, QoS 0", "delivery", 0.28, "0.28 FlashMQ"),
        rate("deliveries_per_second", "deliveries/s"),
    ]),
    pairs(0, 0.65, "0.66 FlashMQ"),
    pairs(1, 0.54, "0.54 FlashMQ"),
    fan_in("shared", 1, 0.28, "0.28 FlashMQ", "--subscribers", "8", "--shared", label="shared group 100 → 8"),
    fan_in("fixed-qos0", 0, 0.85, "0.84 FlashMQ", "--rate", "10000", label="fixed 10,000 msg/s"),
    fan_in("fixed-qos1", 1, 0.90, "0.90 FlashMQ", "--rate", "10000", label="fixed 10,000 msg/s"),
    fan_in("fan-in-tls", 1, 0.28, "0.28 FlashMQ", label="fan-in 100 → 1 over mutual TLS 1.3", tls=True),
    connect("connect", "mutual TLS 1.3, full handshake to CONNACK", 0.28, "0.31 rmqttd", resumed=False),
    connect("connect-resumed", "the same, resumed (Mosquitto: full)", 0.12, "", resumed=True),
    idle("idle-plain", "idle connection, plain", 4.0, "0.7 KB Mosquitto, 4.3 KB FlashMQ", tls=False),
    idle("idle-tls", "idle connection, mutual TLS", 20.0, "20 KB Mosquitto, 33 KB rmqttd", tls=True),
    Row(
        "retained",
        ["retained", "--messages", "100000"],
        [
            Figure("retained: store 100,000: broker CPU per message", "store_broker_cpu_us_per_message", "µs",
                   target=0.43, best_peer="0.43 FlashMQ"),
            Figure("retained: one subscriber of all: broker CPU per message", "receive_broker_cpu_us_per_message",
                   "µs", target=0.32, best_peer="0.32 FlashMQ"),
        ],
        timed=False,
        quick=["--messages", "10000"],
    ),
    Row(
        "offline",
        ["offline", "--messages", "200000"],
        [
            Figure("offline QoS 1, in + out, Fleethaven's fsynced: broker CPU per message",
                   "in_out_broker_cpu_us_per_message", "µs", target=1.0, best_peer="0.34 FlashMQ, in memory"),
            Figure("the same: rate in", "in_per_second", "msg/s", at_least=20_000, lower_is_better=False),
            Figure("the same: rate out", "out_per_second", "msg/s", lower_is_better=False),
        ],
        timed=False,
        quick=["--messages", "20000"],
    ),
    sustained(0, 1_000_000, "≥ 1,300,000 FlashMQ"),
    sustained(1, 800_000, "≥ 1,070,000 FlashMQ"),
]
