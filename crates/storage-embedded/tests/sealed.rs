//! What lies on the disk of a store that is sealed, and of one that was not sealed from the beginning.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fleethaven_storage::{
    Append, Claim, Completion, DurablePublish, EntryId, Lane, OwnerToken, QueueBounds, Request,
    RetainedChange, RetainedStore, RuleQueue, RuleRef, SessionId, SessionStore, StoredWill, Ticket, Wake,
};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};
use fleethaven_vault::{DataKey, Vault};

/// What is in every payload, and whose absence is looked for.
const MARKER: &[u8] = b"the-reading-of-meter-4711";
/// What is in topics and client ids.
const NAME: &str = "plant-in-lyon";
const TOKEN: OwnerToken = OwnerToken { incarnation: 1, counter: 1 };

fn options(key: Option<u8>, opening: u8) -> Options {
    let vault = key.and_then(|key| Vault::new([(1, DataKey([key; 32]))], [opening; 12]));
    // Nothing in memory, so that everything is read from disk.
    Options {
        vault: vault.map(Arc::new),
        queue_cache_bytes: 0,
        retained_cache_bytes: 0,
        rule_cached_entries: 0,
        ..Options::new(Arc::new(|| Timestamp(1)))
    }
}

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

fn message(number: usize) -> Arc<Message> {
    let payload = [MARKER, &number.to_be_bytes()].concat();
    let client_id = Some(format!("{NAME}-client").into());
    let publisher = Publisher { scope: scope(), client_id, principal: None, source_ip: None, trace: 0 };
    Arc::new(Message {
        topic: format!("{NAME}/{number}").into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        properties: None,
        received_at: Timestamp(1),
        expires_at: None,
        sequence: 0,
        hops: 0,
        publisher: Arc::new(publisher),
    })
}

struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(&self) {
        let _ = self.0.send(());
    }
}

struct Asking {
    lane: Box<dyn Lane>,
    woken: mpsc::Receiver<()>,
}

impl Asking {
    fn of(store: &EmbeddedStore) -> Self {
        let (bell, woken) = mpsc::channel();
        Self { lane: store.lane(Arc::new(Bell(bell))), woken }
    }

    fn ask(&mut self, request: Request) -> Completion {
        self.lane.submit(&mut vec![request]);
        let mut completions = Vec::new();
        while completions.is_empty() {
            self.woken.recv_timeout(Duration::from_secs(30)).unwrap();
            self.lane.drain(&mut completions);
        }
        completions.remove(0)
    }

    fn claim(&mut self) -> SessionId {
        let claim = Claim {
            ticket: Ticket(0),
            scope: scope(),
            client_id: format!("{NAME}-client").into(),
            token: TOKEN,
            owner_address: 1,
            principal: None,
            clean_start: false,
            cross_version_resume: false,
            session_expiry: 3600,
            protocol_level: 5,
            queue_bounds: QueueBounds { messages: 1000, bytes: 1 << 20, secs: None },
            will: Some(StoredWill { message: message(9999), delay: 0 }),
            now: Timestamp(1),
        };
        match self.ask(Request::Claim(Box::new(claim))) {
            Completion::Claimed { result, .. } => result.unwrap().session,
            other => panic!("{other:?}"),
        }
    }

