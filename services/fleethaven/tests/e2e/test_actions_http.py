"""The `http` action: destinations and their confirmation, headers, tries, batches, signatures."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from control_plane import invalid, pages, refused
from instance import binary, eventually
from lab import ROLE
from receiving import HttpServer


class Receiver(HttpServer):
    """Records what it is sent: `statuses` are answered in turn, then 200."""

    def __init__(self):
        self.seen: list[tuple[str, dict, bytes]] = []
        self.statuses: list[int] = []
        self.body = b"ok"
        super().__init__()

    def answer(self, request):
        self.seen.append(request[1:])
        if "x-amz-rules-engine-message-type" in request.headers:
            return 200, b""
        return self.statuses.pop(0) if self.statuses else 200, self.body

    def challenges(self) -> list[dict]:
        kind = "x-amz-rules-engine-message-type"
        return [json.loads(body) for _, headers, body in list(self.seen) if headers.get(kind)]

    def messages(self) -> list[tuple[str, dict, bytes]]:
        kind = "x-amz-rules-engine-message-type"
        return [seen for seen in list(self.seen) if kind not in seen[1]]


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven("--allow-outbound", "127.0.0.0/8")


def confirmed(iot, receiver, path: str) -> str:
    """An enabled destination for a path of the receiver; its ARN."""
    configuration = {"httpUrlConfiguration": {"confirmationUrl": receiver.origin + path}}
    made = iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]
    assert made["status"] == "IN_PROGRESS" and made["httpUrlProperties"]["confirmationUrl"].endswith(path)
    [challenge] = eventually(receiver.challenges, "the challenge")
    iot.confirm_topic_rule_destination(confirmationToken=challenge["confirmationToken"])
    return made["arn"]


@pytest.fixture
def rule(iot, connect, name):
    """Makes a rule with an http action; publishes by `client`, errors come on `<name>/errors`."""
    made = []

    def make(sql: str = "SELECT *", **settings) -> str:
        topic = f"{name}/{len(made)}"
        error = {"republish": {"roleArn": ROLE, "topic": f"{name}/errors", "qos": 1}}
        payload = {
            "sql": f"{sql} FROM '{topic}/#'",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{"http": settings}],
            "errorAction": error,
        }
        iot.create_topic_rule(ruleName=f"{name}_{len(made)}", topicRulePayload=payload)
        made.append(f"{name}_{len(made)}")
        return topic

    make.client = connect(name)
    make.client.subscribe(f"{name}/errors")
    make.failure = lambda: json.loads(make.client.expect(1)[0])["failures"][0]
    yield make
    for one in made:
        iot.delete_topic_rule(ruleName=one)


def test_the_life_of_a_destination(fleet, iot, receiver, name):
    url = f"{receiver.origin}/{name}"
    configuration = {"httpUrlConfiguration": {"confirmationUrl": url}}
    made = iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]
    arn = made["arn"]
    assert arn.startswith(fleet.arn("ruledestination/http/")) and made["status"] == "IN_PROGRESS"
    [challenge] = eventually(receiver.challenges, "the challenge")
    assert challenge["arn"] == arn and challenge["messageType"] == "DestinationConfirmation"
    path, headers, _ = receiver.seen[0]
    assert parse_qs(urlsplit(path).query) == {"confirmationToken": [challenge["confirmationToken"]]}
    assert headers["x-amz-rules-engine-destination-arn"] == arn
    refused(
        "ResourceAlreadyExistsException",
        409,
        iot.create_topic_rule_destination,
        destinationConfiguration=configuration,
    )
    invalid(iot.update_topic_rule_destination, arn=arn, status="ENABLED")
    invalid(iot.confirm_topic_rule_destination, confirmationToken="nonsense")

    # Whoever has the address that came with the challenge needs no signature.
    context = ssl.create_default_context(cafile=fleet.ca_file)
    with urllib.request.urlopen(challenge["enableUrl"], context=context) as answer:
        assert answer.status == 200
    status = lambda: iot.get_topic_rule_destination(arn=arn)["topicRuleDestination"]["status"]  # noqa: E731
    assert status() == "ENABLED"
    iot.update_topic_rule_destination(arn=arn, status="DISABLED")
    assert status() == "DISABLED"
    iot.update_topic_rule_destination(arn=arn, status="IN_PROGRESS")
    second = eventually(lambda: receiver.challenges()[1:], "the second challenge")[0]
    assert second["confirmationToken"] != challenge["confirmationToken"]
    iot.confirm_topic_rule_destination(confirmationToken=second["confirmationToken"])
    assert status() == "ENABLED"
    listed = [
        one
        for page in pages(iot.list_topic_rule_destinations, "destinationSummaries", "maxResults", "nextToken")
        for one in page
        if one["arn"] == arn
    ]
    assert [one["httpUrlSummary"]["confirmationUrl"] for one in listed] == [url]
    iot.delete_topic_rule_destination(arn=arn)
    refused("UnauthorizedException", 401, iot.get_topic_rule_destination, arn=arn)


def test_destinations_that_connections_stand_for(iot):
    vpc = {"vpcConfiguration": {"subnetIds": ["subnet-1"], "vpcId": "vpc-1", "roleArn": ROLE}}
    for configuration, kind in ((vpc, "kafka"), ({}, None)):
        with pytest.raises(ClientError) as refusal:
            iot.create_topic_rule_destination(destinationConfiguration=configuration)
        error = refusal.value.response["Error"]
        assert error["Code"] == "InvalidRequestException"
        assert (f"--kind {kind}" if kind else "httpUrlConfiguration") in error["Message"]


def test_messages_go_where_the_owner_has_confirmed_it(iot, receiver, rule, name):
    confirmed(iot, receiver, f"/{name}")
    headers = [{"key": "X-Topic", "value": "${topic(2)}"}, {"key": "content-TYPE", "value": "text/x"}]
    url, confirmation = f"{receiver.origin}/{name}/${{id}}?a=b", f"{receiver.origin}/{name}"
    topic = rule("SELECT v", url=url, confirmationUrl=confirmation, headers=headers)
    rule.client.publish(f"{topic}/x", '{"id": "d1", "v": 1}', qos=1)
    [(path, sent, body)] = eventually(receiver.messages, "the message")
    assert (path, body) == (f"/{name}/d1?a=b", b'{"v":1}')
    assert sent["x-topic"] == "0" and sent["content-type"] == "text/x"
    raw = rule(url=f"{receiver.origin}/{name}/raw")
    rule.client.publish(f"{raw}/x", b"\xff\x00", qos=1)
    _, sent, body = eventually(lambda: receiver.messages()[1:], "the binary message")[0]
    assert body == b"\xff\x00" and sent["content-type"] == "application/octet-stream"


def test_nothing_is_sent_before_the_owner_confirms(iot, receiver, rule, name):
    url = f"{receiver.origin}/{name}"
    topic = rule(url=url)  # the rule makes the destination
    [challenge] = eventually(receiver.challenges, "the challenge")
    rule.client.publish(f"{topic}/x", '{"n": 1}', qos=1)
    failure = rule.failure()
    assert failure["failedAction"] == "HttpAction" and failure["failedResource"] == url
    assert "no enabled topic rule destination" in failure["errorMessage"]
    assert receiver.messages() == []
    iot.confirm_topic_rule_destination(confirmationToken=challenge["confirmationToken"])
    rule.client.publish(f"{topic}/x", '{"n": 2}', qos=1)
    [(_, _, body)] = eventually(receiver.messages, "the message")
    assert body == b'{"n": 2}'


@pytest.mark.parametrize(
    ("statuses", "answer", "tries", "fails"),
    [
        ([500], b"", 2, False),
        ([503, 503, 503], b"", 3, True),
        ([404], b"", 1, True),
        ([500], b"x" * 17_000, 1, True),
        ([302], b"", 1, True),
    ],
)
def test_tries_are_made_as_aws_says(iot, receiver, rule, name, statuses, answer, tries, fails):
    confirmed(iot, receiver, f"/{name}")
    receiver.statuses, receiver.body = statuses, answer
    topic = rule(url=f"{receiver.origin}/{name}")
    rule.client.publish(f"{topic}/x", '{"n": 1}', qos=1)
    if fails:
        assert rule.failure()["failedAction"] == "HttpAction"
    else:
        eventually(lambda: len(receiver.messages()) == tries, "all tries")
        # One that succeeds has come after all tries of the first.
        rule.client.publish(f"{topic}/x", '{"n": 2}', qos=1)
        eventually(lambda: receiver.messages()[-1][2] == b'{"n": 2}', "the next message")
        tries += 1
    assert len(receiver.messages()) == tries


def test_batches_are_arrays(iot, receiver, rule, name):
    confirmed(iot, receiver, f"/{name}")
    config = {"maxBatchOpenMs": 200, "maxBatchSize": 2, "batchAcrossTopics": True}
    headers = [{"key": "x-n", "value": "${n}"}, {"key": "content-type", "value": "text/x"}]
    topic = rule(url=f"{receiver.origin}/{name}", enableBatching=True, batchConfig=config, headers=headers)
    for n in range(5):
        rule.client.publish(f"{topic}/{n}", json.dumps({"n": n}), qos=1)
    sent = lambda: sorted(  # noqa: E731
        n["n"] for _, _, body in receiver.messages() for n in json.loads(body)
    )
    eventually(lambda: sent() == [0, 1, 2, 3, 4], "all five messages")
    for _, headers, body in receiver.messages():
        batch = json.loads(body)
        assert len(batch) <= 2 and headers["content-type"] == "application/json"
        assert headers["x-n"] == str(batch[-1]["n"])
    rule.client.publish(f"{topic}/x", b"\xff", qos=1)
    assert "part of no batch" in rule.failure()["errorMessage"]


@pytest.mark.parametrize("across", [False, True], ids=["topic", "topics"])
def test_a_batch_that_fails_is_one_document(iot, receiver, rule, name, across):
    confirmed(iot, receiver, f"/{name}")
    receiver.statuses = [404] * 10
    config = {"maxBatchOpenMs": 200, "batchAcrossTopics": across}
    topic = rule(url=f"{receiver.origin}/{name}", enableBatching=True, batchConfig=config)
    for n in range(3):
        rule.client.publish(f"{topic}/x", json.dumps({"n": n}), qos=1)
    told: dict[int, str] = {}

    def all_told():
        documents = [json.loads(document) for document in rule.client.payloads()]
        for document in documents:
            [failure] = document["failures"]
            entries = document["payloadsWithMetadata"]
            assert failure["affectedIds"] == [entry["id"] for entry in entries]
            assert failure["failedAction"] == "HttpAction" and "404" in failure["errorMessage"]
            assert (document.get("topic"), entries[0].get("topic")) == ((None, f"{topic}/x") if across else (f"{topic}/x", None))
            told.update({json.loads(base64.b64decode(entry["base64OriginalPayload"]))["n"]: entry["clientId"] for entry in entries})
        # Each message is in one batch.
        return sum(len(document["payloadsWithMetadata"]) for document in documents) == 3

    eventually(all_told, "a document for all")
    assert told == {0: name, 1: name, 2: name}


def test_requests_are_signed_by_the_connection_of_the_role(fleet, iot, receiver, rule, name, tmp_path):
    confirmed(iot, receiver, f"/{name}")
    secret = tmp_path / "secret"
    secret.write_text("hush")
    role = f"arn:aws:iam::123456789012:role/{name}"
    put = ("connection", "put", name, "--kind", "http", "--role", role, "--rule", "*")
    key = ("--credentials-id", "AKIASIGNER", "--secret-file", secret, "--admin", fleet.ready["admin"])
    subprocess.run([binary(), *put, *key], check=True, timeout=60)
    auth = {"sigv4": {"signingRegion": "eu-west-1", "serviceName": "execute-api", "roleArn": role}}
    topic = rule(url=f"{receiver.origin}/{name}/x?b=1&a=2", confirmationUrl=f"{receiver.origin}/{name}", auth=auth)
    rule.client.publish(f"{topic}/x", '{"n": 1}', qos=1)
    [(path, headers, body)] = eventually(receiver.messages, "the message")

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signed = headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    again = AWSRequest("POST", receiver.origin + path, data=body, headers={n: headers[n] for n in signed})
    again.context["timestamp"] = headers["x-amz-date"]
    signer = SigV4Auth(Credentials("AKIASIGNER", "hush"), "execute-api", "eu-west-1")
    to_sign = signer.string_to_sign(again, signer.canonical_request(again))
    assert headers["authorization"].endswith("Signature=" + signer.signature(to_sign, again))
    assert "AKIASIGNER/" in headers["authorization"] and "/eu-west-1/execute-api/" in headers["authorization"]


def test_who_cannot_be_reached_is_told(iot, name):
    configuration = {"httpUrlConfiguration": {"confirmationUrl": f"http://10.255.255.1/{name}"}}
    made = iot.create_topic_rule_destination(destinationConfiguration=configuration)["topicRuleDestination"]

    def described():
        return iot.get_topic_rule_destination(arn=made["arn"])["topicRuleDestination"]

    failed = eventually(lambda: described()["status"] == "ERROR" and described(), "the error", seconds=30)
    assert "private" in failed["statusReason"] and "--allow-outbound" in failed["statusReason"]
