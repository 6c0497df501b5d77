"""How long Fleethaven takes to be back after SIGKILL, with many things in its registry.

Creates the things through the API, kills the process while it is creating more, starts it again on the same data, and takes
the time from the start of the process to its ready line. Every thing whose creation was acknowledged must be there.

    python3 loadtest/recovery.py --things 100000
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from fleethaven_setup import SignedClient

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("FLEETHAVEN_BIN", str(ROOT / "target/release/fleethaven"))
START_SECONDS = 120


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--things", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleethaven-recovery-") as folder:
        seconds = run(options, Path(folder))
    print(json.dumps({"things": options.things, "recovery_seconds": seconds}))


def run(options, folder):
    acknowledged = []
    with started(folder) as (ready, child, _):
        begun = time.monotonic()
        create(ready, options, acknowledged, options.things)
        print(f"{options.things / (time.monotonic() - begun):,.0f} CreateThing/s, {options.threads} connections")
        # More creations are under way when the process dies.
        more = threading.Thread(target=create_until_it_fails, args=(ready, options, acknowledged))
        more.start()
        time.sleep(0.5)
        child.send_signal(signal.SIGKILL)
        child.wait()
        more.join()
    recoveries = []
    for _ in range(options.rounds):
        with started(folder) as (ready, child, seconds):
            recoveries.append(round(seconds, 3))
            child.send_signal(signal.SIGKILL)
            child.wait()
    with started(folder) as (ready, _, _):
        check(ready, acknowledged)
    print(f"{len(acknowledged):,} acknowledged things, all there; ready after {recoveries} s")
    return sorted(recoveries)[len(recoveries) // 2]


@contextlib.contextmanager
def started(folder):
    arguments = [BINARY, "dev", "--data-dir", str(folder / "data")]
    for listener in ("--mqtt-tls", "--https", "--admin"):
        arguments += [listener, "127.0.0.1:0"]
    with (folder / "fleethaven.log").open("ab") as log:
        begun = time.monotonic()
        child = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    try:
        readable, _, _ = select.select([child.stdout], [], [], START_SECONDS)
        line = child.stdout.readline() if readable else b""
        if not line:
            raise SystemExit((folder / "fleethaven.log").read_text()[-2000:])
        yield json.loads(line), child, time.monotonic() - begun
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def create(ready, options, acknowledged, count):
    names = iter(range(count))
    lock = threading.Lock()

    def work():
        client = SignedClient(ready)
        connection = client.connection()
        while True:
            with lock:
                number = next(names, None)
            if number is None:
                return
            name = f"thing-{number:07}"
            client.call_on(connection, "POST", f"/things/{name}", {"attributePayload": {"attributes": {"n": str(number)}}})
            acknowledged.append(name)

    threads = [threading.Thread(target=work) for _ in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def create_until_it_fails(ready, options, acknowledged):
    client = SignedClient(ready)
    connection = client.connection()
    number = options.things
    with contextlib.suppress(Exception, SystemExit):
        while True:
            name = f"thing-{number:07}"
            client.call_on(connection, "POST", f"/things/{name}", {})
            acknowledged.append(name)
            number += 1


def check(ready, acknowledged):
    client = SignedClient(ready)
    connection = client.connection()
    # The last ones are those that a crash could have taken; of the rest a sample.
    for name in acknowledged[-2000:] + acknowledged[:-2000:97]:
        connection.request("GET", f"/things/{name}", b"", client.signed_headers("GET", f"/things/{name}", b""))
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{name} was acknowledged and is gone: {answer.status} {text}")


if __name__ == "__main__":
    main()
