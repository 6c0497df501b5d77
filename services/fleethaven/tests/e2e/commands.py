"""Operators' commands of the binary, and clients that sign with what the commands print."""

from __future__ import annotations

import json
import subprocess

from instance import binary


def fleethaven(*arguments: str) -> list[dict]:
    """Runs a command that ends; what it printed as JSON lines."""
    done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def failure(*arguments: str) -> str:
    done = subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and not done.stdout
    return done.stderr


def signed_by(fleet, key: dict, service: str = "iot"):
    """A client that signs with an access key, or with temporary credentials as `sts` tells them."""
    token = key.get("SessionToken")
    id, secret = (
        (key["AccessKeyId"], key["SecretAccessKey"]) if token else (key["access_key_id"], key["secret_access_key"])
    )
    return fleet.client(service, aws_access_key_id=id, aws_secret_access_key=secret, aws_session_token=token)
