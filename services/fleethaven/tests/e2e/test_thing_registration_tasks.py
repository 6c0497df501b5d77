"""Bulk registration: things by a template and a file in S3 (moto), a line for each; stopped, broken off and gone on with."""

import json
import subprocess
import urllib.error
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer

from control_plane import invalid, missing
from device import new_key, signing_request
from instance import Fleethaven, binary, eventually
from lab import ROLE
from signed import trusting

REGION = "us-east-1"


@pytest.fixture(scope="module")
def cloud():
    """A server that stands for S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3(cloud):
    key = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hush"}
    client = boto3.client("s3", endpoint_url=cloud, region_name=REGION, **key)
    client.create_bucket(Bucket="fleets")
    return client


def connect(fleet, cloud: str, tmp_path_factory):
    """Says where the account's S3 is."""
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("hush")
    subprocess.run(
        [binary(), "connection", "put", "cloud", "--kind", "s3", "--endpoint", cloud, "--region", REGION]
        + ["--credentials-id", "AKIATEST", "--secret-file", str(secret), "--role", ROLE, "--rule", "*"]
        + ["--admin", fleet.ready["admin"], "--account", fleet.account],
        check=True,
        capture_output=True,
        timeout=30,
    )


@pytest.fixture(scope="module")
def fleet(fleethaven, cloud, tmp_path_factory):
    fleet = fleethaven("--allow-outbound", "127.0.0.0/8")
    connect(fleet, cloud, tmp_path_factory)
    return fleet


def template(**certificate) -> str:
    properties = {"ThingName": {"Ref": "Name"}, "AttributePayload": {"serial": {"Ref": "Serial"}}}
    resources = {"thing": {"Type": "AWS::IoT::Thing", "Properties": properties}}
    parameters = {"Name": {"Type": "String"}, "Serial": {"Type": "String"}}
    if certificate:
        parameters["CSR"] = {"Type": "String"}
        resources["certificate"] = {"Type": "AWS::IoT::Certificate", "Properties": certificate}
    return json.dumps({"Parameters": parameters, "Resources": resources})


def put(s3, key: str, lines: list) -> dict:
    """A file of these lines, objects or text."""
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    s3.put_object(Bucket="fleets", Key=key, Body="\n".join(text).encode())
    return {"inputFileBucket": "fleets", "inputFileKey": key, "roleArn": ROLE}


def lines(name: str, count: int) -> list[dict]:
    return [{"Name": f"{name}-{n}", "Serial": str(n)} for n in range(count)]


def ended(iot, task: str) -> dict:
    def done():
        told = iot.describe_thing_registration_task(taskId=task)
        return told if told["status"] not in ("InProgress", "Cancelling") else None

    return eventually(done, "the end of the task", seconds=60)


def reports(fleet, iot, task: str, kind: str) -> list[dict]:
    found = []
    for link in iot.list_thing_registration_task_reports(taskId=task, reportType=kind)["resourceLinks"]:
        with urllib.request.urlopen(link, context=trusting(fleet), timeout=20) as answer:
            found += [json.loads(line) for line in answer.read().decode().splitlines()]
    return found


