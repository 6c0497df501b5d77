//! Keeps what this process's listeners show for domains level with the metastore.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_net::{Identity, ServerCertificates};
use fleethaven_registry::server_certificates::{Changed, changed};
use fleethaven_registry::{keys, record};
use fleethaven_types::AccountId;

/// Follows the metastore until it shuts down. Changes wait for it from this call on.
pub fn follow(
    shown: Arc<ServerCertificates>,
    metadata: Arc<dyn Metadata>,
) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("server certificates");
    let prefixes = vec![keys::server_certificates_prefix(), keys::domain_owners_prefix()];
    let mut watch = metadata.watch(prefixes, None);
    async move {
        let mut known = Known::default();
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Put { key, value, .. } => known.change(&key, Some(&value)),
                WatchEvent::Delete { key, .. } => known.change(&key, None),
                // What is still there is listed again; until then what is shown stays.
                WatchEvent::Reset => known = Known { stale: true, ..Known::default() },
                WatchEvent::Synced(position) | WatchEvent::Progress(position) => {
                    if known.stale {
                        shown.replace_domains(known.shown());
                        known.stale = false;
                    }
                    marker(position.revision);
                }
            }
        }
    }
}

/// All that there is.
#[derive(Default)]
struct Known {
    certificates: HashMap<(AccountId, String), Identity>,
    domains: HashMap<String, (AccountId, String)>,
    /// Whether it is not shown yet.
    stale: bool,
}

impl Known {
    fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        match changed(key, value) {
            Some(Changed::Certificate { account, arn, certificate }) => {
                let identity = certificate.and_then(|certificate| identity(account, &arn, &certificate));
                match identity {
                    Some(identity) => self.certificates.insert((account, arn), identity),
                    None => self.certificates.remove(&(account, arn)),
                };
            }
            Some(Changed::Domain { name, shows: Some(shows) }) => {
                self.domains.insert(name, shows);
            }
            Some(Changed::Domain { name, shows: None }) => {
                self.domains.remove(&name);
            }
            None => return,
        }
        self.stale = true;
    }

    fn shown(&self) -> impl Iterator<Item = (&str, &Identity)> {
        self.domains.iter().filter_map(|(name, shows)| Some((name.as_str(), self.certificates.get(shows)?)))
    }
}

/// One that cannot be used is not shown, and said so; it was checked when it was put.
fn identity(account: AccountId, arn: &str, certificate: &record::ServerCertificate) -> Option<Identity> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let record::ServerCertificate { certificate_chain, private_key, .. } = certificate;
    match Identity::from_pem(certificate_chain, private_key, &provider) {
        Ok(identity) => Some(identity),
        Err(error) => {
            tracing::error!(%account, arn, reason = %error, "a server certificate cannot be shown");
            None
        }
    }
}
