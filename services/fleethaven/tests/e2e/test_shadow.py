"""Device shadows: boto3, the AWS CLI, paho, both shadow clients of the AWS IoT Device SDK, and a process that is killed."""

import json
import threading
from concurrent.futures import Future

import pytest
from awsiot import V2ServiceException, iotshadow
from awsiot.mqtt_connection_builder import mtls_from_path
from awscrt import mqtt
from botocore.exceptions import ClientError

from control_plane import refused
from device import allow, make_device, policy
from instance import Fleethaven, eventually
from lab import NOT_AUTHORIZED, ROLE, Lab, Quiet
from mqtt_client import Client

SECONDS = 30


@pytest.fixture(scope="module")
def data(fleet):
    return fleet.client("iot-data")


def base(thing: str, shadow: str | None = None) -> str:
    return f"$aws/things/{thing}/shadow" + (f"/name/{shadow}" if shadow else "")


def state(**sections) -> str:
    return json.dumps({"state": sections})


def read(answer) -> dict:
    return json.loads(answer["payload"].read())


def told(client: Client, count: int) -> list[tuple[str, dict]]:
    """The first messages: what stands behind `shadow/` in the topic, and the document."""
    client.expect(count)
    return [(m.topic.split("/shadow/")[1], json.loads(m.payload)) for m in client.received[:count]]


def test_a_shadow_lives_over_https(data, name):
    refused("ResourceNotFoundException", 404, data.get_thing_shadow, thingName=name)
    accepted = read(data.update_thing_shadow(thingName=name, payload=state(desired={"lamp": "on"})))
    assert (accepted["version"], accepted["state"]) == (1, {"desired": {"lamp": "on"}})
    document = read(data.get_thing_shadow(thingName=name))
    assert document["state"] == {"desired": {"lamp": "on"}, "delta": {"lamp": "on"}}
    assert set(document["metadata"]["desired"]["lamp"]) == {"timestamp"}
    stale = json.dumps({"state": {"desired": {"lamp": "off"}}, "version": 7})
    refused("ConflictException", 409, data.update_thing_shadow, thingName=name, payload=stale)
    refused("InvalidRequestException", 400, data.update_thing_shadow, thingName=name, payload="{")
    large = state(desired={"a": "x" * 9000})
    refused("RequestEntityTooLargeException", 413, data.update_thing_shadow, thingName=name, payload=large)
    latin = b'{"state":{"desired":{"a":"\xff"}}}'
    refused("UnsupportedDocumentEncodingException", 415, data.update_thing_shadow, thingName=name, payload=latin)
    assert read(data.delete_thing_shadow(thingName=name))["version"] == 1
    refused("ResourceNotFoundException", 404, data.delete_thing_shadow, thingName=name)
    assert read(data.update_thing_shadow(thingName=name, payload=state(reported={})))["version"] == 2


def test_named_shadows_are_listed_in_pages(data, name):
    assert data.list_named_shadows_for_thing(thingName=name)["results"] == []
    names = [f"s{number:02}" for number in range(30)]
    data.update_thing_shadow(thingName=name, payload=state(reported={"a": 1}))
    for shadow in names:
        data.update_thing_shadow(thingName=name, shadowName=shadow, payload=state(reported={"a": 1}))
    first = data.list_named_shadows_for_thing(thingName=name)
    assert first["results"] == names[:25] and first["timestamp"] > 0
    last = data.list_named_shadows_for_thing(thingName=name, nextToken=first["nextToken"])
    assert last["results"] == names[25:] and "nextToken" not in last


def test_the_cli_reads_and_writes(fleet, name, tmp_path):
    lab = Lab(fleet, tmp_path, Quiet())
    out = tmp_path / "shadow.json"
    lab.aws("update-thing-shadow", "--thing-name", name,
            "--payload", state(desired={"color": "red"}), str(out), service="iot-data")
    assert json.loads(out.read_text())["version"] == 1
    lab.aws("get-thing-shadow", "--thing-name", name, str(out), service="iot-data")
    assert json.loads(out.read_text())["state"]["delta"] == {"color": "red"}


