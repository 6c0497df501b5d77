//! The network between simulated nodes: what one asks of another travels as a message, and so does the answer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, NodeChange, Peer, PeerError, Peers, RequestVote, SnapshotStream, TransferLeader,
    Vote, Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};
use futures_util::{FutureExt, TryStreamExt, stream};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;

use super::Mistake;
use crate::Metastore;

/// Milliseconds that a message takes.
const TAKES: Range<u64> = 1..6;
/// Milliseconds until a connection on which nothing comes is given up.
const SILENT: Range<u64> = 2_000..10_000;
/// Milliseconds after which a message that could not pass is sent again.
const AGAIN: u64 = 200;

/// What a direction of a link does that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// What is sent is lost; that is noticed much later.
    Lost,
    /// What is sent arrives when the link stands again.
    Held,
    /// What is sent is refused at once.
    Reset,
}

/// A message on its way, for the node `to`.
pub(super) struct Message {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) what: What,
}

/// Gives what the node is to do, if there is one.
type Question = Box<dyn FnOnce(Option<Arc<Metastore>>) -> Option<BoxFuture<'static, ()>> + Send>;

pub(super) enum What {
    /// Asks of a node; `None`: nobody is there.
    Question(Question),
    /// Tells who asked.
    Answer(Box<dyn FnOnce() + Send>),
}

/// All links, and what is on its way.
pub(super) struct Network {
    links: Mutex<Links>,
    mistake: Option<Mistake>,
}

struct Links {
    now: u64,
    sent: u64,
    chance: SmallRng,
    due: BTreeMap<(u64, u64), Message>,
    cut: BTreeMap<(u64, u64), Cut>,
    takes: Range<u64>,
    /// Of a hundred messages, so many are lost, and so many questions of Raft's are asked twice.
    lost: u64,
    twice: u64,
}

impl Network {
    pub(super) fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let links = Links {
            now: 0,
            sent: 0,
            chance: SmallRng::seed_from_u64(seed),
            due: BTreeMap::new(),
            cut: BTreeMap::new(),
            takes: TAKES,
            lost: 0,
            twice: 0,
        };
        Self { links: Mutex::new(links), mistake }
    }

    pub(super) fn is_at(&self, now: u64) {
        self.links.lock().now = now;
    }

    /// The next message that has arrived.
    pub(super) fn arrived(&self) -> Option<Message> {
        let mut links = self.links.lock();
        let now = links.now;
        let message = links.due.first_entry().filter(|first| first.key().0 <= now)?.remove();
        match links.cut.get(&(message.from, message.to)) {
            None => Some(message),
            Some(Cut::Held) => {
                links.put(AGAIN, message);
                drop(links);
                self.arrived()
            }
            Some(_) => {
                links.lose(message);
                drop(links);
                self.arrived()
            }
        }
    }

    /// Lets a message wait: whoever it is for does nothing just now.
    pub(super) fn wait(&self, message: Message) {
        self.links.lock().put(AGAIN, message);
    }

    pub(super) fn cut(&self, from: u64, to: u64, how: Cut) {
        self.links.lock().cut.insert((from, to), how);
    }

    pub(super) fn mend(&self, from: u64, to: u64) {
        self.links.lock().cut.remove(&(from, to));
    }

    pub(super) fn mend_all(&self) {
        let mut links = self.links.lock();
        links.cut.clear();
        (links.takes, links.lost, links.twice) = (TAKES, 0, 0);
    }

    /// How long messages take from now on; `None`: as on a network that is well.
    pub(super) fn takes(&self, takes: Option<Range<u64>>) {
        self.links.lock().takes = takes.unwrap_or(TAKES);
    }

    /// How many of a hundred messages are lost, and how many questions are asked twice, from now on.
    pub(super) fn unreliable(&self, lost: u64, twice: u64) {
        let mut links = self.links.lock();
        (links.lost, links.twice) = (lost, twice);
    }

    fn send(&self, message: Message) {
        let mut links = self.links.lock();
        let takes = links.takes.clone();
        let after = links.chance.random_range(takes);
        let is_lost = links.chance.random_range(0..100) < links.lost;
        match links.cut.get(&(message.from, message.to)) {
            Some(Cut::Reset) => {}
            Some(Cut::Lost) => links.lose(message),
            None if is_lost => links.lose(message),
            None | Some(Cut::Held) => links.put(after, message),
        }
    }

    fn is_asked_twice(&self) -> bool {
        let mut links = self.links.lock();
        links.chance.random_range(0..100) < links.twice
    }
}

impl Links {
    fn put(&mut self, after: u64, message: Message) {
        self.sent += 1;
        self.due.insert((self.now + after.max(1), self.sent), message);
    }

    /// A message is lost: what waits for it learns of it when the connection is given up.
    fn lose(&mut self, message: Message) {
        let after = self.chance.random_range(SILENT);
        let lost = Message { what: What::Answer(Box::new(move || drop(message.what))), from: 0, to: 0 };
        self.put(after, lost);
    }
}

