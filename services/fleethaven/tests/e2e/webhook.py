"""A webhook that stands for a Lambda function: what it was sent, and what it answers."""

from __future__ import annotations

import hashlib
import hmac
import json

from receiving import HttpServer


class Webhook(HttpServer):
    """Answers every event with `reply(event)`, or with the status and body that it returns as a pair."""

    def __init__(self, reply=lambda event: {}):
        self.reply = reply
        self.seen: list[tuple[dict, bytes]] = []
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.origin}/hook"

    def answer(self, request):
        self.seen.append((request.headers, request.body))
        reply = self.reply(json.loads(request.body))
        status, reply = reply if isinstance(reply, tuple) else (200, reply)
        return status, reply if isinstance(reply, bytes) else json.dumps(reply).encode()


def signed_with(secret: str, headers: dict, body: bytes) -> bool:
    """Whether a request carries the signature that the secret gives, as `docs/functions.md` tells."""
    signed = headers["x-fleethaven-timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["x-fleethaven-signature"], expected)
