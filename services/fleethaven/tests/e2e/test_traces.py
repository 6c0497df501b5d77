"""Traces over OTLP: what becomes of a message and of a request, across the processes of a cluster, as a receiver sees it."""

import urllib.request

import pytest
from prometheus_client.openmetrics import parser as openmetrics

from cluster import Cluster, free_port
from device import make_device
from instance import eventually
from lab import ROLE
from mqtt_client import V3, Client
from otlp import Receiver
from test_actions_http import Receiver as Target

TRACE, STEP = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{STEP}-01"


@pytest.fixture(scope="module")
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, receiver):
    """A cluster all of whose processes are told in the environment where traces go."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.origin)
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=lab")
        environment.setenv("FLEETHAVEN_TRACES_RATIO", "1")
        environment.setenv("FLEETHAVEN_TRACES_CONTINUE", "true")
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), outbound="127.0.0.0/8")
        cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def everyone(fleet, tmp_path_factory):
    return make_device(fleet, tmp_path_factory.mktemp("device"))


@pytest.fixture
def client(fleet, everyone):
    """Connects to one gateway after the other."""
    clients = []

    def connect(client_id: str, **options) -> Client:
        clients.append(Client(fleet, everyone, client_id, **options))
        return clients[-1].connect()

    yield connect
    for each in clients:
        each.close()


def test_a_publish_is_followed_to_its_delivery_on_another_gateway(client, receiver):
    reader, writer = client("reader"), client("writer")
    reader.subscribe("traced/a")
    writer.publish("traced/a", b"x")
    reader.expect(1)
    publish = receiver.find("gateway", "publish", name="traced/a")
    route = receiver.find("router", "route", name="traced/a", receivers=1)
    deliver = receiver.find("gateway", "deliver", name="traced/a")
    assert publish.parent == "" and route.parent == publish.id and deliver.parent == route.id
    assert publish.trace == route.trace == deliver.trace == publish.attributes["fleethaven.trace_id"]
    assert publish.attributes["messaging.client.id"] == "writer" and publish.attributes["mqtt.qos"] == 1
    assert deliver.attributes["messaging.client.id"] == "reader"
    assert all(span.start <= span.end and not span.failed for span in (publish, route, deliver))
    assert receiver.headers["x-scope"] == "lab"


def test_qos_0_and_3_1_1_are_traced_alike(client, receiver):
    client("old", version=V3).publish("traced/qos0", b"x", qos=0)
    publish = receiver.find("gateway", "publish", name="traced/qos0", qos=0)
    assert receiver.find("router", "route", name="traced/qos0", receivers=0).parent == publish.id


def test_what_waits_in_a_queue_is_traced_when_it_is_read(client, receiver):
    sleeper = client("sleeper", expiry=600, clean=False)
    sleeper.subscribe("traced/queued")
    sleeper.disconnect()
    client("waker").publish("traced/queued", b"x")
    route = receiver.find("router", "route", name="traced/queued", queues=1)
    client("sleeper", expiry=600, clean=False).expect(1)
    assert receiver.find("gateway", "deliver", name="traced/queued", id="sleeper").parent == route.id


def test_a_message_is_followed_through_a_rule_its_action_and_the_republished_message(fleet, client, receiver):
    republish = {"republish": {"topic": "traced/alert", "qos": 1, "roleArn": ROLE}}
    rule = {"sql": "SELECT * FROM 'traced/hot'", "actions": [republish]}
    fleet.iot.create_topic_rule(ruleName="traced", topicRulePayload=rule)
    reader, writer = client("alerted"), client("thermometer")
    reader.subscribe("traced/alert")
    writer.publish("traced/hot", b'{"t": 1}')
    reader.expect(1)
    route = receiver.find("router", "route", name="traced/hot", rules=1)
    rule = receiver.find("rules-worker", "rule", rule="traced")
    action = receiver.find("rules-worker", "action", action="RepublishAction")
    again = receiver.find("rules-worker", "publish", name="traced/alert")
    routed = receiver.find("router", "route", name="traced/alert")
    deliver = receiver.find("gateway", "deliver", name="traced/alert")
    steps = [route, rule, action, again, routed, deliver]
    assert [step.parent for step in steps[1:]] == [step.id for step in steps[:-1]]
    assert {step.trace for step in steps} == {route.trace}
    fleet.iot.delete_topic_rule(ruleName="traced")


def test_what_an_http_action_calls_can_go_on_with_the_trace(fleet, client, receiver):
    target = Target()
    try:
        rule = {"sql": "SELECT * FROM 'traced/http'", "actions": [{"http": {"url": f"{target.origin}/hook"}}]}
        fleet.iot.create_topic_rule(ruleName="calls", topicRulePayload=rule)
        [challenge] = eventually(target.challenges, "the challenge", 30)
        fleet.iot.confirm_topic_rule_destination(confirmationToken=challenge["confirmationToken"])
        client("calling").publish("traced/http", b"{}")
        [(_, headers, _)] = eventually(target.messages, "the request", 30)
        action = receiver.find("rules-worker", "action", action="HttpAction")
        assert headers["traceparent"] == f"00-{action.trace}-{action.id}-01"
        told = [exemplars(worker, "fleethaven_rule_target_seconds", action="http") for worker in fleet.workers]
        assert action.trace in [trace for traces in told for trace in traces]
        fleet.iot.delete_topic_rule(ruleName="calls")
    finally:
        target.close()


def test_an_action_that_fails_says_so(fleet, client, receiver):
    republish = {"republish": {"topic": "$forbidden", "roleArn": ROLE}}
    rule = {"sql": "SELECT * FROM 'traced/fails'", "actions": [republish]}
    fleet.iot.create_topic_rule(ruleName="fails", topicRulePayload=rule)
    client("failing").publish("traced/fails", b"{}")
    rule = receiver.find("rules-worker", "rule", rule="fails")
    failed = receiver.find("rules-worker", "action", resource="$forbidden")
    assert failed.failed and failed.parent == rule.id
    fleet.iot.delete_topic_rule(ruleName="fails")


def test_a_request_is_followed_into_the_metadata_store(fleet, receiver):
    fleet.iot.create_thing(thingName="traced")
    request = receiver.find("api", "CreateThing", status_code=200)
    assert request.parent == ""

    def executed():
        below = [span for span in list(receiver.spans) if span.parent == request.id]
        return [span for span in below if span.name == "fleethaven.metadata.v1.Metadata/Execute"]

    (call,) = eventually(executed, "the call of the metadata store", 30)
    assert (call.service, call.trace) == ("fleethaven-metastore", request.trace)


def test_buckets_name_the_traces_that_fell_into_them(fleet, receiver):
    fleet.iot.describe_thing(thingName="traced")
    request = receiver.find("api", "DescribeThing", status_code=200)

    told = [exemplars(api, "fleethaven_api_request_duration_seconds", operation="DescribeThing") for api in fleet.apis]
    assert request.trace in [trace for traces in told for trace in traces]


def exemplars(process, histogram: str, **labels: str) -> list[str]:
    """The traces beside the buckets of a histogram."""
    asked = urllib.request.Request(f"http://{process.ready['admin']}/metrics", headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(asked) as answer:
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        families = list(openmetrics.text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families if family.name == histogram for sample in family.samples]
    wanted = [sample for sample in samples if labels.items() <= sample.labels.items()]
    return [sample.exemplar.labels["trace_id"] for sample in wanted if sample.exemplar]


def test_a_client_s_trace_goes_on_from_its_user_property(client, receiver):
    reader = client("following")
    reader.subscribe("traced/continued")
    client("leading").publish("traced/continued", b"x", UserProperty=[("traceparent", TRACEPARENT)])
    reader.expect(1)
    publish = receiver.find("gateway", "publish", name="traced/continued")
    assert (publish.trace, publish.parent) == (TRACE, STEP)
    assert receiver.find("gateway", "deliver", name="traced/continued").trace == TRACE
    assert reader.received[0].properties.UserProperty == [("traceparent", TRACEPARENT)]


def test_a_client_s_trace_goes_on_from_its_header(fleet, client, receiver):
    reader = client("hearing")
    reader.subscribe("traced/https")
    data = fleet.client("iot-data")
    brought = {"traceparent": TRACEPARENT.replace(TRACE, TRACE[::-1])}
    data.meta.events.register("before-call.iot-data-plane.Publish", lambda params, **_: params["headers"].update(brought))
    data.publish(topic="traced/https", qos=1, payload=b"x")
    reader.expect(1)
    publish = receiver.find("gateway", "publish", name="traced/https")
    (request,) = [span for span in receiver.spans if span.id == publish.parent]
    assert (request.name, request.trace, request.parent) == ("Publish", TRACE[::-1], STEP)
    carried = f"00-{TRACE[::-1]}-{request.id}-01"
    assert reader.received[0].properties.UserProperty == [("traceparent", carried)]
    assert receiver.find("gateway", "deliver", name="traced/https").trace == TRACE[::-1]


def test_a_trace_that_its_sender_does_not_record_is_not_recorded(client, receiver):
    writer = client("discreet")
    writer.publish("traced/discreet", b"x", UserProperty=[("traceparent", TRACEPARENT[:-2] + "00")])
    writer.publish("traced/after", b"x")
    receiver.find("router", "route", name="traced/after")
    names = [span.attributes.get("messaging.destination.name") for span in receiver.spans]
    assert "traced/discreet" not in names


def test_a_receiver_that_is_gone_costs_nobody(fleethaven, connect):
    instance = fleethaven("--traces-endpoint", f"http://127.0.0.1:{free_port()}", "--traces-ratio", "1")
    one = connect("one", to=instance, device=None)
    one.subscribe("a")
    assert one.publish("a", b"x") == 0
    one.expect(1)
    instance.log.having("traces cannot be sent")


def test_traces_are_off_unless_asked_for(fleethaven, connect):
    instance = fleethaven()
    one = connect("one", to=instance, device=None)
    assert one.publish("a", b"x") == 16, "nobody is subscribed"
    with urllib.request.urlopen(f"http://{instance.ready['admin']}/metrics") as metrics:
        assert "fleethaven_trace_spans" not in metrics.read().decode()
