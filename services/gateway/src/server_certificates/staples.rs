//! OCSP stapling: what responders say of the server certificates of domains that ask for it, fetched, kept while it counts, and
//! fetched anew before it does not.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_daemon::clock;
use fleethaven_fabric::{Functions, Invocation, Responders, Source};
use fleethaven_pki::{OcspAnswer, OcspQuestion};
use fleethaven_registry::shapes::DomainFunction;
use fleethaven_types::Scope;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;

use super::{About, Asking};

/// Seconds between two fetches, whatever an answer says of itself: half of the time that it still counts, within these.
const LEAST_SECS: u64 = 10;
const MOST_SECS: u64 = 3600;
/// Seconds after which a fetch that failed is tried again the first time; each further time twice as long.
const RETRY_SECS: u64 = 5;
/// How long a responder may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that a function may answer with: AWS's 4 KiB.
const MOST_OF_FUNCTION: usize = 4 << 10;
/// Fetches at a time; others wait for the next look.
const AT_ONCE: usize = 16;

/// What was fetched, or why not.
type Fetched = (Asking, Owned, Result<(Vec<u8>, OcspAnswer), String>);

/// The staples that there are and those under way.
pub(super) struct Staples {
    responders: Arc<dyn Responders>,
    functions: Arc<dyn Functions>,
    known: HashMap<Asking, Staple>,
    fetching: FuturesUnordered<Pin<Box<dyn Future<Output = Fetched> + Send>>>,
}

/// [`About`] for a fetch, which may outlive what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Owned {
    chain: String,
    signer: Option<String>,
}

impl Owned {
    fn of(About { chain, signer }: About<'_>) -> Self {
        Self { chain: chain.to_owned(), signer: signer.map(str::to_owned) }
    }

    fn borrowed(&self) -> About<'_> {
        About { chain: &self.chain, signer: self.signer.as_deref() }
    }
}

#[derive(Default)]
struct Staple {
    /// What it is about: under one ARN there may be another certificate later.
    about: Owned,
    answer: Option<(Vec<u8>, OcspAnswer)>,
    /// When it is to be fetched again, in unix seconds; `None`: it is being fetched.
    due: Option<u64>,
    failures: u32,
}

impl Staples {
    pub(super) fn new(responders: Arc<dyn Responders>, functions: Arc<dyn Functions>) -> Self {
        Self { responders, functions, known: HashMap::new(), fetching: FuturesUnordered::new() }
    }

    /// What is stapled to a certificate, as long as it counts.
    pub(super) fn of(&self, asking: &Asking, about: About<'_>) -> Option<&[u8]> {
        let staple = self.known.get(asking).filter(|staple| staple.about.borrowed() == about)?;
        let (bytes, answer) = staple.answer.as_ref()?;
        (answer.next_update >= clock::now().as_secs()).then_some(bytes.as_slice())
    }

    /// Keeps what is wanted, and begins to fetch what is due. Tells whether something that is stapled counts no more.
    pub(super) fn look(&mut self, wanted: &HashMap<Asking, About<'_>>) -> bool {
        let now = clock::now().as_secs();
        self.known.retain(|asking, _| wanted.contains_key(asking));
        let mut ended = false;
        for (asking, about) in wanted {
            let staple = self.known.entry(asking.clone()).or_default();
            if staple.about.borrowed() != *about {
                *staple = Staple { about: Owned::of(*about), due: Some(0), ..Staple::default() };
            }
            if staple.answer.as_ref().is_some_and(|(_, answer)| answer.next_update < now) {
                (staple.answer, ended) = (None, true);
            }
            if staple.due.is_some_and(|due| due <= now) && self.fetching.len() < AT_ONCE {
                staple.due = None;
                let ways = (self.responders.clone(), self.functions.clone());
                self.fetching.push(Box::pin(fetch(ways, asking.clone(), Owned::of(*about))));
            }
        }
        ended
    }

