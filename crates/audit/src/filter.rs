//! What is asked of the journal.

use std::io;
use std::path::Path;

use fleethaven_journal::Span;
use serde::{Deserialize, Serialize};

use crate::record::{Outcome, Record};

/// Which records are wanted. What is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<String>,
    /// Of callers whose ARN, id or access key holds this.
    pub principal: Option<String>,
    /// Of this operation.
    pub operation: Option<String>,
    /// With this outcome.
    pub outcome: Option<Outcome>,
    /// With this exception.
    pub error: Option<String>,
    /// Of this address.
    pub source_ip: Option<String>,
    /// Of this request.
    pub request_id: Option<String>,
    /// Not before: milliseconds since the epoch.
    pub since: Option<u64>,
    /// Before: milliseconds since the epoch.
    pub until: Option<u64>,
    /// The last so many; [`MOST`](fleethaven_journal::MOST) at most, which is meant where nothing is said.
    pub limit: Option<usize>,
}

impl Filter {
    fn takes(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let within = |wanted: &str| {
            let named = [&record.principal, &record.access_key_id];
            named.into_iter().flatten().any(|name| name.contains(wanted))
        };
        is(&self.account, record.account.as_deref())
            && is(&self.operation, Some(&record.operation))
            && is(&self.error, record.error.as_deref())
            && is(&self.source_ip, Some(&record.source_ip))
            && is(&self.request_id, Some(&record.request_id))
            && self.principal.as_deref().is_none_or(within)
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at < until)
    }
}

/// The last records that `filter` takes, oldest first.
///
/// # Errors
///
/// When the folder or a segment cannot be read.
pub fn read(dir: &Path, filter: &Filter) -> io::Result<Vec<Record>> {
    let span = Span { after: None, since: filter.since, limit: filter.limit };
    let found = fleethaven_journal::read(dir, &span, |record| filter.takes(record))?;
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, records: &[Record]) {
        let lines: String = records.iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect();
        std::fs::write(dir.join("0000000000000001.jsonl"), lines).unwrap();
    }

    fn record(at: u64, operation: &str, principal: &str, outcome: Outcome) -> Record {
        serde_json::from_value(serde_json::json!({
            "at": at, "account": "123456789012", "service": "iot", "operation": operation, "principal": principal,
            "source_ip": "192.0.2.7", "request_id": format!("r{at}"), "path": "/", "status": 200,
            "outcome": outcome,
        }))
        .unwrap()
    }

    #[test]
    fn filters_are_all_asked() {
        let dir = tempfile::tempdir().unwrap();
        let alice = "arn:aws:iam::123456789012:user/alice";
        write(
            dir.path(),
            &[
                record(1, "CreateThing", alice, Outcome::Done),
                record(2, "DeleteThing", alice, Outcome::Denied),
                record(3, "DeleteThing", "arn:aws:iam::123456789012:root", Outcome::Done),
            ],
        );
        let times = |filter: Filter| -> Vec<u64> {
            read(dir.path(), &filter).unwrap().iter().map(|record| record.at).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(times(Filter::default()), [1, 2, 3]);
        assert_eq!(times(Filter { principal: text("user/alice"), ..Filter::default() }), [1, 2]);
        assert_eq!(times(Filter { operation: text("DeleteThing"), ..Filter::default() }), [2, 3]);
        assert_eq!(times(Filter { outcome: Some(Outcome::Denied), ..Filter::default() }), [2]);
        assert_eq!(times(Filter { since: Some(2), until: Some(3), ..Filter::default() }), [2]);
        assert_eq!(times(Filter { limit: Some(2), ..Filter::default() }), [2, 3]);
        assert_eq!(times(Filter { limit: Some(0), ..Filter::default() }), Vec::<u64>::new());
        assert_eq!(times(Filter { request_id: text("r3"), ..Filter::default() }), [3]);
        assert_eq!(times(Filter { account: text("210987654321"), ..Filter::default() }), Vec::<u64>::new());
        assert_eq!(times(Filter { error: text("X"), ..Filter::default() }), Vec::<u64>::new());
    }
}
