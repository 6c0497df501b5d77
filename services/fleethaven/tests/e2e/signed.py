"""HTTPS requests by hand, signed by botocore's own signer: for what boto3 hides or won't send."""

from __future__ import annotations

import datetime
import http.client
import json
import ssl
from dataclasses import dataclass
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from instance import Fleethaven, address


@dataclass
class Answer:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body or b"{}")

    @property
    def error(self) -> str:
        """The exception's name, as the SDKs read it."""
        return self.headers.get("x-amzn-errortype", "").split(":")[0]


def https(
    to: tuple[str, int], context: ssl.SSLContext, method: str, path: str, headers=None, body: bytes = b""
) -> Answer:
    connection = http.client.HTTPSConnection(*to, context=context, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def trusting(fleet: Fleethaven) -> ssl.SSLContext:
    """A TLS context that knows the instance's CA and has no client certificate."""
    return ssl.create_default_context(cafile=fleet.ca_file)


def sign(
    fleet: Fleethaven,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    service="iot",
    region=None,
    key=None,
    secret=None,
    skew_seconds=0,
) -> dict[str, str]:
    """The headers of a signed request, by a clock that is `skew_seconds` ahead."""
    credentials = Credentials(key or fleet.ready["access_key_id"], secret or fleet.ready["secret_access_key"])
    request = AWSRequest(method, fleet.ready["iot_endpoint"].rstrip("/") + path, data=body)
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=skew_seconds)
    with mock.patch("botocore.auth.get_current_datetime", lambda: moment):
        botocore.auth.SigV4Auth(credentials, service, region or fleet.region).add_auth(request)
    return dict(request.headers)


def call(fleet: Fleethaven, method: str, path: str, body: bytes = b"", **signing) -> Answer:
    """A signed request to the instance's API."""
    endpoint = address(fleet.ready["iot_endpoint"].removeprefix("https://").rstrip("/"))
    return https(endpoint, trusting(fleet), method, path, sign(fleet, method, path, body, **signing), body)
