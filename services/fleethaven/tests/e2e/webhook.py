"""A webhook that stands for a Lambda function: what it was sent, and what it answers."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """Answers every event with `answer(event)`, or with the status and body that it returns as a pair."""

    def __init__(self, answer=lambda event: {}):
        self.answer = answer
        self.seen: list[tuple[dict, bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.seen.append(({name.lower(): value for name, value in self.headers.items()}, body))
                answer = hook.answer(json.loads(body))
                status, answer = answer if isinstance(answer, tuple) else (200, answer)
                answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def signed_with(secret: str, headers: dict, body: bytes) -> bool:
    """Whether a request carries the signature that the secret gives, as `docs/functions.md` tells."""
    signed = headers["x-fleethaven-timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers["x-fleethaven-signature"], expected)
