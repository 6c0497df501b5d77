"""How the tests of the `iot` API ask for refusals and walk through listings."""

import json

import pytest
from botocore.exceptions import ClientError

from device import ALLOW_ALL

ANY = json.dumps(ALLOW_ALL)


def refused(error: str, status: int, operation, /, **arguments) -> dict:
    """Calls an operation that must be refused by this exception and status; the parsed answer."""
    with pytest.raises(ClientError) as caught:
        operation(**arguments)
    answer = caught.value.response
    got = answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]
    assert got == (error, status), f"refused with {got}: {caught.value}"
    assert answer["Error"]["Message"], "the error has no message"
    return answer


def invalid(operation, /, **arguments) -> dict:
    return refused("InvalidRequestException", 400, operation, **arguments)


def missing(operation, **arguments) -> dict:
    return refused("ResourceNotFoundException", 404, operation, **arguments)


def pages(operation, items: str, size: str, token: str, **arguments) -> list[list[dict]]:
    """All pages of a listing, two items at most on each."""
    sent, reply = (token, token) if token == "nextToken" else ("marker", "nextMarker")
    found, more = [], {}
    while True:
        answer = operation(**{size: 2}, **more, **arguments)
        assert len(answer[items]) <= 2
        found.append(answer[items])
        if not answer.get(reply):
            return found
        more = {sent: answer[reply]}


def flat(pages_of_items: list[list[dict]], name: str) -> list[str]:
    return [item[name] for page in pages_of_items for item in page]
