//! Until when devices' certificates are good, of all accounts: read a part at a time, so that nobody waits for a large fleet.

use crate::error::Error;
use crate::keys;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{CertificateEnd, CertificateEnds, CertificateStatus};
use crate::store::Store;

/// Certificates that are looked at in one part.
const PART: usize = 100;

/// The part after the one that ended with `after`: what of it is ACTIVE. Certificates of claims, which live for minutes, are left
/// out.
pub(crate) fn part(store: &Store<'_>, after: Option<&str>) -> Result<QueryReply, Error> {
    let pairs = store.view.scan(&keys::all_certificate_owners(), after.map(str::as_bytes), PART);
    let mut ends = Vec::with_capacity(pairs.len());
    for (key, _) in &pairs {
        let Some((id, scope)) = keys::certificate_id_and_owner(key) else { continue };
        let record: Option<record::Certificate> = store.record(&keys::certificate(scope, id))?;
        let counts = |record: &record::Certificate| {
            record.status() == CertificateStatus::Active && record.claim_template.is_none()
        };
        ends.extend(record.filter(counts).map(|record| CertificateEnd {
            account: scope.account,
            not_after: super::validity(&record).not_after,
        }));
    }
    let last = pairs.last().filter(|_| pairs.len() == PART);
    let next = last.and_then(|(key, _)| std::str::from_utf8(key).ok()).map(str::to_owned);
    Ok(QueryReply::CertificateEnds(CertificateEnds { ends, next }))
}
