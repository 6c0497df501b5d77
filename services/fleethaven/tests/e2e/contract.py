"""What botocore's model of a service says about its answers, and clients whose every answer is held against it.

Members, types, ranges, enumerations and patterns are checked in the bytes that came, before botocore reads them: its
parser passes over what it does not know. Errors must be of the operation, with the HTTP status of their shape; those
that AWS gives for any operation without modelling them are in `COMMON`.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field

from botocore.model import OperationModel, Shape

# https://docs.aws.amazon.com/general/latest/APIReference/CommonErrors.html, and 501 of what is not built.
COMMON = {
    "AccessDeniedException": 403,
    "ForbiddenException": 403,
    "IncompleteSignature": 400,
    "IncompleteSignatureException": 400,
    "InternalFailureException": 500,
    "InvalidClientTokenId": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotImplementedException": 501,
    "RequestEntityTooLargeException": 413,
    "RequestExpired": 400,
    "SignatureDoesNotMatch": 403,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 400,
    "UnrecognizedClientException": 403,
}
# AWS's data plane sends it with errors and with what a publish is answered, and models it in neither.
TRACE = {"iot-data": {"traceId"}}
INTEGERS = {"integer": 2**31, "long": 2**63}
# A date in milliseconds where seconds belong lies after the year 5000.
LAST_SECOND = 1e11


class Violation(AssertionError):
    """An answer that the service's model does not allow."""


@dataclass
class Answers:
    """What answers of one operation were seen."""

    successes: int = 0
    errors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    members: set[str] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)


@functools.cache
def pattern(text: str) -> re.Pattern | None:
    """A model's pattern; None where it uses Java's classes, which `re` does not know."""
    try:
        return re.compile(text)
    except re.error:
        return None


def checked(shape: Shape, value: object, path: str, seen: set[str]) -> list[str]:
    """What is wrong with a value in JSON; `seen` grows by the paths of its members."""
    seen.add(path)
    kind = shape.type_name
    if value is None:
        return [f"{path} is null"]
    if kind == "structure":
        return _structure(shape, value, path, seen)
    if kind == "list":
        if not isinstance(value, list):
            return [f"{path} is no list: {value!r}"]
        wrong = _within(shape, len(value), path)
        return wrong + [w for item in value for w in checked(shape.member, item, f"{path}[]", seen)]
    if kind == "map":
        if not isinstance(value, dict):
            return [f"{path} is no map: {value!r}"]
        wrong = _within(shape, len(value), path)
        for key, item in value.items():
            wrong += _text(shape.key, key, f"{path}<key>") + checked(shape.value, item, f"{path}<>", seen)
        return wrong
    if kind == "string":
        return _text(shape, value, path)
    if kind in INTEGERS:
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) > INTEGERS[kind]:
            return [f"{path} is no {kind}: {value!r}"]
        return _within(shape, value, path)
    if kind in ("double", "float"):
        return [] if _number(value) else [f"{path} is no number: {value!r}"]
    if kind == "boolean":
        return [] if isinstance(value, bool) else [f"{path} is no boolean: {value!r}"]
    if kind == "timestamp":
        return [] if _number(value) and 0 < value < LAST_SECOND else [f"{path} is no time in seconds: {value!r}"]
    if kind == "blob":
        try:
            base64.b64decode(value, validate=True)
        except (TypeError, binascii.Error):
            return [f"{path} is not base64: {value!r}"]
        return []
    return [f"{path}: nobody knows how to check a {kind}"]


