#!/usr/bin/env python3
"""An external signer for issuing CAs whose keys are in a PKCS#11 token (a hardware security module, SoftHSM2).

It answers Fleethaven at a Unix socket (docs/signer.md) and signs with OpenSC's pkcs11-tool. What Fleethaven calls a key is its
CKA_ID, in hexadecimal digits. The PIN is read from a file, and told to pkcs11-tool in its environment only.

    pkcs11_signer.py --socket /run/fleethaven/signer.sock --module /usr/lib/softhsm/libsofthsm2.so \\
        --token devices --pin-file pin
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import socketserver
import subprocess
import tempfile
from pathlib import Path

LONGEST_REQUEST = 4096
SECONDS = 4
# DigestInfo of a SHA-256 digest (RFC 8017 section 9.2): what CKM_RSA_PKCS signs.
DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
KEY_ID = re.compile(r"(?:[0-9a-fA-F]{2}){1,64}")


class Refused(Exception):
    """Why nothing is signed."""


class Token:
    """The keys of one token."""

    def __init__(self, module: str, token: str, pin: str, mechanism: str):
        self.command = ["pkcs11-tool", "--module", module, "--token-label", token, "--login", "--pin", "env:TOKEN_PIN"]
        self.environment = os.environ | {"TOKEN_PIN": pin}
        self.mechanism = mechanism

    def sign(self, key: str, digest: bytes) -> bytes:
        # By its label pkcs11-tool does not look a key up when it signs: it would take any.
        if not KEY_ID.fullmatch(key):
            raise Refused("that is no id of a key")
        if self.mechanism == "rsa":
            how, message = ["--mechanism", "RSA-PKCS"], DIGEST_INFO + digest
        else:
            how, message = ["--mechanism", "ECDSA", "--signature-format", "openssl"], digest
        with tempfile.TemporaryDirectory() as folder:
            asked, signed = Path(folder, "digest"), Path(folder, "signature")
            asked.write_bytes(message)
            files = ["--input-file", str(asked), "--output-file", str(signed)]
            done = subprocess.run(
                [*self.command, "--sign", "--id", key, *how, *files],
                env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS,
            )
            if done.returncode or not signed.exists():
                lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
                raise Refused(lines[0] if lines else "pkcs11-tool failed")
            return signed.read_bytes()


class Handler(socketserver.StreamRequestHandler):
    timeout = SECONDS

    def handle(self):
        try:
            asked = json.loads(self.rfile.readline(LONGEST_REQUEST))
            digest = base64.b64decode(asked["digest"], validate=True)
            if len(digest) != 32:
                raise Refused("a SHA-256 digest has 32 bytes")
            answer = {"signature": base64.b64encode(self.server.token.sign(str(asked["key"]), digest)).decode()}
        except (Refused, subprocess.TimeoutExpired) as error:
            answer = {"error": str(error)}
        except (ValueError, KeyError, TypeError):
            answer = {"error": "that is no request"}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--socket", required=True, type=Path)
    parser.add_argument("--module", required=True, help="the token's PKCS#11 library")
    parser.add_argument("--token", required=True, help="the token's label")
    parser.add_argument("--pin-file", required=True, type=Path)
    parser.add_argument("--keys", choices=["ec", "rsa"], default="ec", help="what kind of keys these are")
    arguments = parser.parse_args()
    arguments.socket.unlink(missing_ok=True)
    # Whoever may open the socket may have anything signed.
    os.umask(0o177)
    with Server(str(arguments.socket), Handler) as server:
        pin = arguments.pin_file.read_text().strip()
        server.token = Token(arguments.module, arguments.token, pin, arguments.keys)
        print(json.dumps({"ready": True, "socket": str(arguments.socket)}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
