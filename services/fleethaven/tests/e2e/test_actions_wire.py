"""Actions in their documented wire form: against a server that records what it is sent, and InfluxDB 1."""

from __future__ import annotations

import base64
import json
import time

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from instance import eventually
from lab import ROLE
from receiving import HttpServer, Request
from systems import InfluxServer
from test_actions_aws import connection

KEY, SECRET, REGION = "AKIATEST", "hush", "us-east-1"
DESTINATION = "arn:aws:iot:us-east-1:123456789012:ruledestination/influxdb/1"


class Recorder(HttpServer):
    """Records requests; `answers` are the next ones, then 200 with an empty object."""

    def __init__(self):
        self.seen: list[Request] = []
        self.answers: list[tuple[int, dict]] = []
        super().__init__()

    def answer(self, request):
        self.seen.append(request)
        status, answer = self.answers.pop(0) if self.answers else (200, {})
        return status, json.dumps(answer).encode()

    def next(self) -> Request:
        eventually(lambda: self.seen, "a request")
        return self.seen.pop(0)


@pytest.fixture
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--allow-outbound", "127.0.0.0/8,::1/128")


@pytest.fixture
def put(fleet, tmp_path, name):
    """Makes the connection of a kind for this test's rules and role."""

    def make(kind: str, endpoint: str, *more: str, role: str = ROLE):
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        where = ("--kind", kind, "--endpoint", endpoint, "--rule", f"{name}*", "--role", role)
        key = ("--credentials-id", KEY, "--secret-file", secret, "--admin", fleet.ready["admin"])
        connection("put", name, *where, *key, *more)

    return make


@pytest.fixture
def send(rules):
    def make(kind: str, *payloads, sql: str = "SELECT *", of_errors: dict | None = None, **settings):
        return rules.send({kind: settings}, *payloads, sql=sql, of_errors=of_errors)

    make.client, make.failure = rules.client, rules.failure
    return make


def signed_for(request, service: str, origin: str):
    """Checks the signature with botocore's own code."""
    method, path, headers, body = request
    names = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    again = AWSRequest(method, origin + path, data=body, headers={n: headers[n] for n in names})
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY, SECRET), service, REGION)
    to_sign = signer.string_to_sign(again, signer.canonical_request(again))
    assert headers["authorization"].endswith("Signature=" + signer.signature(to_sign, again))
    assert f"/{REGION}/{service}/" in headers["authorization"]


@pytest.mark.parametrize("kind", ["openSearch", "elasticsearch"])
def test_documents(put, send, recorder, kind, name):
    put("openSearch", recorder.origin)
    where = {"endpoint": "https://search.example.com", "index": "readings", "type": "_doc", "id": "${d} 1"}
    send(kind, '{"t": 1, "d": "d/1"}', sql="SELECT t, d", roleArn=ROLE, **where)
    request = recorder.next()
    assert request[:2] == ("PUT", "/readings/_doc/d%2F1%201")
    assert json.loads(request[3]) == {"t": 1, "d": "d/1"}
    signed_for(request, "es", recorder.origin)
    recorder.answers = [(400, {"error": {"type": "mapper_parsing_exception", "reason": "no"}, "status": 400})]
    send(kind, '{"d": "x"}', roleArn=ROLE, **where)
    failure = send.failure()
    assert failure["failedAction"] == "OpenSearchAction" and "mapper_parsing_exception: no" in failure["errorMessage"]
    send(kind, "{}", roleArn=ROLE, **where | {"index": "Readings", "id": "x"})
    assert "lower case" in send.failure(2)["errorMessage"]


def test_documents_by_user_and_password(put, send, recorder):
    put("openSearch", recorder.origin, "--option", "auth=basic")
    send("openSearch", "{}", roleArn=ROLE, endpoint="https://x.example", index="i", type="_doc", id="1")
    authorization = recorder.next()[2]["authorization"]
    assert authorization == "Basic " + base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()


def test_iot_events(put, send, recorder):
    put("iotEvents", recorder.origin)
    recorder.answers = [(503, {}), (200, {"BatchPutMessageErrorEntries": []})]
    send("iotEvents", '{"t": 1}', roleArn=ROLE, inputName="in_${t}", messageId="m${t}")
    for _ in range(2):  # once more after the 503
        request = recorder.next()
        assert request[:2] == ("POST", "/inputs/messages")
        [message] = json.loads(request[3])["messages"]
        assert (message["inputName"], message["messageId"]) == ("in_1", "m1")
        assert json.loads(base64.b64decode(message["payload"])) == {"t": 1}
        signed_for(request, "ioteventsdata", recorder.origin)
    entry = {"messageId": "m", "errorCode": "ResourceNotFoundException", "errorMessage": "no input"}
    recorder.answers = [(200, {"BatchPutMessageErrorEntries": [entry]})]
    send("iotEvents", '[{"t": 1}, {"t": 2}]', roleArn=ROLE, inputName="in", batchMode=True)
    messages = json.loads(recorder.next()[3])["messages"]
    assert [json.loads(base64.b64decode(one["payload"])) for one in messages] == [{"t": 1}, {"t": 2}]
    assert "ResourceNotFoundException: no input" in send.failure()["errorMessage"]


