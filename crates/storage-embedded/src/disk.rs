//! The database and its keyspaces.

use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use crate::space::{self, Batch, Space, Unsealing};
use crate::{Error, Options};

/// Keys of the `meta` keyspace.
pub(crate) mod meta {
    /// Session ids up to this one may have been given out.
    pub(crate) const SESSION_IDS: &str = "session-ids";
    /// Rule entries up to this one may have been claimed since the store was opened.
    pub(crate) const RULES_CLAIMED: &str = "rules-claimed";
    /// The highest rule entry id that was acknowledged while it was the newest.
    pub(crate) const RULES_TAIL: &str = "rules-tail";
    /// The number of the last durable commit.
    pub(crate) const DURABLE: &str = "durable";
}

/// Keyspaces that hold numbers and nothing else: these are not sealed.
const PLAIN: [&str; 3] = ["meta", "received", "fences"];
/// Keyspaces of messages. What is taken out of them again before their memtable is full is not written to a table at all.
const MESSAGES: [&str; 4] = ["queues", "bodies", "rules", "retained"];
/// The size at which a memtable becomes a table on disk, of messages and of everything else. Clients that come and go write a
/// little each time: that must not stay in memory by the hundred thousand.
const MEMTABLE_BYTES: (u64, u64) = (64 << 20, 8 << 20);

/// Handles of everything on disk.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) database: Database,
    /// Single numbers: see [`meta`].
    pub(crate) meta: Space,
    /// Scope and session → `SessionRow`.
    pub(crate) sessions: Space,
    /// Scope and session that is gone → `DepartedRow`.
    pub(crate) departed: Space,
    /// Session and number → `SubscriptionRow`.
    pub(crate) subscriptions: Space,
    /// Session and entry → `EntryHeader` and `EntryRow`, empty when released; session and 0 → the queue's tail.
    pub(crate) queues: Space,
    /// Scope and group → `GroupRow`. A group's entries are in `queues`, as its id is no session's.
    pub(crate) groups: Space,
    /// Session and packet identifier of a QoS 2 exchange that its client has not ended → nothing.
    pub(crate) received: Space,
    /// Number → `WaitingWillRow`.
    pub(crate) wills: Space,
    /// Topic slot → epoch below which nothing is written.
    pub(crate) fences: Space,
    /// Body id → `MessageRow`.
    pub(crate) bodies: Space,
    /// Rule entry → deliveries and `RuleRow`.
    pub(crate) rules: Space,
    /// Rule entry → `DeadLetterRow`.
    pub(crate) dead_letters: Space,
    /// Scope and number → `MessageRow`.
    pub(crate) retained: Space,
    /// Makes the next commits fail.
    #[cfg(test)]
    pub(crate) broken: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Disk {
    /// Opens or creates the database in `dir`, which only its owner may then enter.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<Self, Error> {
        make_private(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
        Self::open_keyspaces(dir, options).map_err(|source| of_directory(dir, source))
    }

    fn open_keyspaces(dir: &Path, options: &Options) -> fjall::Result<Self> {
        let builder = Database::builder(dir).cache_size(options.block_cache_bytes);
        let database = space::sealing(builder, options.vault.as_ref(), &PLAIN).open()?;
        let keyspace = |name| {
            let vault = options.vault.clone().filter(|_| !PLAIN.contains(&name));
            let memtable = if MESSAGES.contains(&name) { MEMTABLE_BYTES.0 } else { MEMTABLE_BYTES.1 };
            let settings = || KeyspaceCreateOptions::default().max_memtable_size(memtable);
            Ok::<_, fjall::Error>(Space::new(database.keyspace(name, settings)?, vault))
        };
        Ok(Self {
            meta: keyspace("meta")?,
            sessions: keyspace("sessions")?,
            departed: keyspace("departed")?,
            subscriptions: keyspace("subscriptions")?,
            queues: keyspace("queues")?,
            groups: keyspace("groups")?,
            received: keyspace("received")?,
            wills: keyspace("wills")?,
            fences: keyspace("fences")?,
            bodies: keyspace("bodies")?,
            rules: keyspace("rules")?,
            dead_letters: keyspace("dead-letters")?,
            retained: keyspace("retained")?,
            database,
            #[cfg(test)]
            broken: Default::default(),
        })
    }

    /// Commits `batch`; when `durable`, it is on the disk when this returns, else with the operating system.
    ///
    /// A key may be written several times in one batch: fjall applies them in order and the last one stands.
    pub(crate) fn commit(&self, batch: Batch, durable: bool) -> fjall::Result<()> {
        #[cfg(test)]
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(fjall::Error::Poisoned);
        }
        let mode = if durable { PersistMode::SyncData } else { PersistMode::Buffer };
        batch.commit(Some(mode))
    }

    /// Seals what was written before the store was encrypted: how many values are left that could not be sealed yet.
    pub(crate) fn seal_plain_values(&self) -> fjall::Result<u64> {
        let sealed = [
            &self.sessions,
            &self.departed,
            &self.subscriptions,
            &self.queues,
            &self.groups,
            &self.wills,
            &self.bodies,
            &self.rules,
            &self.dead_letters,
            &self.retained,
        ];
        let plain = [&self.meta, &self.received, &self.fences];
        space::seal_plain_values(&self.database, &sealed.map(Space::clone), &plain.map(Space::clone))
    }
}

/// The database in `dir`, to be made plain again.
pub(crate) fn unsealing(dir: &Path) -> Result<Unsealing, Error> {
    Unsealing::of(dir, &PLAIN).map_err(|source| of_directory(dir, source))
}

fn of_directory(dir: &Path, error: fjall::Error) -> Error {
    match error {
        fjall::Error::Locked => Error::Locked(dir.to_owned()),
        source => Error::Database { path: dir.to_owned(), source },
    }
}

/// Makes `dir` if it is not there, and closes it to others: files within it inherit the process's umask.
fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}
