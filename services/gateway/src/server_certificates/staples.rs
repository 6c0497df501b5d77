//! OCSP stapling: what responders say of the server certificates of domains that ask for it, fetched, kept while it counts, and
//! fetched anew before it does not.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::Responders;
use fleethaven_pki::{OcspAnswer, OcspQuestion};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Certificate;

/// Seconds between two fetches, whatever an answer says of itself: half of the time that it still counts, within these.
const LEAST_SECS: u64 = 10;
const MOST_SECS: u64 = 3600;
/// Seconds after which a fetch that failed is tried again the first time; each further time twice as long.
const RETRY_SECS: u64 = 5;
/// How long a responder may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Fetches at a time; others wait for the next look.
const AT_ONCE: usize = 16;

/// What was fetched for a chain, or why not.
type Fetched = (Certificate, String, Result<(Vec<u8>, OcspAnswer), String>);

/// The staples that there are and those under way.
pub(super) struct Staples {
    responders: Arc<dyn Responders>,
    known: HashMap<Certificate, Staple>,
    fetching: FuturesUnordered<Pin<Box<dyn Future<Output = Fetched> + Send>>>,
}

#[derive(Default)]
struct Staple {
    /// What it is about: under one ARN there may be another certificate later.
    chain: String,
    answer: Option<(Vec<u8>, OcspAnswer)>,
    /// When it is to be fetched again, in unix seconds; `None`: it is being fetched.
    due: Option<u64>,
    failures: u32,
}

impl Staples {
    pub(super) fn new(responders: Arc<dyn Responders>) -> Self {
        Self { responders, known: HashMap::new(), fetching: FuturesUnordered::new() }
    }

    /// What is stapled to a certificate with this chain, as long as it counts.
    pub(super) fn of(&self, certificate: &Certificate, chain: &str) -> Option<&[u8]> {
        let staple = self.known.get(certificate).filter(|staple| staple.chain == chain)?;
        let (bytes, answer) = staple.answer.as_ref()?;
        (answer.next_update >= clock::now().as_secs()).then_some(bytes.as_slice())
    }

    /// Keeps what is wanted, and begins to fetch what is due: of each certificate its chain (PEM). Tells whether something that is
    /// stapled counts no more.
    pub(super) fn look(&mut self, wanted: &HashMap<Certificate, &str>) -> bool {
        let now = clock::now().as_secs();
        self.known.retain(|certificate, _| wanted.contains_key(certificate));
        let mut ended = false;
        for (certificate, chain) in wanted {
            let staple = self.known.entry(certificate.clone()).or_default();
            if staple.chain != *chain {
                *staple = Staple { chain: (*chain).to_owned(), due: Some(0), ..Staple::default() };
            }
            if staple.answer.as_ref().is_some_and(|(_, answer)| answer.next_update < now) {
                (staple.answer, ended) = (None, true);
            }
            if staple.due.is_some_and(|due| due <= now) && self.fetching.len() < AT_ONCE {
                staple.due = None;
                let (certificate, chain) = (certificate.clone(), (*chain).to_owned());
                self.fetching.push(Box::pin(fetch(self.responders.clone(), certificate, chain)));
            }
        }
        ended
    }

    /// The next that was fetched: which, and whether its certificate is revoked, or why it could not be. Waits for ever where nothing
    /// is under way.
    pub(super) async fn next(&mut self) -> (Certificate, Result<OcspAnswer, String>) {
        let Some((certificate, chain, fetched)) = self.fetching.next().await else {
            return std::future::pending().await;
        };
        let now = clock::now().as_secs();
        let Some(staple) = self.known.get_mut(&certificate).filter(|staple| staple.chain == chain) else {
            return (certificate, fetched.map(|(_, answer)| answer));
        };
        let told = match fetched {
            Ok((bytes, answer)) => {
                let left = answer.next_update.saturating_sub(now) / 2;
                staple.due = Some(now.saturating_add(left.clamp(LEAST_SECS, MOST_SECS)));
                staple.failures = 0;
                staple.answer = Some((bytes, answer.clone()));
                Ok(answer)
            }
            Err(reason) => {
                let pause = RETRY_SECS.saturating_mul(1 << staple.failures.min(10)).min(MOST_SECS);
                staple.due = Some(now.saturating_add(pause));
                staple.failures = staple.failures.saturating_add(1);
                Err(reason)
            }
        };
        (certificate, told)
    }
}

async fn fetch(responders: Arc<dyn Responders>, certificate: Certificate, chain: String) -> Fetched {
    let fetched = ask(&*responders, &chain).await;
    (certificate, chain, fetched)
}

async fn ask(responders: &dyn Responders, chain: &str) -> Result<(Vec<u8>, OcspAnswer), String> {
    let question = OcspQuestion::of_chain(chain).map_err(|error| error.to_string())?;
    let asked = responders.ask(question.responder(), question.request());
    let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await;
    let bytes = answered.map_err(|_| "the responder did not answer in time".to_owned())??;
    let answer = question.check(&bytes, clock::now().as_secs()).map_err(|error| error.to_string())?;
    Ok((bytes.to_vec(), answer))
}
