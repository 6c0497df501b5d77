//! The journal of calls.

use std::io;
use std::path::Path;
use std::time::Duration;

use fleethaven_journal::{Bounds, Options};
use fleethaven_types::Timestamp;
use prometheus::Registry;
use tokio::sync::oneshot;

use crate::metrics;
use crate::record::Record;

/// How long a call waits for its record at most.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The journal of a process, open for writing.
pub struct Journal(fleethaven_journal::Journal<Record>);

impl Journal {
    /// Opens the folder, which is made if need be, and begins a segment. `clock` tells the wall time.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or written to, or the registry has metrics of the same names.
    pub fn open(
        dir: &Path,
        bounds: Bounds,
        clock: fn() -> Timestamp,
        registry: &Registry,
    ) -> io::Result<Self> {
        let lost = metrics::lost(registry).map_err(io::Error::other)?;
        let options = Options { name: "audit", dir: dir.to_owned(), bounds, clock, lost };
        fleethaven_journal::Journal::open(options).map(Self)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        self.0.dir()
    }

    /// Takes a record that nobody waits for.
    pub fn record(&self, record: Record) {
        self.0.record(record);
    }

    /// Takes a record, and returns when it is fsynced, or when that takes too long or cannot be.
    pub async fn record_durably(&self, record: Record) {
        let (written, told) = oneshot::channel();
        // Whoever waited may have gone away.
        self.0.record_durably(record, Box::new(move || _ = written.send(())));
        if tokio::time::timeout(PATIENCE, told).await.is_err() {
            tracing::error!("an audit record was not written in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Filter, read};
    use crate::record::Outcome;

    fn clock() -> Timestamp {
        Timestamp(1_700_000_000_000)
    }

    #[tokio::test]
    async fn what_was_waited_for_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let bounds = Bounds { bytes: 1 << 30, age: Duration::from_secs(3600) };
        let journal = Journal::open(dir.path(), bounds, clock, &Registry::new()).unwrap();
        let record = Record {
            at: clock().as_millis(),
            account: Some("123456789012".to_owned()),
            region: None,
            service: "iot".to_owned(),
            operation: "CreateThing".to_owned(),
            principal: None,
            access_key_id: None,
            source_ip: "192.0.2.7".to_owned(),
            user_agent: None,
            request_id: "r".to_owned(),
            path: "/things".to_owned(),
            outcome: Outcome::Done,
            status: 200,
            error: None,
            reason: None,
        };
        journal.record(record.clone());
        journal.record_durably(record.clone()).await;
        assert_eq!(read(dir.path(), &Filter::default()).unwrap(), [record.clone(), record]);
    }
}
