"""AWS's logging, version 2: what an account asks for is what is written, and `fleethaven logs` finds it; in one process and in a
cluster."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from contextlib import contextmanager

import boto3
import pytest
from botocore.exceptions import ClientError

from clustered import running
from commands import failure, fleethaven
from control_plane import refused
from device import allow, make_device, policy
from instance import ANY_PORT, address, binary, eventually
from lab import ROLE
from mqtt_client import Client, Refused
from signed import https

LOG_ROLE = "arn:aws:iam::123456789012:role/logs"


def entries(fleet, *filters: str) -> list[dict]:
    return fleethaven("logs", "--admin", fleet.ready["admin"], "--limit", "10000", "--json", *filters)


def of(found: list[dict], event: str) -> list[dict]:
    return [entry for entry in found if entry["eventType"] == event]


def metric(fleet, sample: str) -> float:
    text = urllib.request.urlopen(f"http://{fleet.ready['admin']}/metrics", timeout=10).read().decode()
    return float(next(line for line in text.splitlines() if line.startswith(f"{sample} ")).split()[1])


@contextmanager
def logging(iot, level: str = "DISABLED", **options):
    """As an account asks for it, until the end of the block."""
    iot.set_v2_logging_options(roleArn=LOG_ROLE, defaultLogLevel=level, disableAllLogs=False, eventConfigurations=[], **options)
    try:
        yield
    finally:
        for item in iot.list_v2_logging_levels()["logTargetConfigurations"]:
            target = item["logTarget"]
            if target["targetType"] != "DEFAULT":
                iot.delete_v2_logging_level(targetType=target["targetType"], targetName=target["targetName"])
        iot.set_v2_logging_options(defaultLogLevel="DISABLED", eventConfigurations=[], disableAllLogs=False)


def only(iot, kind: str, name: str, level: str = "DEBUG"):
    iot.set_v2_logging_level(logTarget={"targetType": kind, "targetName": name}, logLevel=level)


def until_events(fleet, client_id: str, *events: str, more: tuple[str, ...] = ()) -> list[dict]:
    """The client's entries, once all of these events are among them."""

    def found():
        entries_ = entries(fleet, "--client-id", client_id, *more)
        return entries_ if {*events} <= {entry["eventType"] for entry in entries_} else None

    return eventually(found, f"{events} of {client_id}")


def test_nothing_is_configured_at_first(fleethaven):
    iot = fleethaven().iot
    for ask in (iot.get_v2_logging_options, iot.list_v2_logging_levels):
        refused("NotConfiguredException", 404, ask)
    target = {"targetType": "CLIENT_ID", "targetName": "a"}
    refused("NotConfiguredException", 404, iot.set_v2_logging_level, logTarget=target, logLevel="INFO")
    refused("InvalidRequestException", 400, iot.set_v2_logging_options, defaultLogLevel="INFO")
    assert iot.get_logging_options()["logLevel"] == "DISABLED"
    iot.set_logging_options(loggingOptionsPayload={"roleArn": LOG_ROLE, "logLevel": "INFO"})
    told = iot.get_logging_options()
    assert (told["roleArn"], told["logLevel"]) == (LOG_ROLE, "INFO")
    refused("NotConfiguredException", 404, iot.get_v2_logging_options)