def test_iot_analytics(put, send, recorder):
    put("iotAnalytics", recorder.origin)
    send("iotAnalytics", '{"t": 1}', roleArn=ROLE, channelName="c")
    request = recorder.next()
    assert request[:2] == ("POST", "/messages/batch")
    body = json.loads(request[3])
    assert body["channelName"] == "c" and len(body["messages"]) == 1
    signed_for(request, "iotanalytics", recorder.origin)


def test_site_wise(put, send, recorder):
    put("iotSiteWise", recorder.origin)
    value = {"value": {"doubleValue": "${t}"}, "timestamp": {"timeInSeconds": "${at}", "offsetInNanos": "5"}, "quality": "GOOD"}
    entry = {"entryId": "e1", "propertyAlias": "/site/${topic(1)}/t", "propertyValues": [value]}
    send("iotSiteWise", '{"t": 21.5, "at": 1700000000}', roleArn=ROLE, putAssetPropertyValueEntries=[entry])
    request = recorder.next()
    assert request[:2] == ("POST", "/properties")
    [sent] = json.loads(request[3])["entries"]
    assert sent["entryId"] == "e1" and sent["propertyAlias"].startswith("/site/n")
    timestamp = {"timeInSeconds": 1700000000, "offsetInNanos": 5}
    assert sent["propertyValues"] == [{"value": {"doubleValue": 21.5}, "timestamp": timestamp, "quality": "GOOD"}]
    signed_for(request, "iotsitewise", recorder.origin)
    send("iotSiteWise", '{"t": "warm", "at": 1}', roleArn=ROLE, putAssetPropertyValueEntries=[entry])
    failure = send.failure()
    assert failure["failedAction"] == "IotSiteWiseAction" and "'warm' is no number" in failure["errorMessage"]


def test_predictions(put, send, recorder, name):
    put("machineLearning", recorder.origin)
    prediction = {"predictedLabel": "worn", "predictedScores": {"worn": 0.9}, "details": {"PredictiveModelType": "BINARY"}}
    recorder.answers = [(200, {"Prediction": prediction})]
    asked = f"machinelearning_predict('ml-1', '{ROLE}', {{'t': t, 'of': of}})"
    out = {"roleArn": ROLE, "topic": f"{name}/predicted", "qos": 1}
    send.client.subscribe(f"{name}/predicted")
    send("republish", '{"t": 71.5, "of": {"press": 7}}', sql=f"SELECT {asked} AS p", **out)
    assert json.loads(send.client.expect(1)[0]) == {"p": prediction}
    request = recorder.next()
    assert request[:2] == ("POST", "/") and request.headers["x-amz-target"] == "AmazonML_20141212.Predict"
    record = {"t": 71.5, "of": '{"press":7}'}
    assert json.loads(request.body) == {"MLModelId": "ml-1", "Record": record, "PredictEndpoint": recorder.origin}
    signed_for(request, "machinelearning", recorder.origin)
    recorder.answers = [(400, {"__type": "PredictorNotMountedException", "message": "no"})]
    send("republish", '{"t": 1}', sql=f"SELECT get_or_default({asked}, 'none') AS p", **out)
    assert json.loads(send.client.expect(2)[1]) == {"p": "none"}


def test_location(put, send, recorder):
    put("location", recorder.origin)
    settings = {"trackerName": "fleet", "deviceId": "${d}", "latitude": "${p.lat}", "longitude": "${p.lon}"}
    settings["timestamp"] = {"value": "${at}", "unit": "SECONDS"}
    message = {"d": "truck", "p": {"lat": 52.5, "lon": 13.4}, "at": 1700000000}
    send("location", json.dumps(message), roleArn=ROLE, **settings)
    request = recorder.next()
    assert request[:2] == ("POST", "/tracking/v0/trackers/fleet/positions")
    update = {"DeviceId": "truck", "Position": [13.4, 52.5], "SampleTime": "2023-11-14T22:13:20Z"}
    assert json.loads(request[3]) == {"Updates": [update]}
    signed_for(request, "geo", recorder.origin)
    send("location", json.dumps(message | {"p": {"lat": 91, "lon": 0}}), roleArn=ROLE, **settings)
    assert "latitude '91'" in send.failure()["errorMessage"]


