"""What stands for Lambda functions: how operators say so, and that rules call it."""

import json
import subprocess

import pytest

from instance import binary, eventually
from webhook import Webhook, signed_with

LOOPBACK = ("--allow-outbound", "127.0.0.0/8")


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:123456789012:function:{name}"


def run(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run([binary(), "function", *map(str, arguments)], capture_output=True, text=True, timeout=60)


def function(*arguments) -> list[dict]:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def webhook():
    hooks = []

    def make(answer) -> Webhook:
        hooks.append(Webhook(answer))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture(scope="module")
def fleet(fleethaven):
    return fleethaven(*LOOPBACK)


@pytest.fixture
def rule(iot, name):
    """Makes a rule that republishes what the statement gives; the topics of its messages and answers."""
    made = []

    def make(sql: str) -> tuple[str, str]:
        topic, out = f"in/{name}/{len(made)}", f"out/{name}/{len(made)}"
        role = "arn:aws:iam::123456789012:role/r"
        action = {"republish": {"topic": out, "roleArn": role, "qos": 1}}
        payload = {"sql": f"{sql} FROM '{topic}'", "awsIotSqlVersion": "2016-03-23", "actions": [action]}
        made.append(f"{name}_{len(made)}")
        iot.create_topic_rule(ruleName=made[-1], topicRulePayload=payload)
        return topic, out

    yield make
    for rule in made:
        iot.delete_topic_rule(ruleName=rule)


def test_a_rule_calls_what_its_account_maps_the_function_to(fleet, connect, rule, webhook, name):
    hook = webhook(lambda event: {"twice": 2 * event["t"]})
    [put] = function("put", arn(name), "--url", hook.url, "--admin", fleet.ready["admin"])
    assert put["function_arn"] == arn(name) and put["kind"] == "webhook" and put["account_id"] == fleet.account
    topic, out = rule(f"SELECT aws_lambda('{arn(name)}:live', *).twice AS twice")
    client = connect(name)
    client.subscribe(out)
    client.publish(topic, b'{"t": 21}', qos=1)
    assert json.loads(client.expect(1)[0]) == {"twice": 42}
    [(headers, body)] = hook.seen
    assert json.loads(body) == {"t": 21}
    assert signed_with(put["signing_secret"], headers, body)
    assert not signed_with("another secret of mine", headers, body)
    assert headers["x-fleethaven-source"] == "rule"
    assert headers["x-fleethaven-source-arn"] == fleet.arn(f"rule/{name}_0")
    assert headers["x-fleethaven-function-arn"] == arn(name) + ":live"

    # Mapped to something else, it is called there at once; mapped to nothing, it is not called.
    other = webhook(lambda event: {"twice": "other"})
    function("put", arn(name), "--url", other.url, "--admin", fleet.ready["admin"])
    client.publish(topic, b'{"t": 1}', qos=1)
    assert json.loads(client.expect(2)[1]) == {"twice": "other"}
    assert function("delete", arn(name), "--admin", fleet.ready["admin"]) == []
    client.publish(topic, b'{"t": 1}', qos=1)
    fleet.log.having("fleethaven function put", arn(name))
    assert len(hook.seen) == 1 and len(other.seen) == 1


def test_a_default_stands_in_for_a_function_that_fails(fleet, connect, rule, webhook, name):
    hook = webhook(lambda event: (500, b"it hurts"))
    function("put", arn(name), "--url", hook.url, "--admin", fleet.ready["admin"])
    topic, out = rule(f"SELECT get_or_default(aws_lambda('{arn(name)}', *), 'none') AS answer")
    client = connect(name)
    client.subscribe(out)
    client.publish(topic, b"{}", qos=1)
    assert json.loads(client.expect(1)[0]) == {"answer": "none"}
    fleet.log.having("it hurts", arn(name))
    assert len(hook.seen) == 1, "what a function says is final"


def test_functions_are_kept_and_told(fleet, name):
    at = ("--admin", fleet.ready["admin"])
    [made] = function("put", arn(name), "--url", "https://a.example.com/f", *at)
    [again] = function("put", arn(name), "--url", "https://b.example.com/f", *at)
    assert again["signing_secret"] == made["signing_secret"] and again["url"] == "https://b.example.com/f"
    assert [f for f in function("list", *at) if f["function_arn"] == arn(name)] == [again]
    refused = run("put", arn(name), "--url", "https://a.example.com/f", "--account", "210987654321", *at)
    assert refused.returncode != 0 and "210987654321" in refused.stderr
    refused = run("put", "arn:aws:sns:us-east-1:123456789012:f", "--url", "https://a.example.com/f", *at)
    assert refused.returncode != 0 and "function:<name>" in refused.stderr
    refused = run("delete", arn("nobody"), *at)
    assert refused.returncode != 0 and "nobody" in refused.stderr


def test_a_data_directory_takes_functions_whether_or_not_a_process_runs_on_it(fleethaven, tmp_path, name):
    folder = tmp_path / "data"
    instance = fleethaven(data_dir=folder)
    [put] = function("put", arn(name), "--url", "https://a.example.com/f", "--data-dir", folder)
    instance.stop()
    assert function("list", "--data-dir", folder) == [put]
    [later] = function("put", arn(name), "--url", "https://b.example.com/f", "--data-dir", folder)
    instance.start()
    assert function("list", "--data-dir", folder) == [later]
    assert function("list", "--admin", instance.ready["admin"]) == [later]


def test_the_settings_file_goes_before_what_the_account_says(fleethaven, connect, webhook, tmp_path, name):
    hook = webhook(lambda event: {"from": "file"})
    (tmp_path / "secret").write_text("a secret in a file\n")
    settings = tmp_path / "fleethaven.toml"
    settings.write_text(f"""
[[functions]]
arn = "{arn(name)}"
url = "{hook.url}"
signing-secret-file = "{tmp_path / 'secret'}"
""")
    instance = fleethaven("--config", str(settings), *LOOPBACK)
    function("put", arn(name), "--url", "https://nobody.example.com/f", "--admin", instance.ready["admin"])
    role = "arn:aws:iam::123456789012:role/r"
    payload = {
        "sql": f"SELECT aws_lambda('{arn(name)}', *) AS answer FROM 'in'",
        "awsIotSqlVersion": "2016-03-23",
        "actions": [{"republish": {"topic": "out", "roleArn": role}}],
    }
    instance.iot.create_topic_rule(ruleName="r", topicRulePayload=payload)
    client = connect(name, to=instance)
    client.subscribe("out")
    client.publish("in", b"{}", qos=1)
    assert json.loads(client.expect(1)[0]) == {"answer": {"from": "file"}}
    [(headers, body)] = hook.seen
    assert signed_with("a secret in a file", headers, body)


def test_what_only_this_machine_reaches_is_not_called(fleethaven, connect, webhook, name):
    hook = webhook(lambda event: {})
    instance = fleethaven()
    function("put", arn(name), "--url", hook.url, "--admin", instance.ready["admin"])
    role = "arn:aws:iam::123456789012:role/r"
    payload = {
        "sql": f"SELECT aws_lambda('{arn(name)}', *) AS answer FROM 'in'",
        "awsIotSqlVersion": "2016-03-23",
        "actions": [{"republish": {"topic": "out", "roleArn": role}}],
    }
    instance.iot.create_topic_rule(ruleName="r", topicRulePayload=payload)
    connect(name, to=instance).publish("in", b"{}", qos=1)
    instance.log.having("loopback", "--allow-outbound", arn(name))
    assert not hook.seen


def test_the_lambda_action_sends_events_and_tells_what_failed(fleet, iot, connect, webhook, name):
    hook = webhook(lambda event: (500, b"broken") if event.get("bad") else {"ignored": True})
    function("put", arn(name), "--url", hook.url, "--admin", fleet.ready["admin"])
    role = "arn:aws:iam::123456789012:role/r"
    payload = {
        "sql": f"SELECT * FROM '{name}/in'",
        "awsIotSqlVersion": "2016-03-23",
        "actions": [{"lambda": {"functionArn": arn(name)}}],
        "errorAction": {"republish": {"topic": f"{name}/errors", "roleArn": role, "qos": 1}},
    }
    iot.create_topic_rule(ruleName=name, topicRulePayload=payload)
    client = connect(name)
    client.subscribe(f"{name}/errors")
    client.publish(f"{name}/in", b'{"n": 1}', qos=1)
    client.publish(f"{name}/in", b"no JSON", qos=1)
    [failure] = json.loads(client.expect(1)[0])["failures"]
    assert (failure["failedAction"], failure["failedResource"]) == ("LambdaAction", arn(name))
    assert "the payload is no JSON" in failure["errorMessage"]
    client.publish(f"{name}/in", b'{"bad": true}', qos=1)
    [failure] = json.loads(client.expect(2)[1])["failures"]
    assert failure["failedAction"] == "LambdaAction" and "Failed to invoke lambda function" in failure["errorMessage"]
    expected = {b'{"n": 1}', b'{"bad": true}'}
    eventually(lambda: {body for _, body in hook.seen} == expected, "both events at the function")
    assert {headers["x-fleethaven-invocation-type"] for headers, _ in hook.seen} == {"Event"}
    iot.delete_topic_rule(ruleName=name)