    /// Queues a message, retains it, and has rules take it.
    fn publish(&mut self, session: SessionId, number: usize) {
        let qos = QoS::AtLeastOnce;
        let publish = DurablePublish {
            ticket: Ticket(0),
            message: message(number),
            queues: vec![Append { session, qos, retain: false, identifiers: Vec::new(), share: None }],
            rules: vec![RuleRef { name: format!("{NAME}-rule").into(), revision: 1 }],
            retained: RetainedChange::Set,
            replaces: None,
            once: None,
            fence: None,
        };
        match self.ask(Request::Publish(Box::new(publish))) {
            Completion::Published { result, .. } => drop(result.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// How many messages are in the queue, whole.
    fn queued(&mut self, session: SessionId) -> usize {
        let read = Request::ReadQueue {
            ticket: Ticket(0),
            session,
            token: TOKEN,
            after: EntryId::NONE,
            max_entries: 1000,
            max_bytes: 1 << 20,
        };
        match self.ask(read) {
            Completion::QueueRead { result, .. } => {
                let (entries, _) = result.unwrap();
                entries.iter().filter(|entry| entry.message.payload.starts_with(MARKER)).count()
            }
            other => panic!("{other:?}"),
        }
    }
}

/// In how many files below `dir` these bytes are.
fn found(dir: &Path, bytes: &[u8]) -> usize {
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        files += match path.is_dir() {
            true => found(&path, bytes),
            false => {
                usize::from(std::fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes))
            }
        };
    }
    files
}

fn fill(dir: &Path, key: Option<u8>) {
    let store = EmbeddedStore::open(dir, options(key, 1)).unwrap();
    let mut asking = Asking::of(&store);
    let session = asking.claim();
    (0..50).for_each(|number| asking.publish(session, number));
    assert_eq!(asking.queued(session), 50);
    store.close();
}

fn holds_everything(store: &EmbeddedStore) {
    let mut asking = Asking::of(store);
    let session = asking.claim();
    assert_eq!(asking.queued(session), 50);
    assert_eq!(store.count(scope()), 50);
    let retained = store.get(scope(), &format!("{NAME}/7")).unwrap().unwrap();
    assert!(retained.payload.starts_with(MARKER));
    assert_eq!(store.depth(), 50);
}

#[test]
fn nothing_that_was_said_is_on_the_disk_of_a_sealed_store() {
    for (key, expected) in [(None, true), (Some(1), false)] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), key);
        for text in [MARKER, NAME.as_bytes()] {
            assert_eq!(found(dir.path(), text) > 0, expected, "{key:?}");
        }
        let store = EmbeddedStore::open(dir.path(), options(key, 2)).unwrap();
        holds_everything(&store);
    }
}

#[test]
fn a_store_opens_with_its_own_key_only() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), Some(1));
    for key in [None, Some(2)] {
        let error = EmbeddedStore::open(dir.path(), options(key, 2)).err().unwrap().to_string();
        assert!(error.contains("encrypted") || error.contains("was changed"), "{error}");
    }
}

#[test]
fn what_was_written_before_is_sealed_while_the_store_is_used() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), None);
    let store = EmbeddedStore::open(dir.path(), options(Some(1), 2)).unwrap();
    assert!(found(dir.path(), MARKER) > 0);
    holds_everything(&store);
    assert_eq!(store.seal_plain_values().unwrap(), 0);
    holds_everything(&store);
    store.close();
    drop(store);
    assert_eq!(found(dir.path(), MARKER), 0);
    assert_eq!(found(dir.path(), NAME.as_bytes()), 0);
    let options = options(Some(1), 3);
    options.vault.as_ref().unwrap().refuse_plain_values();
    holds_everything(&EmbeddedStore::open(dir.path(), options).unwrap());
}

#[test]
fn a_sealed_store_is_made_plain_and_opens_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), Some(1));
    let unsealing = EmbeddedStore::unsealing(dir.path()).unwrap();
    assert!(EmbeddedStore::open(dir.path(), options(Some(1), 2)).is_err(), "it is in use");
    let vault = |key, opening| options(Some(key), opening).vault.unwrap();
    assert!(unsealing.run(&vault(2, 2)).is_err(), "by another key");
    assert!(unsealing.run(&vault(1, 3)).unwrap() >= 100);
    assert_eq!(unsealing.run(&vault(1, 4)).unwrap(), 0, "nothing is left");
    drop(unsealing);
    let store = EmbeddedStore::open(dir.path(), options(None, 5)).unwrap();
    holds_everything(&store);
}
