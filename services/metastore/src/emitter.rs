//! Publishes what committed entries ask for, in the order of the log, while this node leads the group (protocols.md A4).
//!
//! At least once: what was published is noted in the log every so many entries, so after a crash or a change of leader the last
//! ones are published again. A repeat has the trace id of the first time: it is made of the store's incarnation, the group,
//! the entry's index and the message's number in it. Messages about one thing are published one after the other, each when the
//! one before is safe; those about different things side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Publish;
use fleethaven_registry::View;
use fleethaven_types::{Message, MessageProperties, Publisher, QoS, Scope, Timestamp};
use futures_util::future::join_all;
use openraft::async_runtime::WatchReceiver;
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::evaluator::Request;
use crate::group::Group;
use crate::outbox::{self, Outbox};
use crate::record::{Emits, Emitted};
use crate::state::State;
use crate::types::Raft;

/// Entries whose messages are published side by side.
const PAGE: usize = 256;
/// Entries published before that is noted in the log, and how long it may take otherwise.
const NOTED_EVERY: (usize, Duration) = (256, Duration::from_secs(5));
/// How long noting may take: without a quorum it is waited for in vain.
const NOTED_WITHIN: Duration = Duration::from_secs(2);
/// Pause before what could not be published is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often leadership is looked at while there is nothing else to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Levels of a topic that tell what a message is about: `$aws/things/{thing}`, `$aws/events/thing/{thing}`.
const SUBJECT_LEVELS: usize = 4;

/// The door into the broker, once there is one.
pub(crate) type Door = watch::Receiver<Option<Arc<dyn Publish>>>;

/// The task that publishes a group's messages.
pub(crate) struct EmitterTask {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl EmitterTask {
    /// Begins as soon as there is a door and this node leads the group.
    pub(crate) fn start(
        group: &Group,
        door: Door,
        incarnation: u64,
        clock: fn() -> Timestamp,
    ) -> Option<Self> {
        let (stop, stopping) = watch::channel(false);
        let emitter = Emitter {
            node: group.node,
            // The group's number goes where incarnations, which are hashes, do not tell two stores apart by it alone.
            trace: incarnation ^ u64::from(group.state.group).rotate_right(8),
            raft: group.raft.clone(),
            state: group.state.clone(),
            outbox: group.outbox.clone(),
            requests: group.requests()?.downgrade(),
            door,
            clock,
            stopping,
            published: 0,
            unnoted: Vec::new(),
            note_at: None,
        };
        Some(Self { stop, task: tokio::spawn(emitter.run()) })
    }

    /// Notes what was published, and ends; to be called before the group stops.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        // It fails only if the task panicked: then there is nothing to note.
        let _ = self.task.await;
    }
}

struct Emitter {
    node: u64,
    trace: u64,
    raft: Raft,
    state: Arc<State>,
    outbox: Arc<Outbox>,
    requests: mpsc::WeakSender<Request>,
    door: Door,
    clock: fn() -> Timestamp,
    stopping: watch::Receiver<bool>,
    /// The last entry whose messages are published.
    published: u64,
    /// Entries whose messages are published without the log telling it.
    unnoted: Vec<u64>,
    /// When the log is to tell it.
    note_at: Option<Instant>,
}

impl Emitter {
    async fn run(mut self) {
        let mut changes = self.outbox.changes();
        let mut stopping = self.stopping.clone();
        loop {
            changes.borrow_and_update();
            let door = self.door.borrow().clone();
            if !self.leads() {
                // Who leads next begins with all that the log does not tell.
                (self.published, self.note_at) = (0, None);
                self.unnoted.clear();
            } else if let Some(door) = door {
                let page = self.outbox.above(self.published, PAGE);
                if !page.is_empty() {
                    tokio::select! {
                        biased;
                        () = self.publish(&*door, &page) => {}
                        _ = stopping.wait_for(|stop| *stop) => break,
                    }
                }
                self.note_in_time().await;
                if !page.is_empty() {
                    continue;
                }
            }
            let look = Instant::now() + LOOK_EVERY;
            let until = self.note_at.map_or(look, |at| at.min(look));
            tokio::select! {
                biased;
                _ = timeout_at(until, changes.changed()) => {}
                _ = stopping.wait_for(|stop| *stop) => break,
            }
        }
        self.note().await;
    }

