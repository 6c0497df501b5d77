//! Tells accounts that ask for it which messages were queued for clients that are not connected: AWS's `Queued` (AWS page
//! "CloudWatch Logs AWS IoT log entries").
//!
//! A router knows sessions, not clients. Who a session is of is asked of the store, on a thread of its own, so that no lane waits.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread;

use fleethaven_logging::{LogEvent, LogLevel, Logs};
use fleethaven_storage::{SessionId, SessionStore};
use fleethaven_types::{Message, QoS};
use rustc_hash::FxHashMap;

/// Messages that wait to be told of.
const WAITING: usize = 4096;
/// Clients that are remembered.
const REMEMBERED: usize = 10_000;

/// What became of a message for a client that is not connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits.
    Queued,
    /// It was dropped: the queue is full.
    Dropped,
}

impl Fate {
    fn level(self) -> LogLevel {
        match self {
            Self::Queued => LogLevel::Info,
            Self::Dropped => LogLevel::Error,
        }
    }
}

struct Told {
    session: SessionId,
    message: Arc<Message>,
    qos: QoS,
    fate: Fate,
}

/// The way to the thread, which is there from the first message on that an account may want to hear of.
#[derive(Default)]
pub(crate) struct QueuedLog(OnceLock<SyncSender<Told>>);

impl QueuedLog {
    /// A message was queued for a session, or dropped. Costs one relaxed load where nobody wants entries.
    pub(crate) fn tell(
        &self,
        (logs, store): (&Logs, &Arc<dyn SessionStore>),
        session: SessionId,
        message: &Arc<Message>,
        (qos, fate): (QoS, Fate),
    ) {
        if !logs.may_want(message.publisher.scope, (LogEvent::Queued, fate.level())) {
            return;
        }
        let sender = self.0.get_or_init(|| start(logs.clone(), Arc::downgrade(store)));
        let told = Told { session, message: message.clone(), qos, fate };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sender.try_send(told) {
            logs.count_lost();
        }
    }
}

fn start(logs: Logs, store: Weak<dyn SessionStore>) -> SyncSender<Told> {
    let (sender, waiting) = sync_channel(WAITING);
    let teller = thread::Builder::new().name("queued-log".to_owned());
    if let Err(error) = teller.spawn(move || tell_all(&logs, &store, &waiting)) {
        tracing::error!(%error, "there are no log entries of queued messages: no thread can be started");
    }
    sender
}

/// Until the router is gone.
fn tell_all(logs: &Logs, store: &Weak<dyn SessionStore>, waiting: &Receiver<Told>) {
    // Ids of sessions are not used again.
    let mut clients: FxHashMap<SessionId, String> = FxHashMap::default();
    for Told { session, message, qos, fate } in waiting {
        if clients.len() >= REMEMBERED {
            clients.clear();
        }
        if !clients.contains_key(&session) {
            // Of one that has ended, and its queue with it, nothing is told.
            clients.extend(client_of(store, session).map(|client| (session, client)));
        }
        let Some(client) = clients.get(&session) else { continue };
        let (scope, trace) = (message.publisher.scope, message.trace_id());
        let Some(entry) = logs.about_absent(scope, client, (LogEvent::Queued, fate.level()), trace) else {
            continue;
        };
        let entry = entry.over("MQTT").on(&message.topic).with("qos", qos.bits().to_string());
        logs.write(match fate {
            Fate::Queued => entry,
            Fate::Dropped => entry.because("THROTTLED", "the queue of the client's session is full"),
        });
    }
}

fn client_of(store: &Weak<dyn SessionStore>, session: SessionId) -> Option<String> {
    let found = store.upgrade()?.persistent_sessions(session.0.checked_sub(1)?, 1);
    let found =
        found.inspect_err(|error| tracing::warn!(%error, "the client of a queued message is not known"));
    found
        .ok()?
        .into_iter()
        .find(|record| record.session == session)
        .map(|record| record.client_id.to_string())
}
