//! Traces: what became of a message, or of a request, in all processes that had a part in it.
//!
//! A message needs nothing beside it to be traced. Its trace id is its own ([`Message::trace_id`]); whether it is recorded
//! follows from that id, so that every process decides alike; and the ids of the spans that others are below, `publish` and
//! `route`, follow from the message. Requests carry a [`TraceContext`] as a header.
//!
//! Where traces are off, all of it is one look at an empty [`Option`].

mod context;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_types::Message;

pub use context::{Malformed, TRACEPARENT, TraceContext};
pub use span::{Begun, Exemplar, Kind, Span, Value};

/// Where ended spans go. Neither call may wait.
pub trait Sink: Send + Sync + 'static {
    /// The time, in nanoseconds since 1970.
    fn now(&self) -> u64;

    /// Takes a span, or drops it when there is no room.
    fn end(&self, span: Span);

    /// Takes note of an observation that belongs to a trace.
    fn observed(&self, exemplar: Exemplar);
}

/// What is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// The part of all messages and requests: 0 to 1.
    pub ratio: f64,
    /// Go on with the traces that clients bring, recorded where they say so.
    pub continues: bool,
}

/// Records spans, or does not. Clones share it.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<On>>);

struct On {
    /// Recorded is what has a digest up to here; `None`: nothing.
    up_to: Option<u64>,
    continues: bool,
    sink: Arc<dyn Sink>,
    /// Counts spans whose ids nobody else has to know.
    counter: AtomicU64,
}

/// The trace of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTrace {
    /// What the request leads to is below this step.
    pub context: TraceContext,
    /// The trace is one that the client brought: what the request publishes has to carry it.
    pub continued: bool,
}

impl Traces {
    /// Records nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Records into `sink`. `seed` is a random number: it keeps the span ids of processes apart.
    pub fn new(sampling: Sampling, seed: u64, sink: Arc<dyn Sink>) -> Self {
        // The cast saturates: a ratio of 1 is everything.
        let up_to = (sampling.ratio > 0.0).then_some((sampling.ratio * 2f64.powi(64)) as u64);
        let counter = AtomicU64::new(seed);
        Self(Some(Arc::new(On { up_to, continues: sampling.continues, sink, counter })))
    }

    /// Whether anything may be recorded.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The trace of a message, if it is recorded.
    #[inline]
    pub fn of(&self, message: &Message) -> Option<MessageTrace> {
        self.0.as_ref()?.message(message)
    }

    /// Begins what a request from outside leads to. `fresh` is a step that nobody else has.
    pub fn request(
        &self,
        brought: Option<TraceContext>,
        fresh: TraceContext,
    ) -> (RequestTrace, Option<Begun>) {
        let Some(on) = &self.0 else {
            let context = brought.unwrap_or(fresh).with_sampled(false);
            return (RequestTrace { context, continued: false }, None);
        };
        let (brought, continued) = match brought {
            Some(brought) if on.continues => (Some(brought), true),
            _ => (None, false),
        };
        let (trace_id, sampled) = match brought {
            Some(brought) => (brought.trace_id(), brought.is_sampled()),
            None => (fresh.trace_id(), on.samples(fresh.trace_id())),
        };
        let Ok(context) = TraceContext::new(trace_id, fresh.span_id(), sampled) else {
            return (RequestTrace { context: fresh, continued: false }, None);
        };
        let parent = brought.map(TraceContext::span_id);
        let span = sampled.then(|| on.begin("request", Kind::Server, context, parent));
        (RequestTrace { context, continued }, span)
    }

    /// Begins what a call from another service leads to, if its trace is recorded.
    pub fn call(&self, context: TraceContext, name: impl FnOnce() -> String) -> Option<Begun> {
        let on = self.0.as_ref().filter(|_| context.is_sampled())?;
        on.child(name(), Kind::Server, context)
    }
}

impl On {
    fn samples(&self, trace_id: u128) -> bool {
        let digest = mix((trace_id >> 64) as u64 ^ mix(trace_id as u64));
        self.up_to.is_some_and(|up_to| digest <= up_to)
    }

