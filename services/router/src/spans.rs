//! The spans of the messages in a lane's hands: `route`, from the arrival of a message until it is where it must be.

use fleethaven_fabric::Traces;
use fleethaven_fabric::traces::Begun;
use fleethaven_types::Message;
use rustc_hash::FxHashMap;

/// Messages whose durable write is waited for. The spans of further ones end when they are handed on.
const MOST: usize = 4096;

/// What has begun and is not over, by the message's key.
#[derive(Default)]
pub(crate) struct Spans(FxHashMap<u64, Begun>);

/// What a message led to.
pub(crate) struct Reach {
    pub(crate) receivers: usize,
    pub(crate) queues: usize,
    pub(crate) rules: usize,
}

/// A span whose message is in hand.
pub(crate) struct Routing(u64, Begun);

impl Routing {
    /// Begins, where the message is recorded.
    #[inline]
    pub(crate) fn of(traces: &Traces, message: &Message) -> Option<Self> {
        let trace = traces.of(message)?;
        Some(Self(trace.key(), trace.route(message)?))
    }

    /// Says what the message led to.
    pub(crate) fn reaches(&mut self, reach: &Reach) {
        self.1.set("fleethaven.receivers", reach.receivers);
        self.1.set("fleethaven.queues", reach.queues);
        self.1.set("fleethaven.rules", reach.rules);
    }

    /// Ends, as nothing is waited for.
    pub(crate) fn end(self) {
        self.1.end();
    }
}

impl Spans {
    /// The message is to be made durable first.
    pub(crate) fn wait(&mut self, Routing(key, span): Routing) {
        if self.0.len() < MOST {
            self.0.insert(key, span);
        } else {
            span.end();
        }
    }

    /// It has been made durable, or could not be.
    pub(crate) fn done<E: ToString>(&mut self, traces: &Traces, message: &Message, failure: Option<E>) {
        let span = traces.of(message).and_then(|trace| self.0.remove(&trace.key()));
        let Some(mut span) = span else { return };
        if let Some(reason) = failure {
            span.fail(reason);
        }
        span.end();
    }
}