def test_a_device_hears_what_is_desired_and_reports(connect, data, name):
    device = connect(name)
    device.subscribe(f"{base(name)}/#")
    device.publish(f"{base(name)}/get", json.dumps({"clientToken": "g"}))
    data.update_thing_shadow(thingName=name, payload=state(desired={"lamp": "on", "level": 3}))
    device.publish(f"{base(name)}/update", state(reported={"lamp": "on"}))
    device.publish(f"{base(name)}/delete", "")
    device.publish(f"{base(name)}/delete", "")
    device.expect(13)  # the four requests by MQTT among them, and what follows from the one over HTTPS
    answers = [message for message in device.received if message.topic.count("/") > 4]
    by_topic = {}
    for message in answers:
        topic = message.topic.removeprefix(f"{base(name)}/")
        by_topic.setdefault(topic, []).append(json.loads(message.payload))
    assert (by_topic["get/rejected"][0]["code"], by_topic["get/rejected"][0]["clientToken"]) == (404, "g")
    assert [d["version"] for d in by_topic["update/accepted"]] == [1, 2]
    assert [d["state"] for d in by_topic["update/delta"]] == [{"lamp": "on", "level": 3}, {"level": 3}]
    documents = by_topic["update/documents"]
    assert [(d["previous"]["version"], d["current"]["version"]) for d in documents] == [(0, 1), (1, 2)]
    assert documents[1]["current"]["state"]["reported"] == {"lamp": "on"}
    assert by_topic["delete/accepted"][0]["version"] == 2
    assert by_topic["delete/rejected"][0]["code"] == 404
    of_updates = [message.topic.rsplit("/", 1)[1] for message in answers if "/update/" in message.topic]
    assert of_updates == ["accepted", "delta", "documents"] * 2


def test_refusals_over_https_are_not_told_by_mqtt(connect, data, name):
    device = connect(name)
    device.subscribe(f"{base(name)}/update/rejected", f"{base(name)}/get/accepted")
    data.update_thing_shadow(thingName=name, payload=state(reported={"a": 1}))
    stale = json.dumps({"state": {"reported": {"a": 2}}, "version": 9})
    refused("ConflictException", 409, data.update_thing_shadow, thingName=name, payload=stale)
    device.publish(f"{base(name)}/get")
    ((topic, document),) = told(device, 1)
    assert (topic, document["version"]) == ("get/accepted", 1)


def test_a_will_is_told_to_subscribers_and_changes_no_shadow(fleet, connect, data, name, tmp_path):
    watcher = connect(name)
    watcher.subscribe(f"{base(name)}/update")
    document = state(reported={"connected": False})
    dying = Client(fleet, make_device(fleet, tmp_path), f"{name}-dying", will=(f"{base(name)}/update", document, 1)).connect()
    dying.abort()
    assert watcher.expect(1) == [document.encode()]
    # What is published after it is carried out after it.
    watcher.publish(f"{base(name)}/update", state(reported={"connected": True}))
    assert read(data.get_thing_shadow(thingName=name))["version"] == 1


def test_a_rule_may_update_a_shadow(iot, connect, data, name):
    iot.create_topic_rule(
        ruleName=name,
        topicRulePayload={
            "sql": f"SELECT * FROM '{name}/last-words'",
            # A template writes `$$` for `$`.
            "actions": [{"republish": {"roleArn": ROLE, "topic": "$" + f"{base(name)}/update", "qos": 1}}],
        },
    )
    device = connect(name)
    device.publish(f"{name}/last-words", state(reported={"connected": False}))

    def updated():
        try:
            return read(data.get_thing_shadow(thingName=name))["state"]["reported"] == {"connected": False}
        except ClientError:
            return False

    eventually(updated, "the shadow that the rule updates")


def test_mqtt_needs_the_right_to_publish_and_https_the_right_to_the_shadow(fleet, device, connect, name):
    statements = [
        allow("Connect", "*"),
        allow("Publish", f"topic/{base(name)}/get"),
        allow("Subscribe", f"topicfilter/{base(name)}/*"),
        allow("Receive", f"topic/{base(name)}/get/*"),
    ]
    client = connect(name, device(policy(*statements)))
    client.subscribe(f"{base(name)}/get/rejected", f"{base(name)}/update/accepted")
    client.publish(f"{base(name)}/get")
    ((topic, document),) = told(client, 1)
    assert (topic, document["code"]) == ("get/rejected", 404)
    fleet.client("iot-data").update_thing_shadow(thingName=name, payload=state(desired={"a": 1}))
    client.publish(f"{base(name)}/get")
    assert client.publish(f"{base(name)}/update", state(reported={"a": 1})) in (None, NOT_AUTHORIZED)
    assert len(client.received) == 1, "what may not be received is not delivered"
    assert read(fleet.client("iot-data").get_thing_shadow(thingName=name))["version"] == 1


def test_many_writers_lose_no_update(fleet, data, name):
    """Each adds to a counter by compare-and-swap."""
    data.update_thing_shadow(thingName=name, payload=state(reported={"count": 0}))
    writers, each = 4, 8

    def write():
        own = fleet.client("iot-data")
        done = 0
        while done < each:
            document = read(own.get_thing_shadow(thingName=name))
            count = document["state"]["reported"]["count"]
            body = {"state": {"reported": {"count": count + 1}}, "version": document["version"]}
            try:
                own.update_thing_shadow(thingName=name, payload=json.dumps(body))
                done += 1
            except own.exceptions.ConflictException:
                pass

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    document = read(data.get_thing_shadow(thingName=name))
    assert document["state"]["reported"]["count"] == writers * each
    assert document["version"] == 1 + writers * each


