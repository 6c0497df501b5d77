//! The thread of one lane: takes what was submitted, sends it in batches, hands back the completions.
//!
//! One batch is under way at a time, and each takes along all that there is: what was submitted since the last one, behind the
//! next step of what takes several rounds. So nothing waits for longer than one answer until it is sent, and steps are taken in the
//! order in which requests came, on which the order of queues rests.

use std::collections::VecDeque;
use std::sync::Arc;

use fleethaven_storage::{Append, Appended, Completion, Error, Request, SessionId};
use rustc_hash::FxHashSet;

use crate::batch::{Numbers, Pending};
use crate::client::{Client, Shared};
use crate::door::Port;
use crate::publish::Next;
use crate::round::{Answers, Round};
use crate::{outbox, retained};

/// Filters that are looked up in retained messages together, about.
const FILTERS: usize = 1024;

/// What the thread works with.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    port: Arc<Port>,
    client: Client,
    /// Taken and not begun.
    waiting: VecDeque<Request>,
    /// Begun, in order.
    begun: Vec<Begun>,
    completions: Vec<Completion>,
    /// What `completions` answer, and what had no answer: requests and their weight.
    over: (usize, usize),
}

/// A request on its way.
struct Begun {
    state: State,
    weight: usize,
}

enum State {
    Pending(Pending),
    /// Another one has to be answered first.
    Answered(Completion),
    /// It has no answer.
    Told,
}

/// Ends the port however the thread ends, so that nobody waits for it in vain.
struct EndOnExit(Arc<Port>);

impl Drop for EndOnExit {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Worker {
    /// The worker behind a port.
    pub(crate) fn new(shared: Arc<Shared>, port: Arc<Port>) -> Self {
        let client = Client::new(shared.clone());
        let (waiting, begun, completions) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { shared, port, client, waiting, begun, completions, over: (0, 0) }
    }

    /// Sends batch after batch until the lane is closed and everything in it is answered.
    pub(crate) fn run(mut self) {
        let _ending = EndOnExit(self.port.clone());
        let shared = self.shared.clone();
        let mut round = Round::new(&shared);
        loop {
            let idle = self.waiting.is_empty() && self.begun.is_empty() && round.is_empty();
            if !self.port.take(&mut self.waiting, idle) && idle {
                return;
            }
            self.begin_all(&mut round);
            let mut next = Round::new(&shared);
            let replies = self.client.run(&std::mem::replace(&mut round, Round::new(&shared)).finish());
            self.advance(&mut Answers { replies, shared: &shared }, &mut next);
            if let Err(error) = outbox::deliver(&mut self.client) {
                tracing::warn!(%error, "shares stay in their outbox for now");
            }
            let (requests, bytes) = std::mem::take(&mut self.over);
            if requests > 0 {
                self.port.complete(&mut self.completions, requests, bytes);
            }
            round = next;
        }
    }

    /// Begins what waits, as much as one batch takes.
    fn begin_all(&mut self, round: &mut Round<'_>) {
        let (most, most_bytes) = (self.shared.options.batch_requests, self.shared.options.batch_bytes);
        for _ in 0..most {
            if round.bytes() >= most_bytes {
                return;
            }
            // What is asked about retained messages has rounds of its own, after those of all that precedes it.
            let finds = matches!(self.waiting.front(), Some(Request::FindRetained { .. }));
            let apart = finds || matches!(self.waiting.front(), Some(Request::ReadRetained { .. }));
            if apart && !(self.begun.is_empty() && round.is_empty()) {
                return;
            }
            if finds {
                return self.find_retained();
            }
            let Some(request) = self.waiting.pop_front() else { return };
            let weight = request.weight();
            let state = self.begin(request, round);
            self.begun.push(Begun { state, weight });
            if apart {
                return;
            }
        }
    }

