//! A group's evaluator: the one task on the leader that turns commands into proposals (protocols.md E1).
//!
//! It evaluates each command, in order, on applied state plus the overlay of all proposals in flight, so that
//! commands that depend on each other need not wait for each other's fsync. Each proposal names the one
//! before it; applying drops a proposal whose predecessor was not applied. When that happens, or openraft
//! rejects one, the overlay is worth nothing: what is in flight is awaited, then all that was not applied is
//! evaluated again from applied state.
//!
//! A command with a key leaves its reply with its effects; when it comes again it is answered from there.
//!
//! An answer that proposes nothing (a refusal, or nothing to change) was read through the overlay too: it is
//! given only when every proposal it could have read is applied, or else evaluated again.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::metadata::{Error, Executed};
use fleethaven_registry::{self as registry, Command, Context, Effects, Limits, Reply, View, idempotency};
use fleethaven_types::Timestamp;
use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, oneshot};

use crate::outbox::Outbox;
use crate::overlay::Overlay;
use crate::record::Proposal;
use crate::state::State;
use crate::types::{Completion, Outcome, Raft, WriteResult};

/// How often a command is evaluated before it is given up as `Unavailable`.
const ATTEMPTS: u8 = 4;

type Answer = Result<Executed, Error>;

/// What is asked of an evaluator.
enum Work {
    Command(Command),
    /// That the log tells that the messages of these entries are published.
    Published(Vec<u64>),
}

/// A command and who waits for it.
pub(crate) struct Request {
    work: Work,
    answer: oneshot::Sender<Answer>,
    attempts: u8,
    /// Carried out in this term or not at all.
    term: Option<u64>,
}

impl Request {
    /// A request and where its answer will arrive.
    pub(crate) fn new(command: Command) -> (Self, oneshot::Receiver<Answer>) {
        Self::of(Work::Command(command))
    }

    /// That the messages of these entries are published.
    pub(crate) fn published(entries: Vec<u64>) -> (Self, oneshot::Receiver<Answer>) {
        Self::of(Work::Published(entries))
    }

    fn of(work: Work) -> (Self, oneshot::Receiver<Answer>) {
        let (answer, receiver) = oneshot::channel();
        (Self { work, answer, attempts: 0, term: None }, receiver)
    }

    /// A request that is worth nothing when leadership in `term` is lost: what it rests on was known to that leader alone.
    pub(crate) fn in_term(command: Command, term: u64) -> (Self, oneshot::Receiver<Answer>) {
        let (request, receiver) = Self::new(command);
        (Self { term: Some(term), ..request }, receiver)
    }

    fn answer(self, answer: Answer) {
        // Whoever gave up waiting was told that the outcome is unknown.
        let _ = self.answer.send(answer);
    }
}

/// What the evaluator is started with.
pub(crate) struct Settings {
    /// The wall clock.
    pub(crate) clock: fn() -> Timestamp,
    /// Quotas.
    pub(crate) limits: Limits,
    /// Proposals and waiting answers in flight, at most.
    pub(crate) max_in_flight: usize,
    /// The group's messages that are to be published.
    pub(crate) outbox: Arc<Outbox>,
}

/// How a proposal ended.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Applied at this revision.
    Applied(u64),
    /// Certainly without effect.
    Void,
    /// Leadership was lost, or the node stopped, before that was known.
    Unknown,
}

/// Something that is answered in its turn.
enum InFlight {
    Proposal {
        sequence: u64,
        request: Request,
        reply: Reply,
        keys: Vec<Bytes>,
        fate: Option<Fate>,
    },
    Settled {
        request: Request,
        answer: Answer,
    },
    /// A command that was carried out before.
    Repeated {
        request: Request,
        reply: Reply,
    },
}

/// What evaluating a command came to.
enum Evaluated {
    /// To be replicated, then answered.
    Effects(Reply, Effects),
    /// Nothing to change.
    Nothing(Reply),
    /// It was carried out before; this is what it replied.
    Repeated(Reply),
}

