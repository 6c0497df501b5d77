"""`make demo`: the beginner's lab on an instance of its own, with every command and what came of it.

Ends with 1 on the first surprise.
"""

import re
import sys
import tempfile
import textwrap
import traceback
from pathlib import Path

from instance import Fleethaven
from lab import Lab
from mqtt_client import V3, V5
from sdk_client import Sdk3, Sdk5

MOST_LINES = 12  # of one output; keys and certificates are long


class Narrator:
    def step(self, text: str):
        print(f"\n== {text}", flush=True)

    def does(self, text: str):
        print(f"$ {text}", flush=True)

    def sees(self, text: str):
        lines = re.sub(r"(PRIVATE KEY-----).*", r"\1 …", text).splitlines()
        if len(lines) > MOST_LINES:
            lines = lines[:MOST_LINES] + [f"… {len(lines) - MOST_LINES} more lines"]
        print(textwrap.indent("\n".join(line[:220] for line in lines), "  "), flush=True)


def run(lab: Lab, narrator: Narrator):
    narrator.step("1. Endpoints, a thing, its certificate and its policy (AWS CLI, boto3)")
    lab.endpoints()
    lab.provision_sensor()
    lab.provision_application()
    narrator.step("2. Telemetry over mutual TLS (paho-mqtt, mosquitto_pub and mosquitto_sub)")
    lab.paho_telemetry(V5)
    lab.paho_telemetry(V3)
    lab.mosquitto_telemetry()
    narrator.step("3. The AWS IoT Device SDK, with a session that waits for its owner")
    lab.sdk_session(Sdk5)
    lab.sdk_session(Sdk3)
    narrator.step("4. A rule that passes hot readings on")
    lab.create_rule()
    lab.hot_readings()
    narrator.step("5. What is denied, as the client sees it and as the log says it")
    for denial in lab.DENIALS:
        lab.deny(denial)
    narrator.step("6. Clean-up, first in the wrong order")
    lab.wrong_order()
    lab.clean_up()


def main() -> int:
    narrator = Narrator()
    with tempfile.TemporaryDirectory(prefix="fleethaven-demo-") as folder:
        fleet = Fleethaven(Path(folder) / "data")
        try:
            narrator.does("fleethaven dev --data-dir DIR --mqtt-tls 127.0.0.1:0 --https 127.0.0.1:0")
            fleet.start()
            narrator.sees(
                "ready: " + ", ".join(f"{k} {fleet.ready[k]}" for k in ("iot_endpoint", "mqtt_tls", "admin"))
            )
            lab = Lab(fleet, Path(folder), narrator)
            try:
                run(lab, narrator)
            finally:
                lab.close()
            narrator.step("The end")
            narrator.does("kill -TERM")
            code = fleet.stop()
            narrator.sees(f"drained, exit code {code}")
            assert code == 0, "fleethaven did not end well"
        except Exception:
            traceback.print_exc()
            print("\nA surprise: the lab did not go as it should. The last lines of fleethaven's log:")
            print("\n".join(fleet.log.all[-20:] if fleet.process else []))
            return 1
        finally:
            fleet.close()
    print("\nThe whole lab went as it should.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