    /// The next that was fetched: which, and whether its certificate is revoked, or why it could not be. Waits for ever where nothing
    /// is under way.
    pub(super) async fn next(&mut self) -> (Asking, Result<OcspAnswer, String>) {
        let Some((asking, about, fetched)) = self.fetching.next().await else {
            return std::future::pending().await;
        };
        let now = clock::now().as_secs();
        let Some(staple) = self.known.get_mut(&asking).filter(|staple| staple.about == about) else {
            return (asking, fetched.map(|(_, answer)| answer));
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
        (asking, told)
    }
}

async fn fetch(
    (responders, functions): (Arc<dyn Responders>, Arc<dyn Functions>),
    asking: Asking,
    about: Owned,
) -> Fetched {
    let fetched = ask(&*responders, &*functions, &asking, &about).await;
    (asking, about, fetched)
}

async fn ask(
    responders: &dyn Responders,
    functions: &dyn Functions,
    asking: &Asking,
    Owned { chain, signer }: &Owned,
) -> Result<(Vec<u8>, OcspAnswer), String> {
    let question = OcspQuestion::of_chain(chain).and_then(|question| match signer {
        Some(signer) => question.answered_by(signer),
        None => Ok(question),
    });
    let question = question.map_err(|error| error.to_string())?;
    let bytes = match &asking.function {
        Some((scope, function)) => ask_function(functions, *scope, function, &question.request()).await?,
        None => {
            let responder = question.responder().map_err(|error| error.to_string())?;
            let asked = responders.ask(responder, question.request());
            let answered = tokio::time::timeout(ANSWER_WITHIN, asked).await;
            answered.map_err(|_| "the responder did not answer in time".to_owned())??.to_vec()
        }
    };
    let answer = question.check(&bytes, clock::now().as_secs()).map_err(|error| error.to_string())?;
    Ok((bytes, answer))
}

/// Both ways a text, which is JSON as every event and answer of a function is: base64 of DER.
async fn ask_function(
    functions: &dyn Functions,
    scope: Scope,
    function: &DomainFunction,
    request: &[u8],
) -> Result<Vec<u8>, String> {
    let call = Invocation {
        scope,
        function_arn: function.function_arn.clone(),
        payload: Value::from(STANDARD.encode(request)).to_string().into(),
        source: Source::OcspResponder,
        source_arn: function.domain_configuration_arn.clone(),
        trace_id: None,
        below: None,
        deadline: ANSWER_WITHIN,
    };
    let answer = functions.invoke(call).await.map_err(|error| error.to_string())?;
    let text: String =
        serde_json::from_slice(&answer).map_err(|_| "the function's answer is no text of JSON".to_owned())?;
    let bytes = STANDARD.decode(text).map_err(|_| "the function's answer is not base64".to_owned())?;
    if bytes.len() > MOST_OF_FUNCTION {
        return Err(format!("the function's answer has more than {MOST_OF_FUNCTION} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fleethaven_fabric::FunctionError;
    use fleethaven_fabric::metadata::BoxFuture;

    use super::*;

    struct Says(Result<Vec<u8>, FunctionError>);

    impl Functions for Says {
        fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<Bytes, FunctionError>> {
            assert_eq!(&call.payload[..], b"\"cXVlc3Rpb24=\"");
            let said = self.0.clone().map(Bytes::from);
            Box::pin(async move { said })
        }

        fn send(&self, _: Invocation) -> BoxFuture<'_, Result<(), FunctionError>> {
            unreachable!("answers are waited for")
        }
    }

    async fn ask(said: Result<Vec<u8>, FunctionError>) -> Result<Vec<u8>, String> {
        let function = DomainFunction {
            function_arn: "arn:aws:lambda:eu-west-1:123456789012:function:ocsp".to_owned(),
            domain_configuration_arn: "arn:aws:iot:eu-west-1:123456789012:domainconfiguration/d/1".to_owned(),
        };
        ask_function(&Says(said), Scope::CLUSTER, &function, b"question").await
    }

    #[tokio::test]
    async fn a_function_answers_in_base64() {
        let text = |bytes: &[u8]| Value::from(STANDARD.encode(bytes)).to_string().into_bytes();
        assert_eq!(ask(Ok(text(b"answer"))).await.unwrap(), b"answer");
        assert_eq!(ask(Ok(text(&[1; MOST_OF_FUNCTION]))).await.unwrap().len(), MOST_OF_FUNCTION);
        for (said, why) in [
            (text(&[1; MOST_OF_FUNCTION + 1]), "more than"),
            (b"\"no base64!\"".to_vec(), "not base64"),
            (b"{}".to_vec(), "no text"),
            (b"YW5zd2Vy".to_vec(), "no text"),
        ] {
            let reason = ask(Ok(said)).await.unwrap_err();
            assert!(reason.contains(why), "{reason}");
        }
        assert!(ask(Err(FunctionError::TimedOut)).await.is_err());
    }
}