/// The evaluator of one group.
pub(crate) struct Evaluator {
    raft: Raft,
    state: Arc<State>,
    settings: Settings,
    requests: mpsc::Receiver<Request>,
    fates: mpsc::UnboundedReceiver<(u64, Option<WriteResult>)>,
    fate_sender: mpsc::UnboundedSender<(u64, Option<WriteResult>)>,
    /// Whether leadership in `term` is believed to hold.
    leading: bool,
    /// Term that `sequence` and `applied` count in.
    term: u64,
    /// The last proposal made.
    sequence: u64,
    /// The proposal that the next one follows.
    predecessor: u64,
    /// The last proposal applied.
    applied: u64,
    /// Up to here, at least, the state is applied.
    revision: u64,
    overlay: Overlay,
    in_flight: VecDeque<InFlight>,
    /// The overlay was dropped: nothing is evaluated until nothing is in flight.
    broken: bool,
    again: VecDeque<Request>,
}

impl Evaluator {
    /// The evaluator of the group behind `raft`.
    pub(crate) fn new(
        raft: Raft,
        state: Arc<State>,
        settings: Settings,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let (fate_sender, fates) = mpsc::unbounded_channel();
        Self {
            raft,
            state,
            settings,
            requests,
            fates,
            fate_sender,
            leading: false,
            term: 0,
            sequence: 0,
            predecessor: 0,
            applied: 0,
            revision: 0,
            overlay: Overlay::default(),
            in_flight: VecDeque::new(),
            broken: false,
            again: VecDeque::new(),
        }
    }

    /// Serves until the request channel is closed and everything accepted is answered.
    pub(crate) async fn run(mut self) {
        loop {
            let room = !self.broken && self.in_flight.len() < self.settings.max_in_flight;
            tokio::select! {
                biased;
                Some((sequence, result)) = self.fates.recv() => {
                    self.settle(sequence, result);
                    self.answer_in_turn();
                    self.start_over().await;
                }
                request = self.requests.recv(), if room => match request {
                    Some(request) => self.evaluate(request).await,
                    None if self.in_flight.is_empty() => return,
                    None => self.drain().await,
                },
            }
        }
    }

    /// Awaits what is in flight once no more requests can come.
    async fn drain(&mut self) {
        while !self.in_flight.is_empty() {
            let Some((sequence, result)) = self.fates.recv().await else { return };
            self.settle(sequence, result);
            self.answer_in_turn();
            self.start_over().await;
        }
    }

    /// Makes sure that this node leads and has applied all that earlier leaders committed.
    async fn lead(&mut self) -> Result<(), Error> {
        if self.leading {
            return Ok(());
        }
        let (term, revision) = confirmed(&self.raft).await?;
        self.revision = self.revision.max(revision);
        if term != self.term {
            (self.term, self.sequence, self.applied) = (term, 0, 0);
        }
        self.predecessor = self.applied;
        self.leading = true;
        Ok(())
    }

    /// Whether the term is still the one that leadership was confirmed in. A node may lead again in a later one without any
    /// proposal of its own having failed in between: what has no effect would then be unconfirmed for ever.
    fn is_in_its_term(&self) -> bool {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term == self.term
    }

    /// Leads no more in the term it did: what is in flight ends first, then leadership is confirmed anew.
    fn give_up_the_term(&mut self) {
        self.leading = false;
        self.overlay.clear();
        self.broken = !self.in_flight.is_empty();
    }

