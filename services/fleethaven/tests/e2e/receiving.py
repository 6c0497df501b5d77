"""An HTTP server of the tests, on a thread of its own: each kind says what it answers."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    #: names in lower case
    headers: dict[str, str]
    body: bytes


class HttpServer:
    """Answers every POST and PUT with what `answer` makes of it: status, body, and perhaps its content type."""

    def __init__(self, context: ssl.SSLContext | None = None):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers["content-length"]))
                status, answer, *kind = receiver.answer(Request(self.command, self.path, headers, body))
                try:
                    self.send_response(status)
                    if kind:
                        self.send_header("content-type", kind[0])
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)
                except OSError:
                    pass  # whoever asked is gone

            do_PUT = do_POST

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        if context:
            # The handshake is each connection's own thread's.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
            self.origin = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: Request) -> tuple:
        raise NotImplementedError

    def close(self):
        self.server.shutdown()
        self.server.server_close()