/// The network as one node sees it.
pub(super) struct From(pub(super) Arc<Network>, pub(super) u64);

impl Peers for From {
    fn peer(&self, address: &str) -> Arc<dyn Peer> {
        let to = address.parse().expect("addresses are numbers of nodes");
        Arc::new(Link { network: self.0.clone(), from: self.1, to })
    }
}

/// The way from one node to another.
struct Link {
    network: Arc<Network>,
    from: u64,
    to: u64,
}

/// What a question comes to that nobody answers.
trait Failure: Send + 'static {
    fn unreachable() -> Self;
    fn broken() -> Self;
}

impl Failure for PeerError {
    fn unreachable() -> Self {
        Self::Unreachable("nobody is there".into())
    }

    fn broken() -> Self {
        Self::NoAnswer("the connection broke".into())
    }
}

impl Failure for Error {
    fn unreachable() -> Self {
        Self::Unavailable("nobody is there".into())
    }

    fn broken() -> Self {
        Self::Unknown
    }
}

type Asked<T, E> = Box<dyn FnOnce(Arc<Metastore>) -> BoxFuture<'static, Result<T, E>> + Send>;

impl Link {
    /// Asks the node at the other end; the first answer counts.
    fn ask<T, E>(&self, questions: Vec<Asked<T, E>>) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: Failure,
    {
        let (answer, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(Some(answer)));
        for question in questions {
            let (network, answer, from, to) = (self.network.clone(), answer.clone(), self.from, self.to);
            let back = network.clone();
            let reply = move |result: Result<T, E>| {
                let tell = move || {
                    if let Some(answer) = answer.lock().take() {
                        drop(answer.send(result));
                    }
                };
                back.send(Message { from: to, to: from, what: What::Answer(Box::new(tell)) });
            };
            let ask = move |node: Option<Arc<Metastore>>| match node {
                Some(node) => Some(async move { reply(question(node).await) }.boxed()),
                None => {
                    reply(Err(E::unreachable()));
                    None
                }
            };
            network.send(Message { from, to, what: What::Question(Box::new(ask)) });
        }
        drop(answer);
        async move { answered.await.unwrap_or_else(|_| Err(E::broken())) }.boxed()
    }

    fn once<T, E, F>(&self, question: F) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: Failure,
        F: FnOnce(Arc<Metastore>) -> BoxFuture<'static, Result<T, E>> + Send + 'static,
    {
        self.ask(vec![Box::new(question)])
    }

    /// Asks once or twice.
    fn again<T, E, F>(&self, question: F) -> BoxFuture<'static, Result<T, E>>
    where
        T: Send + 'static,
        E: Failure,
        F: FnOnce(Arc<Metastore>) -> BoxFuture<'static, Result<T, E>> + Clone + Send + 'static,
    {
        let mut questions: Vec<Asked<T, E>> = vec![Box::new(question.clone())];
        if self.network.is_asked_twice() {
            questions.push(Box::new(question));
        }
        self.ask(questions)
    }
}

impl Peer for Link {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        let is_early = self.network.mistake == Some(Mistake::AppendAcknowledgedEarly);
        self.again(move |node| {
            async move {
                if is_early && !request.entries.is_empty() {
                    tokio::spawn(async move { node.append(group, request).await });
                    return Ok(Appended::All);
                }
                node.append(group, request).await
            }
            .boxed()
        })
    }

    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        self.again(move |node| async move { node.vote(group, request).await }.boxed())
    }

    fn install(
        &self,
        group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        let mistake = self.network.mistake;
        async move {
            let read: Vec<_> = file.try_collect().await.map_err(|e| PeerError::NoAnswer(e.to_string()))?;
            let pieces = match mistake {
                Some(Mistake::SnapshotCutShort) => super::mistakes::without_the_last(&read),
                _ => read,
            };
            let install = self.once(move |node| {
                async move {
                    let file = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
                    node.install(group, vote, file).await
                }
                .boxed()
            });
            install.await
        }
        .boxed()
    }

    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        self.again(move |node| async move { node.transfer(group, request).await }.boxed())
    }

    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        self.once(move |node| async move { node.read_index_as_leader(group).await }.boxed())
    }

    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>> {
        self.once(move |node| async move { node.change_nodes_as_leader(group, change).await }.boxed())
    }

    fn execute_as_leader(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        self.once(move |node| async move { node.execute_as_leader(command).await }.boxed())
    }

    fn query_as_leader(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        self.once(move |node| async move { node.query_as_leader(query).await }.boxed())
    }

    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        self.once(move |node| async move { node.renew_as_leader(incarnation).await }.boxed())
    }

    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        self.once(move |node| async move { node.in_force_here(revision).await }.boxed())
    }
}
