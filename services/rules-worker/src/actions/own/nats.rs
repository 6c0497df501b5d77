//! `nats`: each message is published on a subject; with JetStream, a stream says that it has it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::{PublishErrorKind, RequestErrorKind};
use async_nats::connection::State;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue, NATS_MESSAGE_ID};
use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_outbound::Dialer;
use fleethaven_registry::shapes::Connection;
use fleethaven_rulesql::Template;
use serde::Deserialize;

use super::target::{Address, Target, unreachable};
use super::{Action, Error, Invocation, Settings, rendered};
use crate::actions::kept::Kept;

/// How long a server may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// A nats action with its templates parsed.
pub(super) struct Nats {
    target: Target,
    subject: Template,
    headers: Vec<(String, Template)>,
    jetstream: bool,
}

/// What JetStream answers.
#[derive(Deserialize)]
struct Answer {
    error: Option<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    code: u16,
    #[serde(default)]
    description: String,
}

impl Nats {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        Ok(Self {
            target: settings.target(),
            subject: settings.template("subject")?,
            headers: settings.map()?,
            jetstream: settings.own.switch("jetstream"),
        })
    }

    fn headers(&self, invocation: &Invocation<'_>, subject: &str) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in rendered(&self.headers, invocation, subject)? {
            let wrong = || Error::permanent(subject, format!("the header '{name}' cannot be sent"));
            let parsed: HeaderName = name.parse().map_err(|_| wrong())?;
            let value: HeaderValue = value.parse().map_err(|_| wrong())?;
            headers.append(parsed, value);
        }
        if self.jetstream && headers.get(NATS_MESSAGE_ID).is_none() {
            // By it a stream knows repeats within its window, two minutes unless it says otherwise.
            headers.insert(NATS_MESSAGE_ID, invocation.id().to_string());
        }
        Ok(headers)
    }

    async fn send(
        &self,
        client: &Client,
        invocation: &Invocation<'_>,
        subject: &str,
        headers: HeaderMap,
    ) -> Result<(), Error> {
        let failed = |transient, reason: String| Error { transient, ..Error::permanent(subject, reason) };
        let payload = invocation.payload.clone();
        if !self.jetstream {
            let sent = client.publish_with_headers(subject.to_owned(), headers, payload).await;
            sent.map_err(|error| failed(matches!(error.kind(), PublishErrorKind::Send), error.to_string()))?;
            return client.flush().await.map_err(|error| failed(true, error.to_string()));
        }
        let answer = client.request_with_headers(subject.to_owned(), headers, payload).await;
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => failed(false, "no stream takes this subject".to_owned()),
            RequestErrorKind::TimedOut | RequestErrorKind::Other => failed(true, error.to_string()),
            _ => failed(false, error.to_string()),
        })?;
        match serde_json::from_slice::<Answer>(&answer.payload) {
            Ok(Answer { error: None }) => Ok(()),
            Ok(Answer { error: Some(Problem { code, description }) }) => {
                Err(failed(code == 429 || code >= 500, format!("JetStream answered {code}: {description}")))
            }
            Err(_) => Err(failed(false, "the answer is none of JetStream's".to_owned())),
        }
    }
}

impl Action for Nats {
    fn name(&self) -> &'static str {
        "NatsAction"
    }

    fn kind(&self) -> &str {
        self.target.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let subject = invocation.text(&self.subject, "subject", "nats")?;
            check(&subject)?;
            let headers = self.headers(invocation, &subject)?;
            let connected = self.target.connected(invocation, &subject)?;
            let kept = connected.client::<Arc<Kept<Client>>>("", Arc::default);
            let dialer = self.target.dialer(&connected, invocation, &subject)?;
            let alive = |client: &Client| client.connection_state() == State::Connected;
            let open = || open(&dialer, &connected.connection, &subject);
            let call = async {
                let (_, client) = kept.get(&subject, alive, open).await?;
                let sent = self.send(&client, invocation, &subject, headers);
                let late = || Err(Error::transient(subject.as_str(), "the server took nothing in time"));
                tokio::time::timeout(WITHIN, sent).await.unwrap_or_else(|_| late())
            };
            self.target.in_lane(invocation, &subject, call).await
        })
    }
}

/// A subject to publish on: words with dots between them, and no wildcards.
fn check(subject: &str) -> Result<(), Error> {
    let word = |word: &str| !word.is_empty() && word != "*" && word != ">";
    let plain = subject.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if plain && subject.split('.').all(word) {
        return Ok(());
    }
    Err(Error::permanent(
        subject,
        "this is no subject that can be published on: words with dots between them",
    ))
}

/// The client connects by itself: in the clear to an address that was checked; by TLS to the name, which the server's certificate
/// must bear, so that nothing is said to another.
async fn open(dialer: &Dialer, connection: &Connection, resource: &str) -> Result<Client, Error> {
    let address = Address::of(connection, "tls", (4222, 4222))?;
    let checked = dialer.address(&address.host, address.port, address.secured).await;
    let checked = checked.map_err(|error| unreachable(resource, &error))?;
    let mut options = ConnectOptions::new()
        .name("fleethaven")
        .connection_timeout(WITHIN)
        .request_timeout(Some(WITHIN))
        // What servers tell of others is not checked.
        .ignore_discovered_servers()
        .require_tls(address.secured)
        // A connection that broke is opened by the next action.
        .max_reconnects(1);
    if let Some(key) = &connection.credentials {
        options = options.user_and_password(key.id.clone(), key.secret.0.clone());
    }
    let url = if address.secured {
        options = options.tls_client_config(dialer.tls().as_ref().clone());
        format!("tls://{}:{}", address.host, address.port)
    } else {
        format!("nats://{checked}")
    };
    options.connect(url).await.map_err(|error| {
        let refused = [
            ConnectErrorKind::Authentication,
            ConnectErrorKind::AuthorizationViolation,
            ConnectErrorKind::Tls,
        ];
        let transient = !refused.contains(&error.kind());
        Error { transient, ..Error::permanent(resource, format!("NATS: {error}")) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_have_no_wildcards_and_no_empty_words() {
        for subject in ["a", "a.b.c", "a/b", "a*b"] {
            assert_eq!(check(subject), Ok(()), "{subject}");
        }
        for subject in ["", "a.", ".a", "a..b", "a.*", ">", "a b", "a\n"] {
            assert!(check(subject).is_err(), "{subject}");
        }
    }
}
