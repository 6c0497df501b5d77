//! A connection to a broker of AMQP 0-9-1, which carries publishes and their confirmations.
//!
//! An exchange that is not there, or that we may not publish to, ends the channel that it was named on; so each exchange has a channel
//! of its own, up to [`CHANNELS`]. What the session carries is bounded by the lane of the connection. When it breaks, everything that
//! is under way fails for a moment, and the next try opens another.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fleethaven_outbound::Dialer;
use fleethaven_registry::shapes::Connection;
use percent_encoding::percent_decode_str;
use rustc_hash::FxHashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{MissedTickBehavior, interval};

use super::super::carried::{Carried, Outcome, Publishes, Tell, flush};
use super::super::target::{Address, unreachable};
use super::wire::{self, Frame, Kind, Method};
use super::{Error, named};

/// How long either side may be silent, in seconds, unless the broker wants less.
const HEARTBEAT: u16 = 30;
/// Publishes that are not confirmed yet.
const UNDER_WAY: usize = 4096;
/// Channels of one connection. The last one is for all exchanges that have none of their own.
const CHANNELS: u16 = 64;
/// Largest frame, unless the broker wants smaller ones.
const FRAME_MAX: u32 = 128 << 10;
/// Smallest largest frame that there may be (AMQP's `frame-min-size`).
const FRAME_MIN: u32 = 4096;

/// Reply codes.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const NOT_ALLOWED: u16 = 530;

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Publish {
    /// Empty: the default exchange.
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(String, String)>,
    /// Queues that are durable keep it through a restart of the broker.
    pub(super) persistent: bool,
    /// It fails when no queue takes it.
    pub(super) mandatory: bool,
    pub(super) message_id: Option<String>,
    /// Seconds since 1970.
    pub(super) timestamp: u64,
    pub(super) payload: Bytes,
}

/// A way to the broker.
pub(super) type Session = Carried<Publish>;

/// Connects to the broker.
pub(super) async fn open(dialer: &Dialer, connection: &Connection, resource: &str) -> Result<Session, Error> {
    let address = Address::of(connection, "amqps", (5672, 5671))?;
    let host = match percent_decode_str(&address.path).decode_utf8_lossy() {
        path if path.is_empty() => "/".to_owned(),
        path => path.into_owned(),
    };
    if host.len() > wire::MAX_SHORT {
        return Err(Error::permanent(resource, "the endpoint's path is no name of a virtual host"));
    }
    let stream = dialer.open(&address.host, address.port, address.secured).await;
    let stream = stream.map_err(|error| unreachable(resource, &error))?;
    let mut carrier = Carrier::new(stream);
    carrier.connect(connection, &host).await.map_err(|Unwelcome { reason, transient }| {
        let reason = format!("the broker cannot be connected to: {reason}");
        Error { transient, ..Error::permanent(resource, reason) }
    })?;
    let (session, publishes) = Session::new();
    tokio::spawn(carrier.carry(publishes));
    Ok(session)
}

/// Why a connection did not come about.
struct Unwelcome {
    reason: String,
    transient: bool,
}

impl From<String> for Unwelcome {
    fn from(reason: String) -> Self {
        Self { reason, transient: true }
    }
}

/// How a broker is told who we are: a mechanism that it offers, and what is said.
fn login(connection: &Connection, offered: &str) -> Result<(&'static str, Vec<u8>), Unwelcome> {
    let unwelcome = |reason: &str| Unwelcome { reason: reason.to_owned(), transient: false };
    let offers = |name: &str| offered.split(' ').any(|one| one == name);
    match connection.credentials.as_ref().filter(|key| !key.secret.0.is_empty()) {
        Some(key) if offers("PLAIN") => {
            if key.id.contains('\0') || key.secret.0.contains('\0') {
                return Err(unwelcome("the user and the password cannot be sent"));
            }
            Ok(("PLAIN", format!("\0{}\0{}", key.id, key.secret.0).into_bytes()))
        }
        Some(_) => Err(unwelcome("it takes no user and password (PLAIN)")),
        None if connection.tls.identity.is_some() && offers("EXTERNAL") => Ok(("EXTERNAL", Vec::new())),
        None if offers("ANONYMOUS") => Ok(("ANONYMOUS", Vec::new())),
        None => Err(unwelcome("it wants a user and a password, and the connection has none")),
    }
}

