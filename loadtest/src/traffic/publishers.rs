//! Who may send when, and the stamping of payloads.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;
use fleethaven_mqtt::{PacketId, Publish, QoS, Template, Version};
use hdrhistogram::Histogram;

use super::{Plan, TURN};
use crate::client::Client;
use crate::reactor::Reactor;
use crate::report;
use crate::stamp::Stamp;

/// Bytes that may wait on one publisher's socket before it pauses.
const MOST_WAITING: usize = 256 * 1024;
/// Messages of an open loop sent in one turn; what is due beyond that goes in the next.
const MOST_A_TURN: u64 = 16_384;

/// All publishers of a run, and its pace.
pub(super) struct Publishers {
    list: Vec<Publisher>,
    /// Deliveries of one publish.
    fan: u64,
    window: u64,
    payload: usize,
    qos: QoS,
    /// Publishes per second; a closed loop when absent.
    rate: Option<u64>,
    spin: bool,
    /// An open loop that does not spin sends at multiples of this time, in nanoseconds.
    tick: u64,
    /// A closed loop goes on when its messages are delivered, not when they are acknowledged.
    awaits_delivery: bool,
    /// Messages sent.
    pub(super) sent: u64,
    /// How far an open loop was behind its schedule with each message, in nanoseconds.
    pub(super) lateness: Histogram<u64>,
    /// From when a message was due to its acknowledgement, in nanoseconds; where the subscribers are away, so that nothing else is late.
    pub(super) acknowledgement: Histogram<u64>,
    /// Turns of an open loop that ended because a full socket or window held the next publisher back.
    pub(super) held: u64,
    /// Keys of clients written to in this turn.
    dirty: Vec<usize>,
}

struct Publisher {
    key: usize,
    stream: u32,
    template: Template,
    sequence: u64,
    /// Deliveries of its messages.
    delivered: u64,
    acknowledged: u64,
    /// When what is unacknowledged was due, in nanoseconds of the run; kept where acknowledgements are timed.
    due: VecDeque<u64>,
    /// Most unacknowledged QoS 1 messages.
    limit: u64,
    next_id: PacketId,
}

