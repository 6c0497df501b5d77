//! The scenarios against a small broker of this file's own, over real loopback sockets.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::BytesMut;
use clap::Parser as _;
use fleethaven_mqtt::{
    Connack, DecodeLimits, Decoder, Packet, PacketId, Publish, QoS, ReasonCode, Suback, Version, encode,
    encode_puback_ok, encode_pubcomp_ok, encode_pubrec_ok, encode_pubrel_ok,
};

use crate::options::Options;
use crate::report::Report;

/// How the broker misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Every tenth message is not delivered.
    Loses,
    /// Every tenth message is delivered twice.
    Repeats,
    /// CONNACK refuses.
    Refuses,
}

/// By filter, the subscribers' sockets.
type Subscribers = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

/// Starts a broker that ends with the test process.
fn broker(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let subscribers = Subscribers::default();
        for stream in listener.incoming() {
            let (stream, subscribers) = (stream.unwrap(), Arc::clone(&subscribers));
            thread::spawn(move || Connection { stream, subscribers, fault, taken: 0 }.serve());
        }
    });
    address
}

struct Connection {
    stream: TcpStream,
    subscribers: Subscribers,
    fault: Fault,
    taken: u64,
}

impl Connection {
    fn serve(mut self) {
        let mut decoder = Decoder::new(DecodeLimits::default());
        let (mut inbox, mut scratch) = (BytesMut::new(), [0; 4096]);
        while let Ok(read @ 1..) = self.stream.read(&mut scratch) {
            inbox.extend_from_slice(&scratch[..read]);
            while let Some(packet) = decoder.decode(&mut inbox).unwrap() {
                self.answer(packet, decoder.version().unwrap());
            }
        }
    }

    fn answer(&mut self, packet: Packet, version: Version) {
        let mut out = BytesMut::new();
        match packet {
            Packet::Connect(_) => {
                let refused = self.fault == Fault::Refuses;
                let reason = if refused { ReasonCode::NotAuthorized } else { ReasonCode::Success };
                let connack = Packet::Connack(Box::new(Connack::new(false, reason)));
                encode(&connack, version, &mut out).unwrap();
            }
            Packet::Subscribe(subscribe) => {
                let (packet_id, asked) = (subscribe.packet_id, &subscribe.filters[0]);
                let socket = self.stream.try_clone().unwrap();
                let filter = asked.filter.to_string();
                self.subscribers.lock().unwrap().entry(filter).or_default().push(socket);
                let reason_codes = vec![ReasonCode::granted(asked.options.qos)];
                let suback = Suback { packet_id, reason_codes, properties: None };
                encode(&Packet::Suback(suback), version, &mut out).unwrap();
            }
            Packet::Publish(publish) => {
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => encode_puback_ok(id, &mut out),
                    (QoS::ExactlyOnce, Some(id)) => encode_pubrec_ok(id, &mut out),
                    _ => {}
                }
                self.deliver(publish, version);
            }
            Packet::Pubrel(ack) => encode_pubcomp_ok(ack.packet_id, &mut out),
            Packet::Pubrec(ack) => encode_pubrel_ok(ack.packet_id, &mut out),
            _ => {}
        }
        _ = self.stream.write_all(&out);
    }

    fn deliver(&mut self, mut publish: Publish, version: Version) {
        self.taken += 1;
        let copies = match self.fault {
            Fault::Loses if self.taken.is_multiple_of(10) => 0,
            Fault::Repeats if self.taken.is_multiple_of(10) => 2,
            _ => 1,
        };
        publish.packet_id = (publish.qos > QoS::AtMostOnce).then_some(PacketId::MAX);
        let (folder, _) = publish.topic.rsplit_once('/').unwrap();
        let (exact, any) = (publish.topic.to_string(), format!("{folder}/+"));
        let mut out = BytesMut::new();
        encode(&Packet::Publish(publish), version, &mut out).unwrap();
        // The lock keeps packets of several publishers whole on one subscriber's socket.
        let mut subscribers = self.subscribers.lock().unwrap();
        for filter in [exact, any] {
            for socket in subscribers.get_mut(&filter).into_iter().flatten() {
                (0..copies).for_each(|_| _ = socket.write_all(&out));
            }
        }
    }
}

/// Runs a command line; client identifiers are told apart by the prefix, because all tests share a process.
fn run(broker: SocketAddr, line: &str) -> anyhow::Result<Report> {
    let target = broker.to_string();
    let words = ["fleethaven-loadtest"].into_iter().chain(line.split(' ')).chain(["--target", &target]);
    crate::run(&Options::try_parse_from(words)?.command)
}

