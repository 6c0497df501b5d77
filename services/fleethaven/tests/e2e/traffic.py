"""What goes on in a cluster while faults befall it: clients and API users that note what was confirmed to them, and when.

Each does its work on one thread, and comes back, at whatever gateway or API there is, as often as it is thrown out."""

from __future__ import annotations

import itertools
import json
import math
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass

import paho.mqtt.client as paho
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from paho.mqtt.packettypes import PacketTypes

from cluster import Cluster
from device import Device
from instance import address, eventually
from lab import ROLE
from mqtt_client import V3, V5, properties

# A message of each publisher is due so often, in seconds, and so many may wait for their acknowledgement.
EVERY, WINDOW = 0.04, 8
# A gateway that does not answer is given up after this; then another one is tried.
PATIENCE = 2
PAUSE = 0.05
# What was due so long before something is not looked at any more when it is asked how long things took, in seconds.
FORGOTTEN = 120


class Worker(threading.Thread):
    """A thread whose failure is told to whoever asks."""

    def __init__(self, name: str):
        super().__init__(name=name, daemon=True)
        self.ending = threading.Event()
        self.failure: BaseException | None = None

    def run(self):
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure

    def check(self):
        if self.failure:
            raise AssertionError(f"{self.name} failed") from self.failure

    def end(self):
        self.ending.set()
        self.join(30)
        self.check()


class Careful(paho.Client):
    """paho forgets, when it has to try twice to connect, that it had PUBREC for a message, and publishes it again as a new one."""

    def _messages_reconnect_reset_out(self):
        released = [m for m in self._out_messages.values() if m.state == paho.mqtt_ms_resend_pubrel]
        super()._messages_reconnect_reset_out()
        for message in released:
            message.state = paho.mqtt_ms_resend_pubrel


class MqttWorker(Worker):
    """An MQTT client with a session that stays, which keeps what is under way over all its connections."""

    def __init__(self, cluster: Cluster, device: Device, client_id: str, version=V5, keep_session: bool = True):
        super().__init__(client_id)
        self.cluster, self.keep_session = cluster, keep_session
        self.connected = False
        self.connections = 0
        self.clean = {}
        if version == V5:
            expiry = {"SessionExpiryInterval": 3600} if keep_session else {}
            self.clean = {"clean_start": not keep_session, "properties": properties(PacketTypes.CONNECT, **expiry)}
        self.paho = Careful(
            paho.CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            reconnect_on_failure=False,
            clean_session=None if version == V5 else not keep_session,
        )
        self.paho.connect_timeout = PATIENCE
        self.paho.max_inflight_messages_set(2 * WINDOW)
        self.paho.tls_set_context(device.tls(cluster.ca_file))
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect

    def _on_connect(self, _client, _userdata, flags, code, _properties):
        if code.is_failure:
            return
        self.connected = True
        self.connections += 1
        self.arrived(flags.session_present)

    def _on_disconnect(self, *_):
        self.connected = False

    def work(self):
        while not self.ending.is_set():
            try:
                self.paho.connect(*address(self.cluster.ready["mqtt_tls"]), keepalive=PATIENCE, **self.clean)
                while self.paho.loop(EVERY / 4) == paho.MQTT_ERR_SUCCESS and not self.ending.is_set():
                    if self.connected:
                        self.turn()
            except (OSError, ssl.SSLError):
                pass
            self.connected = False
            self.ending.wait(PAUSE)
        self.paho.disconnect()

    def arrived(self, session_present: bool):
        """Connected, again."""

    def turn(self):
        """What is done now and then while connected."""