impl Publishers {
    /// None yet.
    pub(super) fn new(plan: &Plan<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            list: Vec::new(),
            fan: plan.fan(),
            window: u64::from(plan.load.window),
            payload: plan.load.blank().len(),
            qos: plan.load.qos(),
            rate: plan.load.rate,
            spin: plan.load.spin,
            tick: plan.load.tick.max(1).saturating_mul(1000),
            awaits_delivery: !plan.persistent,
            sent: 0,
            lateness: report::histogram()?,
            acknowledgement: report::histogram()?,
            held: 0,
            dirty: Vec::new(),
        })
    }

    /// Takes open clients as the publishers.
    pub(super) fn enrol(
        &mut self,
        plan: &Plan<'_>,
        reactor: &mut Reactor,
        keys: &[usize],
        version: Version,
    ) -> anyhow::Result<()> {
        for (stream, key) in keys.iter().enumerate() {
            let client = reactor.client(*key).context("a publisher is gone before the run")?;
            self.list.push(Publisher {
                key: *key,
                stream: u32::try_from(stream)?,
                template: template(plan, stream, version)?,
                sequence: 0,
                delivered: 0,
                acknowledged: 0,
                due: VecDeque::new(),
                limit: u64::from(plan.load.window.min(client.receive_maximum)),
                next_id: PacketId::MIN,
            });
        }
        Ok(())
    }

    /// One delivery of a stream's message came.
    pub(super) fn delivered(&mut self, stream: usize) {
        if let Some(publisher) = self.list.get_mut(stream) {
            publisher.delivered += 1;
        }
    }

    /// A publish is complete at `now` nanoseconds of the run: PUBACK or PUBCOMP came, or a refusal. They come in the order of the
    /// publishes [MQTT-4.6.0-2, MQTT-4.6.0-3].
    pub(super) fn acknowledged(&mut self, stream: usize, now: u64) {
        if let Some(publisher) = self.list.get_mut(stream) {
            publisher.acknowledged += 1;
            if let Some(due) = publisher.due.pop_front() {
                self.acknowledgement.saturating_record(now.saturating_sub(due).max(1));
            }
        }
    }

    /// Whether nothing waits for an acknowledgement.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.qos == QoS::AtMostOnce || self.list.iter().all(|one| one.acknowledged >= one.sequence)
    }

    /// Stops waiting for deliveries that did not come.
    pub(super) fn write_off(&mut self) {
        for publisher in &mut self.list {
            publisher.delivered = publisher.delivered.max(publisher.sequence * self.fan);
        }
    }

    /// How long sockets may be waited for at `now` nanoseconds of the run.
    pub(super) fn wait(&self, now: u64) -> Duration {
        let Some(rate) = self.rate else { return TURN };
        let due = due_at(self.sent, rate);
        if self.spin {
            return Duration::from_millis((due.saturating_sub(now) / 1_000_000).saturating_sub(1));
        }
        let tick = due.div_ceil(self.tick).saturating_mul(self.tick);
        Duration::from_nanos(tick.saturating_sub(now))
    }

    /// Sends what may be sent at `now` nanoseconds of the run, up to `most` messages in the whole run.
    pub(super) fn fill(&mut self, reactor: &mut Reactor, now: u64, most: u64) -> anyhow::Result<()> {
        match self.rate {
            Some(rate) => self.fill_schedule(reactor, rate, now, most)?,
            None => self.fill_windows(reactor, now, most)?,
        }
        for key in self.dirty.drain(..) {
            // A socket that fails here is found closed in the next turn.
            _ = reactor.client(key).map(Client::flush);
        }
        Ok(())
    }

    fn fill_windows(&mut self, reactor: &mut Reactor, now: u64, most: u64) -> anyhow::Result<()> {
        for publisher in &mut self.list {
            let under_way = match self.awaits_delivery {
                true => publisher.undelivered(self.fan),
                false => publisher.unacknowledged(),
            };
            let room = self.window.saturating_sub(under_way);
            let Some(client) = reactor.client(publisher.key) else { continue };
            let was_empty = client.out.is_empty();
            for _ in 0..room {
                if self.sent >= most || !publisher.may_send(self.qos, client) {
                    break;
                }
                publisher.send(client, self.payload, now)?;
                if !self.awaits_delivery {
                    publisher.due.push_back(now);
                }
                self.sent += 1;
            }
            if was_empty && !client.out.is_empty() {
                self.dirty.push(publisher.key);
            }
        }
        Ok(())
    }

    /// Publishers take the scheduled messages in turn, what is due up to the last tick; stamps carry the scheduled time, so
    /// that lateness of this side counts as latency too.
    fn fill_schedule(&mut self, reactor: &mut Reactor, rate: u64, now: u64, most: u64) -> anyhow::Result<()> {
        let now = if self.spin { now } else { now - now % self.tick };
        for _ in 0..MOST_A_TURN {
            let due = due_at(self.sent, rate);
            if due > now || self.sent >= most {
                break;
            }
            let turn = usize::try_from(self.sent).unwrap_or(0).checked_rem(self.list.len()).unwrap_or(0);
            let Some(publisher) = self.list.get_mut(turn) else { break };
            let client = reactor.client(publisher.key).context("a publisher's connection is lost")?;
            if !publisher.may_send(self.qos, client) {
                self.held += 1;
                break;
            }
            if client.out.is_empty() {
                self.dirty.push(publisher.key);
            }
            self.lateness.saturating_record((now - due).max(1));
            publisher.send(client, self.payload, due)?;
            if !self.awaits_delivery {
                publisher.due.push_back(due);
            }
            self.sent += 1;
        }
        Ok(())
    }
}

impl Publisher {
    fn unacknowledged(&self) -> u64 {
        self.sequence.saturating_sub(self.acknowledged)
    }

    /// Messages that did not reach all who are to get them.
    fn undelivered(&self, fan: u64) -> u64 {
        (self.sequence * fan).saturating_sub(self.delivered).div_ceil(fan.max(1))
    }

    fn may_send(&self, qos: QoS, client: &Client) -> bool {
        client.out.len() < MOST_WAITING && (qos == QoS::AtMostOnce || self.unacknowledged() < self.limit)
    }

    fn send(&mut self, client: &mut Client, payload: usize, sent: u64) -> anyhow::Result<()> {
        let packet_id = (self.template.qos() > QoS::AtMostOnce).then_some(self.next_id);
        self.template.write_to(packet_id, false, &mut client.out)?;
        let at = client.out.len().saturating_sub(payload);
        if let Some(place) = client.out.get_mut(at..) {
            Stamp { stream: self.stream, sequence: self.sequence, sent }.write(place);
        }
        self.sequence += 1;
        self.next_id = self.next_id.checked_add(1).unwrap_or(PacketId::MIN);
        Ok(())
    }
}

/// When message `number` of a run is due, in nanoseconds.
fn due_at(number: u64, rate: u64) -> u64 {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn template(plan: &Plan<'_>, stream: usize, version: Version) -> anyhow::Result<Template> {
    let topic = match &plan.load.publish_below {
        Some(above) => format!("{above}/{}", plan.topic(stream)),
        None => plan.topic(stream),
    };
    let mut publish = Publish::new(topic, plan.load.blank());
    publish.qos = plan.load.qos();
    Ok(Template::new(&publish, version)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_even_and_does_not_overflow() {
        assert_eq!(due_at(0, 1000), 0);
        assert_eq!(due_at(3, 1000), 3_000_000);
        assert_eq!(due_at(1_000_000_000_000, 1_000_000), 1_000_000_000_000_000);
        assert_eq!(due_at(u64::MAX, 1), u64::MAX);
    }
}
