//! Domain configurations whose function says whether a client with a good certificate may go on (security.md section 5.3).

use std::sync::Arc;

use fleethaven_authorizers::{Blocked, Endpoint, Presented, check_certificate};
use fleethaven_fabric::Functions;
use fleethaven_pki::CertificateId;
use fleethaven_types::AccountId;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use rustls::pki_types::CertificateDer;

/// Clients of an account that wait for answers at a time: a slow function of one account is not to take the places in which
/// all accounts' clients shake hands.
const MOST_OF_ACCOUNT: usize = 512;

/// The functions, and who waits for them.
#[derive(Default)]
pub(super) struct Callbacks {
    functions: Option<Arc<dyn Functions>>,
    waiting: Mutex<FxHashMap<AccountId, usize>>,
}

/// A place among those who wait.
struct Place<'c> {
    waiting: &'c Mutex<FxHashMap<AccountId, usize>>,
    account: AccountId,
}

impl Callbacks {
    pub(super) fn by(functions: Arc<dyn Functions>) -> Self {
        Self { functions: Some(functions), waiting: Mutex::default() }
    }

    /// Asks the function of the endpoint's domain, where it has one.
    pub(super) async fn ask(
        &self,
        endpoint: &Endpoint,
        (chain, id): (&[CertificateDer<'_>], CertificateId),
        (server_name, connection_id): (&str, &str),
    ) -> Result<(), Blocked> {
        let domain = endpoint.domain.as_ref();
        let Some(callback) = domain.and_then(|domain| domain.certificate_callback.as_ref()) else {
            return Ok(());
        };
        let unmapped = || fleethaven_fabric::FunctionError::Unmapped(callback.function_arn.clone());
        let functions = self.functions.as_ref().ok_or_else(unmapped)?;
        let _place = Place::take(&self.waiting, endpoint.scope.account).ok_or(Blocked::Crowded)?;
        let presented = Presented {
            chain: chain.iter().map(|der| fleethaven_pki::pem::encode("CERTIFICATE", der)).collect(),
            certificate_id: &id.to_string(),
            server_name,
            connection_id,
        };
        check_certificate(&**functions, endpoint.scope, callback, &presented).await
    }
}

impl<'c> Place<'c> {
    fn take(waiting: &'c Mutex<FxHashMap<AccountId, usize>>, account: AccountId) -> Option<Self> {
        let mut counts = waiting.lock();
        let own = counts.entry(account).or_default();
        if *own >= MOST_OF_ACCOUNT {
            return None;
        }
        *own += 1;
        Some(Self { waiting, account })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock();
        if let Some(count) = counts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_places() {
        let (waiting, one) = (Mutex::default(), AccountId::from_u64(1).unwrap());
        let places: Vec<_> = (0..MOST_OF_ACCOUNT).map(|_| Place::take(&waiting, one).unwrap()).collect();
        assert!(Place::take(&waiting, one).is_none());
        assert!(Place::take(&waiting, AccountId::from_u64(2).unwrap()).is_some());
        drop(places);
        assert!(waiting.lock().is_empty());
    }
}
