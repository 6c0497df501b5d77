//! The spans of the messages in a core's hands: `publish`, from the hand-over to the routers until they have answered, and
//! `deliver`, from the arrival of a push until it is written for its receivers.

use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_fabric::traces::{Begun, Kind};
use fleethaven_fabric::{RoutingEvent, RoutingRequest, Traces};
use fleethaven_storage::{QueuedMessage, Ticket};
use fleethaven_types::Message;
use rustc_hash::FxHashMap;

use crate::core::Core;

/// Messages whose answer is waited for. The spans of further ones end when they are handed over.
const MOST: usize = 4096;

/// What has begun and is not over.
#[derive(Default)]
pub(crate) struct Spans {
    published: FxHashMap<Ticket, Begun>,
    handed_over: Vec<Begun>,
    delivering: Vec<Begun>,
}

impl Spans {
    /// Requests are about to be handed to the routers.
    fn submitting(&mut self, traces: &Traces, requests: &[RoutingRequest]) {
        for request in requests {
            let RoutingRequest::Publish { ticket, message, .. } = request else { continue };
            let Some(span) = traces.of(message).and_then(|trace| trace.publish(message, None)) else {
                continue;
            };
            match ticket {
                Some(ticket) if self.published.len() < MOST => _ = self.published.insert(*ticket, span),
                _ => self.handed_over.push(span),
            }
        }
    }

    fn answered(&mut self, event: &RoutingEvent) {
        let RoutingEvent::Published { ticket, result, .. } = event else { return };
        let Some(mut span) = self.published.remove(ticket) else { return };
        if let Err(error) = result {
            span.fail(error);
        }
        span.end();
    }

    fn delivering(&mut self, core: &Core, message: &Message, receivers: usize, only: Option<Address>) {
        let trace = core.shared.traces.of(message);
        let Some(mut span) = trace.and_then(|trace| trace.routed("deliver", Kind::Producer)) else { return };
        span.set("messaging.system", "mqtt");
        span.set("messaging.destination.name", message.topic.as_str());
        span.set("messaging.batch.message_count", receivers);
        if let Some(connection) = only.and_then(|address| core.at(address)) {
            span.set("messaging.client.id", connection.borrow().session.client_id().as_str());
        }
        self.delivering.push(span);
    }
}

/// Each does nothing where traces are off.
impl Core {
    /// Requests are about to be handed to the routers.
    pub(crate) fn trace_submitting(&self, requests: &[RoutingRequest]) {
        if self.shared.traces.is_on() {
            self.spans.borrow_mut().submitting(&self.shared.traces, requests);
        }
    }

    /// They have been: what nobody answers is over.
    pub(crate) fn trace_submitted(&self) {
        if self.shared.traces.is_on() {
            self.spans.borrow_mut().handed_over.drain(..).for_each(Begun::end);
        }
    }

    /// The routers have answered.
    pub(crate) fn trace_answers(&self, events: &[RoutingEvent]) {
        if self.shared.traces.is_on() {
            let mut spans = self.spans.borrow_mut();
            events.iter().for_each(|event| spans.answered(event));
        }
    }

    /// Pushes have come.
    pub(crate) fn trace_pushes(&self, pushes: &[Push]) {
        if !self.shared.traces.is_on() {
            return;
        }
        let mut spans = self.spans.borrow_mut();
        for push in pushes {
            match push {
                Push::Direct { message, targets, .. } => {
                    let only = targets.first().filter(|_| targets.len() == 1).map(|target| target.address);
                    spans.delivering(self, message, targets.len(), only);
                }
                Push::Shared { message, address, .. } | Push::Queued { message, address, .. } => {
                    spans.delivering(self, message, 1, Some(*address));
                }
                Push::Tail { .. } => {}
            }
        }
    }

    /// Messages were read from the queue of the connection at `address`.
    pub(crate) fn trace_queue(&self, address: Address, entries: &[QueuedMessage]) {
        if self.shared.traces.is_on() {
            let mut spans = self.spans.borrow_mut();
            for entry in entries {
                spans.delivering(self, &entry.message, 1, Some(address));
            }
        }
    }

    /// Everything that was to be delivered is written.
    pub(crate) fn trace_written(&self) {
        if self.shared.traces.is_on() {
            self.spans.borrow_mut().delivering.drain(..).for_each(Begun::end);
        }
    }
}
