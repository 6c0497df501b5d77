"""What `profile.sh` does once the programs are built: one broker, one scenario, perf, then strace."""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from brokers import ROOT, Fleethaven, Pki, executable, pinned

# Scenarios that end by themselves.
COUNTED = ("idle", "retained", "offline", "connect-storm", "reconnect-storm")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("scenario", nargs="+")
    options = parser.parse_args()
    load = executable("LOADTEST_BIN", ROOT / "target/release/fleethaven-loadtest")
    with tempfile.TemporaryDirectory(prefix="fleethaven-profile-") as folder:
        pki = Pki(Path(folder) / "pki", 20)
        broker = Fleethaven(Path(folder), pki)
        with broker.running([0]) as running:
            arguments = load_arguments(options, load, pki, running)
            record = ["perf", "record", "--quiet", "-F", "2000", "-g", "-o", options.out / "perf.data"]
            report = watched(options, arguments, [*record, "-p", str(running.pid)])
            (options.out / "load.json").write_text(json.dumps(report, indent=1) + "\n")
            if shutil.which("strace"):
                trace = ["strace", "-f", "-c", "-o", options.out / "syscalls.txt", "-p", str(running.pid)]
                traced = watched(options, arguments, trace)
        perf_reports(options.out)
    print((options.out / "report.txt").read_text())
    if shutil.which("strace"):
        print_syscalls(options.out / "syscalls.txt", traced)
    for name in ("broker_cpu_us_per_message", "broker_cpu_us_per_delivery", "messages_per_second", "own_cpu_share"):
        if report.get(name) is not None:
            print(f"{name}: {report[name]}")


def load_arguments(options, load, pki, running):
    arguments = [*pinned([1]), load, *options.scenario, "--pid", str(running.pid), "--json"]
    if options.tls:
        arguments += ["--target", running.tls, "--tls", "--ca", running.ca, "--identities", str(pki.clients)]
    else:
        arguments += ["--target", running.plain]
    if options.scenario[0] not in COUNTED:
        arguments += ["--duration", str(options.seconds)]
    return list(map(str, arguments))


def watched(options, arguments, watcher):
    """Runs the load, the watcher beside it from shortly after its start to its end."""
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    if options.scenario[0] not in COUNTED:
        # The warm-up is a second.
        time.sleep(1.5)
    watcher = subprocess.Popen(list(map(str, watcher)), stderr=subprocess.DEVNULL)
    output, _ = child.communicate()
    watcher.send_signal(2)
    watcher.wait()
    if child.returncode != 0:
        raise SystemExit("the load failed")
    return json.loads(output)


def perf_reports(out):
    base = ["perf", "report", "--stdio", "-i", out / "perf.data", "--percent-limit"]
    for name, arguments in (("report.txt", ["0.7", "--no-children", "-g", "none"]), ("calls.txt", ["1.5", "--children"])):
        done = subprocess.run(list(map(str, [*base, *arguments])), capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith("#")]
        (out / name).write_text("\n".join(lines) + "\n")


def print_syscalls(path, report):
    """System calls per message; under strace everything is slower, so that only the counts mean something."""
    messages = report.get("sent") or report.get("messages") or report.get("handshakes")
    seconds = report.get("seconds") or 0
    for line in path.read_text().splitlines()[2:]:
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and messages:
            # The trace began half a second after the measured part.
            part = max(seconds - 0.5, 1) / seconds if seconds else 1
            print(f"{int(fields[3]) / (messages * part):8.3f} {fields[-1]} per message")


if __name__ == "__main__":
    main()
