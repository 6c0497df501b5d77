//! A gateway core's lane into the routers, with the desk beside it.

use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest};
use fleethaven_storage::{Error, Once, Ticket, Wake};
use fleethaven_types::{Message, Scope};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::desk::{Desk, Done};
use crate::enrolment::Enrolments;

/// Has the desk carry out the requests among what is published through `inner`. Such a publish is answered when both are done:
/// the routers have the message wherever it must be, and the request is committed or rejected (protocols.md A4). What is asked
/// of fleet provisioning does not go to the routers at all.
pub struct DeskLane {
    inner: Box<dyn Routing>,
    desk: Arc<Desk>,
    answers: Arc<Answers>,
    /// Publishes whose request is not done, or whose message the routers do not have.
    halves: FxHashMap<Ticket, (u64, Half)>,
    /// Numbers them: a ticket may be used again when it was answered because of the routers, before the desk is done.
    number: u64,
    routed: Vec<RoutingEvent>,
    /// Publishes that were not handed on to the routers, and are not answered yet.
    enrolling: usize,
}

/// What is known of a publish that is a request.
enum Half {
    /// Nothing.
    Neither,
    /// The routers have the message; `Err` where they had it before, so that nobody gets it again.
    Routed(Result<(), Error>),
    /// The request is done.
    Done(Result<(), Error>),
}

/// A publish, by ticket and number, whose request is done.
type Answer = ((Ticket, u64), Result<(), Error>);

/// What the desk has done, until the lane's owner looks.
struct Answers {
    done: Mutex<Vec<Answer>>,
    /// What answers publishes that the routers do not have.
    enrolled: Mutex<Vec<RoutingEvent>>,
    wake: Arc<dyn Wake>,
}

impl DeskLane {
    /// The desk beside `inner`; `wake` wakes the owner of the lane.
    pub fn new(inner: Box<dyn Routing>, desk: Arc<Desk>, wake: Arc<dyn Wake>) -> Self {
        let answers = Arc::new(Answers { done: Mutex::default(), enrolled: Mutex::default(), wake });
        let halves = FxHashMap::default();
        Self { inner, desk, answers, halves, number: 0, routed: Vec::new(), enrolling: 0 }
    }

    /// Hands in a request to fleet provisioning, which nobody else gets; whether it is one.
    fn enrol(&mut self, request: &RoutingRequest) -> bool {
        let RoutingRequest::Publish { ticket, message, from, once, .. } = request else { return false };
        if !Enrolments::is_asked(message) {
            return false;
        }
        // A will has nobody who waits for the answer.
        let (Some(ticket), Some(from)) = (*ticket, *from) else { return true };
        if matches!(once, Some(Once::Will(_))) {
            return true;
        }
        let answers = self.answers.clone();
        let answer = Box::new(move |answer: Option<Arc<Message>>, result| {
            let mut enrolled = answers.enrolled.lock();
            enrolled.extend(answer.map(|answer| RoutingEvent::Answered { ticket, answer }));
            enrolled.push(published(ticket, result));
            drop(enrolled);
            answers.wake.wake();
        });
        let is_taken = self.desk.enrolments.take(message, from, answer);
        self.enrolling += usize::from(is_taken);
        is_taken
    }

    /// What fleet provisioning has answered by now.
    fn enrolled(&mut self, events: &mut Vec<RoutingEvent>) {
        if self.enrolling > 0 {
            let answered = std::mem::take(&mut *self.answers.enrolled.lock());
            let is_end = |event: &&RoutingEvent| matches!(event, RoutingEvent::Published { .. });
            self.enrolling -= answered.iter().filter(is_end).count();
            events.extend(answered);
        }
    }

    fn hand_in(&mut self, request: &RoutingRequest) {
        let RoutingRequest::Publish { ticket, message, from, once, .. } = request else { return };
        if matches!(once, Some(Once::Will(_))) {
            return;
        }
        self.number += 1;
        let (answers, ticket, number) = (&self.answers, *ticket, self.number);
        let done = || -> Done {
            match ticket {
                None => Box::new(|_| ()),
                Some(ticket) => {
                    let answers = answers.clone();
                    Box::new(move |result| {
                        answers.done.lock().push(((ticket, number), result));
                        answers.wake.wake();
                    })
                }
            }
        };
        if self.desk.take(message, *from, done)
            && let Some(ticket) = ticket
        {
            self.halves.insert(ticket, (number, Half::Neither));
        }
    }

    /// The routers' answer: held back where the request is not done.
    fn routed(&mut self, event: RoutingEvent) -> Option<RoutingEvent> {
        let RoutingEvent::Published { ticket, result, .. } = &event else { return Some(event) };
        let ticket = *ticket;
        let Some((number, half)) = self.halves.remove(&ticket) else { return Some(event) };
        let result = match result {
            Ok(()) => Ok(()),
            // Sent before under the same packet identifier, by a connection that did not hear that the request was done.
            Err(Error::AlreadyDone) => Err(Error::AlreadyDone),
            Err(_) => return Some(event),
        };
        match half {
            Half::Done(done) => Some(published(ticket, done.and(result))),
            Half::Neither | Half::Routed(_) => {
                self.halves.insert(ticket, (number, Half::Routed(result)));
                None
            }
        }
    }

    /// The desk's answer: held back where the routers have not answered.
    fn done(&mut self, (ticket, number): (Ticket, u64), done: Result<(), Error>) -> Option<RoutingEvent> {
        // Otherwise the routers have failed, and that was answered.
        let (_, half) = self.halves.get_mut(&ticket).filter(|(known, _)| *known == number)?;
        let Half::Routed(result) = half else {
            *half = Half::Done(done);
            return None;
        };
        let result = done.and(result.clone());
        self.halves.remove(&ticket);
        Some(published(ticket, result))
    }
}

/// The service is a receiver, whoever else there is.
fn published(ticket: Ticket, result: Result<(), Error>) -> RoutingEvent {
    RoutingEvent::Published { ticket, matched: true, result }
}

impl Routing for DeskLane {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        requests.retain(|request| !self.enrol(request));
        for request in requests.iter() {
            self.hand_in(request);
        }
        self.inner.submit(requests);
    }

    fn tick(&mut self, now: Instant) {
        self.inner.tick(now);
    }

    fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        self.enrolled(events);
        if self.halves.is_empty() {
            return self.inner.drain(events);
        }
        let mut routed = std::mem::take(&mut self.routed);
        self.inner.drain(&mut routed);
        events.extend(routed.drain(..).filter_map(|event| self.routed(event)));
        self.routed = routed;
        let done = std::mem::take(&mut *self.answers.done.lock());
        events.extend(done.into_iter().filter_map(|(publish, result)| self.done(publish, result)));
    }

    fn has_leftovers(&self) -> bool {
        self.inner.has_leftovers()
    }

    fn tidy(&mut self) -> bool {
        self.inner.tidy()
    }

    fn is_congested(&self) -> bool {
        self.inner.is_congested() || self.desk.is_congested()
    }

    fn has_unsent(&self) -> bool {
        self.inner.has_unsent()
    }

    fn subscription_count(&self, scope: Scope) -> u64 {
        self.inner.subscription_count(scope)
    }

    fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool {
        self.inner.reaches_anyone(scope, topic)
    }
}

#[cfg(test)]
mod tests;
