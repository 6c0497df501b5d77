"""Writes a folder as a container image of one layer, in the form of `docker save`: deploy/image.sh runs it.

Everything in the layer belongs to root and cannot be written by the image's user, but for what is named with --owned. Order, times and
owners are fixed, so that the same files give the same image."""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
import time
from pathlib import Path

USER = 10001
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def entry(name: str, size: int, mode: int, when: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, when
    return entry


def layer(root: Path, owned: set[str], when: int) -> bytes:
    """The folder as an uncompressed tar."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_dir():
                folder = entry(name, 0, 0o755, when)
                folder.type = tarfile.DIRTYPE
                if name in owned:
                    folder.mode, folder.uid, folder.gid = 0o700, USER, USER
                tar.addfile(folder)
            else:
                mode = 0o555 if os.access(path, os.X_OK) else 0o444
                with path.open("rb") as contents:
                    tar.addfile(entry(name, path.stat().st_size, mode, when), contents)
    return written.getvalue()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--root", type=Path, required=True)
    options.add_argument("--output", type=Path, required=True)
    options.add_argument("--name", required=True)
    for several in ("owned", "entrypoint", "command", "env", "label", "volume", "port"):
        options.add_argument(f"--{several}", action="append", default=[])
    given = options.parse_args()
    when = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    tar = layer(given.root, set(given.owned), when)
    digest = hashlib.sha256(tar).hexdigest()
    labels = dict(label.split("=", 1) for label in given.label)
    config = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{USER}:{USER}",
            "WorkingDir": "/",
            "Entrypoint": given.entrypoint or None,
            "Cmd": given.command or None,
            "Env": given.env,
            "Labels": {**labels, "org.opencontainers.image.created": created},
            "Volumes": {volume: {} for volume in given.volume},
            "ExposedPorts": {port: {} for port in given.port},
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": created, "created_by": "deploy/image.sh"}],
    }
    config = json.dumps(config, sort_keys=True).encode()
    named = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": named, "RepoTags": [given.name], "Layers": [f"{digest}/layer.tar"]}]
    partial = given.output.with_suffix(".part")
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, contents in [
            (named, config),
            (f"{digest}/layer.tar", tar),
            ("manifest.json", json.dumps(manifest).encode()),
        ]:
            archive.addfile(entry(name, len(contents), 0o644, when), io.BytesIO(contents))
    partial.rename(given.output)
    packed = len(gzip.compress(tar, 6)) / 1e6
    print(f"{given.output}: {given.name}, {len(tar) / 1e6:.1f} MB ({packed:.1f} MB compressed), layer sha256:{digest}")


if __name__ == "__main__":
    main()
