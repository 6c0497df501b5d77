//! Retained messages: what storing them costs, and handing all of them to one new subscriber.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use fleethaven_mqtt::{Packet, PacketId, Publish, encode_publish};

use crate::client::{Client, Progress, Role, Spec};
use crate::clock;
use crate::options::Retained;
use crate::process;
use crate::reactor::{Event, Reactor, open_all};
use crate::report::{self, Report};
use crate::stamp::Stamp;
use crate::target::Target;

/// Without news for this long a part of the run ends.
const STALLED: Duration = Duration::from_secs(10);
/// How long repeats are listened for after everything came.
const LINGER: Duration = Duration::from_millis(200);
/// Topics below one level of the tree.
const PER_LEVEL: u32 = 1000;

/// Stores, subscribes, counts, clears.
pub(crate) fn run(options: &Retained) -> anyhow::Result<Report> {
    let target = Target::new(&options.common, options.publishers as usize + 1, false)?;
    let mut store = Store::new(options, target)?;
    let mut report = Report::new("retained");
    report.put("target", options.common.target.as_str());
    report.put("tls", options.common.tls);
    report.put("qos", options.qos().bits());
    report.put("messages", options.messages);

    let before = Moment::now(options)?;
    store.publish_all(options.payload as usize)?;
    before.put_part(&mut report, "store", options)?;

    let before = Moment::now(options)?;
    let (seen, repeated) = store.subscribe()?;
    before.put_part(&mut report, "receive", options)?;
    report.put("refused", store.refused);
    report.put("received", seen);
    report.put("lost", u64::from(options.messages) - seen);
    report.put("duplicated", repeated);

    if !options.keep {
        let before = Moment::now(options)?;
        store.publish_all(0)?;
        before.put_part(&mut report, "clear", options)?;
    }
    Ok(report)
}

/// The clock and both processes' CPU time.
struct Moment {
    at: Instant,
    own: f64,
    broker: Option<f64>,
}

impl Moment {
    fn now(options: &Retained) -> anyhow::Result<Self> {
        Ok(Self {
            at: clock::now(),
            own: process::own_thread_cpu_seconds()?,
            broker: options.common.pid.map(process::cpu_seconds).transpose()?,
        })
    }

    /// Puts what was used since this moment.
    fn put_part(&self, report: &mut Report, name: &str, options: &Retained) -> anyhow::Result<()> {
        let (now, messages) = (Self::now(options)?, f64::from(options.messages));
        let seconds = now.at.saturating_duration_since(self.at).as_secs_f64();
        report.put_number(&format!("{name}_seconds"), seconds);
        report.put_number(&format!("{name}_per_second"), messages / seconds);
        report.put_number(&format!("{name}_own_cpu_share"), (now.own - self.own) / seconds);
        if let (Some(before), Some(after)) = (self.broker, now.broker) {
            let cost = (after - before) * 1e6 / messages;
            report.put_number(&format!("{name}_broker_cpu_us_per_message"), cost);
        }
        Ok(())
    }
}

/// One publisher's share of the messages.
struct Publisher {
    key: usize,
    next: u32,
    unacknowledged: u32,
    limit: u32,
    next_id: PacketId,
}

struct Store<'a> {
    options: &'a Retained,
    target: Target,
    reactor: Reactor,
    publishers: Vec<Publisher>,
    acknowledged: u64,
    refused: u64,
}

impl<'a> Store<'a> {
    fn new(options: &'a Retained, target: Target) -> anyhow::Result<Self> {
        let mut reactor = Reactor::new()?;
        let specs = (0..options.publishers as usize)
            .map(|number| Spec {
                role: Role::Publisher(number),
                ..Spec::bare(number, format!("{}-{}-r{number}", target.client_prefix, process::own_id()))
            })
            .collect();
        let keys = open_all(&mut reactor, &target, &options.common, specs, |_, _, _| {})?;
        let mut publishers = Vec::with_capacity(keys.len());
        for key in keys {
            let client = reactor.client(key).context("a publisher is gone before the run")?;
            let limit = u32::from(options.window.min(client.receive_maximum));
            publishers.push(Publisher { key, next: 0, unacknowledged: 0, limit, next_id: PacketId::MIN });
        }
        Ok(Self { options, target, reactor, publishers, acknowledged: 0, refused: 0 })
    }

    fn topic(&self, message: u32) -> String {
        let (prefix, pid) = (&self.target.client_prefix, process::own_id());
        format!("{prefix}/{pid}/retained/{}/{message}", message / PER_LEVEL)
    }