def test_timestream(put, send, recorder):
    put("timestream", recorder.origin)
    settings = {
        "databaseName": "db",
        "tableName": "${topic(1)}",
        "dimensions": [{"name": "site", "value": "${site}"}, {"name": "none", "value": "${nothing}"}],
        "timestamp": {"value": "${at}", "unit": "MILLISECONDS"},
    }
    send("timestream", '{"t": 21.5, "n": 3, "site": "a", "at": 5}', sql="SELECT t, n", roleArn=ROLE, **settings)
    request = recorder.next()
    assert request[2]["x-amz-target"] == "Timestream_20181101.WriteRecords"
    body = json.loads(request[3])
    assert body["DatabaseName"] == "db" and body["TableName"].startswith("n")
    common = {"Dimensions": [{"Name": "site", "Value": "a"}], "Time": "5", "TimeUnit": "MILLISECONDS"}
    assert body["CommonAttributes"] == common
    measures = {(one["MeasureName"], one["MeasureValue"], one["MeasureValueType"]) for one in body["Records"]}
    assert measures == {("t", "21.5", "DOUBLE"), ("n", "3", "BIGINT")}
    signed_for(request, "timestream", recorder.origin)
    recorder.answers = [(400, {"__type": "com.amazonaws.timestream.v20181101#ResourceNotFoundException", "message": "no table"})]
    send("timestream", '{"t": 1, "site": "a", "at": 5}', sql="SELECT t", roleArn=ROLE, **settings)
    assert "ResourceNotFoundException: no table" in send.failure()["errorMessage"]


def test_salesforce(send, recorder):
    token = "t" * 40
    send("salesforce", '{"t": 1}', "no json", url=f"{recorder.origin}/streams/a/event", token=token)
    _, path, headers, body = recorder.next()
    assert (path, body, headers["authorization"]) == ("/streams/a/event", b'{"t": 1}', f"Bearer {token}")
    failure = send.failure()
    assert failure["failedAction"] == "SalesforceAction" and "no JSON" in failure["errorMessage"]
    assert token not in json.dumps(failure)


@pytest.mark.parametrize(
    ("version", "path", "scheme"),
    [("V2", "/api/v2/write?org=fleet&bucket=metrics&precision=ms", "Token"), ("V3", "/api/v3/write_lp?db=metrics&precision=millisecond", "Bearer")],
)
def test_influxdb_2_and_3(put, send, recorder, version, path, scheme):
    put("influxDB", recorder.origin, "--option", f"version={version}", role=DESTINATION)
    settings = {
        "destinationArn": DESTINATION,
        "roleArn": ROLE,
        "databaseName": "metrics",
        "organization": "fleet",
        "tableName": "climate",
        "tags": {"site": "${site}", "device": "@{device.id}"},
    }
    message = [{"t": 21.5, "device": {"id": "d1"}, "timestamp": 5}, {"t": 20, "device": {"id": "d2"}, "timestamp": 6}]
    send("influxDB", json.dumps({"points": message, "site": "a b"}), sql="SELECT VALUE points", **settings)
    _, where, headers, body = recorder.next()
    assert (where, headers["authorization"]) == (path, f"{scheme} {SECRET}")
    first, second = body.decode().split("\n")
    assert first.startswith(r"climate,site=a\ b,device=d1 ") and "t=21.5" in first and first.endswith(" 5")
    assert second.startswith(r"climate,site=a\ b,device=d2 ") and "t=20i" in second and second.endswith(" 6")
    topic = send("influxDB", **settings | {"batchConfig": {"maxBatchOpenMs": 1000, "maxBatchSize": 3}})
    for n in range(3):
        send.client.publish_later(topic, json.dumps({"n": n, "timestamp": n}))
    assert len(recorder.next()[3].decode().split("\n")) == 3
    recorder.answers = [(400, {"message": "partial write", "error": "partial write"})]
    send("influxDB", '{"t": 1, "timestamp": 1}', **settings)
    assert "400: partial write" in send.failure()["errorMessage"]


def test_influxdb_1(put, send, tmp_path):
    influx = InfluxServer(tmp_path / "influx").start()
    try:
        influx.query("CREATE DATABASE metrics")
        put("influxDB", influx.endpoint, "--option", "version=V1", role=DESTINATION)
        settings = {"destinationArn": DESTINATION, "roleArn": ROLE, "databaseName": "metrics", "tableName": "room 1"}
        now = int(time.time() * 1000)
        send("influxDB", json.dumps({"t": 21.5, "s": 'a "b"', "timestamp": now}), **settings | {"tags": {"site": "a, b"}})
        select = 'SELECT * FROM "room 1"'
        [series] = eventually(lambda: influx.query(select, "metrics"), "the point")
        assert dict(zip(series["columns"], series["values"][0])) == {"time": now, "s": 'a "b"', "site": "a, b", "t": 21.5}
        # The document of an error action brings no time of its own.
        error = {"influxDB": settings | {"tableName": "errors"}}
        send("salesforce", "no json", url="http://127.0.0.1:1/", token="t" * 40, of_errors=error)
        [series] = eventually(lambda: influx.query("SELECT ruleName FROM errors", "metrics"), "the error")
        assert series["values"][0][1].startswith("n")
    finally:
        influx.close()


def test_without_a_connection_nothing_is_sent(send):
    send("timestream", '{"t": 1}', roleArn=ROLE, databaseName="d", tableName="t", dimensions=[{"name": "a", "value": "b"}])
    assert "AccessDenied" in send.failure()["errorMessage"]
