"""Systems that rule actions go to, as real servers from Debian: each in a folder of its own, on a free port, with TLS where asked."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pika
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cluster import free_port
from device import key_pem, name, new_key, pem
from instance import eventually

USER, PASSWORD = "fleet", "hush-hush"


def program(name: str, package: str) -> str:
    """Where a server's program is; Debian keeps PostgreSQL's out of the way."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)
    assert found, f"there is no {name}: `.ci/debian {name}={package}` installs it"
    return found


class Authority:
    """A certificate authority, one certificate for localhost, and one for a client."""

    def __init__(self, folder: Path):
        names = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
        self.ca, self.certificate, self.key, self.client, self.client_key = (folder / name for name in names)
        ca_key = new_key()
        self.ca.write_text(pem(self.signed("systems", ca_key, ca_key, None)))
        for host, certificate, its_key in (("localhost", self.certificate, self.key), (USER, self.client, self.client_key)):
            key = new_key()
            certificate.write_text(pem(self.signed("systems", key, ca_key, host)))
            its_key.write_text(key_pem(key))

    def context(self, mutual: bool = False) -> ssl.SSLContext:
        """A server's side of TLS; `mutual`: clients have to show a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if mutual:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    @staticmethod
    def signed(issuer: str, key: ec.EllipticCurvePrivateKey, ca_key, host: str | None) -> x509.Certificate:
        now = datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(host or issuer))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host:
            names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(ca_key, hashes.SHA256())


class System:
    """A server that runs until it is closed."""

    #: the scheme of its endpoint: in the clear, by TLS
    schemes = ("http", "https")
    path = ""

    def __init__(self, folder: Path, authority: Authority | None = None, mutual: bool = False):
        self.folder, self.authority, self.port = folder, authority, free_port()
        #: clients show a certificate of the authority, and it says who they are where the system can tell by that
        self.mutual = mutual
        folder.mkdir(parents=True, exist_ok=True)
        self.process = None

    @property
    def endpoint(self) -> str:
        return f"{self.schemes[self.authority is not None]}://localhost:{self.port}{self.path}"

    #: of its process; the tests' own, unless there is another
    environment: dict | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self):
        with (self.folder / "log").open("ab") as log:
            command = self.command()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        try:
            eventually(self.answers, f"{type(self).__name__} answers", 60)
        except AssertionError:
            raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:]) from None
        return self

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    #: what ends it at once, its clients' connections with it
    ending = signal.SIGTERM

    def close(self):
        if self.process:
            self.process.send_signal(self.ending)
            self.process.wait(30)
            self.process = None


class RedisServer(System):
    schemes = ("redis", "rediss")
    path = "/1"

    def command(self):
        settings = ["--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "", "--appendonly", "no"]
        settings += ["--user", "default", "off", "--user", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"]
        if self.authority:
            tls = ["--tls-port", str(self.port), "--port", "0", "--tls-auth-clients", "yes" if self.mutual else "no"]
            tls += ["--tls-ca-cert-file", str(self.authority.ca)] if self.mutual else []
            tls += ["--tls-cert-file", str(self.authority.certificate), "--tls-key-file", str(self.authority.key)]
            return [program("redis-server", "redis-server"), *settings, *tls]
        return [program("redis-server", "redis-server"), *settings, "--port", str(self.port)]

    def cli(self, *arguments: str) -> str:
        tls = ["--tls", "--cacert", str(self.authority.ca), "-h", "localhost"] if self.authority else []
        tls += ["--cert", str(self.authority.client), "--key", str(self.authority.client_key)] if self.mutual else []
        who = ["-p", str(self.port), "-n", "1", "--user", USER, "--pass", PASSWORD, "--no-auth-warning"]
        done = subprocess.run(
            [program("redis-cli", "redis-tools"), *tls, *who, *arguments],
            capture_output=True,
            text=True,
            errors="backslashreplace",
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class PostgresServer(System):
    schemes = ("postgres", "postgres")
    ending = signal.SIGINT

    @property
    def path(self):
        return "/fleet" + ("" if self.authority else "?sslmode=disable")

    def as_nobody(self, *command: str) -> list[str]:
        """PostgreSQL does not run as root."""
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *command]

    def start(self):
        data = self.folder / "data"
        if data.exists():
            return super().start()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self.authority:
            for file in (self.authority.certificate, self.authority.key, self.authority.ca):
                shutil.copy(file, self.folder)
            (self.folder / "server.key").chmod(0o600)
        if os.geteuid() == 0:
            # pytest's folders are its user's alone.
            for parent in self.folder.parents:
                if parent.stat().st_uid == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                    parent.chmod(0o711)
            for file in (self.folder, *self.folder.iterdir()):
                shutil.chown(file, "postgres", "postgres")
        initdb = ["-D", str(data), "-U", USER, f"--pwfile={password}", "-A", "scram-sha-256", "-N", "-E", "UTF8"]
        done = subprocess.run(
            self.as_nobody(program("initdb", "postgresql"), *initdb, "--locale=C"), capture_output=True, text=True, cwd="/"
        )
        assert done.returncode == 0, done.stderr
        if self.mutual:
            (data / "pg_hba.conf").write_text("hostssl all all all cert\n")
        super().start()
        self.psql("CREATE DATABASE fleet", database="postgres")
        return self

    def command(self):
        settings = {"port": self.port, "listen_addresses": "localhost", "fsync": "off"}
        settings["unix_socket_directories"] = self.folder
        if self.authority:
            files = {"ssl_cert_file": self.folder / "server.pem", "ssl_key_file": self.folder / "server.key"}
            settings |= {"ssl": "on"} | files | ({"ssl_ca_file": self.folder / "ca.pem"} if self.mutual else {})
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self.as_nobody(program("postgres", "postgresql"), "-D", str(self.folder / "data"), *options)

    def answers(self):
        return super().answers() and self.run("SELECT 1", "postgres").returncode == 0

    def run(self, sql: str, database: str):
        environment = os.environ | {"PGPASSWORD": PASSWORD, "PGSSLMODE": "require" if self.authority else "disable"}
        if self.mutual:
            environment |= {"PGSSLCERT": str(self.authority.client), "PGSSLKEY": str(self.authority.client_key)}
            self.authority.client_key.chmod(0o600)
        where = ["-h", "localhost", "-p", str(self.port), "-U", USER, "-d", database]
        command = [program("psql", "postgresql"), *where, "-AtX", "-v", "ON_ERROR_STOP=1", "-c", sql]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    def psql(self, sql: str, database: str = "fleet") -> list[list[str]]:
        done = self.run(sql, database)
        assert done.returncode == 0, done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]


class Mosquitto(System):
    schemes = ("mqtt", "mqtts")

    def command(self):
        passwords = self.folder / "passwords"
        making = [program("mosquitto_passwd", "mosquitto"), "-b", "-c", str(passwords), USER, PASSWORD]
        subprocess.run(making, check=True, capture_output=True)
        passwords.chmod(0o644)
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous false", "persistence false"]
        if self.mutual:
            lines += [f"cafile {self.authority.ca}", "require_certificate true", "use_identity_as_username true"]
        else:
            lines.append(f"password_file {passwords}")
        lines.append(f"acl_file {self.folder}/acl")
        if self.authority:
            lines += [f"certfile {self.authority.certificate}", f"keyfile {self.authority.key}"]
        if os.geteuid() == 0:
            lines.append("user root")
        (self.folder / "acl").write_text(f"user {USER}\ntopic readwrite allowed/#\n")
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        return [program("mosquitto", "mosquitto"), "-c", str(self.folder / "mosquitto.conf")]


class NatsServer(System):
    schemes = ("nats", "tls")

    def command(self):
        user = {"user": USER, "password": PASSWORD}
        settings = {"listen": f"127.0.0.1:{self.port}", "authorization": user}
        settings["jetstream"] = {"store_dir": str(self.folder / "jetstream")}
        if self.authority:
            settings["tls"] = {"cert_file": str(self.authority.certificate), "key_file": str(self.authority.key)}
            settings["tls"] |= {"ca_file": str(self.authority.ca), "verify": True} if self.mutual else {}
        (self.folder / "nats.conf").write_text(json.dumps(settings))
        return [program("nats-server", "nats-server"), "-c", str(self.folder / "nats.conf")]


class Nats:
    """A client of NATS that speaks its text protocol: enough to subscribe and to ask."""

    def __init__(self, server: NatsServer):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        self.subscribed: list[str] = []
        self.file = self.socket.makefile("rb")
        assert self.file.readline().startswith(b"INFO ")
        options = {"user": USER, "pass": PASSWORD, "verbose": False, "headers": True, "no_responders": True}
        self.send(b"CONNECT " + json.dumps(options).encode())
        self.send(b"PING")
        assert self.file.readline() == b"PONG\r\n"

    def send(self, line: bytes):
        self.socket.sendall(line + b"\r\n")

    def subscribe(self, subject: str):
        if subject in self.subscribed:
            return
        self.subscribed.append(subject)
        self.send(f"SUB {subject} {len(self.subscribed)}".encode())
        self.send(b"PING")
        assert self.file.readline() == b"PONG\r\n"

    def next(self) -> tuple[str, bytes, bytes]:
        """Subject, headers and payload of the next message."""
        while True:
            words = self.file.readline().split()
            assert words, "the server closed the connection"
            if words[0] == b"PING":
                self.send(b"PONG")
                continue
            assert words[0] in (b"MSG", b"HMSG"), words
            size = int(words[-1])
            headers = int(words[-2]) if words[0] == b"HMSG" else 0
            body = self.file.read(size + 2)[:size]
            return words[1].decode(), body[:headers], body[headers:]

    def ask(self, subject: str, body) -> dict:
        """A request with a JSON answer."""
        self.subscribe("answers")
        payload = json.dumps(body).encode()
        self.send(f"PUB {subject} answers {len(payload)}".encode())
        self.send(payload)
        return json.loads(self.next()[2])

    def close(self):
        self.file.close()
        self.socket.close()


class RabbitMq(System):
    """With `mutual`, the certificate's name is the user."""

    schemes = ("amqp", "amqps")

    def __init__(self, folder: Path, authority: Authority | None = None, mutual: bool = False):
        super().__init__(folder, authority, mutual)
        #: of the daemon by which Erlang's nodes find each other: this one's own
        self.epmd = free_port()

    @property
    def environment(self) -> dict:
        own = {
            "HOME": self.folder,
            "ERL_EPMD_PORT": self.epmd,
            "RABBITMQ_NODENAME": "fleet@localhost",
            "RABBITMQ_DIST_PORT": free_port(),
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder,
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_LOGS": "-",
        }
        return os.environ | {name: str(value) for name, value in own.items()}

    def command(self):
        lines = ["loopback_users = none", f"default_user = {USER}", f"default_pass = {PASSWORD}", "log.console.level = warning"]
        listen = f"127.0.0.1:{self.port}"
        if self.authority:
            files = {"cacertfile": self.authority.ca, "certfile": self.authority.certificate, "keyfile": self.authority.key}
            lines += ["listeners.tcp = none", f"listeners.ssl.1 = {listen}"]
            lines += [f"ssl_options.{name} = {file}" for name, file in files.items()]
            lines += [f"ssl_options.verify = verify_{'peer' if self.mutual else 'none'}"]
            lines += [f"ssl_options.fail_if_no_peer_cert = {str(self.mutual).lower()}"]
        else:
            lines.append(f"listeners.tcp.1 = {listen}")
        if self.mutual:
            lines += ["auth_mechanisms.1 = EXTERNAL", "ssl_cert_login_from = common_name"]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "plugins").write_text("[rabbitmq_auth_mechanism_ssl]." if self.mutual else "[].")
        program("rabbitmq-server", "rabbitmq-server")
        # Debian's own is for its user alone.
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    def answers(self):
        if not super().answers():
            return False
        try:
            self.client().close()
            return True
        except (pika.exceptions.AMQPError, OSError):
            return False

    def client(self) -> pika.BlockingConnection:
        """A connection of somebody else's client."""
        options = {"credentials": pika.PlainCredentials(USER, PASSWORD)}
        if self.authority:
            context = ssl.create_default_context(cafile=str(self.authority.ca))
            options["ssl_options"] = pika.SSLOptions(context, "localhost")
        if self.mutual:
            context.load_cert_chain(self.authority.client, self.authority.client_key)
            options["credentials"] = pika.credentials.ExternalCredentials()
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, **options))

    def close(self):
        super().close()
        environment = os.environ | {"ERL_EPMD_PORT": str(self.epmd)}
        subprocess.run([program("epmd", "erlang-base"), "-kill"], env=environment, capture_output=True)


