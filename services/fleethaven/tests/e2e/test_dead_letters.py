"""Workers that are killed in the middle of an action, and messages that none could finish: dead letters by command."""

from __future__ import annotations

import base64
import json
import subprocess
import threading

import pytest

from instance import binary, eventually
from lab import ROLE
from receiving import HttpServer
from test_actions_aws import connection

#: After so many starts a message is not tried any more.
DELIVERIES = 5
MESSAGE = '{"n": 1}'


class Slow(HttpServer):
    """A queue service that answers nothing until it is told to: whoever calls it is in the middle of an action."""

    def __init__(self):
        self.calls: list[bytes] = []
        self.answering = threading.Event()
        super().__init__()

    def answer(self, request):
        self.calls.append(request.body)
        self.answering.wait(60)
        return 200, b"{}"

    def called(self, times: int) -> bool:
        return len(self.calls) >= times

    def close(self):
        self.answering.set()
        super().close()


@pytest.fixture
def slow():
    slow = Slow()
    yield slow
    slow.close()


def dead_letters(*arguments: object) -> list[dict]:
    command = [binary(), "dead-letter", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def make_rule(iot, origin: str, admin: str):
    """A rule that posts each message to `origin`, in the form of IoT Events: one call for each try."""
    connection("put", "slow", "--kind", "iotEvents", "--endpoint", origin, "--role", ROLE, "--rule", "*", "--admin", admin)
    action = {"iotEvents": {"roleArn": ROLE, "inputName": "in", "messageId": "1"}}
    payload = {"sql": "SELECT * FROM 'poison'", "awsIotSqlVersion": "2016-03-23", "actions": [action]}
    iot.create_topic_rule(ruleName="slow", topicRulePayload=payload)


def test_a_message_that_kills_its_worker_again_and_again_is_a_dead_letter(fleethaven, connect, slow):
    fleet = fleethaven("--allow-outbound", "127.0.0.0/8")
    make_rule(fleet.iot, slow.origin, fleet.ready["admin"])
    connect("sensor", to=fleet).publish("poison", MESSAGE, qos=1)
    seen = 0
    for start in range(DELIVERIES):
        # Each start executes it again: at least once.
        eventually(lambda: slow.called(seen + 1), f"the call after start {start}")
        fleet.kill()
        seen = len(slow.calls)
        fleet.start()
    here = ("--data-dir", fleet.data_dir)
    [letter] = eventually(lambda: dead_letters("list", *here), "the dead letter")
    assert letter["topic"] == "poison" and letter["rules"] == ["slow"] and letter["deliveries"] >= DELIVERIES
    assert base64.b64decode(letter["payload_base64"]).decode() == MESSAGE and letter["account_id"] == fleet.account
    assert "without being finished" in letter["reason"]
    assert dead_letters("list", *here, "--account", "999999999999") == []

    slow.answering.set()
    before = len(slow.calls)
    assert dead_letters("redrive", letter["id"], *here) == []
    eventually(lambda: slow.called(before + 1), "the message once more")
    assert dead_letters("list", *here) == []
    again = subprocess.run([binary(), "dead-letter", "delete", str(letter["id"]), *map(str, here)], capture_output=True, text=True)
    assert again.returncode == 1 and f"there is no dead letter {letter['id']}" in again.stderr


def test_dead_letters_need_a_process_that_runs(tmp_path):
    done = subprocess.run(
        [binary(), "dead-letter", "list", "--data-dir", str(tmp_path / "data")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "that runs" in done.stderr