def test_a_file_with_bad_lines(fleet, iot, s3, name):
    """provisioning.md section 14, 33: bad lines are reported, the others are registered."""
    wanted = lines(name, 1000)
    bad = {100: "no JSON", 500: {"Name": "not a name", "Serial": "1"}, 900: {"Name": f"{name}-x"}}
    for number, line in bad.items():
        wanted.insert(number, line)
    task = iot.start_thing_registration_task(templateBody=template(), **put(s3, f"{name}/all.json", wanted))["taskId"]
    told = ended(iot, task)
    assert told["status"] == "Completed", told
    assert (told["successCount"], told["failureCount"], told["percentageProgress"]) == (1000, 3, 100)
    assert told["templateBody"] == template() and told["inputFileKey"] == f"{name}/all.json"
    errors = reports(fleet, iot, task, "ERRORS")
    assert [line["lineNumber"] for line in errors] == [number + 1 for number in bad]
    assert all(line["response"]["errorCode"] and line["response"]["errorMessage"] for line in errors)
    results = reports(fleet, iot, task, "RESULTS")
    assert len(results) == 1000 and results[0]["lineNumber"] == 1
    assert results[-1]["response"]["resourceArns"] == {"thing": fleet.arn(f"thing/{name}-999")}
    assert iot.describe_thing(thingName=f"{name}-999")["attributes"] == {"serial": "999"}
    assert task in iot.list_thing_registration_tasks(status="Completed")["taskIds"]
    [link] = iot.list_thing_registration_task_reports(taskId=task, reportType="ERRORS")["resourceLinks"]
    for forged in (link[:-1] + ("0" if link[-1] != "0" else "1"), link.replace("ERRORS", "RESULTS")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(forged, context=trusting(fleet), timeout=20)
        assert refused.value.code == 403


def test_certificates_by_request(fleet, iot, s3, name):
    wanted = [line | {"CSR": signing_request(new_key())} for line in lines(name, 5)]
    wanted.append({"Name": f"{name}-x", "Serial": "x", "CSR": "no request"})
    body = template(CertificateSigningRequest={"Ref": "CSR"}, Status="ACTIVE")
    task = iot.start_thing_registration_task(templateBody=body, **put(s3, name, wanted))["taskId"]
    told = ended(iot, task)
    assert (told["status"], told["successCount"], told["failureCount"]) == ("Completed", 5, 1), told
    for line in reports(fleet, iot, task, "RESULTS"):
        arn = line["response"]["resourceArns"]["certificate"]
        described = iot.describe_certificate(certificateId=arn.rpartition("/")[2])["certificateDescription"]
        assert described["status"] == "ACTIVE"
        assert described["certificatePem"] == line["response"]["certificatePem"]
    [error] = reports(fleet, iot, task, "ERRORS")
    assert error["lineNumber"] == 6
    missing(iot.describe_thing, thingName=f"{name}-x")


def test_what_cannot_be_read(fleet, iot, s3, name):
    good = put(s3, name, [])
    for change, part in [
        ({"inputFileKey": f"{name}/none"}, "S3 object"),
        ({"inputFileBucket": "no-such-bucket"}, "S3 object"),
        ({"roleArn": ROLE + "-other"}, "AccessDenied"),
    ]:
        task = iot.start_thing_registration_task(templateBody=template(), **good | change)["taskId"]
        told = ended(iot, task)
        assert told["status"] == "Failed" and part in told["message"], told
    told = ended(iot, iot.start_thing_registration_task(templateBody=template(), **good)["taskId"])
    assert (told["status"], told["successCount"]) == ("Completed", 0)
    invalid(iot.start_thing_registration_task, templateBody="{}", **good)
    missing(iot.describe_thing_registration_task, taskId="none")
    missing(iot.stop_thing_registration_task, taskId="none")


def test_one_at_a_time_and_stopped(fleet, iot, s3, name):
    task = iot.start_thing_registration_task(templateBody=template(), **put(s3, name, lines(name, 20_000)))["taskId"]
    invalid(iot.start_thing_registration_task, templateBody=template(), **put(s3, name + "b", []))
    iot.stop_thing_registration_task(taskId=task)
    told = ended(iot, task)
    assert told["status"] == "Cancelled" and told["successCount"] < 20_000
    invalid(iot.stop_thing_registration_task, taskId=task)
    other = iot.start_thing_registration_task(templateBody=template(), **put(s3, name + "b", []))["taskId"]
    assert ended(iot, other)["status"] == "Completed"


def uploaded(*arguments: str, text: str | None = None) -> dict:
    """What the command printed."""
    done = subprocess.run(
        [binary(), "register-things", *arguments, "--json"], input=text, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_upload_instead_of_a_bucket(fleet, iot, tmp_path, name):
    """Several pieces, by the admin port; progress and reports are those of any task."""
    wanted = [json.dumps(line) for line in lines(name, 2000)]
    wanted[7] = "no JSON"
    (tmp_path / "input.json").write_text("\n".join(wanted))
    (tmp_path / "template.json").write_text(template())
    target = ["--template", str(tmp_path / "template.json"), "--admin", fleet.ready["admin"], "--account", fleet.account]
    told = uploaded(str(tmp_path / "input.json"), *target)
    assert (told["account_id"], told["region"]) == (fleet.account, REGION)
    task = ended(iot, told["task_id"])
    assert (task["status"], task["successCount"], task["failureCount"]) == ("Completed", 1999, 1), task
    assert "inputFileBucket" not in task and task["templateBody"] == template()
    [error] = reports(fleet, iot, told["task_id"], "ERRORS")
    assert error["lineNumber"] == 8
    assert len(reports(fleet, iot, told["task_id"], "RESULTS")) == 1999
    assert iot.describe_thing(thingName=f"{name}-1999")["attributes"] == {"serial": "1999"}
    # From standard input, and what cannot work is said before anything is uploaded.
    other = uploaded("-", *target, text=json.dumps(lines(f"{name}-b", 1)[0]))
    assert ended(iot, other["task_id"])["successCount"] == 1
    (tmp_path / "template.json").write_text("{}")
    for text, part in (("", "is empty"), ("{}", "Resources")):
        done = subprocess.run(
            [binary(), "register-things", "-", *target], input=text, capture_output=True, text=True, timeout=60
        )
        assert done.returncode != 0 and part in done.stderr, done.stderr


def test_an_upload_into_a_directory_that_nobody_runs_on(tmp_path, name):
    fleet = Fleethaven(tmp_path / "fleethaven").start()
    try:
        assert fleet.stop() == 0
        (tmp_path / "template.json").write_text(template())
        target = ["--template", str(tmp_path / "template.json"), "--data-dir", str(fleet.data_dir)]
        text = "\n".join(json.dumps(line) for line in lines(name, 2000))
        task = uploaded("-", *target, text=text)["task_id"]
        fleet.start()
        assert ended(fleet.iot, task)["successCount"] == 2000
    finally:
        fleet.close()


def test_killed_in_between(cloud, s3, tmp_path_factory, name):
    """No line is done twice, none is left out."""
    fleet = Fleethaven(tmp_path_factory.mktemp("killed") / "fleethaven", "--allow-outbound", "127.0.0.0/8").start()
    try:
        connect(fleet, cloud, tmp_path_factory)
        count = 3000
        body = template(CertificateSigningRequest={"Ref": "CSR"}, Status="ACTIVE")
        request = signing_request(new_key())
        wanted = [line | {"CSR": request} for line in lines(name, count)]
        task = fleet.iot.start_thing_registration_task(templateBody=body, **put(s3, name, wanted))["taskId"]

        def progress(least: int):
            told = fleet.iot.describe_thing_registration_task(taskId=task)
            return told["successCount"] >= least

        for least in (1, count // 3):
            eventually(lambda: progress(least), f"{least} lines", seconds=60)
            fleet.kill()
            fleet.start()
        told = ended(fleet.iot, task)
        assert (told["status"], told["successCount"], told["failureCount"]) == ("Completed", count, 0), told
        results = reports(fleet, fleet.iot, task, "RESULTS")
        assert [line["lineNumber"] for line in results] == list(range(1, count + 1))
        # Each has one certificate, and there are no others.
        arns = {line["response"]["resourceArns"]["certificate"] for line in results}
        assert len(arns) == count
        pages = fleet.iot.get_paginator("list_certificates").paginate(PaginationConfig={"PageSize": 250})
        assert {one["certificateArn"] for page in pages for one in page["certificates"]} == arns
    finally:
        fleet.close()
