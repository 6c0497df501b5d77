//! Keeps what this process's listeners show for domains level with the metastore, and staples what OCSP responders say of it where a
//! domain configuration asks for that.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::{Functions, Metadata, Responders, WatchEvent};
use fleethaven_logging::{LogEvent, LogLevel, Logs};
use fleethaven_net::{Identity, ServerCertificates};
use fleethaven_pki::OcspAnswer;
use fleethaven_registry::server_certificates::{Changed, Shows, changed};
use fleethaven_registry::shapes::DomainFunction;
use fleethaven_registry::{keys, record};
use fleethaven_types::{AccountId, Scope};

use crate::logging::Stranger;

mod staples;

use staples::Staples;

/// How often staples are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// A server certificate: whose, and its ARN.
type Certificate = (AccountId, String);

/// A certificate that an OCSP answer is fetched for, and by whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asking {
    certificate: Certificate,
    /// A function of this scope; the responder that the certificate names where there is none.
    function: Option<(Scope, DomainFunction)>,
    /// Who alone may sign the answer, where that is said.
    signer: Option<Certificate>,
}

/// What an answer is about, in PEM: a chain, and that of who alone may sign the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct About<'a> {
    chain: &'a str,
    signer: Option<&'a str>,
}

impl Asking {
    fn of(shows: &Shows) -> Self {
        Self {
            certificate: (shows.scope.account, shows.server_certificate_arn.clone()),
            function: shows.ocsp_function.clone().map(|function| (shows.scope, function)),
            signer: shows.ocsp_responder_arn.clone().map(|arn| (shows.scope.account, arn)),
        }
    }
}

/// Follows the metastore until it shuts down. Changes wait for it from this call on.
pub fn follow(
    shown: Arc<ServerCertificates>,
    metadata: Arc<dyn Metadata>,
    (responders, functions): (Arc<dyn Responders>, Arc<dyn Functions>),
    logs: Logs,
) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("server certificates");
    let prefixes = vec![keys::server_certificates_prefix(), keys::domain_owners_prefix()];
    let mut watch = metadata.watch(prefixes, None);
    async move {
        let (mut known, mut staples) = (Known::default(), Staples::new(responders, functions));
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = poll_fn(|cx| watch.as_mut().poll_next(cx)) => match event {
                    Some(WatchEvent::Put { key, value, .. }) => known.change(&key, Some(&value)),
                    Some(WatchEvent::Delete { key, .. }) => known.change(&key, None),
                    // What is still there is listed again; until then what is shown stays.
                    Some(WatchEvent::Reset) => known = Known { stale: true, level: false, ..Known::default() },
                    Some(WatchEvent::Synced(position) | WatchEvent::Progress(position)) => {
                        known.level = true;
                        if known.stale {
                            known.show(&shown, &staples);
                        }
                        marker(position.revision);
                    }
                    None => return,
                },
                _ = looks.tick(), if known.level => {
                    if staples.look(&known.wanted()) {
                        known.show(&shown, &staples);
                    }
                }
                (asking, fetched) = staples.next() => {
                    known.tell(&logs, &asking, &fetched);
                    if known.level {
                        known.show(&shown, &staples);
                    }
                }
            }
        }
    }
}

/// All that there is.
#[derive(Default)]
struct Known {
    certificates: HashMap<Certificate, Kept>,
    domains: HashMap<String, Shows>,
    /// Whether it is not shown yet.
    stale: bool,
    /// Whether it is all that there is.
    level: bool,
}

/// A certificate that can be shown.
struct Kept {
    identity: Identity,
    /// PEM.
    chain: String,
}

impl Known {
    fn change(&mut self, key: &[u8], value: Option<&[u8]>) {
        match changed(key, value) {
            Some(Changed::Certificate { account, arn, certificate }) => {
                let kept = certificate.and_then(|certificate| kept(account, &arn, certificate));
                match kept {
                    Some(kept) => self.certificates.insert((account, arn), kept),
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

    fn show(&mut self, shown: &ServerCertificates, staples: &Staples) {
        let domains = self.domains.iter().filter_map(|(name, shows)| {
            let asking = Asking::of(shows);
            let kept = self.certificates.get(&asking.certificate)?;
            let about = self.about(&asking).filter(|_| shows.ocsp_check);
            let staple = about.and_then(|about| staples.of(&asking, about));
            Some((name.as_str(), kept.identity.stapled(staple)))
        });
        let domains: Vec<_> = domains.collect();
        shown.replace_domains(domains.iter().map(|(name, identity)| (*name, identity)));
        self.stale = false;
    }

    /// The certificates of domains that ask for staples, and their chains.
    fn wanted(&self) -> HashMap<Asking, About<'_>> {
        let asking = self.domains.values().filter(|shows| shows.ocsp_check).map(Asking::of);
        asking.filter_map(|asking| self.about(&asking).map(|about| (asking, about))).collect()
    }

    /// `None` where one of the certificates is not there.
    fn about(&self, asking: &Asking) -> Option<About<'_>> {
        let chain = |certificate| self.certificates.get(certificate).map(|kept| kept.chain.as_str());
        let signer = match &asking.signer {
            Some(signer) => Some(chain(signer)?),
            None => None,
        };
        Some(About { chain: chain(&asking.certificate)?, signer })
    }

    /// Tells of a fetch for each domain that asks for it.
    fn tell(&self, logs: &Logs, asking: &Asking, fetched: &Result<OcspAnswer, String>) {
        let shows = |shows: &&Shows| shows.ocsp_check && Asking::of(shows) == *asking;
        for shows in self.domains.values().filter(shows) {
            let domain = &shows.configuration;
            match fetched {
                Ok(answer) => tracing::info!(domain, revoked = answer.revoked, "an OCSP answer is stapled"),
                Err(reason) => tracing::warn!(domain, reason, "there is no OCSP answer to staple"),
            }
            if !logs.is_on() {
                continue;
            }
            let level = if fetched.is_ok() { LogLevel::Info } else { LogLevel::Error };
            let event = (LogEvent::RetrieveOcspStapleData, level);
            let stranger = Stranger { principal: None, peer: None };
            let Some(entry) = logs.entry(shows.scope, event, uuid::Uuid::new_v4().as_u128(), &stranger)
            else {
                continue;
            };
            let entry = entry.with("domainConfigName", domain.as_str());
            logs.write(match fetched {
                Ok(answer) => entry.with("ocspStatus", if answer.revoked { "REVOKED" } else { "GOOD" }),
                Err(reason) => entry.because("OCSP_RESPONSE_FAILURE", reason),
            });
        }
    }
}

/// One that cannot be used is not shown, and said so; it was checked when it was put.
fn kept(account: AccountId, arn: &str, certificate: record::ServerCertificate) -> Option<Kept> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let record::ServerCertificate { certificate_chain, private_key, .. } = certificate;
    match Identity::from_pem(&certificate_chain, &private_key, &provider) {
        Ok(identity) => Some(Kept { identity, chain: certificate_chain }),
        Err(error) => {
            tracing::error!(%account, arn, reason = %error, "a server certificate cannot be shown");
            None
        }
    }
}
