//! When devices' certificates expire: counted for each account by going through all of them, a part at a time, over and over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::Error;
use fleethaven_registry::shapes::{CertificateEnd, CertificateEnds};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Scope, Timestamp};
use prometheus::IntGaugeVec;
use tokio::time::Instant;

/// Between two parts: what it costs, others do not notice.
const BETWEEN_PARTS: Duration = Duration::from_millis(100);
/// The least time between two rounds; a round that takes longer is followed by as long a pause.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(10);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What is left of a certificate's validity, by the label that says so and the days below which it counts.
const LEFT: [(&str, Option<u64>); 5] =
    [("expired", Some(0)), ("7d", Some(7)), ("30d", Some(30)), ("90d", Some(90)), ("later", None)];

/// How many certificates of an account have how much of their validity left, in the order of [`LEFT`].
type Counts = [i64; LEFT.len()];

/// Counts until it is dropped, by what this node of the metadata store has.
pub(crate) async fn count(metadata: Arc<dyn Metadata>, certificates: IntGaugeVec) {
    let mut shown = BTreeSet::new();
    loop {
        let began = Instant::now();
        match round(&*metadata).await {
            Ok(counts) => show(&certificates, &counts, &mut shown),
            // What was counted before stays.
            Err(error) => tracing::debug!(%error, "certificates could not be counted"),
        }
        tokio::time::sleep(BETWEEN_ROUNDS.max(began.elapsed())).await;
    }
}

async fn round(metadata: &dyn Metadata) -> Result<BTreeMap<AccountId, Counts>, Error> {
    let (mut counts, mut after) = (BTreeMap::new(), None);
    loop {
        let query = Query::new(Scope::CLUSTER, QueryKind::CertificateEnds { after });
        let QueryReply::CertificateEnds(CertificateEnds { ends, next }) = metadata.query_local(query)? else {
            return Err(Error::Unavailable("an answer of another kind".to_owned()));
        };
        tally(&mut counts, &ends, clock::now());
        let Some(next) = next else { return Ok(counts) };
        after = Some(next);
        tokio::time::sleep(BETWEEN_PARTS).await;
    }
}

/// Shows a whole round's counts; accounts of the round before that have none any more go.
fn show(certificates: &IntGaugeVec, counts: &BTreeMap<AccountId, Counts>, shown: &mut BTreeSet<AccountId>) {
    for (account, counts) in counts {
        let account = account.to_string();
        for ((left, _), count) in LEFT.iter().zip(counts) {
            certificates.with_label_values(&[account.as_str(), left]).set(*count);
        }
    }
    for account in shown.iter().filter(|account| !counts.contains_key(account)) {
        let account = account.to_string();
        for (left, _) in LEFT {
            // It was shown, so that it is there.
            let _ = certificates.remove_label_values(&[account.as_str(), left]);
        }
    }
    *shown = counts.keys().copied().collect();
}

fn tally(counts: &mut BTreeMap<AccountId, Counts>, ends: &[CertificateEnd], now: Timestamp) {
    for end in ends {
        let left_ms = end.not_after.as_millis().saturating_sub(now.as_millis());
        let of_account = counts.entry(end.account).or_default();
        let is_within = |(_, days): &(&str, Option<u64>)| {
            days.is_none_or(|days| left_ms == 0 || left_ms < days.saturating_mul(DAY_MS))
        };
        let found = LEFT.iter().zip(of_account).find(|(left, _)| is_within(left));
        if let Some((_, count)) = found {
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_counts_once_by_what_is_left() {
        let now = Timestamp(1_000 * DAY_MS);
        let (one, other): (AccountId, AccountId) =
            ("123456789012".parse().unwrap(), "210987654321".parse().unwrap());
        let days = [-3, -1, 0, 1, 6, 7, 29, 30, 89, 90, 9000];
        let end = |days: i64| CertificateEnd {
            account: one,
            not_after: Timestamp(now.as_millis().checked_add_signed(days * DAY_MS as i64).unwrap()),
        };
        let mut counts = BTreeMap::new();
        tally(&mut counts, &days.map(end), now);
        tally(&mut counts, &[CertificateEnd { account: other, ..end(8) }], now);
        assert_eq!(counts, BTreeMap::from([(one, [3, 2, 2, 2, 2]), (other, [0, 0, 1, 0, 0])]));
    }

    #[test]
    fn accounts_without_certificates_are_shown_no_more() {
        let registry = prometheus::Registry::new();
        let certificates = crate::metrics::device_certificates(&registry).unwrap();
        let account: AccountId = "123456789012".parse().unwrap();
        let mut shown = BTreeSet::new();
        show(&certificates, &BTreeMap::from([(account, [1, 0, 0, 0, 2])]), &mut shown);
        assert_eq!(registry.gather()[0].get_metric().len(), LEFT.len());
        show(&certificates, &BTreeMap::new(), &mut shown);
        assert!(registry.gather().is_empty());
    }
}
