//! The thread of one lane: takes what was submitted, sends it in batches, hands back the completions.

use std::sync::Arc;

use fleethaven_storage::{Completion, Error, Request};

use crate::batch::Building;
use crate::client::{Client, Shared};
use crate::depth::Depth;
use crate::door::Port;
use crate::retained;

/// What the thread works with.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) port: Arc<Port>,
    pub(crate) depth: Arc<Depth>,
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
        let mut turn = Turn::default();
        let Self { shared, depth, client, .. } = self;
        let mut building = Building::new(&shared.options, &shared.keys);
        while !building.is_full() {
            let Some(request) = requests.next_if(|next| !turn.began || !is_read_apart(next)) else { break };
            turn.count(&request);
            match request {
                Request::ReadRetained { ticket, scope, filter, after, max_entries } => {
                    let after = after.as_deref();
                    let result = retained::page(client, &shared.keys, (scope, &filter), after, max_entries);
                    turn.completions.push(Completion::Retained { ticket, result });
                    break;
                }
                Request::Claim(claim) => match client.session_number() {
                    Ok(number) => building.claim(&claim, number),
                    Err(error) => turn.refuse(Request::Claim(claim), &error),
                },
                request => building.add(request),
            }
        }
        let (batch, sent) = building.finish();
        let replies = client.run(&batch);
        turn.completions.extend(sent.complete(replies, (&shared.stats, depth), &batch));
        self.port.complete(&mut turn.completions, turn.requests, turn.bytes);
    }
}

/// Whether it takes rounds of its own, after what precedes it.
fn is_read_apart(request: &Request) -> bool {
    matches!(request, Request::ReadRetained { .. })
}

/// What one turn answers.
#[derive(Default)]
struct Turn {
    completions: Vec<Completion>,
    requests: usize,
    bytes: usize,
    began: bool,
}

impl Turn {
    fn count(&mut self, request: &Request) {
        self.began = true;
        self.requests += 1;
        self.bytes += request.weight();
    }

    fn refuse(&mut self, request: Request, error: &Error) {
        self.completions.extend(request.refuse(error));
    }
}
