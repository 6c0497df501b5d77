"""What a cluster's pods mount, kept in secrets: made once, renewed in time, replaced in a rotation without a gap."""

import base64
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster import pki
from instance import binary

ROLES = {"metastore", "router", "gateway", "rules-worker", "api", "operator"}


class Api(BaseHTTPRequestHandler):
    """Kubernetes' API, as far as secrets of one namespace go."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: dict):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refused(self) -> bool:
        if self.headers["Authorization"] == "Bearer a-token":
            return False
        self.answer(401, {"message": "Unauthorized"})
        return True

    @property
    def name(self) -> str:
        return self.path.removeprefix("/api/v1/namespaces/iot/secrets").removeprefix("/")

    def body(self) -> dict:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        secret = self.server.secrets.get(self.name)
        if not self.refused():
            self.answer(200 if secret else 404, secret or {"message": f'secrets "{self.name}" not found'})

    def write(self, secret: dict):
        version = str(len(self.server.written) + 1)
        secret["metadata"]["resourceVersion"] = version
        self.server.secrets[secret["metadata"]["name"]] = secret
        self.server.written.append(secret["metadata"]["name"])
        self.answer(200, secret)

    def do_POST(self):
        secret = self.body()
        if self.refused():
            return
        if secret["metadata"]["name"] in self.server.secrets:
            return self.answer(409, {"message": "already exists"})
        self.write(secret)

    def do_PUT(self):
        secret, present = self.body(), self.server.secrets.get(self.name)
        if self.refused():
            return
        if not present or secret["metadata"].get("resourceVersion") != present["metadata"]["resourceVersion"]:
            return self.answer(409, {"message": "the object has been modified"})
        self.write(secret)


class Namespace:
    """A namespace with its API, and a pod's service account in it."""

    def __init__(self, folder):
        files = pki("server", "--dir", folder / "kubernetes")
        self.account = folder / "serviceaccount"
        self.account.mkdir()
        (self.account / "ca.crt").write_bytes((folder / "kubernetes" / "ca.pem").read_bytes())
        (self.account / "token").write_text("a-token\n")
        (self.account / "namespace").write_text("iot")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
        self.server.secrets, self.server.written = {}, []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files["server_cert"], files["server_key"])
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run(self, *arguments: str) -> set[str]:
        """`fleethaven pki kubernetes …` in a pod of it; the secrets that it changed."""
        environment = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "TMPDIR": str(self.account.parent),
        }
        command = [str(binary()), "pki", "kubernetes", "--prefix", "t", "--service-account", str(self.account)]
        command += ["--server-name", "t-gateway,t-api.iot.svc", "--redis", "t-redis:6379", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(done.stderr)
        left = [path for path in self.account.parent.iterdir() if path.name.startswith("fleethaven-pki-")]
        assert not left, "keys were left behind"
        return set(json.loads(done.stdout)["changed"])

    def secret(self, name: str) -> dict[str, str]:
        data = self.server.secrets[name]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture
def namespace(tmp_path):
    namespace = Namespace(tmp_path)
    yield namespace
    namespace.server.shutdown()
    namespace.server.server_close()


def test_secrets_are_made_once(namespace):
    changed = namespace.run("--services")
    assert changed == {"t-ca", "t-server", "t-redis", *(f"t-{role}" for role in ROLES)}
    assert namespace.server.written[0] == "t-ca", "before anything that it issued"
    gateway = namespace.secret("t-gateway")
    assert set(gateway) == {"tls.crt", "tls.key", "ca.crt"}
    assert namespace.server.secrets["t-gateway"]["type"] == "kubernetes.io/tls"
    password = namespace.secret("t-redis")["password"]
    assert namespace.secret("t-redis")["url"] == f"redis://:{password}@t-redis:6379"
    assert namespace.run("--services") == set(), "nothing to do"


def test_what_seals_the_keys_of_issuing_cas_is_made_once(namespace):
    assert "t-issuing-keys" in namespace.run("--issuing-keys")
    made = namespace.secret("t-issuing-keys")
    assert set(made) == {"keys"} and len(base64.b64decode(made["keys"])) == 32
    assert namespace.run("--issuing-keys") == set(), "nothing to do"
    assert namespace.secret("t-issuing-keys") == made


def test_certificates_that_are_due_are_renewed(namespace):
    namespace.run("--services", "--days", "3")
    before = namespace.secret("t-router")["tls.crt"]
    # Three days are left of what should have ninety.
    assert namespace.run("--services") == {f"t-{role}" for role in ROLES}
    assert namespace.secret("t-router")["tls.crt"] != before


def test_a_rotation_has_all_trust_the_new_ca_before_it_issues(namespace):
    namespace.run("--services")
    old = namespace.secret("t-api")
    assert namespace.run("--services", "--rotate") == {"t-ca", *(f"t-{role}" for role in ROLES)}
    trusting = namespace.secret("t-api")
    assert trusting["tls.crt"] == old["tls.crt"] and trusting["ca.crt"].count("BEGIN") == 2
    assert namespace.run("--services") == {f"t-{role}" for role in ROLES}
    issued = namespace.secret("t-api")
    assert issued["tls.crt"] != old["tls.crt"] and issued["ca.crt"] == trusting["ca.crt"]
    namespace.run("--services", "--retire")
    retired = namespace.secret("t-api")
    assert retired["tls.crt"] == issued["tls.crt"] and retired["ca.crt"].count("BEGIN") == 1


def test_other_names_make_another_server_certificate_of_the_same_ca(namespace):
    namespace.run()
    before = namespace.secret("t-server")
    assert namespace.run("--server-name", "iot.example") == {"t-server"}
    after = namespace.secret("t-server")
    assert after["ca.crt"] == before["ca.crt"] and after["tls.crt"] != before["tls.crt"]


def test_what_the_api_says_is_told(namespace):
    (namespace.account / "token").write_text("another")
    with pytest.raises(RuntimeError, match="cannot read the secret t-ca: Unauthorized"):
        namespace.run()
