//! The table of malformed and borderline packets, played against codec and session.

use std::collections::VecDeque;

use bytes::BytesMut;
use fleethaven_mqtt::{DecodeError, DecodeLimits, Decoder, Packet, ReasonCode, Version};
use fleethaven_testkit::packets::{self, Connection, Row, State};
use fleethaven_types::Profile::Standard;
use fleethaven_types::{Limits, QoS, Utf8Bytes};
use rustc_hash::FxHashMap;

use super::pair::{Pair, settings};
use crate::{Action, Delivery, Encoded};

/// A broker of one client: it gets its own messages back, where it subscribed to the topic as it stands.
struct Alone {
    pair: Pair,
    filters: FxHashMap<Utf8Bytes, QoS>,
    received: VecDeque<Packet>,
}

impl Alone {
    fn new(version: Version) -> Self {
        let mut pair = Pair::new(settings(Standard, |_, _| {}), version);
        pair.serving = false;
        Self { pair, filters: FxHashMap::default(), received: VecDeque::new() }
    }

    fn carry_out(&mut self, action: Action) {
        let session = &mut self.pair.session;
        match action {
            Action::Publish { message, ack, .. } => {
                let subscribed = self.filters.get(&message.topic).copied();
                if let Some(ticket) = ack {
                    let nobody = ReasonCode::NoMatchingSubscribers;
                    session.publish_done(
                        ticket,
                        if subscribed.is_some() { ReasonCode::Success } else { nobody },
                    );
                }
                if let Some(qos) = subscribed {
                    let delivery = Delivery { qos: qos.min(message.qos), retain: false, identifiers: &[] };
                    session.deliver(&mut Encoded::new(message, self.pair.now.wall), &delivery, self.pair.now);
                }
            }
            Action::Subscribe(request) => {
                let granted = request.filters.iter().filter(|filter| filter.verdict.is_ok());
                self.filters.extend(granted.map(|filter| (filter.filter.clone(), filter.options.qos)));
                self.pair.grant(request);
            }
            Action::Unsubscribe(request) => {
                let mut remove = |filter: Utf8Bytes| {
                    let existed = self.filters.remove(&filter).is_some();
                    (filter, existed)
                };
                let outcomes = request.filters.into_iter().map(&mut remove).collect();
                session.unsubscribe_done(request.packet_id, outcomes);
            }
            other => self.pair.carry_out(other),
        }
    }
}

impl Connection for Alone {
    fn send(&mut self, bytes: &[u8]) {
        self.pair.send_bytes(bytes);
        while !self.pair.held.is_empty() {
            let held = std::mem::take(&mut self.pair.held);
            held.into_iter().for_each(|action| self.carry_out(action));
            self.pair.run();
        }
        self.received.extend(self.pair.received());
    }

    fn next(&mut self) -> Option<Packet> {
        let next = self.received.pop_front();
        let closed = self.pair.closed || self.pair.refused.is_some();
        assert!(next.is_some() || closed, "nothing more comes, and the connection is open");
        next
    }
}

/// What the codec alone says of the row.
fn decoded(row: &Row) -> Option<DecodeError> {
    let mut decoder = Decoder::new(DecodeLimits { max_packet_size: Limits::of(Standard).packet_bytes });
    if row.state != State::New {
        decoder.set_version(row.version);
    }
    let mut stream = BytesMut::from(&row.sent[..]);
    loop {
        match decoder.decode(&mut stream) {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

fn all_rows() -> impl Iterator<Item = Row> {
    [Version::V311, Version::V5].into_iter().flat_map(|version| packets::rows(version).unwrap())
}

#[test]
fn every_row_gets_its_reaction() {
    let wrong: Vec<_> = all_rows().filter_map(|row| row.play(&mut Alone::new(row.version)).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_codec_refuses_breaks_the_statement_of_the_row() {
    let differs = |row: Row| {
        let error = decoded(&row)?;
        (error.statement() != row.statement).then(|| format!("{row}: {error}"))
    };
    let wrong: Vec<_> = all_rows().filter_map(differs).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