class Publisher(MqttWorker):
    """Publishes numbers, when they are due: what is due while nothing can be sent is sent afterwards, and counts as late."""

    def __init__(self, cluster: Cluster, device: Device, client_id: str, qos: int, every: float):
        # A PUBREC that refuses is taken for one that does not by paho; MQTT 3.1.1 has none.
        super().__init__(cluster, device, client_id, V3 if qos == 2 else V5)
        self.qos, self.topic = qos, f"faults/{client_id}/{qos}"
        self.due: dict[int, float] = {}
        self.acknowledged: dict[int, float] = {}
        self.refused: set[int] = set()
        self.every = every
        # When what was acknowledged was sent, the last of it.
        self._answered = 0.0
        self._waiting: dict[int, tuple[int, float]] = {}
        self._numbers = itertools.count()
        self._next = time.monotonic()
        self.paho.on_publish = self._on_publish

    def _on_publish(self, _client, _userdata, mid, code, _properties):
        if mid not in self._waiting:
            return  # at QoS 0: it was written to the socket
        number, sent = self._waiting.pop(mid)
        if code.is_failure:
            self.refused.add(number)
        else:
            self.acknowledged[number] = time.monotonic()
            self._answered = max(self._answered, sent)

    def turn(self):
        while self._next <= time.monotonic() and len(self._waiting) < WINDOW:
            number = next(self._numbers)
            self.due[number] = self._next
            self._next += self.every
            sent = self.paho.publish(self.topic, json.dumps({"number": number}), self.qos)
            if self.qos:
                self._waiting[sent.mid] = number, time.monotonic()

    def slowest(self, ended: Callable[[int], float | None], since: float, now: float) -> float:
        """The longest that a number had to wait, from `since` or when it was due until what `ended` tells, in seconds."""
        waits = [now - max(self._next, since)]
        for number, due in reversed(list(self.due.copy().items())):
            if due < since - FORGOTTEN:
                break
            end = ended(number) or now
            if end >= since and number not in self.refused:
                waits.append(end - max(due, since))
        return max(0, *waits)

    def goes_on(self, since: float) -> bool:
        """Whether something that was sent after `since` is acknowledged."""
        return self._answered > since


class Subscriber(MqttWorker):
    """Collects what a session gets, in the order in which it comes."""

    def __init__(self, cluster: Cluster, device: Device, client_id: str, *filters: str, qos: int):
        super().__init__(cluster, device, client_id, keep_session=qos > 0)
        self.filters, self.qos = filters, qos
        self.subscribed = threading.Event()
        self.received: dict[str, list[int]] = {}
        self.first: dict[tuple[str, int], float] = {}
        self.gaps: deque[tuple[float, float]] = deque(maxlen=100_000)
        self._last = time.monotonic()
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_message = self._on_message

    def arrived(self, session_present: bool):
        if session_present and self.subscribed.is_set():
            return
        assert not (self.keep_session and self.subscribed.is_set()), f"{self.name}: the session was lost"
        self.paho.subscribe([(topic_filter, self.qos) for topic_filter in self.filters])

    def _on_subscribe(self, _client, _userdata, _mid, codes, _properties):
        assert not any(code.is_failure for code in codes), f"{self.name}: {codes}"
        self.subscribed.set()

    def _on_message(self, _client, _userdata, message):
        now = time.monotonic()
        number = json.loads(message.payload)["number"]
        self.received.setdefault(message.topic, []).append(number)
        self.first.setdefault((message.topic, number), now)
        self.gaps.append((now, now - self._last))
        self._last = now

    def longest_silence(self, since: float, now: float) -> float:
        """The longest time without any message from `since` on."""
        gaps = [min(gap, at - since) for at, gap in list(self.gaps) if at >= since]
        return max([now - max(self._last, since), *gaps])