def test_one_client_is_followed_from_connect_to_disconnect(fleet, iot, connect, device, name):
    with logging(iot):
        only(iot, "CLIENT_ID", name)
        one = device()
        client = connect(name, one)
        client.subscribe(f"{name}/in")
        client.publish(f"{name}/out", b"1")
        client.publish(f"{name}/in", b"2")
        client.expect(1)
        client.unsubscribe(f"{name}/in")
        other = connect(f"{name}-other", one)
        other.publish(f"{name}/out", b"3")
        client.disconnect()
        found = until_events(
            fleet, name, "Connect", "Subscribe", "Publish-In", "Publish-Out", "Unsubscribe", "Disconnect"
        )
        assert entries(fleet, "--client-id", f"{name}-other") == []
    for entry in found:
        assert (entry["accountId"], entry["region"], entry["sourceIp"]) == (fleet.account, fleet.region, "127.0.0.1")
        assert (entry["protocol"], entry["principalId"]) == ("MQTT", one.arn.split("/")[1])
        assert (entry["logLevel"], entry["status"]) == ("INFO", "Success") and entry["sourcePort"] > 0
    assert [entry["topicName"] for entry in of(found, "Publish-In")] == [f"{name}/out", f"{name}/in"]
    [out], [subscribed] = of(found, "Publish-Out"), of(found, "Subscribe")
    assert subscribed["topicName"] == f"{name}/in"
    assert out["traceId"] == of(found, "Publish-In")[1]["traceId"], "one message, one trace"
    [end] = of(found, "Disconnect")
    assert end["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT" and "reason" not in end


def test_what_policies_forbid_is_an_error(fleet, iot, connect, device, name):
    document = policy(
        allow("Connect", f"client/{name}"), allow("Subscribe", "topicfilter/*"), allow("Publish", f"topic/{name}/open")
    )
    with logging(iot, "ERROR"):
        one = device(document)
        with pytest.raises(Refused):
            connect(f"{name}-not", one)
        client = connect(name, one)
        client.subscribe(f"{name}/open")
        client.publish(f"{name}/open", b"nobody may receive it")
        client.publish(f"{name}/closed", b"nobody may publish it")
        found = until_events(fleet, name, "Publish-In", "Publish-Out")
        [denied] = until_events(fleet, f"{name}-not", "Connect")
    for entry in (denied, *found):
        assert (entry["logLevel"], entry["status"], entry["reason"]) == ("ERROR", "Failure", "AUTHORIZATION_FAILURE"), entry
        assert entry["details"]
    assert of(found, "Publish-In")[0]["topicName"] == f"{name}/closed"
    assert of(found, "Publish-Out")[0]["topicName"] == f"{name}/open"


def test_one_trace_leads_from_a_message_to_its_rules(fleet, iot, connect, name):
    for number in range(3):
        action = {"republish": {"roleArn": ROLE, "topic": f"{name}/to", "qos": 1}}
        payload = {"sql": f"SELECT * FROM '{name}/from'", "actions": [action]}
        iot.create_topic_rule(ruleName=f"{name}_{number}", topicRulePayload=payload)
    with logging(iot, "DEBUG"):
        client = connect(name)
        client.subscribe(f"{name}/to")
        client.publish(f"{name}/from", b"{}")
        client.expect(3)
        [published] = [e for e in until_events(fleet, name, "Publish-In") if e["eventType"] == "Publish-In"]

        def traced():
            found = entries(fleet, "--trace-id", published["traceId"])
            return found if len(of(found, "RuleExecution")) == 3 else None

        found = eventually(traced, "three executions")
    rules = {f"{name}_{number}" for number in range(3)}
    for event in ("RuleMatch", "StartingRuleExecution", "RuleExecution"):
        assert {entry["ruleName"] for entry in of(found, event)} == rules, event
    [execution, *_] = of(found, "RuleExecution")
    assert (execution["ruleAction"], execution["clientId"]) == ("RepublishAction", name)
    assert execution["topicName"] == f"{name}/from" and execution["logLevel"] == "INFO"


def test_a_message_for_no_rule_is_an_error(fleet, iot, connect, name):
    with logging(iot, "ERROR"):
        connect(name).publish(f"$aws/rules/{name}/a", b"{}")
        [entry] = of(until_events(fleet, name, "RuleNotFound"), "RuleNotFound")
    assert (entry["ruleName"], entry["reason"]) == (name, "RuleNotFound")


def test_a_rule_has_a_level_of_its_own(fleet, iot, connect, name):
    for rule in ("watched", "silenced", "other"):
        # What it asks is not there: the rule fails for each message.
        sql = f"SELECT get_thing_shadow('{name}-none', '{ROLE}') AS s FROM '{name}/from'"
        action = {"republish": {"roleArn": ROLE, "topic": f"{name}/to", "qos": 1}}
        payload = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
        iot.create_topic_rule(ruleName=f"{name}_{rule}", topicRulePayload=payload)
    with logging(iot, "ERROR"):
        refused(
            "InvalidRequestException",
            400,
            iot.set_v2_logging_level,
            logTarget={"targetType": "RULE_NAME", "targetName": "no rule's"},
            logLevel="INFO",
        )
        only(iot, "RULE_NAME", f"{name}_watched")
        only(iot, "RULE_NAME", f"{name}_silenced", "DISABLED")
        [level] = iot.list_v2_logging_levels(targetType="RULE_NAME", maxResults=1)["logTargetConfigurations"]
        assert level == {"logTarget": {"targetType": "RULE_NAME", "targetName": f"{name}_silenced"}, "logLevel": "DISABLED"}
        connect(name).publish(f"{name}/from", b"{}")

        def told():
            found = {rule: entries(fleet, "--rule", f"{name}_{rule}") for rule in ("watched", "silenced", "other")}
            both = of(found["watched"], "FunctionExecution") and of(found["other"], "FunctionExecution")
            return found if both else None

        found = eventually(told, "entries of two rules")
        iot.delete_v2_logging_level(targetType="RULE_NAME", targetName=f"{name}_silenced")
        connect(f"{name}-2").publish(f"{name}/from", b"{}")
        eventually(lambda: entries(fleet, "--rule", f"{name}_silenced"), "an entry of the rule that was silenced")
    assert of(found["watched"], "RuleMatch") and found["silenced"] == []
    assert {entry["logLevel"] for entry in found["other"]} == {"ERROR"}


def test_what_waits_for_a_client_that_is_away(fleet, iot, connect, name):
    sleeper = connect(name, clean=False, expiry=3600)
    sleeper.subscribe(f"{name}/in")
    sleeper.close()
    with logging(iot):
        only(iot, "CLIENT_ID", name, "INFO")
        sender = connect(f"{name}-sender")

        def queued():
            # Until it is known everywhere that nobody is there.
            sender.publish(f"{name}/in", b"1", qos=1)
            return of(entries(fleet, "--client-id", name), "Queued")

        [entry, *_] = eventually(queued, "the entry")
    assert (entry["topicName"], entry["qos"], entry["protocol"]) == (f"{name}/in", "1", "MQTT")
    assert (entry["logLevel"], entry["status"]) == ("INFO", "Success") and "principalId" not in entry


def test_what_a_full_queue_has_no_room_for(fleethaven, tmp_path, name):
    settings = tmp_path / "settings.toml"
    settings.write_text("[limits]\nsession-queued-messages = 2\n")
    fleet = fleethaven("--config", str(settings))
    device = make_device(fleet, tmp_path)
    sleeper = Client(fleet, device, name, clean=False, expiry=3600).connect()
    sleeper.subscribe(f"{name}/in")
    sleeper.close()
    with logging(fleet.iot, "ERROR"):
        sender = Client(fleet, device, f"{name}-sender").connect()

        def dropped():
            sender.publish(f"{name}/in", b"1", qos=1)
            return of(entries(fleet, "--client-id", name), "Queued")

        [entry, *_] = eventually(dropped, "the entry")
        sender.close()
    assert (entry["reason"], entry["status"], entry["topicName"]) == ("THROTTLED", "Failure", f"{name}/in")


def test_shadows_and_requests_over_https(fleet, iot, connect, name):
    data = fleet.client("iot-data")
    with logging(iot, "INFO"):
        client = connect(name)
        client.publish(f"$aws/things/{name}/shadow/update", json.dumps({"state": {"desired": {"a": 1}}}))
        client.publish(f"$aws/things/{name}/shadow/update", b"nonsense")

        def updates():
            found = of(entries(fleet, "--client-id", name), "UpdateThingShadow")
            return found if len(found) == 2 else None

        over_mqtt = eventually(updates, "entries of both updates")
        data.publish(topic=f"{name}/kept", qos=1, retain=True, payload=b"x")
        data.get_retained_message(topic=f"{name}/kept")
        data.get_thing_shadow(thingName=name)
        data.get_connection(clientId=name)
        with pytest.raises(ClientError):
            data.get_thing_shadow(thingName=f"{name}-not")

        def over_https():
            found = [entry for entry in entries(fleet, "--topic", f"{name}/#") if entry["protocol"] == "HTTP"]
            return found if {e["eventType"] for e in found} >= {"Publish-In", "GetRetainedMessage"} else None

        https = eventually(over_https, "entries of requests")
        gets = entries(fleet, "--event", "GetThingShadow", "--topic", "$aws/things/+/shadow/get")
    done, refused_ = over_mqtt
    assert (done["status"], refused_["status"], refused_["reason"]) == ("Success", "Failure", "CLIENT_ERROR")
    assert (done["topicName"], done["deviceShadowName"]) == (f"$aws/things/{name}/shadow/update", name)
    [published] = of(https, "Publish-In")
    assert published["retain"] == "True" and published["principalId"]
    [kept] = of(https, "GetRetainedMessage")
    assert kept["qos"] == "1" and kept["lastModifiedDate"] > 0
    assert {entry["status"] for entry in gets} == {"Success", "Failure"}


def test_events_override_the_default_and_targets_override_both(fleet, iot, connect, name):
    quiet = [{"eventType": "Publish-In", "logLevel": "DISABLED"}, {"eventType": "Connect", "logDestination": "/fleet/connects"}]
    with logging(iot, "INFO"):
        iot.set_v2_logging_options(eventConfigurations=quiet)
        assert iot.get_v2_logging_options()["eventConfigurations"] == quiet
        only(iot, "CLIENT_ID", f"{name}-loud")
        for client_id in (name, f"{name}-loud"):
            client = connect(client_id)
            client.publish(f"{name}/a", b"")
            client.close()
        found = until_events(fleet, name, "Connect", "Disconnect")
        loud = until_events(fleet, f"{name}-loud", "Connect", "Publish-In", "Disconnect")
        assert of(found, "Publish-In") == [] and len(of(loud, "Publish-In")) == 1
        assert of(found, "Connect")[0]["logGroup"] == "/fleet/connects" and "logGroup" not in of(found, "Disconnect")[0]
        assert entries(fleet, "--log-group", "/fleet/connects", "--client-id", name) == of(found, "Connect")
        iot.set_v2_logging_options(disableAllLogs=True)
        silent = connect(f"{name}-silent")
        silent.publish(f"{name}/a", b"")
        iot.set_v2_logging_options(disableAllLogs=False)
        silent.close()
        assert {e["eventType"] for e in until_events(fleet, f"{name}-silent", "Disconnect")} == {"Disconnect"}


def test_a_childs_group_overrides_its_parent(fleet, iot, tmp_path, connect, name):
    parent, child = f"{name}-parent", f"{name}-child"
    iot.create_thing_group(thingGroupName=parent)
    iot.create_thing_group(thingGroupName=child, parentGroupName=parent)
    devices = {}
    for thing, group in ((f"{name}-1", parent), (f"{name}-2", child)):
        iot.create_thing(thingName=thing)
        iot.add_thing_to_thing_group(thingName=thing, thingGroupName=group)
        devices[thing] = make_device(fleet, tmp_path)
        iot.attach_thing_principal(thingName=thing, principal=devices[thing].arn)
    target = {"targetType": "THING_GROUP", "targetName": f"{name}-nowhere"}
    with logging(iot):
        refused("InvalidRequestException", 400, iot.set_v2_logging_level, logTarget=target, logLevel="INFO")
        only(iot, "THING_GROUP", parent, "INFO")
        only(iot, "THING_GROUP", child, "ERROR")
        for thing, device in devices.items():
            client = connect(thing, device)
            client.publish(f"{thing}/a", b"")
            client.close()
        until_events(fleet, f"{name}-1", "Connect", "Publish-In", "Disconnect")
        assert entries(fleet, "--client-id", f"{name}-2") == [], "nothing has failed"


def test_pings_and_failures_to_authenticate_are_asked_for_by_name(fleet, iot, connect, device, name):
    with logging(iot, "DEBUG"):
        one = device(active=False)
        with pytest.raises(Refused):
            connect(name, one)
        asked = [{"eventType": "Ping", "logLevel": "DEBUG"}, {"eventType": "Connection.AuthNError", "logLevel": "ERROR"}]
        iot.set_v2_logging_options(eventConfigurations=asked)
        with pytest.raises(Refused):
            connect(name, one)
        client = connect(f"{name}-pings")
        # As its own thread does when the keep-alive is due.
        client.paho._send_pingreq()
        pings = of(until_events(fleet, f"{name}-pings", "Ping"), "Ping")
        client.close()
        certificate = one.arn.split("/")[1]
        failures = eventually(lambda: entries(fleet, "--event", "Connection.AuthNError"), "a failure to authenticate")
    assert pings[0]["logLevel"] == "DEBUG" and pings[0]["latency"] >= 0
    assert pings[0]["responseTimestamp"] >= pings[0]["requestTimestamp"]
    assert {entry["principalId"] for entry in failures} == {certificate}
    assert failures[0]["reason"] == "DEVICE_CERTIFICATE_INACTIVE" and failures[0]["authenticationType"] == "AWS_X509"
    assert failures[0]["sourceIp"] == "127.0.0.1"


def test_certificates_that_are_not_accepted_over_https(fleet, iot, device, name):
    one = device(active=False)
    with logging(iot):
        iot.set_v2_logging_options(eventConfigurations=[{"eventType": "Connection.AuthNError", "logLevel": "ERROR"}])
        with pytest.raises(OSError):
            https(fleet.https, one.tls(fleet.ca_file, "x-amzn-http-ca"), "POST", f"/topics/{name}?qos=1", body=b"1")

        def told():
            failures = entries(fleet, "--event", "Connection.AuthNError", "--principal", one.id)
            return [entry for entry in failures if entry["authenticationType"] == "AWS_X509"]

        [entry] = eventually(told, "the entry")
    assert (entry["reason"], entry["sourceIp"]) == ("DEVICE_CERTIFICATE_INACTIVE", "127.0.0.1")
    assert entry["principalId"] == one.id


def test_signatures_that_are_not_accepted(fleet, iot, name):
    key = {"aws_access_key_id": fleet.ready["access_key_id"], "aws_secret_access_key": "not it"}
    data = boto3.client(
        "iot-data", region_name=fleet.region, endpoint_url=fleet.ready["data_endpoint"], verify=fleet.ca_file, **key
    )
    with logging(iot):
        iot.set_v2_logging_options(eventConfigurations=[{"eventType": "Connection.AuthNError", "logLevel": "ERROR"}])
        with pytest.raises(ClientError, match="signature"):
            data.publish(topic=name, payload=b"1")

        def told():
            failures = entries(fleet, "--event", "Connection.AuthNError")
            return [entry for entry in failures if entry["authenticationType"] == "AWS_SIGV4"]

        [entry] = eventually(told, "the entry")
    assert entry["reason"] == "SECURITY_TOKEN_SIGNATURE_MISMATCH" and entry["details"]
    assert (entry["accountId"], entry["sourceIp"], entry["protocol"]) == (fleet.account, "127.0.0.1", "HTTP")


def test_following(fleet, iot, connect, name):
    command = [binary(), "logs", "--admin", fleet.ready["admin"], "--follow", "--client-id", name, "--json"]
    with logging(iot, "INFO"), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            client = connect(name)
            events = [json.loads(following.stdout.readline())["eventType"]]
            client.publish(f"{name}/a", b"")
            client.close()
            events += [json.loads(following.stdout.readline())["eventType"] for _ in range(2)]
        finally:
            following.terminate()
    assert events == ["Connect", "Publish-In", "Disconnect"]


def test_entries_outlive_their_process_and_people_can_read_them(fleethaven, tmp_path, name):
    fleet = fleethaven()
    with logging(fleet.iot, "INFO"):
        client = Client(fleet, make_device(fleet, tmp_path), name).connect()
        client.publish(f"{name}/a", b"")
        until_events(fleet, name, "Publish-In")
    client.close()
    folder = fleet.data_dir
    fleet.kill()
    asked = [binary(), "logs", "--data-dir", str(folder), "--event", "Publish-In"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    assert f"INFO  Publish-In  {name}  Success" in told.stdout and f"topicName={name}/a" in told.stdout, told
    assert "neither a time" in failure("logs", "--iot-log-dir", str(folder / "logs"), "--since", "yesterday")


def test_on_standard_error_and_above_the_rate(fleethaven, tmp_path, name):
    fleet = fleethaven("--iot-log", "stderr", "--iot-log-rate", "5")
    assert "no log entries in a folder" in failure("logs", "--admin", fleet.ready["admin"])
    with logging(fleet.iot, "INFO"):
        client = Client(fleet, make_device(fleet, tmp_path), name).connect()
        for _ in range(100):
            client.publish(f"{name}/a", b"")
        client.close()
        dropped = 'fleethaven_log_dropped_total{reason="rate"}'
        eventually(lambda: metric(fleet, dropped) > 0, "entries above the rate")
        assert metric(fleet, "fleethaven_log_entries_total") > 0
    # As `kubectl logs --prefix` prints it.
    log = "".join(f"[pod/gateway-0/gateway] {line}\n" for line in fleet.log.all)
    asked = [binary(), "logs", "--stdin", "--json", "--client-id", name, "--event", "Connect"]
    piped = subprocess.run(asked, input=log, capture_output=True, text=True, timeout=30)
    [entry] = map(json.loads, piped.stdout.splitlines())
    assert (entry["clientId"], entry["status"]) == (name, "Success")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running(tmp_path_factory, "--iot-log", "stderr", "--https-mtls", ANY_PORT)


def told(cluster, **wanted: str) -> list[dict]:
    """The entries that any process has written with these members."""
    lines = [line for line in cluster.log.all if line.startswith('{"timestamp":') and '"eventType":' in line]
    return [entry for entry in map(json.loads, lines) if wanted.items() <= entry.items()]


def test_the_gateways_of_a_cluster_do_as_the_account_asks(cluster, tmp_path, name):
    device = make_device(cluster, tmp_path)
    with logging(cluster.iot):
        only(cluster.iot, "CLIENT_ID", name)
        # Each connection goes to the next gateway.
        for _ in range(2):
            client = Client(cluster, device, name).connect()
            client.publish(f"{name}/a", b"")
            client.close()
        ended = lambda: len(told(cluster, clientId=name, eventType="Disconnect")) == 2  # noqa: E731
        eventually(ended, "entries of both connections")
    found = told(cluster, clientId=name)
    assert len(of(found, "Connect")) == len(of(found, "Publish-In")) == 2


def test_requests_in_a_cluster_know_the_groups_of_a_thing(cluster, tmp_path, name):
    iot, device = cluster.iot, make_device(cluster, tmp_path)
    iot.create_thing_group(thingGroupName=name)
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=device.arn, thingPrincipalType="EXCLUSIVE_THING")
    iot.add_thing_to_thing_group(thingGroupName=name, thingName=name)
    at, context = address(cluster.gateways[0].ready["https_mtls"]), device.tls(cluster.ca_file)
    with logging(iot):
        only(iot, "THING_GROUP", name)

        def entry():
            # The level is at the gateway within a second.
            assert https(at, context, "POST", f"/topics/{name}?qos=1", body=b"x").status == 200
            return told(cluster, topicName=name, eventType="Publish-In")

        found = eventually(entry, "the entry", 30, 0.2)
    assert (found[0]["protocol"], found[0]["principalId"]) == ("HTTP", device.arn.split("/")[1])