/// A publish that is not confirmed.
struct Pending {
    tell: Tell,
    exchange: String,
    routing_key: String,
    message_id: Option<String>,
    /// It came back, and why: the confirmation follows.
    returned: Option<String>,
}

/// A channel, and what is under way on it.
#[derive(Default)]
struct Channel {
    open: bool,
    /// Publishes on it so far: the number of the last one.
    last_tag: u64,
    under_way: BTreeMap<u64, Pending>,
    /// A message that comes back, whose header follows: why, its exchange and its routing key.
    returning: Option<(String, String, String)>,
}

impl Channel {
    /// The broker has it, or will not, up to this one or this one alone.
    fn settle(&mut self, tag: u64, multiple: bool, taken: bool) {
        let settled = match (multiple, tag) {
            (false, _) => self.under_way.remove_entry(&tag).into_iter().collect(),
            (true, 0) => std::mem::take(&mut self.under_way),
            (true, _) => {
                let later = self.under_way.split_off(&tag.saturating_add(1));
                std::mem::replace(&mut self.under_way, later)
            }
        }
        .into_values();
        for Pending { tell, returned, .. } in settled {
            let outcome = match returned {
                Some(reason) => Outcome::Refused { reason, transient: false },
                None if taken => Outcome::Taken,
                None => {
                    let reason = "the broker could not take the message".to_owned();
                    Outcome::Refused { reason, transient: true }
                }
            };
            let _ = tell.send(outcome);
        }
    }

    /// The message that comes back is the first that looks like it: whichever it was, all of them go nowhere.
    fn returned(&mut self, message_id: Option<&str>) {
        let Some((reason, exchange, routing_key)) = self.returning.take() else { return };
        let same = |pending: &&mut Pending| {
            pending.returned.is_none()
                && pending.exchange == exchange
                && pending.routing_key == routing_key
                && pending.message_id.as_deref() == message_id
        };
        if let Some(pending) = self.under_way.values_mut().find(same) {
            pending.returned = Some(reason);
        }
    }

    /// The broker closed it. What is wrong is wrong with all that is under way only where there is but one, or all name an exchange
    /// that is not there; otherwise the others are tried again.
    fn closed(&mut self, code: u16, text: &str) {
        let under_way = std::mem::take(self).under_way;
        let mut exchanges = under_way.values().map(|pending| &pending.exchange);
        let first = exchanges.next();
        let alone = under_way.len() == 1 || code == NOT_FOUND && exchanges.all(|other| Some(other) == first);
        for Pending { tell, exchange, routing_key, .. } in under_way.into_values() {
            let named = named(&exchange, &routing_key);
            let reason = format!("the broker refused the message for {named}: {code} {text}");
            let _ = tell.send(Outcome::Refused { reason, transient: !alone });
        }
    }
}

