#!/usr/bin/env python3
"""Checks the dependencies of the workspace against .deny.toml where cargo-deny is not installed.

Asks only cargo, so it needs no network once the dependencies are there. Of .deny.toml it obeys `licenses.allow`, `bans.deny` and
`sources.allow-registry`; advisories need cargo-deny and its database.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def allowed(expression: str, allow: set[str]) -> bool:
    """Whether an SPDX expression can be met with the allowed licences; `/` is the older way to write OR."""
    tokens = re.findall(r"[()]|[^\s()/]+|/", expression)
    position = 0

    def take() -> str | None:
        nonlocal position
        position += 1
        return tokens[position - 1] if position <= len(tokens) else None

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def term() -> bool:
        token = take()
        if token == "(":
            inner = either()
            if take() != ")":
                raise ValueError(f"unbalanced: {expression}")
            return inner
        if peek() == "WITH":
            take()
            return f"{token} WITH {take()}" in allow
        return token in allow

    def both() -> bool:
        met = term()
        while peek() == "AND":
            take()
            met = term() and met
        return met

    def either() -> bool:
        met = both()
        while peek() in ("OR", "/"):
            take()
            met = both() or met
        return met

    met = either()
    if peek() is not None:
        raise ValueError(f"not an SPDX expression: {expression}")
    return met


def problems(packages: list[dict], rules: dict) -> list[str]:
    allow = set(rules["licenses"]["allow"])
    denied = {entry["crate"] if isinstance(entry, dict) else entry for entry in rules["bans"]["deny"]}
    registries = {f"registry+{url}" for url in rules["sources"]["allow-registry"]}
    found = []
    for package in packages:
        who = f"{package['name']} {package['version']}"
        if not package["license"]:
            found.append(f"{who} states no licence")
        elif not allowed(package["license"], allow):
            found.append(f"{who} is under {package['license']}, which .deny.toml does not allow")
        if package["name"] in denied:
            found.append(f"{who} is banned in .deny.toml")
        if package["source"] and package["source"] not in registries:
            found.append(f"{who} comes from {package['source']}")
    return found


def ask_cargo(*arguments: str) -> str:
    return subprocess.run(
        ["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def main() -> int:
    rules = tomllib.loads((ROOT / ".deny.toml").read_text())
    # `cargo metadata` also lists optional dependencies that nothing switches on; `cargo tree` lists what is built.
    built = set()
    for target in rules["graph"]["targets"]:
        built |= set(
            ask_cargo("tree", "--workspace", "--target", target, "--prefix=none", "--format={p}").splitlines()
        )
    names = {tuple(line.split()[:2]) for line in built if line}
    metadata = json.loads(ask_cargo("metadata", "--format-version=1"))
    packages = [p for p in metadata["packages"] if (p["name"], "v" + p["version"]) in names]
    found = problems(packages, rules)
    print("\n".join(found) or f"licences, bans and sources of {len(packages)} packages: ok")
    return 1 if found or not packages else 0


if __name__ == "__main__":
    sys.exit(main())
