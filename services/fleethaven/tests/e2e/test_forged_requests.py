"""Signed requests that were changed, moved, kept for too long or made up: refused at every door, and nothing is done."""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass, field, replace
from unittest import mock

import botocore.auth
import pytest

from control_plane import missing
from signed import call, https, sign, trusting
from test_accounts import admin, other  # noqa: F401  (fixtures)
from test_websocket import presigned_path

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAECAwQFBgcICQoLDA0ODw==",
    "Sec-WebSocket-Protocol": "mqtt",
}


@dataclass
class Request:
    """What goes over the wire."""

    method: str
    path: str
    service: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def signed(self, fleet, **signing) -> Request:
        headers = sign(fleet, self.method, self.path, self.body, service=self.service, **signing)
        return replace(self, headers=self.headers | headers)

    def authorization(self, old: str, new: str) -> Request:
        """With another text in its Authorization header."""
        changed = self.headers["Authorization"].replace(old, new)
        assert changed != self.headers["Authorization"]
        return replace(self, headers=self.headers | {"Authorization": changed})

    def header(self, **changed: str | None) -> Request:
        names = {name.lower(): name for name in self.headers}
        headers = dict(self.headers)
        for name, value in changed.items():
            name = name.replace("_", "-")
            headers.pop(names.get(name.lower(), name), None)
            if value is not None:
                headers[name] = value
        return replace(self, headers=headers)

    def send(self, fleet):
        return https(fleet.https, trusting(fleet), self.method, self.path, self.headers, self.body)


DOORS = {
    "control plane": lambda name: Request(
        "POST", f"/things/{name}", "iot", b'{"attributePayload":{"attributes":{"forged":"1"}}}'
    ),
    "data plane": lambda name: Request("POST", f"/topics/{name}?qos=1", "iotdata", b"forged"),
    "WebSocket": lambda name: Request("GET", "/mqtt", "iotdevicegateway", headers=UPGRADE),
}


def signature(request: Request) -> str:
    return request.headers["Authorization"].rpartition("Signature=")[2]


def credential(request: Request) -> list[str]:
    """Key, day, region and service that it claims."""
    return request.headers["Authorization"].partition("Credential=")[2].partition(",")[0].split("/")


def scoped(request: Request, part: int, other: str) -> Request:
    parts = credential(request)
    old = "/".join(parts)
    parts[part] = other
    return request.authorization(old, "/".join(parts))


def first_hour(request: Request) -> str:
    """The signed day's beginning or end, whichever is another second than the one that was signed."""
    day = request.headers["X-Amz-Date"][:8]
    return f"{day}T000000Z" if not request.headers["X-Amz-Date"].endswith("T000000Z") else f"{day}T000001Z"


CHANGED = {
    "the body": lambda r: replace(r, body=r.body + b" "),
    "the path": lambda r: replace(r, path=r.path.replace("/n", "/m", 1)),
    "the query": lambda r: replace(r, path=r.path + ("&" if "?" in r.path else "?") + "retain=true"),
    "the host": lambda r: r.header(Host="another.example"),
    "the date": lambda r: r.header(X_Amz_Date=first_hour(r)),
    "no date": lambda r: r.header(X_Amz_Date=None),
    "the day of the scope": lambda r: scoped(r, 1, "20200101"),
    "the region of the scope": lambda r: scoped(r, 2, "eu-west-3"),
    "the service of the scope": lambda r: scoped(r, 3, "s3"),
    "the end of the scope": lambda r: scoped(r, 4, "aws5_request"),
    "an unknown key": lambda r: scoped(r, 0, "AKIAUNKNOWN000000000"),
    "no key": lambda r: scoped(r, 0, ""),
    "the algorithm": lambda r: r.authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
    "no signature": lambda r: r.authorization(signature(r), ""),
    "half a signature": lambda r: r.authorization(signature(r), signature(r)[:32]),
    "a signature of zeros": lambda r: r.authorization(signature(r), "0" * 64),
    "a signature that is no hex": lambda r: r.authorization(signature(r), "g" * 64),
    "host left out of the signed headers": lambda r: r.authorization("SignedHeaders=host;", "SignedHeaders="),
    "a header that is signed and not there": lambda r: r.authorization("SignedHeaders=host;", "SignedHeaders=host;range;"),
    "a token as from another service": lambda r: r.header(Authorization="Bearer eyJhbGciOiJub25lIn0.e30."),
    "nothing": lambda r: r.header(Authorization=None),
}
# An upgrade has one path and no body.
BODILESS = {("WebSocket", "the path"), ("WebSocket", "the body")}
CHANGED_AT = [(door, change) for door in DOORS for change in CHANGED if (door, change) not in BODILESS]


@pytest.fixture
def watched(connect, name):
    """Says whether anything arrived on the topic that the forged publishes name."""
    client = connect(f"{name}-watcher")
    client.subscribe(f"{name}/#", qos=1)

    def nothing_arrived() -> bool:
        client.publish(f"{name}/end", b"end", 1)
        return client.expect_until(b"end") == [b"end"]

    return nothing_arrived


def unsaid(answer) -> bool:
    """Whether it is a refusal that tells who asks nothing but that, and why."""
    return answer.status in (400, 403) and bool(answer.error) and bool(answer.json["message"])