    /// Whether this node believes to lead. One that does so wrongly publishes what is committed all the same.
    fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let leader = metrics.borrow_watched().current_leader;
        leader == Some(self.node)
    }

    /// Publishes the messages of these entries; returns early when leadership is lost.
    async fn publish(&mut self, door: &dyn Publish, page: &[u64]) {
        let mut subjects: BTreeMap<(Scope, String), Vec<Arc<Message>>> = BTreeMap::new();
        for index in page {
            for (number, emitted) in self.messages(*index).into_iter().enumerate() {
                match self.message(&emitted, *index, number) {
                    Some(message) => {
                        let subject = (message.publisher.scope, subject(&message.topic));
                        subjects.entry(subject).or_default().push(Arc::new(message));
                    }
                    None => {
                        tracing::error!(index, topic = emitted.topic, "a message in the log cannot be read")
                    }
                }
            }
        }
        let this = &*self;
        let chains = subjects.into_values().map(|messages| async move {
            for message in messages {
                if !this.publish_one(door, message).await {
                    return false;
                }
            }
            true
        });
        if join_all(chains).await.into_iter().all(|published| published)
            && let Some(last) = page.last()
        {
            self.published = *last;
            self.unnoted.extend(page);
            self.note_at.get_or_insert(Instant::now() + NOTED_EVERY.1);
        }
    }

    /// Tries until it is published; `false` when leadership is lost.
    async fn publish_one(&self, door: &dyn Publish, message: Arc<Message>) -> bool {
        let mut pause = PAUSE.0;
        loop {
            match door.publish(message.clone()).await {
                Ok(_matched) => return true,
                Err(error) => {
                    tracing::warn!(%error, topic = %message.topic, "a message of the log cannot be published yet");
                }
            }
            if !self.leads() {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn messages(&self, index: u64) -> Vec<Emitted> {
        let view = self.state.now();
        // None: another leader has published it meanwhile, and this node has applied that.
        let Some(value) = view.get(&outbox::key(index)) else { return Vec::new() };
        Emits::decode(value).map(|emits| emits.messages).unwrap_or_else(|error| {
            tracing::error!(%error, index, "the messages of an entry cannot be read");
            Vec::new()
        })
    }

    fn message(&self, emitted: &Emitted, index: u64, number: usize) -> Option<Message> {
        let scope = Scope { account: emitted.account.parse().ok()?, region: emitted.region.parse().ok()? };
        let pairs = emitted.user_properties.chunks_exact(2);
        let user_properties: Vec<_> = pairs
            .filter_map(|pair| pair.first().zip(pair.last()))
            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
            .collect();
        let properties = MessageProperties { user_properties, ..MessageProperties::default() };
        let trace = self.trace;
        Some(Message {
            topic: emitted.topic.as_str().into(),
            payload: emitted.payload.clone(),
            qos: QoS::try_from(u8::try_from(emitted.qos).ok()?).ok()?,
            retain: false,
            properties: (properties != MessageProperties::default()).then(|| Box::new(properties)),
            received_at: (self.clock)(),
            expires_at: None,
            sequence: (index << 8) | u64::try_from(number).unwrap_or(0xff).min(0xff),
            hops: 0,
            publisher: Arc::new(Publisher {
                scope,
                client_id: None,
                principal: None,
                source_ip: None,
                trace,
            }),
        })
    }

    async fn note_in_time(&mut self) {
        let is_due = self.note_at.is_some_and(|at| at <= Instant::now());
        if is_due || self.unnoted.len() >= NOTED_EVERY.0 {
            self.note().await;
        }
    }

    /// Has the log tell what was published.
    async fn note(&mut self) {
        self.note_at = None;
        let Some(requests) = self.requests.upgrade().filter(|_| !self.unnoted.is_empty()) else { return };
        let (request, answer) = Request::published(self.unnoted.clone());
        let noting = async { requests.send(request).await.is_ok() && matches!(answer.await, Ok(Ok(_))) };
        if tokio::time::timeout(NOTED_WITHIN, noting).await.unwrap_or(false) {
            self.unnoted.clear();
        } else {
            self.note_at = Some(Instant::now() + NOTED_EVERY.1);
        }
    }
}

/// What a message is about: the levels of its topic that name it.
fn subject(topic: &str) -> String {
    topic.split('/').take(SUBJECT_LEVELS).collect::<Vec<_>>().join("/")
}