class Writer(Worker):
    """Makes things and writes shadows by the API, and reads what was written by another API process."""

    def __init__(self, cluster: Cluster):
        super().__init__("api-user")
        self.cluster = cluster
        self.clients: dict[str, object] = {}
        self.written: list[str] = []
        self.calls: deque[tuple[float, float]] = deque(maxlen=100_000)
        self._begun = time.monotonic()

    def next(self, service: str, endpoint: str):
        """A client for the process whose turn it is; one that was started again has another port."""
        url = self.cluster.ready[endpoint]
        if url not in self.clients:
            settings = Config(retries={"total_max_attempts": 1}, connect_timeout=PATIENCE, read_timeout=PATIENCE)
            self.clients[url] = self.cluster.client(service, endpoint_url=url, config=settings)
        return self.clients[url]

    @property
    def iot(self):
        return self.next("iot", "iot_endpoint")

    @property
    def data(self):
        return self.next("iot-data", "data_endpoint")

    def work(self):
        for number in itertools.count():
            name = f"written-{number}"
            if self.until_answered(lambda: self.iot.create_thing(thingName=name)):
                self.written.append(name)
            self.until_answered(lambda: self.iot.describe_thing(thingName=name))
            state = json.dumps({"state": {"reported": {"number": number}}})
            self.until_answered(lambda: self.data.update_thing_shadow(thingName="counted", payload=state))
            answer = self.until_answered(lambda: self.data.get_thing_shadow(thingName="counted"))
            if answer is None:
                return
            seen = json.loads(answer["payload"].read())["state"]["reported"]["number"]
            assert seen == number, f"the shadow has {seen} where {number} was written"
            self.ending.wait(PAUSE)

    def until_answered(self, call):
        """Asks until there is an answer; an answer that what was written is not there is a failure."""
        self._begun = time.monotonic()
        while not self.ending.is_set():
            try:
                answer = call()
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    raise
            except BotoCoreError:
                pass
            else:
                now = time.monotonic()
                self.calls.append((now, now - self._begun))
                return answer
            self.ending.wait(PAUSE)
        return None

    def slowest(self, since: float, now: float) -> float:
        """The longest that a call took, repeated until it was answered, from `since` on."""
        calls = [min(took, at - since) for at, took in list(self.calls) if at >= since]
        return max([now - max(self._begun, since), *calls])

    def called_since(self, since: float) -> bool:
        """Whether a call that began after `since` was answered."""
        return any(at - took > since for at, took in list(self.calls)[-1:])

    def readable(self, cluster: Cluster) -> bool:
        """Fails unless every write can be read, at each API process."""
        for _ in cluster.apis:
            iot, names, token = self.iot, set(), {}
            while token is not None:
                page = iot.list_things(maxResults=250, **token)
                names |= {thing["thingName"] for thing in page["things"]}
                token = {"nextToken": page["nextToken"]} if page.get("nextToken") else None
            missing = set(self.written) - names
            assert not missing, f"written, and not there: {sorted(missing)}"
        return True


@dataclass
class Felt:
    """The longest waits, in seconds: until a publish is acknowledged and until it is delivered, of the publisher that had to wait
    longest and of the one that had to least; for the next message at QoS 0; for an answer of the API."""

    acknowledged: float
    acknowledged_least: float
    delivered: float
    delivered_least: float
    silence: float
    api: float

    def __str__(self) -> str:
        return " ".join(f"{seconds:6.2f}" for seconds in astuple(self))


