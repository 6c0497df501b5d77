"""What hostile peers do to a broker: each attack runs until a deadline and within bounds of its own.

An attack is a function of a `Target` and the time (of `time.monotonic`) at which it ends; it returns one line that says
how much it did. Sockets close with a reset, so that a flood leaves no ports behind. Those that need a real load or real
handshakes start the load tool beside them.
"""

import collections
import contextlib
import itertools
import select
import socket
import struct
import subprocess
import time
from dataclasses import dataclass

# Connections that one attack holds open at most.
CONNECTIONS = 500
# Half-open attempts that a flood keeps under way.
UNDER_WAY = 64
# Filters of all connections together, and of each: the broker's default bound for one connection is 10,000.
FILTERS, FILTERS_EACH, FILTERS_AT_ONCE = 100_000, 10_000, 500
TOPICS = 1_000_000
# New client identifiers with a session that outlives the connection.
SESSIONS = 50_000
LOAD_RATE = 10_000
# The length that the header of the largest packet announces: 256 MiB less one byte.
LARGEST = b"\xff\xff\xff\x7f"
# How a ClientHello of 512 bytes begins.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(501)


@dataclass
class Target:
    """The broker's listeners as (host, port), and the load tool with what it needs to speak TLS to it."""

    plain: tuple
    tls: tuple
    tool: str
    tls_options: list

    def load(self, scenario, *options):
        """Starts the load tool over TLS."""
        where = ["--target", "{}:{}".format(*self.tls), *self.tls_options]
        command = [self.tool, scenario, *where, "--client-prefix", "attack", *options]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def slow_handshakes(target, until):
    """TLS handshakes that come byte by byte and never end."""
    return trickle(target.tls, HELLO, until)


def slow_connects(target, until):
    """CONNECTs that come byte by byte and never end."""
    return trickle(target.plain, connect("slow" * 250), until)


def announced_sizes(target, until):
    """PUBLISHes that announce 256 MiB and bring a byte now and then, after a good CONNECT and in its place."""
    greeted = trickle(target.plain, b"\x30" + LARGEST + bytes(500), until, greeting=connect(""))
    return f"{greeted}, 256 MiB announced by each"


def handshake_flood(target, until):
    """Complete TLS handshakes with a good certificate and CONNECT, 64 at a time, as fast as they go."""
    seconds = str(max(1, round(until - time.monotonic())))
    run(target.load("handshakes", "--in-flight", str(UNDER_WAY), "--duration", seconds), until + 5)
    return f"{UNDER_WAY} under way at a time"


def connect_flood(target, until):
    """CONNECTs of the same few client identifiers as fast as they go: every one takes over the last."""
    return flood(target, until, (connect(f"flood-{number % 8}") for number in itertools.count()))


def many_client_ids(target, until):
    """CONNECTs of ever new client identifiers with sessions that the broker must keep."""
    kept = b"\x11" + struct.pack(">I", 3600)
    ids = (connect(f"kept-{number}", clean=False, properties=kept) for number in range(SESSIONS))
    return flood(target, until, ids)


def reconnect_storm(target, until):
    """A thousand TLS connections are lost at once and come back, again and again."""
    storms = 0
    while time.monotonic() < until:
        light = ["--bystanders", "1", "--rate", "10", "--quiet", "1"]
        run(target.load("reconnect-storm", "--connections", "1000", *light), until)
        storms += 1
    return f"{storms} storms of 1,000"


def load_alone(target, until):
    """No attack: the load that runs beside the two attacks below, for comparison."""
    with busy(target, until, qos=0):
        pause(until)
    return f"{LOAD_RATE:,} messages a second"


def never_reading(target, until):
    """Subscribers of everything that never read, under load."""

    def subscriber():
        peer = opened(target.plain, receive_buffer=4096)
        peer.sendall(connect("") + subscribe(1, ["#"], qos=0))
        return peer

    with busy(target, until, qos=0):
        cut_off = hold(subscriber, 4, until, read=False)
    return f"4 subscribers, {cut_off} cut off"


def never_acknowledging(target, until):
    """Subscribers of everything at QoS 1 with the largest receive window, which read and never acknowledge."""

    def subscriber():
        peer = opened(target.plain)
        peer.sendall(connect("", properties=b"\x21\xff\xff") + subscribe(1, ["#"], qos=1))
        return peer

    with busy(target, until, qos=1):
        cut_off = hold(subscriber, 4, until, read=True)
    return f"4 subscribers, {cut_off} cut off"