class Prometheus(System):
    path = "/api/v1/write"

    def command(self):
        (self.folder / "prometheus.yml").write_text("{}")
        files = [f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data"]
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        return [program("prometheus", "prometheus"), *files, listen, "--web.enable-remote-write-receiver"]

    def answers(self):
        if not super().answers():
            return False
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def samples(self, selector: str) -> dict[str, list[tuple[float, float]]]:
        """All samples of the last hour, by their labels as JSON."""
        query = urllib.parse.urlencode({"query": f"{selector}[1h]", "time": time.time() + 60})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=10) as answer:
            result = json.load(answer)["data"]["result"]
        return {
            json.dumps(one["metric"], sort_keys=True): [(at, float(value)) for at, value in one["values"]] for one in result
        }


class InfluxServer(System):
    """InfluxDB 1, whose users are not asked for."""

    def command(self):
        lines = ["reporting-disabled = true", f'bind-address = "127.0.0.1:{free_port()}"']
        lines += ["[meta]", f'dir = "{self.folder}/meta"', "[data]", f'dir = "{self.folder}/data"']
        lines += [f'wal-dir = "{self.folder}/wal"', "[http]", f'bind-address = "127.0.0.1:{self.port}"']
        lines += ["[monitor]", "store-enabled = false"]
        (self.folder / "influxdb.conf").write_text("\n".join(lines) + "\n")
        return [program("influxd", "influxdb"), "-config", str(self.folder / "influxdb.conf")]

    def query(self, statement: str, database: str = "") -> list[dict]:
        """The series of an answer, with times in milliseconds."""
        query = urllib.parse.urlencode({"q": statement, "db": database, "epoch": "ms"})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/query?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["results"][0].get("series", [])
