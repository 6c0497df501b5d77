"""Several server certificates: by name, by what a client can check, replaced while running; and versions of TLS."""

import datetime
import signal
import socket
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from device import key_pem, name, pem
from instance import StartFailed, binary, eventually


def make(folder, file: str, *dns: str, kind: str = "ec", days: int = 30):
    """Writes a self-signed certificate for `dns`; the two files and the certificate's serial number."""
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name(dns[0]))
        .issuer_name(name(dns[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in dns]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, key_file = folder / f"{file}.crt", folder / f"{file}.key"
    key_file.write_text(key_pem(key))
    certificate.write_text(pem(made))
    return certificate, key_file, made.serial_number


def option(certificate, key, *names: str) -> str:
    return ",".join([f"cert={certificate}", f"key={key}", *(f"name={n}" for n in names)])


def shown(at, server_name: str | None, signatures: str | None = None) -> int | None:
    """The serial number of the certificate that a client is shown, or None when the handshake fails before."""
    command = ["openssl", "s_client", "-connect", f"{at[0]}:{at[1]}", "-tls1_2", "-showcerts"]
    command += ["-servername", server_name] if server_name else ["-noservername"]
    command += ["-sigalgs", signatures] if signatures else []
    out = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20).stdout
    begin = out.find(b"-----BEGIN CERTIFICATE-----")
    return None if begin < 0 else x509.load_pem_x509_certificate(out[begin:]).serial_number


def metric(fleet, start: str) -> float:
    import urllib.request

    text = urllib.request.urlopen(f"http://{fleet.ready['admin']}/metrics", timeout=10).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(start))


@pytest.fixture(scope="module")
def named(fleethaven, tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    files = {
        "exact": make(folder, "exact", "iot.example.com"),
        "wild": make(folder, "wild", "*.example.com"),
        "rsa": make(folder, "rsa", "both.example.org", kind="rsa"),
        "ec": make(folder, "ec", "both.example.org"),
        "other": make(folder, "other", "unused.example"),
    }
    settings = []
    for key, (certificate, key_file, _) in files.items():
        names = ["given.example"] if key == "other" else []
        settings += ["--sni-cert", option(certificate, key_file, *names)]
    return fleethaven(*settings), {key: serial for key, (_, _, serial) in files.items()}


@pytest.mark.parametrize("listener", ["mqtt_tls", "https"])
def test_by_name(named, listener):
    fleet, serial = named
    at = getattr(fleet, listener)
    own = shown(at, None)
    assert own not in serial.values()
    for asked, expected in [
        ("localhost", own),
        ("iot.example.com", serial["exact"]),
        ("a.example.com", serial["wild"]),
        ("a.b.example.com", own),
        ("given.example", serial["other"]),
        ("unused.example", own),
    ]:
        assert shown(at, asked) == expected, asked


def test_rsa_and_ecdsa_for_one_name(named):
    fleet, serial = named
    assert shown(fleet.mqtt_tls, "both.example.org", "RSA-PSS+SHA256:RSA+SHA256") == serial["rsa"]
    assert shown(fleet.mqtt_tls, "both.example.org", "ECDSA+SHA256") == serial["ec"]
    assert shown(fleet.mqtt_tls, "both.example.org") == serial["ec"], "the cheaper one"


def test_reloaded_without_a_restart(fleethaven, tmp_path):
    certificate, key, first = make(tmp_path, "own", "localhost", "iot.example")
    fleet = fleethaven("--server-cert", str(certificate), "--server-key", str(key))
    assert shown(fleet.mqtt_tls, "iot.example") == first
    expiry = f'fleethaven_tls_certificate_expiry_timestamp_seconds{{file="{certificate}"}}'
    before = metric(fleet, expiry)
    _, _, second = make(tmp_path, "own", "localhost", "iot.example", days=60)
    eventually(lambda: shown(fleet.mqtt_tls, "iot.example") == second, "the new one, by itself", seconds=20)
    assert shown(fleet.https, None) == second
    assert metric(fleet, expiry) > before + 29 * 86400
    # A broken file is refused, and what is shown stays.
    good, since = certificate.read_text(), len(fleet.log.all)
    certificate.write_text("no certificate")
    fleet.process.send_signal(signal.SIGHUP)
    fleet.log.having("the old ones stay", str(certificate), since=since)
    assert shown(fleet.mqtt_tls, "iot.example") == second
    assert metric(fleet, 'fleethaven_tls_certificate_reloads_total{result="refused"}') >= 1
    certificate.write_text(good)
    _, _, third = make(tmp_path, "own", "localhost", "iot.example")
    fleet.process.send_signal(signal.SIGHUP)
    eventually(lambda: shown(fleet.mqtt_tls, "iot.example") == third, "the third, at the signal")
    assert fleet.process.poll() is None


def handshake(at, ca_file, version) -> str | None:
    tls = ssl.create_default_context(cafile=ca_file)
    tls.minimum_version = tls.maximum_version = version
    try:
        with socket.create_connection(at, timeout=5) as plain:
            with tls.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.version()
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.parametrize("only, other", [("1.2", "1.3"), ("1.3", "1.2")])
def test_versions_of_tls(fleethaven, only, other):
    fleet = fleethaven("--tls-versions", only)
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
    assert handshake(fleet.https, fleet.ca_file, version[only]) == f"TLSv{only}"
    assert handshake(fleet.https, fleet.ca_file, version[other]) is None


def test_a_certificate_that_cannot_be_used_ends_the_start(fleethaven, tmp_path):
    certificate, _, _ = make(tmp_path, "a", "a.example")
    _, other, _ = make(tmp_path, "b", "b.example")
    with pytest.raises(StartFailed) as failed:
        fleethaven("--sni-cert", option(certificate, other))
    assert "is not that of the certificate" in failed.value.log


def test_the_check_tries_everything(tmp_path):
    certificate, key, _ = make(tmp_path, "a", "a.example")
    taken = socket.create_server(("127.0.0.1", 0))
    port = f"127.0.0.1:{taken.getsockname()[1]}"
    base = [binary(), "dev", "--check-config", "--data-dir", tmp_path / "data", "--mqtt-tls", "127.0.0.1:0", "--https"]
    base += ["127.0.0.1:0", "--sni-cert", option(certificate, key)]
    good = subprocess.run(base, capture_output=True, text=True, timeout=30)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run(
        [*base, "--log", "x=loud", "--san", "a..b", "--mqtt", port, "--sni-cert", option(key, key)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert bad.returncode == 1
    for part in ("4 of the settings", "x=loud", "a..b", f"{port}", "--mqtt", "holds no certificate"):
        assert part in bad.stderr, bad.stderr
    assert not (tmp_path / "data").exists(), "it left something behind"
    taken.close()


@pytest.mark.parametrize("version, spoken", [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_speaks_both_versions_of_http(fleet, version, spoken):
    ready = fleet.ready
    answer = subprocess.run(
        ["curl", "-sS", version, "--cacert", fleet.ca_file, "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]
        + ["--aws-sigv4", f"aws:amz:{fleet.region}:iot", "--user"]
        + [f"{ready['access_key_id']}:{ready['secret_access_key']}", f"{ready['iot_endpoint']}/things"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert answer.stdout == f"{spoken} 200", answer