    async fn evaluate(&mut self, mut request: Request) {
        if request.answer.is_closed() {
            return;
        }
        if self.leading && !self.is_in_its_term() {
            self.give_up_the_term();
        }
        if self.broken {
            return self.again.push_back(request);
        }
        if let Err(error) = self.lead().await {
            return request.answer(Err(error));
        }
        if request.term.is_some_and(|term| term != self.term) {
            return request.answer(Err(Error::Unavailable("leadership changed".into())));
        }
        request.attempts += 1;
        if request.attempts > ATTEMPTS {
            return request.answer(Err(Error::Unavailable("the leader keeps rejecting proposals".into())));
        }
        match self.outcome(&request.work) {
            Err(error) => request.answer(Err(error)),
            Ok(Ok(Evaluated::Effects(_, effects)))
                if !effects.emits.is_empty() && self.settings.outbox.is_full() =>
            {
                request.answer(Err(Error::Unavailable("too many messages wait to be published".into())));
            }
            Ok(Ok(Evaluated::Effects(reply, effects))) => self.propose(request, reply, effects).await,
            Ok(Ok(Evaluated::Nothing(reply))) => {
                self.settle_without_effect(request, Ok(Executed { reply, revision: 0 }));
            }
            Ok(Ok(Evaluated::Repeated(reply))) => self.settle_repeated(request, reply),
            Ok(Err(refusal)) => self.settle_without_effect(request, Err(refusal.into())),
        }
    }

    /// Evaluates on applied state and overlay; the outer error means that it could not be done.
    fn outcome(&self, work: &Work) -> Result<Result<Evaluated, registry::Error>, Error> {
        let Work::Command(command) = work else {
            return Ok(Ok(Evaluated::Effects(Reply::Done, Effects::default())));
        };
        let context = self.context()?;
        let base = self.state.now();
        let outcome = evaluated(&self.overlay.over(&base), command, &context);
        base.finish().map_err(|e| Error::Unavailable(format!("reading the state: {e}")))?;
        Ok(outcome)
    }

    fn context(&self) -> Result<Context, Error> {
        Ok(Context { now: (self.settings.clock)(), random: entropy()?, limits: self.settings.limits.clone() })
    }

    async fn propose(&mut self, request: Request, reply: Reply, effects: Effects) {
        self.sequence += 1;
        let sequence = self.sequence;
        self.overlay.add(sequence, &effects);
        let keys = effects.writes.iter().map(|write| write.key().clone()).collect();
        let mut proposal = Proposal::new(effects, self.term, sequence, self.predecessor);
        if let Work::Published(entries) = &request.work {
            proposal.published.clone_from(entries);
        }
        self.predecessor = sequence;
        self.in_flight.push_back(InFlight::Proposal { sequence, request, reply, keys, fate: None });
        let completion = Completion::new(sequence, self.fate_sender.clone());
        #[cfg(test)]
        if crate::tests::simulation::here().is_some_and(|host| host.rejects()) {
            return drop(completion);
        }
        let submitted = self.raft.write(proposal).with_leader(self.term).responder(completion).await;
        if let Err(error) = submitted {
            // The completion was dropped with the proposal and reports the fate as unknown.
            tracing::error!(%error, "a proposal could not be submitted");
        }
    }

    /// The first time may still be in flight, just as what a refusal was read from.
    fn settle_repeated(&mut self, request: Request, reply: Reply) {
        if !self.in_flight.is_empty() {
            return self.in_flight.push_back(InFlight::Repeated { request, reply });
        }
        let revision = self.revision;
        self.settle_without_effect(request, Ok(Executed { reply, revision }));
    }

    fn settle_without_effect(&mut self, request: Request, answer: Answer) {
        if !self.in_flight.is_empty() {
            return self.in_flight.push_back(InFlight::Settled { request, answer });
        }
        // Nothing in flight will prove that this node still leads: a read index does.
        let (raft, term) = (self.raft.clone(), self.term);
        tokio::spawn(async move {
            let answer = match confirmed_term(&raft).await {
                Ok(confirmed) if confirmed == term => answer,
                Ok(_) => Err(Error::Unavailable("leadership changed".into())),
                Err(error) => Err(error),
            };
            request.answer(answer);
        });
    }