class Traffic:
    """All of it: publishers at each QoS, sessions that stay and one that does not, a rule, and the API."""

    def __init__(self, cluster: Cluster, device: Device, every: float = EVERY):
        def many(qos: int) -> list[Publisher]:
            return [Publisher(cluster, device, f"q{qos}-{n}", qos, every) for n in range(2)]

        self.cluster = cluster
        self.at_least_once, self.exactly_once = many(1), many(2)
        self.at_most_once = Publisher(cluster, device, "q0", 0, every)
        self.one = Subscriber(cluster, device, "one", "faults/+/1", "copies/#", qos=1)
        self.two = Subscriber(cluster, device, "two", "faults/+/2", qos=2)
        self.live = Subscriber(cluster, device, "live", "faults/+/0", qos=0)
        self.api = Writer(cluster)

    @property
    def publishers(self) -> list[Publisher]:
        return [*self.at_least_once, *self.exactly_once]

    @property
    def subscribers(self) -> list[Subscriber]:
        return [self.one, self.two, self.live]

    @property
    def workers(self) -> list[Worker]:
        return [*self.publishers, self.at_most_once, *self.subscribers, self.api]

    def start(self) -> Traffic:
        republish = {"roleArn": ROLE, "topic": "copies/${topic(2)}", "qos": 1}
        rule = {"sql": "SELECT * FROM 'faults/+/1'", "actions": [{"republish": republish}]}
        self.cluster.iot.create_topic_rule(ruleName="copies", topicRulePayload=rule)
        for subscriber in self.subscribers:
            subscriber.start()
        for subscriber in self.subscribers:
            assert subscriber.subscribed.wait(60), f"{subscriber.name} is not subscribed: {subscriber.failure}"
        for worker in [*self.publishers, self.at_most_once, self.api]:
            worker.start()
        return self

    def flows(self, since: float) -> bool:
        """Whether all that was acknowledged before `since` has arrived, and what came after goes its way."""
        for worker in self.workers:
            worker.check()
        return (
            all(publisher.goes_on(since) for publisher in self.publishers)
            and self.live.gaps[-1][0] > since
            and self.api.called_since(since)
            and not self.missing(since)
        )

    def state(self, since: float) -> str:
        """What does not go on, for a failure's message."""
        stuck = [publisher.name for publisher in self.publishers if not publisher.goes_on(since)]
        offline = [w.name for w in self.workers if isinstance(w, MqttWorker) and not w.connected]
        missing = {topic: len(numbers) for topic, numbers in self.missing(since).items()}
        api, live = self.api.called_since(since), self.live.gaps[-1][0] > since
        return f"not acknowledged: {stuck}, not connected: {offline}, missing: {missing}, API: {api}, QoS 0: {live}"

    def missing(self, until: float = math.inf) -> dict[str, set[int]]:
        """What was acknowledged by then, and has not come to those whom it is for, by topic."""
        missing = {}
        for publisher in self.publishers:
            wanted = {number for number, at in publisher.acknowledged.copy().items() if at < until}
            for subscriber, topic in self.destinations(publisher):
                lost = wanted - set(list(subscriber.received.get(topic, ())))
                if lost:
                    missing[topic] = lost
        return missing

    def destinations(self, publisher: Publisher) -> list[tuple[Subscriber, str]]:
        """Who is to get what a publisher sends, and on which topic."""
        if publisher.qos == 2:
            return [(self.two, publisher.topic)]
        return [(self.one, publisher.topic), (self.one, f"copies/{publisher.name}")]

    def felt(self, since: float) -> Felt:
        """What clients and API users have felt from `since` on."""
        now = time.monotonic()
        acknowledged, delivered = [], []
        for publisher in self.publishers:
            acknowledged.append(publisher.slowest(publisher.acknowledged.get, since, now))
            subscriber, topic = self.destinations(publisher)[0]

            def arrived(number, topic=topic, first=subscriber.first):
                return first.get((topic, number))

            delivered.append(publisher.slowest(arrived, since, now))
        api, silence = self.api.slowest(since, now), self.live.longest_silence(since, now)
        return Felt(max(acknowledged), min(acknowledged), max(delivered), min(delivered), silence, api)

    def end(self):
        """Stops, and holds what came to what was promised."""
        for worker in [*self.publishers, self.at_most_once, self.api]:
            worker.end()
        eventually(lambda: not self.missing(), "all that was acknowledged", 30)
        self.check()
        for subscriber in self.subscribers:
            subscriber.end()

    def check(self):
        assert not self.missing(), f"acknowledged, and lost: {self.missing()}"
        for subscriber in (self.one, self.two):
            for topic, numbers in subscriber.received.items():
                first_seen = list(dict.fromkeys(numbers))
                # The rule's copies are made by several workers.
                if topic.startswith("faults/"):
                    assert first_seen == sorted(first_seen), f"{topic} out of order: {disorder(first_seen)}"
                if subscriber is self.two:
                    assert len(first_seen) == len(numbers), f"{topic} twice: {repeated(numbers)}"
        self.api.readable(self.cluster)


def disorder(numbers: list[int]) -> list[tuple[int, int]]:
    """Neighbours of which the first is the greater."""
    return [(a, b) for a, b in itertools.pairwise(numbers) if a > b]


def repeated(numbers: list[int]) -> list[int]:
    seen, twice = set(), []
    for number in numbers:
        (twice.append if number in seen else seen.add)(number)
    return twice
