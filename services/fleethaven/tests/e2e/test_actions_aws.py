"""Actions that go to AWS's services, against a server that speaks their APIs (moto)."""

import base64
import json
import subprocess
import time

import boto3
import pytest
from moto.server import ThreadedMotoServer

from instance import binary, eventually
from lab import ROLE

REGION = "us-east-1"
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def cloud():
    """Makes clients of a server that stands for AWS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"

    def client(service: str):
        key = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hush"}
        return boto3.client(service, endpoint_url=url, region_name=REGION, **key)

    client.url = url
    yield client
    server.stop()


@pytest.fixture(scope="module")
def fleet(fleethaven, cloud, tmp_path_factory):
    fleet = fleethaven("--allow-outbound", "127.0.0.0/8")
    secret = tmp_path_factory.mktemp("secrets") / "cloud"
    secret.write_text("hush\n")
    connection(
        *("put", "cloud", "--kind", "aws", "--endpoint", cloud.url, "--role", ROLE, "--rule", "*"),
        *("--credentials-id", "AKIATEST", "--secret-file", secret, "--admin", fleet.ready["admin"]),
    )
    return fleet


def connection(*arguments) -> list[dict]:
    command = [binary(), "connection", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "hush" not in done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def send(rules):
    def make(kind: str, *payloads, sql: str = "SELECT *", role: str = ROLE, **settings):
        rules.send({kind: {"roleArn": role} | settings}, *payloads, sql=sql)

    make.failures = rules.failures
    return make


def test_connections_are_listed_without_their_secret(fleet):
    [listed] = connection("list", "--admin", fleet.ready["admin"])
    assert listed["name"] == "cloud" and listed["kind"] == "aws" and listed["credentials_id"] == "AKIATEST"
    assert listed["roles"] == [ROLE] and listed["rules"] == ["*"]
    assert "hush" not in json.dumps(listed)


def test_s3_keeps_each_message_as_it_came(send, cloud, name):
    s3 = cloud("s3")
    s3.create_bucket(Bucket="archive")
    binary_payload = bytes(range(256))
    send("s3", '{"t": 1}', bucketName="archive", key=name + "/${topic()}/${t}", cannedAcl="private")
    send("s3", binary_payload, bucketName="archive", key=name + "/raw")

    def there(key):
        listed = s3.list_objects_v2(Bucket="archive", Prefix=key).get("Contents", [])
        return s3.get_object(Bucket="archive", Key=key) if listed else None

    json_object = eventually(lambda: there(f"{name}/{name}/0/1"), "the object of the JSON message")
    assert json_object["Body"].read() == b'{"t": 1}' and json_object["ContentType"] == "application/json"
    raw = eventually(lambda: there(f"{name}/raw"), "the object of the binary message")
    assert raw["Body"].read() == binary_payload and raw["ContentType"] == "application/octet-stream"


def test_sqs_and_sns(send, cloud, name):
    sqs, sns = cloud("sqs"), cloud("sns")
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    send("sqs", '{"a": 1}', sql="SELECT a", queueUrl=queue)
    send("sqs", b"\xff\x00", queueUrl=queue, useBase64=True)
    send("sns", '{"b": 2}', sql="SELECT b", targetArn=topic)
    bodies = set()

    def all_there():
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        bodies.update(message["Body"] for message in received)
        return len(bodies) == 3

    eventually(all_there, "three messages in the queue")
    assert bodies == {'{"a":1}', base64.b64encode(b"\xff\x00").decode(), '{"b":2}'}


def test_dynamodb_rows_and_items(send, cloud, name):
    dynamodb = cloud("dynamodb")
    keys = [("device", "HASH", "S"), ("at", "RANGE", "N")]
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, k, _ in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, _, t in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    row = {
        "tableName": name,
        "hashKeyField": "device",
        "hashKeyValue": "${device}",
        "rangeKeyField": "at",
        "rangeKeyValue": "${at}",
        "rangeKeyType": "NUMBER",
        "payloadField": "data",
        "operation": "${op}",
    }

    def get(device, at):
        key = {"device": {"S": device}, "at": {"N": str(at)}}
        return dynamodb.get_item(TableName=name, Key=key).get("Item")

    send("dynamoDB", '{"device": "d", "at": 7, "op": "INSERT", "v": {"x": [1.5, true, null]}}', sql="SELECT v", **row)
    put = eventually(lambda: get("d", 7), "the row")
    value = {"M": {"x": {"L": [{"N": "1.5"}, {"BOOL": True}, {"NULL": True}]}}}
    assert put == {"device": {"S": "d"}, "at": {"N": "7"}, "data": {"M": {"v": value}}}
    send("dynamoDB", '{"device": "d", "at": 7, "op": "UPDATE", "v": 2}', sql="SELECT VALUE v", **row)
    eventually(lambda: get("d", 7)["data"] == {"N": "2"}, "the row's update")
    send("dynamoDB", '{"device": "d", "at": 7, "op": "DELETE"}', **row)
    eventually(lambda: get("d", 7) is None, "the row to be gone")
    send("dynamoDBv2", '{"device": "e", "at": 8, "t": 21.5}', putItem={"tableName": name})
    item = eventually(lambda: get("e", 8), "the item")
    assert item == {"device": {"S": "e"}, "at": {"N": "8"}, "t": {"N": "21.5"}}


def test_kinesis_and_firehose(send, cloud, name):
    kinesis, firehose, s3 = cloud("kinesis"), cloud("firehose"), cloud("s3")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    send("kinesis", '{"k": "key", "v": 1}', sql="SELECT v", streamName=name, partitionKey="${k}")
    shard = kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"][0]["ShardId"]

    def records():
        start = kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        return kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]

    [record] = eventually(records, "the record in the stream")
    assert (record["Data"], record["PartitionKey"]) == (b'{"v":1}', "key")

    bucket = "firehose-" + name.replace("_", "-")
    s3.create_bucket(Bucket=bucket)
    destination = {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{bucket}"}
    firehose.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration=destination)
    send("firehose", '{"n": 0}', deliveryStreamName=name, separator="\n")
    send("firehose", '[{"n": 1}, {"n": 2}]', deliveryStreamName=name, separator="\n", batchMode=True)

    def lines():
        listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        bodies = [s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read().decode() for one in listed]
        found = sorted(line for body in bodies for line in body.splitlines())
        return found if len(found) == 3 else None

    assert [json.loads(line) for line in eventually(lines, "three lines in the bucket")] == [
        {"n": 0},
        {"n": 1},
        {"n": 2},
    ]
    too_many = json.dumps(list(range(501)))
    send("firehose", too_many, deliveryStreamName=name, batchMode=True)
    [[failure]] = send.failures()
    assert failure["failedAction"] == "FirehoseAction" and "501 records" in failure["errorMessage"]


def test_the_cloudwatch_family(send, cloud, name):
    logs, cloudwatch = cloud("logs"), cloud("cloudwatch")
    logs.create_log_group(logGroupName=name)
    send("cloudwatchLogs", '{"a": 1}', '{"a": 2}', logGroupName=name)
    now = int(time.time() * 1000)
    batch = [{"timestamp": now, "message": "second"}, {"timestamp": now - 10, "message": "first"}]
    send("cloudwatchLogs", json.dumps(batch), logGroupName=name, batchMode=True)

    def events():
        found = [event["message"] for event in logs.filter_log_events(logGroupName=name)["events"]]
        return found if len(found) == 4 else None

    assert sorted(eventually(events, "four log events")) == ["first", "second", '{"a": 1}', '{"a": 2}']
    streams = logs.describe_log_streams(logGroupName=name)["logStreams"]
    assert {stream["logStreamName"].split("/")[0] for stream in streams} == {f"{name}_0", f"{name}_1"}

    metric = {"metricNamespace": name, "metricName": "t", "metricValue": "${t}", "metricUnit": "None"}
    send("cloudwatchMetric", '{"t": 21.5}', **metric)
    eventually(lambda: cloudwatch.list_metrics(Namespace=name)["Metrics"], "the metric")
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        MetricName="t",
        Namespace=name,
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Average",
    )
    send("cloudwatchAlarm", '{"s": "ALARM"}', alarmName=name, stateReason="hot", stateValue="${s}")

    def alarm():
        return cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]

    eventually(lambda: alarm()["StateValue"] == "ALARM", "the alarm")
    assert alarm()["StateReason"] == "hot"
    send("cloudwatchMetric", '{"t": "warm"}', **metric)
    [[failure]] = send.failures()
    assert failure["failedAction"] == "CloudwatchMetricAction" and "'warm' is no number" in failure["errorMessage"]


def test_step_functions_are_started(send, cloud, name):
    states = cloud("stepfunctions")
    definition = json.dumps({"StartAt": "a", "States": {"a": {"Type": "Succeed"}}})
    machine = states.create_state_machine(name=name, definition=definition, roleArn=ROLE)["stateMachineArn"]
    send("stepFunctions", '{"t": 1}', stateMachineName=name, executionNamePrefix="run-${t}")
    [execution] = eventually(
        lambda: states.list_executions(stateMachineArn=machine)["executions"], "an execution"
    )
    assert execution["name"].startswith("run-1-")
    described = states.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(described["input"]) == {"t": 1}


def test_what_fails_is_told_once_with_all_failures(fleet, iot, connect, name):
    missing = {"s3": {"roleArn": ROLE, "bucketName": "no-such-bucket", "key": "k"}}
    stranger = {"sqs": {"roleArn": "arn:aws:iam::123456789012:role/stranger", "queueUrl": "https://q"}}
    error = {"republish": {"roleArn": ROLE, "topic": f"{name}/errors", "qos": 1}}
    payload = {"sql": f"SELECT * FROM '{name}/in'", "actions": [missing, stranger], "errorAction": error}
    iot.create_topic_rule(ruleName=name, topicRulePayload=payload)
    client = connect(name)
    client.subscribe(f"{name}/errors")
    client.publish(f"{name}/in", '{"a": 1}', qos=1)
    [document] = [json.loads(message) for message in client.expect(1)]
    assert document["ruleName"] == name and document["topic"] == f"{name}/in"
    assert base64.b64decode(document["base64OriginalPayload"]) == b'{"a": 1}'
    bucket, queue = document["failures"]
    assert (bucket["failedAction"], bucket["failedResource"]) == ("S3Action", "no-such-bucket")
    assert bucket["errorMessage"].startswith("Failed to put S3 object. The error received was NoSuchBucket")
    assert bucket["errorMessage"].endswith(f'{name}/in, Action: s3, Bucket: no-such-bucket, Key: "k"')
    assert queue["failedAction"] == "SqsAction" and "AccessDenied" in queue["errorMessage"]
    iot.delete_topic_rule(ruleName=name)


def test_a_connection_lets_in_whom_it_names(fleet, send, cloud, name, tmp_path):
    admin = fleet.ready["admin"]
    role = f"arn:aws:iam::123456789012:role/{name}"
    put = ("put", name, "--kind", "sqs", "--endpoint", cloud.url, "--role", role, "--admin", admin)
    secret = tmp_path / "secret"
    secret.write_text("hush")
    put += ("--credentials-id", "AKIATEST", "--secret-file", secret)
    connection(*put, "--rule", f"{name}_0")
    queue = cloud("sqs").create_queue(QueueName=name)["QueueUrl"]
    send("sqs", '{"a": 1}', role=role, queueUrl=queue)
    receive = lambda: cloud("sqs").receive_message(QueueUrl=queue).get("Messages")  # noqa: E731
    [message] = eventually(receive, "the message")
    assert message["Body"] == '{"a": 1}'
    send("sqs", '{"a": 2}', role=role, queueUrl=queue)
    [[failure]] = send.failures()
    assert f"lets rule {name}_1 in" in failure["errorMessage"]
    connection("delete", name, "--admin", admin)
    listed = [one["name"] for one in connection("list", "--admin", admin)]
    assert listed == ["cloud"]


def test_statements_ask_dynamodb_and_secrets(send, cloud, name):
    cloud("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "d", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "d", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    item = {"d": {"S": "d1"}, "limits": {"M": {"high": {"N": "30"}, "low": {"N": "-0.5"}}}, "tags": {"SS": ["a"]}}
    cloud("dynamodb").put_item(TableName=name, Item=item)
    cloud("secretsmanager").create_secret(Name=name, SecretString='{"token": "hush-1"}')
    queue = cloud("sqs").create_queue(QueueName=name)["QueueUrl"]
    sql = f"SELECT get_dynamodb('{name}', 'd', d, '{ROLE}') AS row, get_secret('{name}', 'SecretString', 'token', '{ROLE}') AS t"
    send("sqs", '{"d": "d1"}', sql=sql, queueUrl=queue)
    received = lambda: cloud("sqs").receive_message(QueueUrl=queue).get("Messages")  # noqa: E731
    [message] = eventually(received, "the message")
    row = {"d": "d1", "limits": {"high": 30, "low": -0.5}, "tags": ["a"]}
    assert json.loads(message["Body"]) == {"row": row, "t": "hush-1"}
    cloud("sqs").purge_queue(QueueUrl=queue)
    # A row that is not there is Undefined, and so has no member.
    send("sqs", '{"d": "d2"}', sql=f"SELECT d, get_dynamodb('{name}', 'd', d, '{ROLE}') AS row", queueUrl=queue)
    [message] = eventually(received, "the second message")
    assert json.loads(message["Body"]) == {"d": "d2"}
