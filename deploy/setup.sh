#!/usr/bin/env bash
# Prepares a Debian machine (12 or later) to build and test Fleethaven: deploy/setup.sh
#
# Idempotent: installs only what is absent, as root or through sudo. What each package is for:
#   build-essential  the C compiler and linker that Rust links with, and that builds aws-lc (the cryptography below TLS)
#   cmake            aws-lc's build where no prebuilt configuration fits the processor
#   ca-certificates  HTTPS to the package registries
#   curl             getting rustup, if Rust is absent
#   git              the version of a build
#   python3 + venv   the end-to-end tests' clients (`make test` makes the environment itself)
#   mosquitto-clients  likewise (`make test` installs it itself where it can)
# Not needed: protoc (contracts are compiled by a Rust library), OpenSSL, a JVM, Docker.
set -euo pipefail

packages=(build-essential cmake ca-certificates curl git python3 python3-venv mosquitto-clients)
# The Rust that the workspace asks for (rust-version in Cargo.toml), or newer.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v dpkg-query >/dev/null || die "this is not a Debian system; install what the head of this file lists"

absent=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || absent+=("$package")
done
if [ "${#absent[@]}" -eq 0 ]; then
    say "all Debian packages are there"
else
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "need root for: apt-get install ${absent[*]}"
        root=(sudo)
    fi
    say "installing ${absent[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${root[@]}" apt-get update -qq || say "the package lists could not be renewed; trying with those at hand"
    "${root[@]}" apt-get install -y -qq --no-install-recommends "${absent[@]}" >/dev/null
fi

[ -f "${CARGO_HOME:-$HOME/.cargo}/env" ] && . "${CARGO_HOME:-$HOME/.cargo}/env"
if ! command -v rustc >/dev/null; then
    say "installing Rust $wanted by rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
        sh -s -- -y --profile minimal --component clippy --component rustfmt --default-toolchain "$wanted"
    . "${CARGO_HOME:-$HOME/.cargo}/env"
fi
found=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ] ||
    die "Rust $found is older than $wanted: rustup update"
say "Rust $found; ready for 'make run' and 'make test'"