@pytest.mark.parametrize("door", DOORS)
def test_what_is_rightly_signed_comes_in(fleet, connect, door, name):
    assert DOORS[door](name).signed(fleet).send(fleet).status in (200, 101)


@pytest.mark.parametrize(("door", "change"), CHANGED_AT)
def test_a_request_that_was_changed_is_refused(fleet, iot, watched, door, change, name):
    answer = CHANGED[change](DOORS[door](name).signed(fleet)).send(fleet)
    assert unsaid(answer), answer
    missing(iot.describe_thing, thingName=name)
    assert watched()


@pytest.mark.parametrize("door", DOORS)
def test_a_host_that_was_not_signed_is_refused(fleet, iot, watched, door, name):
    """The signature is right, over everything but the host: such a request could be sent to another server as well."""
    host = botocore.auth.SigV4Auth.headers_to_sign

    def without(auth, request):
        headers = host(auth, request)
        del headers["host"]
        return headers

    with mock.patch("botocore.auth.SigV4Auth.headers_to_sign", without):
        request = DOORS[door](name).signed(fleet)
    assert "SignedHeaders=x-amz-date" in request.headers["Authorization"]
    assert unsaid(request.send(fleet))
    missing(iot.describe_thing, thingName=name)
    assert watched()


def test_equal_requests_within_their_time_are_taken(fleet):
    """SDKs sign equal requests of one second equally."""
    request = Request("GET", "/things", "iot").signed(fleet)
    assert [request.send(fleet).status for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("seconds", [-86_400, -310, 310, 86_400], ids=["a day ago", "late", "early", "a day ahead"])
@pytest.mark.parametrize("door", DOORS)
def test_a_request_that_is_replayed_out_of_its_time_is_refused(fleet, watched, door, seconds, name):
    answer = DOORS[door](name).signed(fleet, skew_seconds=seconds).send(fleet)
    assert unsaid(answer) and answer.status == 403, answer
    assert watched()


@pytest.mark.parametrize("door", DOORS)
def test_the_key_of_one_account_with_the_secret_of_another_is_refused(fleet, other, watched, door, name):  # noqa: F811
    theirs = other.iot._request_signer._credentials
    for pair in (
        {"key": theirs.access_key, "secret": fleet.ready["secret_access_key"]},
        {"key": fleet.ready["access_key_id"], "secret": theirs.secret_key},
    ):
        answer = DOORS[door](name).signed(fleet, **pair).send(fleet)
        assert answer.status == 403, answer
    assert watched()


def test_a_signature_is_for_one_service(fleet, watched, iot, name):
    """What is signed for the data plane changes nothing in the control plane, nor the other way round."""
    for path, service in ((f"/things/{name}", "iotdata"), (f"/topics/{name}?qos=1", "iot"), (f"/things/{name}", "s3")):
        answer = call(fleet, "POST", path, b"{}", service=service)
        assert 400 <= answer.status < 500 and answer.error, (path, service, answer)
    missing(iot.describe_thing, thingName=name)
    assert watched()


def test_reading_does_not_sign_for_deleting(fleet, iot, name):
    iot.create_thing(thingName=name)
    request = Request("GET", f"/things/{name}", "iot").signed(fleet)
    assert replace(request, method="DELETE").send(fleet).status == 403
    iot.describe_thing(thingName=name)


@pytest.mark.parametrize(
    "change",
    [
        lambda q: q.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        lambda q: q.replace("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="),
        lambda q: q.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none"),
        lambda q: q.replace("iotdevicegateway", "iotdata"),
        lambda q: q + "&x-amz-customauthorizer-name=any",
        lambda q: q.partition("&X-Amz-Signature")[0],
    ],
    ids=["a longer life", "no signed headers", "no algorithm", "another service", "a parameter more", "no signature"],
)
def test_a_url_that_was_changed_opens_no_websocket(fleet, change):
    path = presigned_path(fleet)
    assert https(fleet.https, trusting(fleet), "GET", path, UPGRADE).status == 101
    changed = change(path)
    assert changed != path
    answer = https(fleet.https, trusting(fleet), "GET", changed, UPGRADE)
    assert unsaid(answer), answer


@pytest.mark.parametrize("ago, expires, opens", [(60, 30, False), (600, 300, False), (600, 3600, True)])
def test_a_url_lives_as_long_as_it_says(fleet, ago, expires, opens):
    """`X-Amz-Expires` counts, not the five minutes that a request has."""
    answer = https(fleet.https, trusting(fleet), "GET", presigned_path(fleet, expires=expires, ago=ago), UPGRADE)
    assert (answer.status == 101) is opens, answer
    assert opens or unsaid(answer)


def test_a_url_lives_for_a_day_at_most(fleet):
    answer = https(fleet.https, trusting(fleet), "GET", presigned_path(fleet, expires=86_401), UPGRADE)
    assert unsaid(answer), answer


def test_a_url_for_a_websocket_signs_nothing_else(fleet, iot, name):
    query = urllib.parse.urlsplit(presigned_path(fleet)).query
    answer = https(fleet.https, trusting(fleet), "POST", f"/things/{name}?{query}", {}, b"{}")
    assert answer.status == 403, answer
    missing(iot.describe_thing, thingName=name)
