"""The contract of the ready line: one JSON line, its keys, its files; and settings that are refused."""

import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from instance import READY_KEYS, StartFailed, address, binary
from lab import Lab


def test_the_ready_line_has_every_key(fleet):
    assert READY_KEYS <= fleet.ready.keys()
    assert fleet.ready["ready"] is True
    assert fleet.ready["account_id"] == "123456789012"
    assert fleet.ready["region"] == "us-east-1"


def test_endpoints_are_https_urls_with_the_bound_ports(fleet):
    for key in ("iot_endpoint", "data_endpoint", "jobs_endpoint"):
        scheme, _, rest = fleet.ready[key].partition("://")
        assert scheme == "https" and address(rest.rstrip("/"))[1] > 0, f"{key} is {fleet.ready[key]}"
    for key in ("mqtt_tls", "admin"):
        assert address(fleet.ready[key])[1] > 0, f"{key} is {fleet.ready[key]}"


def test_listeners_that_are_off_are_null(fleet):
    assert [fleet.ready[key] for key in ("mqtt", "mqtt_quic", "https_mtls")] == [None, None, None]


def test_listeners_that_are_on_are_named(fleethaven):
    any_port = "127.0.0.1:0"
    fleet = fleethaven("--mqtt", any_port, "--https-mtls", any_port)
    for key in ("mqtt", "https_mtls"):
        assert address(fleet.ready[key])[1] > 0, f"{key} is {fleet.ready[key]}"


def test_paths_are_absolute_even_when_the_data_directory_is_not(fleethaven, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fleet = fleethaven(data_dir=Path("relative"))
    for key in ("ca_file", "aws_config_file"):
        path = Path(fleet.ready[key])
        assert path.is_absolute() and path.is_file(), f"{key} is {path}"


def test_account_and_region_are_settings(fleethaven):
    fleet = fleethaven("--account-id", "210987654321", "--region", "eu-central-1")
    arn = fleet.iot.create_thing(thingName="t")["thingArn"]
    assert arn == "arn:aws:iot:eu-central-1:210987654321:thing/t"


def test_nothing_but_the_ready_line_on_standard_output(fleethaven):
    fleet = fleethaven()
    fleet.iot.list_things()
    assert fleet.stop() == 0
    assert len(fleet.out.rest()) == 1


def test_others_cannot_read_the_data_directory(fleet):
    assert stat.S_IMODE(fleet.data_dir.stat().st_mode) == 0o700
    for path in fleet.data_dir.iterdir():  # what lies deeper is behind the directory's own mode
        if path.is_file() and path != Path(fleet.ca_file):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, f"{path} is open to others"


def test_the_aws_cli_works_with_the_config_file_alone(fleet, tmp_path):
    fleet.iot.create_thing(thingName="seen-by-the-cli")
    things = Lab(fleet, tmp_path).aws("list-things")["things"]
    assert "seen-by-the-cli" in [t["thingName"] for t in things]


def test_a_second_name_in_the_server_certificate(fleethaven):
    fleet = fleethaven("--san", "broker.example.com")
    with socket.create_connection(fleet.mqtt_tls, timeout=5) as plain:
        context = ssl.create_default_context(cafile=fleet.ca_file)
        with context.wrap_socket(plain, server_hostname="broker.example.com") as secure:
            names = {value for _, value in secure.getpeercert()["subjectAltName"]}
    assert {"localhost", "127.0.0.1", "broker.example.com"} <= names


def test_a_second_start_keeps_account_key_and_authority(fleethaven):
    fleet = fleethaven()
    before = dict(fleet.ready)
    authority = Path(fleet.ca_file).read_text()
    assert fleet.stop() == 0
    fleet.start()
    for key in ("account_id", "access_key_id", "secret_access_key", "ca_file"):
        assert fleet.ready[key] == before[key], f"{key} changed"
    assert Path(fleet.ca_file).read_text() == authority
    fleet.iot.list_things()


@pytest.mark.parametrize(
    "settings, named",
    [
        (["--account-id", "12345"], "account"),
        (["--region", "US East"], "region"),
        (["--profile", "generous"], "profile"),
        (["--mqtt-tls", "not-an-address"], "mqtt-tls"),
        (["--mqtt", "0.0.0.0:0"], "--mqtt-any-address"),
        (["--server-cert", "/does/not/exist.pem"], "server-key"),
        (["--server-cert", "/does/not/exist.pem", "--server-key", "/does/not/exist.key"], "/does/not/exist"),
        (["--allow-outbound", "10.0.0.0/40"], "allow-outbound"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_wrong_setting_ends_the_start_and_is_named(fleethaven, settings, named):
    with pytest.raises(StartFailed) as failed:
        fleethaven(*settings)
    assert failed.value.code not in (0, None), "the program did not end by itself"
    assert named in failed.value.log.lower(), f"{named!r} is not named in:\n{failed.value.log}"


def test_a_taken_port_ends_the_start_and_is_named(fleet, fleethaven):
    taken = fleet.ready["mqtt_tls"]
    with pytest.raises(StartFailed) as failed:
        fleethaven("--mqtt-tls", taken)
    assert failed.value.code not in (0, None)
    assert taken in failed.value.log, failed.value.log


def test_a_data_directory_serves_one_instance_at_a_time(fleet, fleethaven):
    with pytest.raises(StartFailed) as failed:
        fleethaven(data_dir=fleet.data_dir)
    assert str(fleet.data_dir) in failed.value.log, failed.value.log
    fleet.iot.list_things()


def test_help_names_every_setting():
    text = subprocess.run([binary(), "dev", "--help"], capture_output=True, text=True, timeout=20).stdout
    for option in (
        "--data-dir",
        "--account-id",
        "--region",
        "--single-region",
        "--profile",
        "--mqtt-tls",
        "--https",
        "--https-mtls",
        "--quic",
        "--mqtt",
        "--mqtt-any-address",
        "--admin",
        "--san",
        "--server-cert",
        "--server-key",
        "--allow-outbound",
    ):
        assert option in text, f"{option} is missing in the help"


def test_logs_are_on_standard_error(fleet):
    assert fleet.log.all, "nothing was logged"
    assert not any(fleet.ready["secret_access_key"] in line for line in fleet.log.all), (
        "the secret key is in the log"
    )
