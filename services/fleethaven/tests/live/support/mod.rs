//! The broker as a child process, and an MQTT client that shows every packet.

#![allow(dead_code, reason = "each test file uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails the test"
)]

pub(crate) mod device;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fleethaven_mqtt::{
    Ack, Connack, Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, Packet, Publish, QoS,
    ReasonCode, Subscribe, Subscription, Version, Will, encode,
};
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Both versions of MQTT.
pub(crate) const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

#[expect(clippy::disallowed_methods, reason = "deadlines against a real process")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Asks until the answer is yes; panics with `what` at the deadline.
pub(crate) fn until(what: &str, condition: impl FnMut() -> bool) {
    within(DEADLINE, what, condition);
}

/// The same with a deadline of its own.
pub(crate) fn within(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + deadline;
    while !condition() {
        assert!(now() < deadline, "not in time: {what}");
        // A moment for the broker: each look costs it a request.
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// `fleethaven dev` with plain MQTT on a port of its own.
pub(crate) struct Broker {
    child: Child,
    ready: serde_json::Value,
}

impl Broker {
    /// Starts on `dir`; returns when it is ready.
    pub(crate) fn start(dir: &TempDir) -> Self {
        Self::start_with(dir, "")
    }

    /// Starts with a settings file.
    pub(crate) fn start_with(dir: &TempDir, settings: &str) -> Self {
        let config = dir.path().join("settings.toml");
        std::fs::write(&config, settings).unwrap();
        let any = "127.0.0.1:0";
        let log = std::fs::File::options().create(true).append(true).open(dir.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fleethaven"))
            .args(["dev", "--mqtt-tls", any, "--https", any, "--mqtt", any, "--admin", any, "--cores", "2"])
            .args(["--config".as_ref(), config.as_os_str()])
            .args(["--data-dir".as_ref(), dir.path().join("data").as_os_str()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let ready = ready_line(&mut child, dir.path());
        Self { child, ready }
    }

    /// A text of the ready line.
    pub(crate) fn ready(&self, key: &str) -> &str {
        self.ready.get(key).and_then(|value| value.as_str()).unwrap()
    }

    /// Where a listener of the ready line is.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let text = self.ready.get(listener).and_then(|value| value.as_str()).unwrap();
        let port = text.rsplit_once(':').unwrap().1.parse().unwrap();
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// A plain TCP connection to the MQTT listener.
    pub(crate) fn socket(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address("mqtt")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A TCP connection to the MQTT over TLS listener, before the handshake.
    pub(crate) fn tls_socket(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address("mqtt_tls")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// The sum of a metric's samples whose line starts so, such as `name{result="success"`.
    pub(crate) fn metric(&self, line: &str) -> f64 {
        let mut stream = TcpStream::connect(self.address("admin")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let values = page.lines().filter(|sample| sample.starts_with(line));
        values.map(|sample| sample.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the broker ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Connects; CONNACK must be a success.
    pub(crate) fn connect(&self, connect: Connect) -> Client {
        let (client, connack) = self.try_connect(connect);
        assert_eq!(connack.reason, ReasonCode::Success);
        client
    }

    /// Connects; returns CONNACK, too.
    pub(crate) fn try_connect(&self, connect: Connect) -> (Client, Connack) {
        let mut client = Client::new(self.socket(), connect.version);
        client.send(&Packet::Connect(Box::new(connect)));
        match client.receive() {
            Packet::Connack(connack) => (client, *connack),
            other => panic!("not CONNACK: {other:?}"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready_line(child: &mut Child, dir: &Path) -> serde_json::Value {
    let stdout = child.stdout.take().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(3 * DEADLINE).expect("no ready line in time");
    serde_json::from_str(&line).unwrap_or_else(|_| {
        panic!("no ready line; the log: {}", std::fs::read_to_string(dir.join("log")).unwrap_or_default())
    })
}

/// CONNECT of a client that starts clean, without keep-alive.
pub(crate) fn clean(version: Version, client_id: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id: client_id.into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// CONNECT of a client whose session goes on for an hour.
pub(crate) fn persistent(version: Version, client_id: &str) -> Connect {
    let mut connect = Connect { clean_start: false, ..clean(version, client_id) };
    if version == Version::V5 {
        connect.properties.session_expiry_interval = Some(3600);
    }
    connect
}

/// A will at QoS 1.
pub(crate) fn will(topic: &str) -> Option<Box<Will>> {
    Some(Box::new(Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.into(),
        payload: "gone".into(),
        properties: Default::default(),
    }))
}

/// PUBLISH at QoS 1.
pub(crate) fn publish(topic: &str, payload: impl Into<bytes::Bytes>, id: u16) -> Publish {
    Publish { qos: QoS::AtLeastOnce, packet_id: Some(id.try_into().unwrap()), ..Publish::new(topic, payload) }
}

/// An MQTT client that does nothing by itself.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) version: Version,
    decoder: Decoder,
    buffer: BytesMut,
}

impl Client {
    pub(crate) fn new(stream: TcpStream, version: Version) -> Self {
        let decoder = Decoder::client(version, DecodeLimits::default());
        Self { stream, version, decoder, buffer: BytesMut::new() }
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(packet, self.version, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next packet; `None` when the broker closed the connection in order.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                return Some(packet);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).expect("nothing came in time") {
                0 => return None,
                count => self.buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    pub(crate) fn receive(&mut self) -> Packet {
        self.next().expect("the broker closed the connection")
    }

    pub(crate) fn receive_publish(&mut self) -> Publish {
        match self.receive() {
            Packet::Publish(publish) => publish,
            other => panic!("not PUBLISH: {other:?}"),
        }
    }

    /// The end of the connection: an MQTT 5 client is told `code` before.
    pub(crate) fn expect_end(&mut self, code: Option<ReasonCode>) {
        if let Some(code) = code.filter(|_| self.version == Version::V5) {
            match self.receive() {
                Packet::Disconnect(disconnect) => assert_eq!(disconnect.reason, code),
                other => panic!("not DISCONNECT: {other:?}"),
            }
        }
        assert_eq!(self.next(), None);
    }

    pub(crate) fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filters = vec![Subscription::new(filter, qos)];
        let packet_id = 1.try_into().unwrap();
        self.send(&Packet::Subscribe(Subscribe {
            packet_id,
            subscription_id: None,
            user_properties: Vec::new(),
            filters,
        }));
        match self.receive() {
            Packet::Suback(suback) => assert_eq!(suback.reason_codes, [ReasonCode::granted(qos)]),
            other => panic!("not SUBACK: {other:?}"),
        }
    }

    /// Publishes at QoS 1 and waits for PUBACK.
    pub(crate) fn publish(&mut self, topic: &str, payload: impl Into<bytes::Bytes>) {
        self.send(&Packet::Publish(publish(topic, payload, 1)));
        match self.receive() {
            Packet::Puback(_) => {}
            other => panic!("not PUBACK: {other:?}"),
        }
    }

    pub(crate) fn acknowledge(&mut self, publish: &Publish) {
        let id = publish.packet_id.expect("QoS 0 is not acknowledged");
        self.send(&Packet::Puback(Ack::new(id, ReasonCode::Success)));
    }

    /// Everything that comes before the answer to a PINGREQ.
    pub(crate) fn ping(&mut self) -> Vec<Packet> {
        self.send(&Packet::Pingreq);
        let mut before = Vec::new();
        loop {
            match self.receive() {
                Packet::Pingresp => return before,
                packet => before.push(packet),
            }
        }
    }

    /// DISCONNECT without will, then the end.
    pub(crate) fn disconnect(mut self) {
        self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)));
        assert_eq!(self.next(), None);
    }
}