    /// Notes how proposal `of` ended.
    fn settle(&mut self, of: u64, result: Option<WriteResult>) {
        let ended = fate_of(result);
        let found = self.in_flight.iter_mut().find_map(|item| match item {
            InFlight::Proposal { sequence, fate, keys, .. } if *sequence == of => Some((fate, keys)),
            _ => None,
        });
        let Some((fate, keys)) = found else { return };
        *fate = Some(ended);
        match ended {
            Fate::Applied(revision) => {
                self.revision = self.revision.max(revision);
                self.overlay.applied(of, keys);
                self.applied = self.applied.max(of);
            }
            Fate::Void | Fate::Unknown => {
                self.overlay.clear();
                self.broken = true;
                self.leading = false;
            }
        }
    }

    /// Answers from the front what is decided.
    fn answer_in_turn(&mut self) {
        while let Some(front) = self.in_flight.pop_front() {
            match front {
                InFlight::Proposal { fate: None, .. } => return self.in_flight.push_front(front),
                InFlight::Proposal { request, reply, fate: Some(fate), .. } => match fate {
                    Fate::Applied(revision) => request.answer(Ok(Executed { reply, revision })),
                    Fate::Void => self.again.push_back(request),
                    Fate::Unknown => request.answer(Err(Error::Unknown)),
                },
                InFlight::Settled { request, .. } | InFlight::Repeated { request, .. } if self.broken => {
                    self.again.push_back(request);
                }
                InFlight::Settled { request, answer } => request.answer(answer),
                InFlight::Repeated { request, reply } => {
                    request.answer(Ok(Executed { reply, revision: self.revision }));
                }
            }
        }
    }

    /// After the overlay was dropped and the last proposal has ended: evaluates again what had no effect.
    async fn start_over(&mut self) {
        if !self.broken || !self.in_flight.is_empty() {
            return;
        }
        self.broken = false;
        for request in std::mem::take(&mut self.again) {
            self.evaluate(request).await;
        }
    }
}

fn entropy() -> Result<[u8; 32], Error> {
    #[cfg(test)]
    if let Some(host) = crate::tests::simulation::here() {
        return Ok(host.entropy());
    }
    let mut random = [0; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::Unavailable("no entropy".into()))?;
    Ok(random)
}

fn fate_of(result: Option<WriteResult>) -> Fate {
    use openraft::errors::ClientWriteError as E;
    match result {
        Some(Ok(written)) => match written.data {
            Outcome::Applied => Fate::Applied(written.log_id.index),
            Outcome::Retry => Fate::Void,
        },
        Some(Err(E::ForwardToLeader(_))) => Fate::Void,
        Some(Err(_)) | None => Fate::Unknown,
    }
}

fn evaluated(view: &dyn View, command: &Command, context: &Context) -> Result<Evaluated, registry::Error> {
    let recalled = idempotency::recall(view, command, context.now)?;
    #[cfg(test)]
    let recalled = recalled.filter(|_| !crate::tests::simulation::here().is_some_and(|host| host.forgets()));
    if let Some(reply) = recalled {
        return Ok(Evaluated::Repeated(reply));
    }
    let (reply, mut effects) = registry::evaluate(view, command, context)?;
    if effects.is_empty() {
        return Ok(Evaluated::Nothing(reply));
    }
    idempotency::remember(view, command, &reply, context.now, &mut effects)?;
    Ok(Evaluated::Effects(reply, effects))
}

/// Confirms with a quorum that this node leads and waits until it has applied everything committed until now.
/// Returns the term it leads in.
pub(crate) async fn confirmed_term(raft: &Raft) -> Result<u64, Error> {
    Ok(confirmed(raft).await?.0)
}

/// The same, and up to which revision the state was found applied.
pub(crate) async fn confirmed(raft: &Raft) -> Result<(u64, u64), Error> {
    let read = raft.ensure_linearizable(ReadPolicy::ReadIndex).await;
    let read = read.map_err(|e| Error::Unavailable(e.to_string()))?;
    let id = read.log_id();
    Ok((id.leader_id.term, id.index))
}

#[cfg(test)]
mod tests;