    /// Publishes every message retained with a payload of this size; an empty one clears it.
    fn publish_all(&mut self, payload: usize) -> anyhow::Result<()> {
        let (count, step) = (self.options.messages, self.publishers.len());
        self.acknowledged = 0;
        for (first, publisher) in self.publishers.iter_mut().enumerate() {
            publisher.next = u32::try_from(first)?;
        }
        let mut news = clock::now();
        while self.acknowledged < u64::from(count) {
            for at in 0..step {
                self.fill(at, u32::try_from(step)?, payload)?;
            }
            let Self { reactor, publishers, acknowledged, refused, .. } = self;
            reactor.turn(Duration::from_millis(50), |_, client, event, at| {
                let Event::Packet(packet) = event else { anyhow::bail!("a publisher's connection is lost") };
                if let Progress::Complete { refused: was } = client.acknowledge(&packet)
                    && let Role::Publisher(number) = client.spec().role
                    && let Some(publisher) = publishers.get_mut(number)
                {
                    publisher.unacknowledged -= 1;
                    *acknowledged += 1;
                    *refused += u64::from(was);
                    news = at;
                }
                Ok(())
            })?;
            ensure!(news.elapsed() < STALLED, "only {} of {count} are acknowledged", self.acknowledged);
        }
        Ok(())
    }

    fn fill(&mut self, at: usize, step: u32, payload: usize) -> anyhow::Result<()> {
        loop {
            let Some(publisher) = self.publishers.get(at) else { return Ok(()) };
            let (key, message, packet_id) = (publisher.key, publisher.next, publisher.next_id);
            let client_is_full = publisher.unacknowledged >= publisher.limit;
            if client_is_full || message >= self.options.messages {
                break;
            }
            let mut body = vec![0x2E; payload];
            Stamp { stream: 0, sequence: u64::from(message), sent: 0 }.write(&mut body);
            let mut publish = Publish::new(self.topic(message), body);
            (publish.retain, publish.qos, publish.packet_id) = (true, self.options.qos(), Some(packet_id));
            let client = self.reactor.client(key).context("a publisher is gone")?;
            encode_publish(&publish, self.target.version, &mut client.out)?;
            if let Some(publisher) = self.publishers.get_mut(at) {
                publisher.next += step;
                publisher.unacknowledged += 1;
                publisher.next_id = packet_id.checked_add(1).unwrap_or(PacketId::MIN);
            }
        }
        if let Some(publisher) = self.publishers.get(at) {
            // A socket that fails here is found closed in the next turn.
            _ = self.reactor.client(publisher.key).map(Client::flush);
        }
        Ok(())
    }

    /// Subscribes to all of them; gives how many came, and how many came again.
    fn subscribe(&mut self) -> anyhow::Result<(u64, u64)> {
        let count = self.options.messages as usize;
        let mut seen = Seen { messages: vec![false; count], distinct: 0, repeated: 0, news: clock::now() };
        let (prefix, pid) = (&self.target.client_prefix, process::own_id());
        let spec = Spec {
            role: Role::Subscriber(0),
            filter: Some((format!("{prefix}/{pid}/retained/#"), self.options.qos())),
            ..Spec::bare(self.publishers.len(), format!("{prefix}-{pid}-rs"))
        };
        let Self { reactor, target, options, .. } = self;
        open_all(reactor, target, &options.common, vec![spec], |client, event, at| {
            seen.take(client, &event, at);
        })?;
        let mut told = clock::now();
        let mut complete: Option<Instant> = None;
        while seen.news.elapsed() < STALLED && complete.is_none_or(|at| at.elapsed() < LINGER) {
            reactor.turn(Duration::from_millis(50), |_, client, event, at| {
                seen.take(client, &event, at);
                Ok(())
            })?;
            if seen.distinct == count as u64 && complete.is_none() {
                complete = Some(clock::now());
            }
            if told.elapsed() > Duration::from_secs(1) {
                told = clock::now();
                report::progress(options.common.progress, &format!("{} of {count} received", seen.distinct));
            }
        }
        Ok((seen.distinct, seen.repeated))
    }
}

/// Which messages came.
struct Seen {
    messages: Vec<bool>,
    distinct: u64,
    repeated: u64,
    news: Instant,
}

impl Seen {
    fn take(&mut self, client: &mut Client, event: &Event, at: Instant) {
        let Event::Packet(packet) = event else { return };
        client.acknowledge(packet);
        let Packet::Publish(publish) = packet else { return };
        let number = Stamp::read(&publish.payload).and_then(|stamp| usize::try_from(stamp.sequence).ok());
        let Some(seen) = number.and_then(|number| self.messages.get_mut(number)) else { return };
        self.news = at;
        match std::mem::replace(seen, true) {
            false => self.distinct += 1,
            true => self.repeated += 1,
        }
    }
}
