"""`fleethaven check`: what it says of an instance that works, and of one that does not."""

import json
import os
import subprocess

from instance import address, binary


def check(fleet, **changed: str) -> subprocess.CompletedProcess:
    host, port = address(fleet.ready["iot_endpoint"].removeprefix("https://"))
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": fleet.ready["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": fleet.ready["secret_access_key"],
        "AWS_REGION": fleet.ready["region"],
        **changed,
    }
    command = [str(binary()), "check", "--api", f"{host}:{port}", "--mqtt", fleet.ready["mqtt_tls"]]
    command += ["--ca", fleet.ready["ca_file"]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_an_instance_that_works_passes_and_is_left_as_it_was(fleet):
    iot = fleet.iot
    before = [iot.list_things()["things"], iot.list_certificates()["certificates"], iot.list_policies()["policies"]]
    done = check(fleet)
    assert done.returncode == 0, done.stderr
    passed = json.loads(done.stdout)
    assert passed["passed"] is True and passed["thing"].startswith("check-") and passed["alert_ms"] >= 0
    assert [iot.list_things()["things"], iot.list_certificates()["certificates"], iot.list_policies()["policies"]] == before
    assert not [rule for rule in iot.list_topic_rules()["rules"] if rule["ruleName"].startswith("check_")]


def test_what_fails_is_told(fleet):
    done = check(fleet, AWS_SECRET_ACCESS_KEY="another")
    assert done.returncode == 1 and "POST /keys-and-certificate" in done.stderr and "403" in done.stderr
