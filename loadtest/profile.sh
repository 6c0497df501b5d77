#!/usr/bin/env bash
# Where the broker spends its time in one scenario: a release build with symbols, the broker on core 0, the load tool on
# core 1, perf on the broker for the measured part.
#
#   loadtest/profile.sh fan-in --qos 1                    # hottest functions, and the system calls per message
#   TLS=1 loadtest/profile.sh handshakes --resume         # over mutual TLS
#   SECONDS_OF_LOAD=20 loadtest/profile.sh pairs --qos 0
#
# Leaves perf.data, report.txt (by function), calls.txt (call graph), syscalls.txt and load.json in target/profile (or OUT).
# Needs perf; system calls need strace.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[ $# -gt 0 ] || { sed -n '2,10p' "${BASH_SOURCE[0]}" >&2; exit 2; }
target=${CARGO_TARGET_DIR:-target}
out=${OUT:-$target/profile}
seconds=${SECONDS_OF_LOAD:-8}
if [ -z "${FLEETHAVEN_BIN:-}" ] || [ -z "${LOADTEST_BIN:-}" ]; then
    # Frame pointers make call graphs cheap and whole.
    RUSTFLAGS="${RUSTFLAGS:-} -C force-frame-pointers=yes" CARGO_TARGET_DIR=$target/profiled \
        cargo build --release -p fleethaven -p fleethaven-loadtest --features fleethaven/jemalloc
    FLEETHAVEN_BIN=$target/profiled/release/fleethaven LOADTEST_BIN=$target/profiled/release/fleethaven-loadtest
fi
export FLEETHAVEN_BIN LOADTEST_BIN
mkdir -p "$out"
exec python3 loadtest/profile_run.py --out "$out" --seconds "$seconds" ${TLS:+--tls} -- "$@"