def sdk_connection(fleet, device, client_id):
    host, port = fleet.mqtt_tls
    connection = mtls_from_path(
        endpoint=host, port=port, ca_filepath=fleet.ca_file, client_id=client_id,
        cert_filepath=device.certificate_file, pri_key_filepath=device.key_file,
    )
    connection.connect().result(SECONDS)
    return connection


def test_the_sdks_shadow_client(fleet, device, data, name):
    connection = sdk_connection(fleet, device(), name)
    shadow = iotshadow.IotShadowClient(connection)
    delta, accepted = Future(), Future()
    asked = {"qos": mqtt.QoS.AT_LEAST_ONCE}
    subscribed, _ = shadow.subscribe_to_shadow_delta_updated_events(
        request=iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=name), callback=delta.set_result, **asked)
    subscribed.result(SECONDS)
    subscribed, _ = shadow.subscribe_to_update_shadow_accepted(
        request=iotshadow.UpdateShadowSubscriptionRequest(thing_name=name),
        callback=lambda event: accepted.done() or accepted.set_result(event), **asked)
    subscribed.result(SECONDS)
    desired = iotshadow.ShadowState(desired={"color": "blue"})
    shadow.publish_update_shadow(
        request=iotshadow.UpdateShadowRequest(thing_name=name, state=desired, client_token="t"), **asked).result(SECONDS)
    assert delta.result(SECONDS).state == {"color": "blue"}
    event = accepted.result(SECONDS)
    assert (event.version, event.client_token, event.state.desired) == (1, "t", {"color": "blue"})
    assert read(data.get_thing_shadow(thingName=name))["state"]["delta"] == {"color": "blue"}
    connection.disconnect().result(SECONDS)


def test_the_sdks_request_response_client(fleet, device, name):
    from awscrt.mqtt_request_response import ClientOptions

    connection = sdk_connection(fleet, device(), name)
    options = ClientOptions(max_request_response_subscriptions=4, max_streaming_subscriptions=2)
    shadow = iotshadow.IotShadowClientV2(connection, options)
    with pytest.raises(V2ServiceException) as missing:
        shadow.get_named_shadow(iotshadow.GetNamedShadowRequest(thing_name=name, shadow_name="n")).result(SECONDS)
    assert missing.value.modeled_error.code == 404
    update = iotshadow.UpdateNamedShadowRequest(
        thing_name=name, shadow_name="n", state=iotshadow.ShadowState(reported={"on": True}))
    assert shadow.update_named_shadow(update).result(SECONDS).version == 1
    got = shadow.get_named_shadow(iotshadow.GetNamedShadowRequest(thing_name=name, shadow_name="n")).result(SECONDS)
    assert (got.version, got.state.reported) == (1, {"on": True})
    delete = iotshadow.DeleteNamedShadowRequest(thing_name=name, shadow_name="n")
    assert shadow.delete_named_shadow(delete).result(SECONDS).version == 1
    del shadow
    connection.disconnect().result(SECONDS)


def test_what_was_acknowledged_survives_and_is_told_of_after_sigkill(tmp_path):
    """Updates at QoS 1 are acknowledged when they are committed; whoever subscribed with a queue hears of every one of them."""
    fleet = Fleethaven(tmp_path / "data").start()
    try:
        device = make_device(fleet, tmp_path)
        watcher = Client(fleet, device, "watcher", clean=True, expiry=3600).connect()
        watcher.subscribe("$aws/things/t/shadow/update/documents")
        watcher.disconnect()
        acknowledged = 0
        for round_number in range(3):
            writer = Client(fleet, device, f"writer-{round_number}").connect()
            sent = []
            for n in range(60):
                body = state(reported={f"r{round_number}": n})
                sent.append(writer.publish_later("$aws/things/t/shadow/update", body))
            enough = 10 + 15 * round_number
            eventually(lambda w=writer, s=sent, e=enough: sum(w.acknowledged(m) == 0 for m in s) >= e,
                       "acknowledged updates", 20, pause=0.001)
            fleet.kill()
            writer.closed()
            acknowledged += sum(writer.acknowledged(mid) == 0 for mid in sent)
            fleet.start()
        data = fleet.client("iot-data")
        version = read(data.get_thing_shadow(thingName="t"))["version"]
        assert version >= acknowledged, f"{acknowledged} updates were acknowledged, {version} are there"
        watcher = Client(fleet, device, "watcher", clean=False, expiry=3600).connect()
        versions = lambda: [json.loads(payload)["current"]["version"] for payload in watcher.payloads()]
        eventually(lambda: version in versions(), "the last update's documents", 30)
        firsts = list(dict.fromkeys(versions()))
        assert firsts == list(range(1, version + 1)), "an update was not told of, or out of order"
        watcher.close()
    finally:
        fleet.close()