def many_filters(target, until):
    """100,000 filters, gone with their connections and made anew."""
    rounds = 0
    while time.monotonic() < until:
        with contextlib.ExitStack() as stack:
            for number in range(FILTERS // FILTERS_EACH):
                peer = stack.enter_context(opened(target.plain))
                peer.sendall(connect(""))
                for start in range(0, FILTERS_EACH, FILTERS_AT_ONCE):
                    if time.monotonic() > until:
                        return f"{rounds} rounds of {FILTERS:,}"
                    names = [f"filters/{number}/+/{n}" for n in range(start, start + FILTERS_AT_ONCE)]
                    peer.sendall(subscribe(1 + start, names, qos=0))
                    peer.recv(65536)
        rounds += 1
    return f"{rounds} rounds of {FILTERS:,}"


def many_topics(target, until):
    """A million distinct topics, published as fast as they go."""
    sent, step = 0, 1000
    with opened(target.plain) as peer:
        peer.sendall(connect(""))
        while time.monotonic() < until and sent < TOPICS:
            peer.sendall(b"".join(publish(f"topics/{number:07}/x") for number in range(sent, sent + step)))
            sent += step
        pause(until)
    return f"{sent:,} topics"


ATTACKS = {
    "slow TLS handshakes": slow_handshakes,
    "slow CONNECTs": slow_connects,
    "announced sizes": announced_sizes,
    "TLS handshake flood": handshake_flood,
    "CONNECT flood": connect_flood,
    "many client ids": many_client_ids,
    "reconnect storm": reconnect_storm,
    "load alone": load_alone,
    "never reads": never_reading,
    "never acknowledges": never_acknowledging,
    "many filters": many_filters,
    "many topics": many_topics,
}


def trickle(address, text, until, greeting=b""):
    """Keeps many connections open, each of which sends `text` at four bytes a second; replaces those that end."""
    progress, count = {}, 0
    with contextlib.ExitStack() as stack:
        while time.monotonic() < until:
            next_round = time.monotonic() + 0.25
            for _ in range(CONNECTIONS - len(progress)):
                with contextlib.suppress(OSError):
                    peer = stack.enter_context(opened(address))
                    peer.sendall(greeting)
                    progress[peer] = 0
                    count += 1
            for peer, sent in list(progress.items()):
                try:
                    peer.sendall(text[sent : sent + 1])
                    progress[peer] = sent + 1
                except OSError:
                    peer.close()
                    del progress[peer]
            pause(min(next_round, until))
    return f"{count:,} connections, {CONNECTIONS} at a time"


def flood(target, until, packets):
    """Sends each packet on a connection of its own, which is reset some connections later."""
    under_way, count = collections.deque(), 0
    try:
        for packet in packets:
            if time.monotonic() > until:
                break
            with contextlib.suppress(OSError):
                under_way.append(opened(target.plain))
                under_way[-1].sendall(packet)
                count += 1
            if len(under_way) >= UNDER_WAY:
                with under_way.popleft() as oldest, contextlib.suppress(OSError):
                    oldest.recv(64)
    finally:
        for peer in under_way:
            peer.close()
    pause(until)
    return f"{count:,} connections"


def hold(make, count, until, read):
    """Holds peers of this kind, with new ones in the place of those that the broker cuts off; how many it did."""
    poll, peers, cut_off = select.poll(), {}, 0
    interest = (select.POLLIN if read else 0) | select.POLLRDHUP
    try:
        while time.monotonic() < until:
            while len(peers) < count:
                peer = make()
                peers[peer.fileno()] = peer
                poll.register(peer, interest)
            for number, events in poll.poll(100):
                peer = peers[number]
                with contextlib.suppress(OSError):
                    if not events & (select.POLLHUP | select.POLLERR | select.POLLRDHUP) and peer.recv(1 << 20):
                        continue
                poll.unregister(peer)
                peers.pop(number).close()
                cut_off += 1
    finally:
        for peer in peers.values():
            peer.close()
    return cut_off


@contextlib.contextmanager
def busy(target, until, qos):
    """A load of other clients, at a fixed rate, until then."""
    seconds = str(max(1, round(until - time.monotonic())))
    options = ["--publishers", "10", "--payload", "256", "--rate", str(LOAD_RATE), "--qos", str(qos)]
    load = target.load("fan-in", *options, "--warmup", "0", "--duration", seconds)
    try:
        yield
    finally:
        run(load, until)


def run(child, until):
    """Waits for a child and ends it at the deadline."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(max(0.0, until - time.monotonic()))
    child.kill()
    child.wait()


def pause(until):
    time.sleep(max(0.0, until - time.monotonic()))


def opened(address, receive_buffer=None):
    """A connection that ends with a reset."""
    peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    peer.settimeout(2)
    try:
        peer.connect(address)
    except OSError:
        peer.close()
        raise
    return peer


# Packets of MQTT 5.


def packet(first, body):
    length, rest = bytearray(), len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([first]) + bytes(length) + body


def text(value):
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def connect(client_id, clean=True, properties=b""):
    variable = b"\x05" + bytes([0x02 if clean else 0]) + struct.pack(">H", 0) + bytes([len(properties)]) + properties
    return packet(0x10, text("MQTT") + variable + text(client_id))


def subscribe(packet_id, filters, qos):
    options = bytes([qos])
    return packet(0x82, struct.pack(">H", packet_id) + b"\x00" + b"".join(text(name) + options for name in filters))


def publish(topic):
    return packet(0x30, text(topic) + b"\x00x")
