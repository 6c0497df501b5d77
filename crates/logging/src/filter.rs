//! What is asked of a folder of entries.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use fleethaven_journal::{Position, Span};
use fleethaven_registry::shapes::LogLevel;
use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, told};

/// Which entries are wanted. What is absent does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Of this account.
    pub account: Option<String>,
    /// About this client.
    pub client_id: Option<String>,
    /// About this certificate or user.
    pub principal: Option<String>,
    /// Of these events; none: of all.
    pub events: Vec<String>,
    /// Written where this much is logged: ERROR leaves only what failed.
    pub level: Option<LogLevel>,
    /// On a topic that this filter matches.
    pub topic: Option<String>,
    /// From this address.
    pub source_ip: Option<IpAddr>,
    /// Of this rule.
    pub rule: Option<String>,
    /// What one request or message led to.
    pub trace_id: Option<String>,
    /// In this log group.
    pub log_group: Option<String>,
    /// Not before: milliseconds since the epoch.
    pub since: Option<u64>,
    /// Before: milliseconds since the epoch.
    pub until: Option<u64>,
    /// Only what was written after the entry at this [`Position`]: then the first so many, and otherwise the last.
    pub after: Option<String>,
    /// How many; [`MOST`](fleethaven_journal::MOST) at most, which is meant where nothing is said.
    pub limit: Option<usize>,
}

impl Filter {
    /// The entry in a line of a process's log, if there is one that this takes; whatever collects logs may have put something in front of it.
    /// How many were taken before, and after which, does not count.
    pub fn entry_in(&self, line: &str) -> Option<Entry> {
        let object = line.get(line.find('{')?..)?;
        let entry = serde_json::from_str(object).ok()?;
        Wanted::of(self).takes(&entry).then_some(entry)
    }
}

/// A filter with what it is compared to.
struct Wanted<'a> {
    filter: &'a Filter,
    since: Option<String>,
    until: Option<String>,
}

impl<'a> Wanted<'a> {
    fn of(filter: &'a Filter) -> Self {
        let text = |at: Option<u64>| at.map(|at| told(Timestamp(at)));
        Self { filter, since: text(filter.since), until: text(filter.until) }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let filter = self.filter;
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let matches = |topic: &String| {
            let found = entry.topic_name.as_deref();
            found.is_some_and(|found| found == topic || fleethaven_topics::matches(topic, found, true))
        };
        let rule = entry.rest.get("ruleName").and_then(serde_json::Value::as_str);
        is(&filter.account, Some(&entry.account_id))
            && is(&filter.client_id, entry.client_id.as_deref())
            && is(&filter.principal, entry.principal_id.as_deref())
            && is(&filter.rule, rule)
            && is(&filter.trace_id, Some(&entry.trace_id))
            && is(&filter.log_group, entry.log_group.as_deref())
            && (filter.events.is_empty() || filter.events.contains(&entry.event_type))
            && filter.level.is_none_or(|level| entry.log_level <= level)
            && filter.source_ip.is_none_or(|address| entry.source_ip == Some(address))
            && filter.topic.as_ref().is_none_or(matches)
            && self.since.as_ref().is_none_or(|since| entry.timestamp >= *since)
            && self.until.as_ref().is_none_or(|until| entry.timestamp < *until)
    }
}

/// The entries that `filter` takes, oldest first, with where each ends.
///
/// # Errors
///
/// When the folder or a segment cannot be read, or `after` is no position.
pub fn read(dir: &Path, filter: &Filter) -> io::Result<Vec<(Position, Entry)>> {
    let after = filter.after.as_deref().map(str::parse).transpose();
    let after = after.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let span = Span { after, since: filter.since, limit: filter.limit };
    let wanted = Wanted::of(filter);
    fleethaven_journal::read(dir, &span, |entry| wanted.takes(entry))
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Scope;

    use super::*;

    fn entry(at: u64, event: &str, level: LogLevel, client: &str, topic: &str) -> Entry {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
        let entry = Entry::new(scope, event, level, u128::from(at), Timestamp(at));
        Entry { client_id: Some(client.to_owned()), ..entry.on(topic).from("192.0.2.7:1".parse().unwrap()) }
    }

    #[test]
    fn filters_narrow_down() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            entry(1000, "Publish-In", LogLevel::Info, "a", "t/1"),
            entry(2000, "Publish-In", LogLevel::Error, "b", "t/2"),
            entry(3000, "RuleMatch", LogLevel::Info, "a", "t/1").with("ruleName", "r"),
        ];
        let lines: String = entries.iter().map(|e| serde_json::to_string(e).unwrap() + "\n").collect();
        std::fs::write(dir.path().join("0000000000000001.jsonl"), lines).unwrap();
        let found = |filter: Filter| -> Vec<String> {
            let found = read(dir.path(), &filter).unwrap();
            found.into_iter().map(|(_, entry)| entry.trace_id[33..].to_owned()).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        let (first, second, third) = ("3e8", "7d0", "bb8");
        assert_eq!(found(Filter::default()), [first, second, third]);
        assert_eq!(found(Filter { client_id: text("a"), ..Filter::default() }), [first, third]);
        assert_eq!(found(Filter { level: Some(LogLevel::Error), ..Filter::default() }), [second]);
        assert_eq!(found(Filter { events: vec!["RuleMatch".to_owned()], ..Filter::default() }), [third]);
        assert_eq!(
            found(Filter { topic: text("t/+"), limit: Some(2), ..Filter::default() }),
            [second, third]
        );
        assert_eq!(found(Filter { topic: text("t/2"), ..Filter::default() }), [second]);
        assert_eq!(found(Filter { rule: text("r"), ..Filter::default() }), [third]);
        assert_eq!(found(Filter { since: Some(1001), until: Some(3000), ..Filter::default() }), [second]);
        let nowhere = Filter { source_ip: Some("192.0.2.8".parse().unwrap()), ..Filter::default() };
        assert_eq!(found(nowhere), Vec::<String>::new());
        assert_eq!(
            found(Filter { account: text("210987654321"), ..Filter::default() }),
            Vec::<String>::new()
        );
        let (position, _) = read(dir.path(), &Filter::default()).unwrap()[0];
        let after = Some(position.to_string());
        assert_eq!(found(Filter { after, ..Filter::default() }), [second, third]);
        assert!(read(dir.path(), &Filter { after: text("x"), ..Filter::default() }).is_err());
    }

    #[test]
    fn entries_are_found_among_other_lines() {
        let entry = entry(1000, "Publish-In", LogLevel::Info, "a", "t/1");
        let line = serde_json::to_string(&entry).unwrap();
        let about = |client: &str| Filter { client_id: Some(client.to_owned()), ..Filter::default() };
        assert_eq!(about("a").entry_in(&line), Some(entry.clone()));
        assert_eq!(about("a").entry_in(&format!("[pod/iot-gateway-0/gateway] {line}\n")), Some(entry));
        assert_eq!(about("b").entry_in(&line), None);
        for other in ["", "{", "no entry", r#"{"timestamp":"2026-01-31T12:00:00Z","level":"INFO"}"#] {
            assert_eq!(Filter::default().entry_in(other), None, "{other}");
        }
    }
}
