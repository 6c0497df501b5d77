#!/usr/bin/env python3
"""Adds up what the test runners counted in a log: prints `N passed, N failed` and ends with 1 if any failed or none ran."""

import re
import sys

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
NEXTEST = re.compile(r"^\s*Summary \[.*\] +\d+(?:/\d+)? tests? run: (.*)$")
CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed;")
PYTEST = re.compile(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s.*$")


def count(lines) -> tuple[int, int]:
    passed = failed = 0
    for line in lines:
        line = ESCAPES.sub("", line.rstrip("\n"))
        if found := CARGO.match(line):
            passed, failed = passed + int(found[1]), failed + int(found[2])
        elif found := NEXTEST.match(line) or PYTEST.match(line):
            for number, what in re.findall(r"(\d+) ([a-z]+)", found[1]):
                if what == "passed":
                    passed += int(number)
                elif what in ("failed", "error", "errors", "exec") or what == "timed":
                    failed += int(number)
    return passed, failed


def main() -> int:
    with open(sys.argv[1], errors="replace") as log:
        passed, failed = count(log)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
