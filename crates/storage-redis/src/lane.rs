//! The thread of one lane: takes what was submitted, sends it in batches, hands back the completions.

use std::sync::Arc;

use fleethaven_storage::{Completion, Error, Request};

use crate::batch::Pending;
use crate::client::{Client, Shared};
use crate::door::Port;
use crate::publish::Next;
use crate::round::{Answers, Round};
use crate::{outbox, retained};

/// What the thread works with.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) port: Arc<Port>,
    pub(crate) client: Client,
}

/// Ends the port however the thread ends, so that nobody waits for it in vain.
struct EndOnExit(Arc<Port>);

impl Drop for EndOnExit {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Worker {
    /// Takes turns until the lane is closed and everything in it is answered.
    pub(crate) fn run(mut self) {
        let _ending = EndOnExit(self.port.clone());
        let mut requests = Vec::new();
        while self.port.take(&mut requests) {
            let mut rest = requests.drain(..).peekable();
            while rest.peek().is_some() {
                self.turn(&mut rest);
            }
        }
    }

    /// One batch, or one read of retained messages.
    fn turn(&mut self, requests: &mut std::iter::Peekable<impl Iterator<Item = Request>>) {
        let shared = self.shared.clone();
        let mut turn = Turn::default();
        let mut round = Round::new(&shared);
        let most = &shared.options;
        while turn.requests < most.batch_requests && round.bytes() < most.batch_bytes {
            let Some(request) = requests.next_if(|next| turn.requests == 0 || !is_read_apart(next)) else {
                break;
            };
            turn.requests += 1;
            turn.bytes += request.weight();
            if let Request::ReadRetained { ticket, scope, filter, after, max_entries } = request {
                let of = (scope, &*filter);
                let result =
                    retained::page(&mut self.client, &shared.keys, of, after.as_deref(), max_entries);
                turn.answered.push(Some(Completion::Retained { ticket, result }));
                break;
            }
            self.begin(request, &mut turn, &mut round);
        }
        self.carry_out(&mut turn, round);
        let mut completions = turn.answered.into_iter().flatten().collect();
        self.port.complete(&mut completions, turn.requests, turn.bytes);
    }

    fn begin(&mut self, request: Request, turn: &mut Turn, round: &mut Round<'_>) {
        let begun = match request {
            Request::Claim(claim) => match self.numbers() {
                Ok(numbers) => Some(Pending::claim(&claim, numbers, round)),
                Err(error) => return turn.answered.push(Request::Claim(claim).refuse(&error)),
            },
            Request::OpenGroup(open) => match self.client.session_number() {
                Ok(number) => Some(Pending::open(open, number, round)),
                Err(error) => return turn.answered.push(Request::OpenGroup(open).refuse(&error)),
            },
            request => Pending::of(request, round),
        };
        if let Some(pending) = begun {
            turn.pending.push((turn.answered.len(), pending));
            turn.answered.push(None);
        }
    }

    fn numbers(&mut self) -> Result<[u64; 2], Error> {
        Ok([self.client.session_number()?, self.client.session_number()?])
    }

    /// Round after round until everything is answered.
    fn carry_out(&mut self, turn: &mut Turn, first: Round<'_>) {
        let shared = self.shared.clone();
        let mut batch = first.finish();
        loop {
            let mut answers = Answers { replies: self.client.run(&batch), shared: &shared };
            let mut round = Round::new(&shared);
            for (at, pending) in std::mem::take(&mut turn.pending) {
                match pending.advance(&mut answers, &mut round) {
                    Next::More(pending) => turn.pending.push((at, pending)),
                    Next::Done(completion) => turn.answer(at, completion),
                }
            }
            if turn.pending.is_empty() {
                break;
            }
            batch = round.finish();
        }
        if let Err(error) = outbox::deliver(&mut self.client) {
            tracing::warn!(%error, "shares stay in their outbox for now");
        }
    }
}

/// Whether it takes rounds of its own, after what precedes it.
fn is_read_apart(request: &Request) -> bool {
    matches!(request, Request::ReadRetained { .. })
}

/// What one turn answers.
#[derive(Default)]
struct Turn {
    /// In the order of the requests that are answered.
    answered: Vec<Option<Completion>>,
    /// Those that are not answered yet, with their places above.
    pending: Vec<(usize, Pending)>,
    requests: usize,
    bytes: usize,
}

impl Turn {
    fn answer(&mut self, at: usize, completion: Completion) {
        if let Some(place) = self.answered.get_mut(at) {
            *place = Some(completion);
        }
    }
}
