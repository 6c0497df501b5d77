//! The audit journal of this process, and `fleethaven audit`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_audit::{Bounds, Filter, Journal, Outcome, Record};
use fleethaven_daemon::clock;
use prometheus::Registry;

use crate::ask::{operate, print};
use crate::cli::{AuditArgs, AuditQueryArgs, AuditedArg, OutcomeArg};
use crate::operators::{Line, Request, lines};

/// Opens the journal, where one is kept.
pub(crate) fn open(
    arguments: &AuditArgs,
    default: Option<PathBuf>,
    registry: &Registry,
) -> Result<Option<Arc<Journal>>> {
    let dir = arguments.audit_dir.clone().or(default);
    let (AuditedArg::Control | AuditedArg::All, Some(dir)) = (arguments.audit, dir) else { return Ok(None) };
    let bounds = Bounds {
        bytes: u64::from(arguments.audit_max_size) << 20,
        age: Duration::from_secs(u64::from(arguments.audit_max_age) * 24 * 60 * 60),
    };
    let journal = Journal::open(&dir, bounds, clock::now, registry);
    Ok(Some(Arc::new(journal.with_context(|| format!("cannot keep an audit journal in {}", dir.display()))?)))
}

/// The journal as the API takes it.
pub(crate) fn of_api(arguments: &AuditArgs, journal: Option<&Arc<Journal>>) -> Option<fleethaven_api::Audit> {
    journal.map(|journal| fleethaven_api::Audit::new(journal.clone(), arguments.audit == AuditedArg::All))
}

/// What an operator had done through the admin port; reading is not recorded.
pub(crate) fn command(name: &str, failure: Option<String>) -> Record {
    let (outcome, status) = if failure.is_some() { (Outcome::Refused, 400) } else { (Outcome::Done, 200) };
    Record {
        at: clock::now().as_millis(),
        account: None,
        region: None,
        service: "fleethaven".to_owned(),
        operation: name.to_owned(),
        principal: Some("operator of the installation".to_owned()),
        access_key_id: None,
        source_ip: "127.0.0.1".to_owned(),
        user_agent: None,
        request_id: uuid::Uuid::new_v4().to_string(),
        path: "/operator".to_owned(),
        outcome,
        status,
        error: None,
        reason: failure,
    }
}

/// `fleethaven audit`.
pub(crate) async fn run(arguments: AuditQueryArgs) -> Result<()> {
    let filter = filter(&arguments)?;
    if let Some(dir) = &arguments.audit_dir {
        let records = fleethaven_audit::read(dir, &filter);
        let records = records.with_context(|| format!("cannot read the journal in {}", dir.display()))?;
        return print(&lines(&told(records))?, arguments.place.json);
    }
    if arguments.place.cluster_tls.is_some() {
        bail!("each process of a cluster keeps a journal of its own: name its --admin, or an --audit-dir");
    }
    operate(&arguments.place, Request::Audit { filter }).await
}

/// The lines of an answer.
pub(crate) fn told(records: Vec<Record>) -> Vec<Line> {
    let line = |record: Record| {
        let at = i64::try_from(record.at).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        Line::Audit { time: at.unwrap_or(jiff::Timestamp::MAX).to_string(), record: Box::new(record) }
    };
    records.into_iter().map(line).collect()
}

fn filter(arguments: &AuditQueryArgs) -> Result<Filter> {
    Ok(Filter {
        account: arguments.account.map(|account| account.to_string()),
        principal: arguments.principal.clone(),
        operation: arguments.operation.clone(),
        outcome: arguments.outcome.map(|outcome| match outcome {
            OutcomeArg::Done => Outcome::Done,
            OutcomeArg::Denied => Outcome::Denied,
            OutcomeArg::Refused => Outcome::Refused,
            OutcomeArg::Failed => Outcome::Failed,
        }),
        error: arguments.error.clone(),
        source_ip: arguments.source_ip.clone(),
        request_id: arguments.request_id.clone(),
        since: arguments.since.as_deref().map(moment).transpose()?,
        until: arguments.until.as_deref().map(moment).transpose()?,
        limit: Some(arguments.limit),
    })
}

/// Milliseconds since the epoch of `2026-01-31T12:00:00Z`, or of so long ago.
pub(crate) fn moment(text: &str) -> Result<u64> {
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let ago = text.char_indices().next_back().and_then(|(at, last)| {
        let count: u64 = text.get(..at)?.parse().ok()?;
        count.checked_mul(unit(last)?)?.checked_mul(1000)
    });
    if let Some(ago) = ago {
        return Ok(clock::now().as_millis().saturating_sub(ago));
    }
    let at: jiff::Timestamp = text
        .parse()
        .with_context(|| format!("'{text}' is neither a time, such as 2026-01-31T12:00:00Z, nor 24h"))?;
    Ok(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_ways() {
        assert_eq!(moment("2026-01-31T12:00:00Z").unwrap(), 1_769_860_800_000);
        let now = clock::now().as_millis();
        let day = now - moment("1d").unwrap();
        assert!((86_400_000 - 60_000..=86_400_000).contains(&day), "{day}");
        for bad in ["", "d", "1w", "yesterday", "-1h"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