def _structure(shape: Shape, value: object, path: str, seen: set[str]) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} is no object: {value!r}"]
    in_body = {
        member.serialization.get("name", name): (name, member)
        for name, member in shape.members.items()
        if member.serialization.get("location") is None
    }
    wrong = [f"{path}.{name} is unknown to the model" for name in value.keys() - in_body.keys()]
    for key, (name, member) in in_body.items():
        if key in value:
            wrong += checked(member, value[key], f"{path}.{name}", seen)
        elif name in shape.required_members:
            wrong.append(f"{path}.{name} is required and absent")
    return wrong


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _within(shape: Shape, size: int, path: str) -> list[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least or most is not None and size > most:
        return [f"{path} is not within {least}..{most}: {size}"]
    return []


def _text(shape: Shape, value: object, path: str) -> list[str]:
    if not isinstance(value, str):
        return [f"{path} is no string: {value!r}"]
    wrong = _within(shape, len(value), path)
    if shape.enum and value not in shape.enum:
        wrong.append(f"{path} is none of {shape.enum}: {value!r}")
    allowed = pattern(shape.metadata["pattern"]) if "pattern" in shape.metadata else None
    if allowed and not allowed.fullmatch(value):
        wrong.append(f"{path} does not match {allowed.pattern}: {value!r}")
    return wrong


def _trace(operation: OperationModel) -> set[str]:
    return TRACE.get(operation.service_model.service_name, set())


def _body(response: dict) -> object:
    try:
        return json.loads(response["body"] or b"{}")
    except ValueError:
        raise Violation(f"the body is no JSON: {response['body'][:200]!r}") from None


def _success(operation: OperationModel, response: dict, answers: Answers) -> list[str]:
    answers.successes += 1
    status = operation.http.get("responseCode", 200)
    wrong = [] if response["status_code"] == status else [f"status {response['status_code']}, not {status}"]
    output = operation.output_shape
    if operation.has_streaming_output:
        answers.members.add(f".{output.serialization['payload']}")
        return wrong  # the document is the caller's, and may be read once only
    if output is None:
        allowed = _trace(operation) and _trace(operation) | {"message"}
        return wrong + [f"{name} where there is no output" for name in _body(response).keys() - allowed]
    if not response["headers"].get("content-type", "").startswith("application/json"):
        wrong.append(f"content type {response['headers'].get('content-type')}")
    wrong += checked(output, _body(response), "", answers.members)
    answers.members.discard("")
    return wrong


def _error(operation: OperationModel, response: dict, answers: Answers) -> list[str]:
    headers, body, unseen = response["headers"], _body(response), set()
    code = headers.get("x-amzn-errortype", "").split(":")[0]
    answers.errors[code] += 1
    shapes = {shape.error_code: shape for shape in operation.error_shapes}
    shape = shapes.get(code)
    if shape is None:
        status = COMMON.get(code)
        wrong = [] if status else [f"{code} is no error of the operation: {body}"]
    else:
        status = shape.metadata.get("error", {}).get("httpStatusCode")
        beside = {"Message", "__type"} | _trace(operation)
        known = {key: value for key, value in body.items() if key not in beside}
        wrong = checked(shape, known, code, unseen)
    if status and response["status_code"] != status:
        wrong.append(f"{code} has status {response['status_code']}, not {status}")
    if not (body.get("message") or body.get("Message")):
        wrong.append(f"{code} has no message: {body}")
    return wrong


class Contract:
    """Holds a client's answers against its model. `seen` is by service and operation; violations raise unless `gathered`."""

    def __init__(self, gathered: bool = False):
        self.gathered = gathered
        self.seen: dict[tuple[str, str], Answers] = defaultdict(Answers)

    def holds(self, client):
        """Checks what this boto3 client is answered from now on; the client."""
        client.meta.events.register("before-parse", self._check)
        return client

    def _check(self, operation_model: OperationModel, response_dict: dict, **_):
        answers = self.seen[operation_model.service_model.service_name, operation_model.name]
        try:
            judge = _success if response_dict["status_code"] < 300 else _error
            wrong = judge(operation_model, response_dict, answers)
        except Violation as violation:
            wrong = [str(violation)]
        if "x-amzn-requestid" not in response_dict["headers"]:
            wrong.append("no request id")
        if wrong and not self.gathered:
            raise Violation(f"{operation_model.name}: " + "; ".join(wrong))
        answers.violations += wrong
