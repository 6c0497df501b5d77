//! What passes between publishers and subscribers, whoever turns the reactor.

use std::time::Instant;

use fleethaven_mqtt::Packet;

use super::Plan;
use super::publishers::Publishers;
use super::receipts::Receipts;
use crate::client::{Client, Progress, Role};
use crate::clock;
use crate::reactor::Event;
use crate::report;

/// The messages of a run and their account.
pub(super) struct Flow {
    pub(super) publishers: Publishers,
    pub(super) receipts: Receipts,
    pub(super) refused: u64,
    pub(super) connections_lost: u64,
    /// When the run began; stamps count from here.
    pub(super) start: Instant,
    /// When a delivery or an acknowledgement last came.
    pub(super) news: Instant,
}

impl Flow {
    pub(super) fn new(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let now = clock::now();
        Ok(Self {
            publishers: Publishers::new(plan)?,
            receipts: Receipts::new(plan)?,
            refused: 0,
            connections_lost: 0,
            start: now,
            news: now,
        })
    }

    /// Takes what happened to a client.
    pub(super) fn take(&mut self, client: &mut Client, event: Event, at: Instant) {
        match event {
            Event::Packet(packet) => self.packet(client, &packet, at),
            Event::Closed(error) => {
                report::progress(self.connections_lost == 0, &format!("a connection is lost: {error:#}"));
                self.connections_lost += 1;
            }
        }
    }

    fn packet(&mut self, client: &mut Client, packet: &Packet, at: Instant) {
        match (client.acknowledge(packet), client.spec().role, packet) {
            (Progress::Delivered, Role::Subscriber(number), Packet::Publish(publish)) => {
                self.news = at;
                let now = clock::nanos(self.start, at);
                if let Some(stream) = self.receipts.take(number, &publish.payload, now) {
                    self.publishers.delivered(stream);
                }
            }
            (Progress::Complete { refused }, Role::Publisher(stream), _) => {
                self.news = at;
                self.refused += u64::from(refused);
                self.publishers.acknowledged(stream, clock::nanos(self.start, at));
            }
            (_, _, Packet::Disconnect(disconnect)) => {
                let line = format!("DISCONNECT says {:?}", disconnect.reason);
                report::progress(self.connections_lost == 0, &line);
            }
            _ => {}
        }
    }
}