fn number(report: &Report, name: &str) -> u64 {
    report.get(name).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{name} of {report:?}"))
}

fn faults(report: &Report) -> [u64; 3] {
    ["lost", "duplicated", "reordered"].map(|name| number(report, name))
}

#[test]
fn counted_runs_deliver_everything_once_in_order() {
    let broker = broker(Fault::None);
    for (line, received) in [
        ("fan-in --publishers 7 --count 500", 500),
        ("fan-in --publishers 7 --count 500 --qos 1 --mqtt 3.1.1 --window 3", 500),
        ("fan-in --publishers 3 --subscribers 2 --count 500 --qos 1", 1000),
        ("fan-out --subscribers 9 --count 100", 900),
        ("pairs --pairs 5 --count 500 --qos 1 --payload 2000", 500),
        ("fan-in --publishers 2 --count 300 --rate 3000", 300),
        ("fan-in --publishers 2 --count 300 --rate 3000 --spin", 300),
        ("pairs --pairs 3 --count 300 --qos 2 --topics fleet", 300),
        ("fan-in --publishers 3 --subscribers 2 --count 300 --qos 2 --mqtt 3.1.1", 600),
    ] {
        let report = run(broker, line).unwrap();
        assert_eq!(number(&report, "received"), received, "{line}: {report:?}");
        assert_eq!(faults(&report), [0, 0, 0], "{line}");
        assert_eq!(number(&report, "stray"), 0, "{line}");
    }
}

#[test]
fn a_timed_run_measures_its_duration() {
    let report = run(broker(Fault::None), "pairs --pairs 2 --duration 1 --warmup 0 --rate 2000").unwrap();
    let sent = number(&report, "sent");
    assert!((1000..=2500).contains(&sent), "{report:?}");
    assert_eq!(faults(&report), [0, 0, 0]);
}

#[test]
fn loss_and_duplicates_are_found() {
    let report = run(broker(Fault::Loses), "fan-in --publishers 1 --count 200 --rate 5000").unwrap();
    assert_eq!(faults(&report), [20, 0, 0]);
    let report = run(broker(Fault::Repeats), "fan-in --publishers 1 --count 200 --qos 1").unwrap();
    assert_eq!(faults(&report), [0, 20, 0]);
}

#[test]
fn connections_are_held_and_handshakes_counted() {
    let broker = broker(Fault::None);
    let report = run(broker, "idle --connections 40 --subscribe --settle 0").unwrap();
    assert_eq!((number(&report, "connections"), number(&report, "connections_lost")), (40, 0));
    let report = run(broker, "handshakes --duration 1 --in-flight 4").unwrap();
    assert!(number(&report, "handshakes") > 0 && number(&report, "failed") == 0, "{report:?}");
}

#[test]
fn storms_and_soaks_have_bystanders() {
    let broker = broker(Fault::None);
    for line in [
        "connect-storm --connections 30 --bystanders 2 --rate 200 --quiet 1",
        "reconnect-storm --connections 30 --bystanders 2 --rate 200 --quiet 1",
    ] {
        let report = run(broker, line).unwrap();
        assert_eq!(number(&report, "failed_attempts"), 0, "{line}: {report:?}");
        assert_eq!(number(&report, "bystanders_during_lost"), 0, "{line}: {report:?}");
        assert!(report.number("bystanders_before_latency_p99_us") > Some(0.0), "{line}: {report:?}");
        assert!(report.number("open_after_p99_ms") > Some(0.0), "{line}: {report:?}");
    }
}

#[test]
fn a_search_says_why_it_found_nothing() {
    let line = "sustained --publishers 2 --from 2000 --precision 100 --bound 1000 --duration 1 --warmup 0";
    let report = run(broker(Fault::Loses), line).unwrap();
    assert_eq!(report.get("sustained_per_second"), Some(&serde_json::Value::Null), "{report:?}");
    assert_eq!(report.get("failed_because").unwrap(), "messages were lost");
}

#[test]
fn what_goes_wrong_is_said() {
    let refused = run(broker(Fault::Refuses), "idle --connections 1").unwrap_err();
    assert!(format!("{refused:#}").contains("CONNACK says NotAuthorized"), "{refused:#}");
    let remote = run(SocketAddr::from(([192, 0, 2, 1], 1883)), "idle").unwrap_err();
    assert!(remote.to_string().contains("--allow-remote"), "{remote}");
}
