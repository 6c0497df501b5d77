//! Many clients on one thread: waits for their sockets, reads in bounded turns, writes once a turn.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use fleethaven_mqtt::Packet;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::alarm::Alarm;
use crate::client::{Client, Spec};
use crate::clock;
use crate::link::Remains;
use crate::options::Common;
use crate::report;
use crate::target::Target;

/// Bytes of one read.
const READ: usize = 64 * 1024;
/// Reads of one client before the others have their turn.
const READS_A_TURN: usize = 16;
/// Waits shorter than this are timed by the alarm; polling alone rounds them up to a millisecond.
const FINE: Duration = Duration::from_millis(20);
/// The alarm among the clients' keys.
const ALARM: Token = Token(usize::MAX);
/// Events taken from the kernel at a time.
const EVENTS: usize = 1024;

/// What happened to a client.
pub(crate) enum Event {
    /// A packet came.
    Packet(Packet),
    /// The connection is gone, and with this call so is the client.
    Closed(anyhow::Error),
}

/// The clients and what waits on their sockets.
pub(crate) struct Reactor {
    poll: Poll,
    alarm: Alarm,
    events: Events,
    clients: Slab<Client>,
    scratch: Vec<u8>,
    /// Clients with something to read or write in the coming turn.
    ready: Vec<usize>,
    /// Clients that used up their reads in the last turn.
    unfinished: Vec<usize>,
}

impl Reactor {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            events: Events::with_capacity(EVENTS),
            clients: Slab::new(),
            scratch: vec![0; READ],
            ready: Vec::new(),
            unfinished: Vec::new(),
        })
    }

    /// The client, unless it is gone.
    pub(crate) fn client(&mut self, key: usize) -> Option<&mut Client> {
        self.clients.get_mut(key)
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Starts a client and gives its key.
    pub(crate) fn open(&mut self, target: &Target, spec: Spec) -> anyhow::Result<usize> {
        let mut client = Client::open(target, spec)?;
        let entry = self.clients.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(client.link().socket(), Token(key), interest)?;
        entry.insert(client);
        Ok(key)
    }

    /// Says good-bye and forgets the client.
    pub(crate) fn close(&mut self, key: usize) {
        if let Some(mut client) = self.clients.try_remove(key) {
            // One that is gone already needs no good-bye; dropping it takes it off the poll.
            _ = client.disconnect();
        }
    }

    /// Drops the connection without a word and forgets the client, who is given back.
    pub(crate) fn cut(&mut self, key: usize) -> Option<Spec> {
        Some(self.clients.try_remove(key)?.spec().clone())
    }

    /// Waits at most `timeout`, then reads and writes what is ready and hands each event to `handle` with the
    /// time it was read at.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(usize, &mut Client, Event, Instant) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.wait(timeout)?;
        let ready = std::mem::take(&mut self.ready);
        for key in &ready {
            let Some(client) = self.clients.get_mut(*key) else { continue };
            match serve(client, &mut self.scratch, |client, packet, at| {
                handle(*key, client, Event::Packet(packet), at)
            }) {
                Ok(Remains::Nothing) => {}
                Ok(Remains::Maybe) => self.unfinished.push(*key),
                Ok(Remains::Closed) => {
                    let mut client = self.clients.remove(*key);
                    handle(
                        *key,
                        &mut client,
                        Event::Closed(anyhow::anyhow!("closed by the broker")),
                        clock::now(),
                    )?;
                }
                Err(Failure::Link(error)) => {
                    let mut client = self.clients.remove(*key);
                    handle(*key, &mut client, Event::Closed(error), clock::now())?;
                }
                Err(Failure::Handler(error)) => return Err(error),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn wait(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let timeout = if self.unfinished.is_empty() { timeout } else { Duration::ZERO };
        let is_fine = !timeout.is_zero() && timeout < FINE;
        if is_fine {
            self.alarm.set(timeout)?;
        }
        let timeout = if is_fine { FINE } else { timeout };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        self.ready.clear();
        self.ready.append(&mut self.unfinished);
        let tokens = self.events.iter().map(|event| event.token()).filter(|token| *token != ALARM);
        self.ready.extend(tokens.map(|token| token.0));
        Ok(())
    }
}

/// Why serving a client ended.
enum Failure {
    /// Its connection is of no more use.
    Link(anyhow::Error),
    /// The run cannot go on.
    Handler(anyhow::Error),
}

/// Flushes, reads and handles one client, then flushes what that gave.
fn serve(
    client: &mut Client,
    scratch: &mut [u8],
    mut handle: impl FnMut(&mut Client, Packet, Instant) -> anyhow::Result<()>,
) -> Result<Remains, Failure> {
    let link = |error: std::io::Error| Failure::Link(error.into());
    client.flush().map_err(link)?;
    let mut remains = Remains::Maybe;
    for _ in 0..READS_A_TURN {
        remains = client.read(scratch).map_err(link)?;
        let at = clock::now();
        while let Some(packet) = client.next_packet().map_err(Failure::Link)? {
            handle(client, packet, at).map_err(Failure::Handler)?;
        }
        if remains != Remains::Maybe {
            break;
        }
    }
    if remains != Remains::Closed {
        client.flush().map_err(link)?;
    }
    Ok(remains)
}

/// Opens all of `specs`, some at a time, and gives their keys in the same order. `handle` gets what comes for
/// those that are open, and messages that come before SUBACK.
///
/// # Errors
/// One of them is refused, or the time is over.
pub(crate) fn open_all(
    reactor: &mut Reactor,
    target: &Target,
    common: &Common,
    specs: Vec<Spec>,
    mut handle: impl FnMut(&mut Client, Event, Instant),
) -> anyhow::Result<Vec<usize>> {
    let (wanted, limit) = (specs.len(), common.opening as usize);
    let mut waiting = VecDeque::from(specs);
    let mut keys = Vec::with_capacity(wanted);
    let mut open = 0;
    let deadline = clock::now() + Duration::from_secs(common.connect_timeout);
    let mut told = clock::now();
    while open < wanted {
        while keys.len() - open < limit
            && let Some(spec) = waiting.pop_front()
        {
            keys.push(reactor.open(target, spec).with_context(|| target.address.to_string())?);
        }
        reactor.turn(Duration::from_millis(100), |_, client, event, at| match event {
            Event::Packet(_) if client.is_open() => {
                handle(client, event, at);
                Ok(())
            }
            Event::Packet(packet) => {
                open += usize::from(client.establish(&packet)?);
                if matches!(packet, Packet::Publish(_) | Packet::Pubrel(_)) {
                    handle(client, Event::Packet(packet), at);
                }
                Ok(())
            }
            Event::Closed(error) => Err(error.context(format!("after {open} connections"))),
        })?;
        if clock::now() > deadline {
            bail!("only {open} of {wanted} connections open after {} s", common.connect_timeout);
        }
        if told.elapsed() > Duration::from_secs(1) {
            told = clock::now();
            report::progress(common.progress, &format!("{open} of {wanted} connections open"));
        }
    }
    Ok(keys)
}