/// One connection and what is under way on it.
struct Carrier<S> {
    stream: S,
    inbox: BytesMut,
    out: BytesMut,
    frame_max: u32,
    heartbeat: Duration,
    /// The first is channel 1.
    channels: Vec<Channel>,
    most_channels: u16,
    /// Which channel an exchange has.
    exchanges: FxHashMap<String, u16>,
    /// Why the broker takes no messages.
    blocked: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Carrier<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            inbox: BytesMut::new(),
            out: BytesMut::new(),
            frame_max: FRAME_MAX,
            heartbeat: Duration::from_secs(HEARTBEAT.into()),
            channels: Vec::new(),
            most_channels: CHANNELS,
            exchanges: FxHashMap::default(),
            blocked: None,
        }
    }

    /// Until the broker has opened the connection to a virtual host.
    async fn connect(&mut self, connection: &Connection, host: &str) -> Result<(), Unwelcome> {
        self.out.extend_from_slice(wire::PROTOCOL);
        loop {
            self.flush().await?;
            match self.next_method().await? {
                Method::Start { mechanisms } => {
                    let (mechanism, response) = login(connection, &mechanisms)?;
                    wire::start_ok(&mut self.out, mechanism, &response);
                }
                Method::Tune { channel_max, frame_max, heartbeat } => {
                    // 0 is no limit.
                    let or = |told: u32, ours: u32| if told == 0 { ours } else { told.min(ours) };
                    self.frame_max = or(frame_max, FRAME_MAX).max(FRAME_MIN);
                    let channels = or(channel_max.into(), CHANNELS.into());
                    self.most_channels = u16::try_from(channels).unwrap_or(CHANNELS);
                    let seconds = u16::try_from(or(heartbeat.into(), HEARTBEAT.into())).unwrap_or(HEARTBEAT);
                    self.heartbeat = Duration::from_secs(seconds.into());
                    wire::tune_ok(&mut self.out, self.most_channels, self.frame_max, seconds);
                    wire::open(&mut self.out, host);
                }
                Method::OpenOk => return Ok(()),
                Method::Close { code, text } => {
                    wire::close_ok(&mut self.out);
                    let _ = self.flush().await;
                    let transient = ![ACCESS_REFUSED, NOT_ALLOWED].contains(&code);
                    return Err(Unwelcome { reason: format!("{code} {text}"), transient });
                }
                Method::Secure => {
                    let reason = "it wants to know more than a user and a password".to_owned();
                    return Err(Unwelcome { reason, transient: false });
                }
                other => return Err(format!("it began with {other:?}").into()),
            }
        }
    }

    /// The next method, whatever else comes before it.
    async fn next_method(&mut self) -> Result<Method, String> {
        loop {
            if let Some(frame) = self.next_frame()? {
                if frame.kind == Kind::Method {
                    return Method::read(&frame.content).map_err(|error| error.to_string());
                }
                continue;
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, String> {
        let most = usize::try_from(self.frame_max).unwrap_or(usize::MAX);
        wire::frame(&mut self.inbox, most).map_err(|error| error.to_string())
    }

    /// Until nobody holds the session any more, or the connection breaks.
    async fn carry(mut self, mut publishes: Publishes<Publish>) {
        let mut beats = interval(self.heartbeat / 2);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.reset();
        // Beats in which nothing was heard.
        let mut silent = 0;
        let reason = loop {
            tokio::select! {
                next = publishes.recv(), if self.under_way() < UNDER_WAY => match next {
                    Some((publish, tell)) => {
                        self.add(publish, tell);
                        while self.under_way() < UNDER_WAY && let Ok((publish, tell)) = publishes.try_recv() {
                            self.add(publish, tell);
                        }
                        if let Err(reason) = self.flush().await {
                            break reason;
                        }
                    }
                    None => {
                        wire::close(&mut self.out);
                        let _ = self.flush().await;
                        return;
                    }
                },
                read = self.stream.read_buf(&mut self.inbox) => {
                    silent = 0;
                    let heard = match read {
                        Ok(0) => Err("it closed the connection".to_owned()),
                        Ok(_) => self.hear(),
                        Err(error) => Err(error.to_string()),
                    };
                    // What is to be answered is answered, also where the connection ends with it.
                    let flushed = self.flush().await;
                    if let Err(reason) = heard.and(flushed) {
                        break reason;
                    }
                }
                _ = beats.tick() => {
                    silent += 1;
                    if silent > 4 {
                        break "it has been silent for too long".to_owned();
                    }
                    wire::heartbeat(&mut self.out);
                    if let Err(reason) = self.flush().await {
                        break reason;
                    }
                }
            }
        };
        tracing::warn!(reason, "the connection to a broker of AMQP broke off");
    }

    fn under_way(&self) -> usize {
        self.channels.iter().map(|channel| channel.under_way.len()).sum()
    }

    /// The channel of an exchange.
    fn channel_of(&mut self, exchange: &str) -> u16 {
        if let Some(channel) = self.exchanges.get(exchange) {
            return *channel;
        }
        let next = u16::try_from(self.exchanges.len()).unwrap_or(u16::MAX).saturating_add(1);
        if next < self.most_channels {
            self.exchanges.insert(exchange.to_owned(), next);
        }
        next.min(self.most_channels)
    }

    fn channel(&mut self, number: u16) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number.checked_sub(1)?))
    }

    /// Has a publish written with the next flush.
    fn add(&mut self, publish: Publish, tell: Tell) {
        if let Some(reason) = &self.blocked {
            let reason = format!("the broker takes no messages: {reason}");
            let _ = tell.send(Outcome::Refused { reason, transient: true });
            return;
        }
        let number = self.channel_of(&publish.exchange);
        while self.channels.len() < usize::from(number) {
            self.channels.push(Channel::default());
        }
        let frame_max = usize::try_from(self.frame_max).unwrap_or(usize::MAX);
        let Some(channel) = self.channels.get_mut(usize::from(number.saturating_sub(1))) else { return };
        if !std::mem::replace(&mut channel.open, true) {
            wire::open_channel(&mut self.out, number);
        }
        wire::publish(&mut self.out, number, &publish, frame_max);
        channel.last_tag += 1;
        let Publish { exchange, routing_key, message_id, .. } = publish;
        let pending = Pending { tell, exchange, routing_key, message_id, returned: None };
        channel.under_way.insert(channel.last_tag, pending);
    }

    /// Takes up what has been read.
    fn hear(&mut self) -> Result<(), String> {
        while let Some(Frame { kind, channel: number, content }) = self.next_frame()? {
            match kind {
                Kind::Method => {
                    let method = Method::read(&content).map_err(|error| error.to_string())?;
                    self.take_up(number, method)?;
                }
                Kind::Header => {
                    let id = wire::header(&content).map_err(|error| error.to_string())?;
                    if let Some(channel) = self.channel(number) {
                        channel.returned(id.as_deref());
                    }
                }
                // Of a message that comes back.
                Kind::Body | Kind::Heartbeat => {}
            }
        }
        Ok(())
    }

    fn take_up(&mut self, number: u16, method: Method) -> Result<(), String> {
        match method {
            Method::Close { code, text } => {
                wire::close_ok(&mut self.out);
                return Err(format!("it closed the connection: {code} {text}"));
            }
            Method::Blocked { reason } => self.blocked = Some(reason),
            Method::Unblocked => self.blocked = None,
            Method::ChannelClose { code, text } => {
                wire::channel_close_ok(&mut self.out, number);
                if let Some(channel) = self.channel(number) {
                    channel.closed(code, &text);
                }
            }
            Method::Ack { tag, multiple } => {
                if let Some(channel) = self.channel(number) {
                    channel.settle(tag, multiple, true);
                }
            }
            Method::Nack { tag, multiple } => {
                if let Some(channel) = self.channel(number) {
                    channel.settle(tag, multiple, false);
                }
            }
            Method::Return { code, text, exchange, routing_key } => {
                let reason = format!("the broker has no queue for the message: {code} {text}");
                if let Some(channel) = self.channel(number) {
                    channel.returning = Some((reason, exchange, routing_key));
                }
            }
            Method::Start { .. } | Method::Secure | Method::Tune { .. } | Method::OpenOk | Method::Other => {}
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), String> {
        flush(&mut self.stream, &mut self.out).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn carrier() -> Carrier<tokio::io::DuplexStream> {
        Carrier::new(tokio::io::duplex(1).0)
    }

    fn add(
        carrier: &mut Carrier<tokio::io::DuplexStream>,
        exchange: &str,
        id: &str,
    ) -> oneshot::Receiver<Outcome> {
        let (tell, told) = oneshot::channel();
        let publish = Publish {
            exchange: exchange.to_owned(),
            routing_key: "k".to_owned(),
            content_type: "application/json",
            headers: Vec::new(),
            persistent: false,
            mandatory: true,
            message_id: Some(id.to_owned()),
            timestamp: 0,
            payload: Bytes::new(),
        };
        carrier.add(publish, tell);
        told
    }

    /// Taken; or refused, and whether for a moment; `None` while nothing is known.
    fn told(told: &mut oneshot::Receiver<Outcome>) -> Option<Result<(), bool>> {
        match told.try_recv().ok()? {
            Outcome::Taken => Some(Ok(())),
            Outcome::Refused { transient, .. } => Some(Err(transient)),
        }
    }

    #[tokio::test]
    async fn confirmations_count_by_channel_and_may_be_of_several() {
        let mut carrier = carrier();
        let mut of_a: Vec<_> = (0..4).map(|n| add(&mut carrier, "a", &n.to_string())).collect();
        let mut of_b = add(&mut carrier, "b", "x");
        carrier.take_up(1, Method::Ack { tag: 2, multiple: true }).unwrap();
        carrier.take_up(1, Method::Nack { tag: 4, multiple: false }).unwrap();
        let outcomes: Vec<_> = of_a.iter_mut().map(told).collect();
        assert_eq!(outcomes, [Some(Ok(())), Some(Ok(())), None, Some(Err(true))]);
        assert_eq!((told(&mut of_b), carrier.under_way()), (None, 2));
        carrier.take_up(2, Method::Ack { tag: 0, multiple: true }).unwrap();
        assert_eq!(told(&mut of_b), Some(Ok(())));
        carrier.take_up(9, Method::Ack { tag: 1, multiple: false }).unwrap();
    }

    #[tokio::test]
    async fn what_came_back_is_refused_by_its_confirmation() {
        let mut carrier = carrier();
        let (mut first, mut second) = (add(&mut carrier, "a", "1"), add(&mut carrier, "a", "2"));
        let (code, text) = (312, "NO_ROUTE".to_owned());
        let back = Method::Return { code, text, exchange: "a".to_owned(), routing_key: "k".to_owned() };
        carrier.take_up(1, back).unwrap();
        carrier.channel(1).unwrap().returned(Some("2"));
        carrier.take_up(1, Method::Ack { tag: 2, multiple: true }).unwrap();
        assert_eq!((told(&mut first), told(&mut second)), (Some(Ok(())), Some(Err(false))));
    }

    #[tokio::test]
    async fn a_closed_channel_costs_those_who_are_to_blame() {
        let mut carrier = carrier();
        let (mut missing, mut other) = (add(&mut carrier, "missing", "1"), add(&mut carrier, "a", "2"));
        carrier.take_up(1, Method::ChannelClose { code: NOT_FOUND, text: String::new() }).unwrap();
        assert_eq!((told(&mut missing), told(&mut other)), (Some(Err(false)), None));
        let mut third = add(&mut carrier, "a", "3");
        carrier.take_up(2, Method::ChannelClose { code: ACCESS_REFUSED, text: String::new() }).unwrap();
        assert_eq!((told(&mut other), told(&mut third)), (Some(Err(true)), Some(Err(true))));
        let mut again = add(&mut carrier, "a", "4");
        carrier.take_up(2, Method::Ack { tag: 1, multiple: false }).unwrap();
        assert_eq!(told(&mut again), Some(Ok(())), "the channel was opened again, and counts anew");
    }

    #[tokio::test]
    async fn many_exchanges_share_the_last_channel() {
        let mut carrier = carrier();
        let channels: Vec<_> = (0..100).map(|n| carrier.channel_of(&n.to_string())).collect();
        assert_eq!((channels[0], channels[62], channels[63], channels[99]), (1, 63, 64, 64));
        assert_eq!(carrier.exchanges.len(), 63);
    }

    #[tokio::test]
    async fn a_broker_that_is_short_of_something_is_sent_nothing() {
        let mut carrier = carrier();
        carrier.take_up(0, Method::Blocked { reason: "memory".to_owned() }).unwrap();
        let mut refused = add(&mut carrier, "a", "1");
        assert_eq!((told(&mut refused), carrier.out.len()), (Some(Err(true)), 0));
        carrier.take_up(0, Method::Unblocked).unwrap();
        add(&mut carrier, "a", "2");
        assert!(!carrier.out.is_empty());
    }
}