    /// Answers all that ask next which filters match a retained message, up to a bound, in rounds that they share: clients that come
    /// back subscribe by the thousand.
    fn find_retained(&mut self) {
        let (mut asked, mut count) = (Vec::new(), 0);
        while let Some(request) = self.waiting.pop_front() {
            let weight = request.weight();
            match request {
                Request::FindRetained { ticket, scope, filters } if count < FILTERS => {
                    count += filters.len();
                    asked.push((ticket, weight, (scope, filters)));
                }
                other => {
                    self.waiting.push_front(other);
                    break;
                }
            }
        }
        let of = asked.iter().map(|(_, _, of)| of).collect::<Vec<_>>();
        let found = retained::find(&mut self.client, &self.shared.keys, &of);
        for (at, (ticket, weight, _)) in asked.into_iter().enumerate() {
            let result = match &found {
                Ok(found) => Ok(found.get(at).cloned().unwrap_or_default()),
                Err(error) => Err(error.clone()),
            };
            let state = State::Answered(Completion::RetainedFound { ticket, result });
            self.begun.push(Begun { state, weight });
        }
    }

    fn begin(&mut self, request: Request, round: &mut Round<'_>) -> State {
        let refused =
            |request: Request, error: &Error| request.refuse(error).map_or(State::Told, State::Answered);
        let pending = match request {
            Request::ReadRetained { ticket, scope, filter, after, max_entries } => {
                let (keys, of) = (&self.shared.keys, (scope, &*filter));
                let result = retained::page(&mut self.client, keys, of, after.as_deref(), max_entries);
                return State::Answered(Completion::Retained { ticket, result });
            }
            Request::Claim(claim) => match self.numbers() {
                Ok(numbers) => Some(Pending::claim(&claim, numbers, round)),
                Err(error) => return refused(Request::Claim(claim), &error),
            },
            Request::OpenGroup(open) => match self.client.session_number() {
                Ok(number) => Some(Pending::open(open, number, round)),
                Err(error) => return refused(Request::OpenGroup(open), &error),
            },
            request => Pending::of(request, round),
        };
        pending.map_or(State::Told, State::Pending)
    }

    fn numbers(&mut self) -> Result<Numbers, Error> {
        let mut number = || self.client.session_number();
        Ok([number()?, number()?, number()?])
    }

    /// Goes on with what was answered.
    ///
    /// What a queue has is told in the order in which the queue got it, where that is more than one message of this lane: a
    /// push that comes before its predecessor's would have the session read its queue.
    fn advance(&mut self, answers: &mut Answers<'_>, next: &mut Round<'_>) {
        let mut untold = FxHashSet::default();
        for Begun { state, weight } in std::mem::take(&mut self.begun) {
            let state = match state {
                State::Pending(pending) => match pending.advance(answers, next) {
                    Next::More(pending) => State::Pending(pending),
                    Next::Done(completion) => State::Answered(completion),
                },
                state => state,
            };
            let state = match state {
                State::Answered(completion) if !follows(&completion, &untold) => {
                    self.completions.push(completion);
                    State::Told
                }
                state => state,
            };
            match &state {
                State::Pending(pending) => untold.extend(pending.has_reached()),
                State::Answered(completion) => {
                    untold.extend(queues(completion).iter().map(|(append, _)| append.session))
                }
                State::Told => {
                    self.over.0 += 1;
                    self.over.1 += weight;
                    continue;
                }
            }
            self.begun.push(Begun { state, weight });
        }
    }
}

/// The queues that a message has come to.
fn queues(completion: &Completion) -> &[(Append, Appended)] {
    match completion {
        Completion::Published { result: Ok(queues), .. } => queues,
        _ => &[],
    }
}

/// Whether a message came to a queue behind one that is not told of.
fn follows(completion: &Completion, untold: &FxHashSet<SessionId>) -> bool {
    !untold.is_empty() && queues(completion).iter().any(|(append, _)| untold.contains(&append.session))
}
