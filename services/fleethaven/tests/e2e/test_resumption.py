"""TLS sessions with a client certificate are resumed: over both versions, after a restart, and never past a revocation."""

import ssl
import subprocess

import pytest

from mqtt_client import V5, Client, Refused
from wire import CONNACK, Wire, connect

VERSIONS = {"argvalues": [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], "ids": ["tls12", "tls13"]}


class Resuming(ssl.SSLContext):
    """A context that offers the last session again; `resumed` tells for each connection whether it was taken."""

    session = None
    resumed = ()
    _last = None

    def wrap_socket(self, sock, **options):
        self._last = super().wrap_socket(sock, session=self.session, **options)
        return self._last

    def keep(self):
        """To be called once the server has sent something: with TLS 1.3 the ticket comes after the handshake."""
        self.session = self._last.session
        self.resumed = (*self.resumed, self._last.session_reused)


def context(fleet, device, version) -> Resuming:
    made = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(fleet.ca_file)
    made.load_cert_chain(device.certificate_file, device.key_file)
    made.minimum_version = made.maximum_version = version
    return made


def once(fleet, tls: Resuming, client_id: str) -> bool:
    """Whether a connection gets its CONNACK."""
    try:
        wire = Wire(fleet.mqtt_tls, tls)
        packet = wire.send(connect(client_id)).read()
    except (ssl.SSLError, ConnectionError):
        return False
    if packet:
        tls.keep()
    wire.close()
    return packet is not None and packet[0] == CONNACK and packet[1][1] == 0


@pytest.mark.parametrize("version", **VERSIONS)
def test_a_session_is_resumed_and_its_certificate_still_known(fleet, device, name, version):
    tls = context(fleet, device(), version)
    assert all(once(fleet, tls, name) for _ in range(3))
    assert tls.resumed == (False, True, True)


@pytest.mark.parametrize("version", **VERSIONS)
def test_a_revoked_certificate_is_refused_although_it_resumes(fleet, iot, device, name, version):
    one = device()
    tls = context(fleet, one, version)
    assert once(fleet, tls, name) and once(fleet, tls, name)
    iot.update_certificate(certificateId=one.id, newStatus="INACTIVE")
    assert not once(fleet, tls, name)
    iot.update_certificate(certificateId=one.id, newStatus="ACTIVE")
    assert once(fleet, tls, name), "the ticket itself is good"
    assert tls.resumed == (False, True, True)
    iot.update_certificate(certificateId=one.id, newStatus="REVOKED")
    since = len(fleet.log.all)
    assert not once(fleet, tls, name), "the ticket outlived the certificate"
    fleet.log.having(one.id, "revoked", since=since)


@pytest.mark.parametrize("version", **VERSIONS)
def test_an_mqtt_client_resumes(fleet, device, name, version):
    one = device()
    tls = context(fleet, one, version)
    for attempt in range(3):
        client = Client(fleet, one, name, version=V5, context=tls)
        client.connect()
        client.subscribe(f"{name}/#")
        client.publish(f"{name}/a", b"%d" % attempt)
        assert client.expect(1) == [b"%d" % attempt]
        tls.keep()
        client.close()
    assert tls.resumed == (False, True, True)
    fleet.iot.update_certificate(certificateId=one.id, newStatus="REVOKED")
    with pytest.raises(Refused):
        Client(fleet, one, name, version=V5, context=tls).connect()


@pytest.mark.parametrize("version", **VERSIONS)
def test_sessions_outlive_the_process(fleethaven, tmp_path, name, version):
    from device import make_device

    fleet = fleethaven()
    tls = context(fleet, make_device(fleet, tmp_path), version)
    assert once(fleet, tls, name)
    fleet.restart_after_kill()
    assert once(fleet, tls, name)
    assert tls.resumed == (False, True)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_reconnects(fleet, device, tmp_path, version):
    one, session = device(), tmp_path / "session.pem"
    host, port = fleet.mqtt_tls
    common = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost", version]
    common += ["-CAfile", fleet.ca_file, "-verify_return_error", "-cert", one.certificate_file, "-key", one.key_file]

    def run(*more: str) -> str:
        # CONNECT, then silence until the server's answer has brought the ticket with it.
        shell = subprocess.Popen(
            [*common, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        shell.stdin.write(connect("openssl") + b"\xe0\x00")
        shell.stdin.flush()
        try:
            out, _ = shell.communicate(timeout=10)
        finally:
            shell.kill()
        return out.decode(errors="replace")

    first = run("-sess_out", str(session), "-ign_eof")
    assert "New, TLSv" in first, first
    again = run("-sess_in", str(session), "-ign_eof")
    assert "Reused, TLSv" in again, again


def test_a_ticket_of_the_https_port_is_worth_nothing_on_the_mqtt_port(fleet, device, name):
    """Without a certificate there, it would be a way round the certificate here."""
    one = device()
    tls = context(fleet, one, ssl.TLSVersion.TLSv1_2)
    wire = Wire(fleet.https, tls)
    wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    wire._exactly(12)
    tls.keep()
    wire.close()
    assert once(fleet, tls, name), "a full handshake with the certificate"
    assert tls.resumed == (False, False)