    fn message(self: &Arc<Self>, message: &Message) -> Option<MessageTrace> {
        let brought = if self.continues { brought(message) } else { None };
        let (trace_id, parent) = match brought {
            Some(context) if context.is_sampled() => (context.trace_id(), Some(context.span_id())),
            None if self.samples(message.trace_id()) => (message.trace_id(), None),
            _ => return None,
        };
        // A republished message has the trace of the one that it came from.
        let mut digest = Digest::default();
        digest.add(&message.trace_id().to_le_bytes());
        digest.add(&[message.hops]);
        digest.add(message.topic.as_bytes());
        digest.add(&message.received_at.as_millis().to_le_bytes());
        digest.add(&(message.payload.len() as u64).to_le_bytes());
        Some(MessageTrace { on: self.clone(), trace_id, parent, digest: digest.0 })
    }

    fn begin(
        self: &Arc<Self>,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: Kind,
        context: TraceContext,
        parent: Option<u64>,
    ) -> Begun {
        Begun::new(self.clone(), name.into(), kind, context, parent)
    }

    /// Below `parent`, with an id of its own.
    fn child(
        self: &Arc<Self>,
        name: impl Into<std::borrow::Cow<'static, str>>,
        kind: Kind,
        parent: TraceContext,
    ) -> Option<Begun> {
        let id = mix(self.counter.fetch_add(1, Ordering::Relaxed)) | 1;
        let context = TraceContext::new(parent.trace_id(), id, true).ok()?;
        Some(self.begin(name, kind, context, Some(parent.span_id())))
    }
}

/// What the publisher says about the trace that its message is part of.
fn brought(message: &Message) -> Option<TraceContext> {
    let properties = &message.properties.as_deref()?.user_properties;
    properties.iter().find(|(name, _)| &**name == TRACEPARENT)?.1.parse().ok()
}

/// The trace of a message that is recorded.
pub struct MessageTrace {
    on: Arc<On>,
    trace_id: u128,
    /// The step that the publisher named.
    parent: Option<u64>,
    digest: u64,
}

impl MessageTrace {
    /// A number of the message: the same wherever it is met.
    pub fn key(&self) -> u64 {
        self.digest
    }

    /// The message enters: from its acceptance until it is where it must be. `below` is the step that led to it here.
    pub fn publish(&self, message: &Message, below: Option<TraceContext>) -> Option<Begun> {
        let below = below.filter(|step| step.trace_id() == self.trace_id).map(TraceContext::span_id);
        let parent = below.or(self.parent);
        let mut span = self.on.begin("publish", Kind::Server, self.step(PUBLISH)?, parent);
        span.set("messaging.system", "mqtt");
        span.set("messaging.destination.name", message.topic.as_str());
        span.set("messaging.message.body.size", message.payload.len());
        if let Some(client_id) = &message.publisher.client_id {
            span.set("messaging.client.id", client_id.as_str());
        }
        span.set("mqtt.qos", message.qos as usize);
        span.set("fleethaven.account", message.publisher.scope.account.to_string());
        span.set("fleethaven.trace_id", format!("{:032x}", message.trace_id()));
        Some(span)
    }

    /// A router matches the message and hands it on.
    pub fn route(&self, message: &Message) -> Option<Begun> {
        let parent = self.step(PUBLISH)?.span_id();
        let mut span = self.on.begin("route", Kind::Internal, self.step(ROUTE)?, Some(parent));
        span.set("messaging.destination.name", message.topic.as_str());
        Some(span)
    }

    /// What routing led to: a delivery, a rule.
    pub fn routed(&self, name: &'static str, kind: Kind) -> Option<Begun> {
        self.on.child(name, kind, self.step(ROUTE)?)
    }

    /// A step whose id follows from the message.
    fn step(&self, step: u64) -> Option<TraceContext> {
        TraceContext::new(self.trace_id, mix(self.digest ^ step) | 1, true).ok()
    }
}

/// The steps of a message that others are below.
const PUBLISH: u64 = 1;
const ROUTE: u64 = 2;

/// FNV-1a: the same in all versions, as processes of different ones have to agree.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// Spreads a number over all bits (the finalizer of SplitMix64): numbers that differ stay different.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;
