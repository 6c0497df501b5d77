#!/usr/bin/env python3
"""Writes src/operations/table.rs: names, methods and URI patterns of AWS IoT's public service models.

Needs botocore. Run as `python3 services/api/operations.py` after raising the botocore version, and commit the output.
"""

import pathlib

import botocore
import botocore.session

SERVICES = [("iot", "CONTROL"), ("iot-data", "DATA"), ("iot-jobs-data", "JOBS")]

# Labels that may hold slashes as they are, although the models do not mark them so: topics ("HTTPS", developer guide).
GREEDY = {"Publish": "topic", "GetRetainedMessage": "topic"}


def pattern(operation):
    """The URI pattern; a label that may hold slashes ends in `+`."""
    uri = operation.http["requestUri"]
    label = GREEDY.get(operation.name)
    return uri.replace("{" + label + "}", "{" + label + "+}") if label else uri


def rows(model):
    """One row for each operation, in the order of their names."""
    for name in sorted(model.operation_names):
        operation = model.operation_model(name)
        yield f'    ("{name}", "{operation.http["method"]}", "{pattern(operation)}"),'


def main():
    session = botocore.session.get_session()
    lines = [
        "//! Every operation of AWS IoT's service models: name, method, URI pattern.",
        "//!",
        f"//! Written by `operations.py` from botocore {botocore.__version__}; do not edit.",
    ]
    for service, constant in SERVICES:
        model = session.get_service_model(service)
        lines += [
            "",
            f"/// `{service}` ({model.api_version}).",
            f"pub(super) const {constant}: &[(&str, &str, &str)] = &[",
            *rows(model),
            "];",
        ]
    target = pathlib.Path(__file__).parent / "src/operations/table.rs"
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
