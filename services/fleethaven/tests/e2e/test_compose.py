"""What `deploy/compose/` starts, held against the binary without an engine: commands, options and settings that there are."""

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from instance import binary

FOLDER = Path(__file__).resolve().parents[4] / "deploy" / "compose"
ROLES = {"metastore", "router", "gateway", "rules-worker", "api"}


def interpolated(text: str) -> str:
    """`${NAME:-default}` as Compose reads it when nobody sets anything."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def services() -> list:
    return [
        pytest.param(service, id=f"{file.stem}-{name}")
        for file in sorted(FOLDER.glob("*.yaml"))
        for name, service in yaml.safe_load(interpolated(file.read_text()))["services"].items()
        if service["image"].startswith("localhost/fleethaven:")
    ]


def environment(service: dict) -> dict:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLEETHAVEN_")}
    return subprocess.run(
        [binary(), *arguments], env=clean | settings, capture_output=True, text=True, timeout=60
    )


@cache
def help_of(*command: str) -> str:
    done = run(*command, "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


def command_of(service: dict) -> tuple[list[str], list[str]]:
    """The words that name a command, and its options; the image's own command is `dev`."""
    words = service.get("command", ["dev"])
    options = [word for word in words if word.startswith("--")]
    return [word for word in words if word not in options], options


@pytest.mark.parametrize("service", services())
def test_the_command_has_every_option_and_setting(service):
    command, options = command_of(service)
    said = help_of(*command)
    for option in options:
        name = option.partition("=")[0]
        assert re.search(rf"{name}\b", said), f"`fleethaven {' '.join(command)}` has no {name}"
    # What several services share is a setting of some of them only.
    everything = said + "".join(map(help_of, sorted(ROLES)))
    for name in environment(service):
        assert re.search(rf"\[env: {name}[=\]]", everything), f"nothing has the setting {name}"


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> dict:
    """Where the volumes of a container are here, the certificates issued by the commands that the cluster issues them by."""
    folder = tmp_path_factory.mktemp("volumes")
    (folder / "data").mkdir()
    places = {"/pki/": f"{folder}/pki/", "/data/": f"{folder}/data/"}
    for name, service in yaml.safe_load(interpolated((FOLDER / "cluster.yaml").read_text()))["services"].items():
        if name.startswith("pki-"):
            done = run(*(word.replace("/data/", places["/pki/"]) for word in service["command"]))
            assert done.returncode == 0, f"{name}: {done.stderr}"
    return places


@pytest.mark.parametrize("service", services())
def test_a_process_takes_its_settings(service, volumes):
    command, _ = command_of(service)
    if command[0] not in ROLES | {"dev"}:
        return
    settings = environment(service)
    for inside, here in volumes.items():
        settings = {name: re.sub(f"^{inside}", here, value) for name, value in settings.items()}
    done = run(*command, "--check-config", **settings)
    assert done.returncode == 0, done.stderr


def test_every_gateway_is_a_name_of_the_server_certificate():
    cluster = yaml.safe_load(interpolated((FOLDER / "cluster.yaml").read_text()))["services"]
    names = next(word for word in cluster["pki-server"]["command"] if word.startswith("--san=")).partition("=")[2]
    shown = {name for name, service in cluster.items() if service.get("command") in (["gateway"], ["api"])}
    assert shown <= set(names.split(","))


def test_no_port_of_this_machine_is_given_twice():
    for file in FOLDER.glob("*.yaml"):
        held = yaml.safe_load(interpolated(file.read_text()))["services"].values()
        ports = [port.rpartition(":")[0] for service in held for port in service.get("ports", [])]
        assert len(ports) == len(set(ports)), file
