//! What comes to the admin port: requests as JSON. What a process keeps in folders of its own is read there, too.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fleethaven_audit::{Filter, Journal};
use fleethaven_fabric::Metadata;
use fleethaven_logging::Logs;
use fleethaven_storage::RuleQueue;
use fleethaven_telemetry::admin::Operator;

use super::{Line, Request, answer, lines};
use crate::audit;
use crate::dead_letters;
use crate::logs;

/// What a process keeps in folders of its own.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) logs: Logs,
}

impl Kept {
    /// Answers a request for what is kept here; another one is given back. What this process does not keep is said.
    async fn answer(&self, request: Request) -> Result<Result<Vec<Line>>, Request> {
        match (request, &self.journal, self.logs.dir()) {
            (Request::Audit { filter }, Some(journal), _) => Ok(records(journal, filter).await),
            (Request::Logs { filter }, _, Some(dir)) => Ok(entries(dir, filter).await),
            (request, _, _) => Err(request),
        }
    }
}

/// The request of an operator that came to the admin port.
fn read(body: &Bytes) -> Result<Request, String> {
    serde_json::from_slice(body).map_err(|error| format!("not a request: {error}"))
}

fn answered(answer: Result<Vec<Line>>) -> Result<String, String> {
    answer.and_then(|answer| lines(&answer)).map_err(|error| format!("{error:#}"))
}

/// Answers only what is asked of the folders of a process that has no accounts.
pub(crate) fn reader(kept: Kept) -> Operator {
    Arc::new(move |body: Bytes| {
        let kept = kept.clone();
        Box::pin(async move {
            match kept.answer(read(&body)?).await {
                Ok(answer) => answered(answer),
                Err(request) => answered(not_kept(&request)),
            }
        })
    })
}

/// Why a process cannot answer.
pub(super) fn not_kept(request: &Request) -> Result<Vec<Line>> {
    match request {
        Request::Audit { .. } => bail!("this process keeps no audit journal: see --audit-dir"),
        Request::Logs { .. } => bail!("this process keeps no log entries in a folder: see --iot-log-dir"),
        _ => bail!("this process keeps no accounts: ask `fleethaven dev` or `api`"),
    }
}

/// Carries out requests that come as JSON, for the admin port. Changes are recorded in the audit journal, where there is one.
pub(crate) fn operator(metadata: Arc<dyn Metadata>, rules: Arc<dyn RuleQueue>, kept: Kept) -> Operator {
    Arc::new(move |body: Bytes| {
        let (metadata, rules, kept) = (metadata.clone(), rules.clone(), kept.clone());
        Box::pin(async move {
            let (name, journal) = (name_of(&body), kept.journal.as_deref());
            let answer = match kept.answer(read(&body)?).await {
                Ok(answer) => answer,
                Err(request) => match dead_letters::answer(rules, request).await {
                    Ok(answer) => answer,
                    Err(request) => answer(&*metadata, request).await,
                },
            };
            let answered = answered(answer);
            if let Some(journal) = journal.filter(|_| changes(&name)) {
                journal.record_durably(audit::command(&name, answered.as_ref().err().cloned())).await;
            }
            answered
        })
    })
}

/// Whether a request of this name changes anything. Pieces of an upload do only when it is started.
fn changes(name: &str) -> bool {
    !name.starts_with("List")
        && !name.starts_with("Show")
        && !matches!(name, "Audit" | "Logs" | "PutRegistrationInput" | "Usage")
}

/// What a request is called: `CreateUser`.
fn name_of(body: &Bytes) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let words = body.get("request").and_then(serde_json::Value::as_str).unwrap_or("unknown").split('_');
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    words.map(capital).collect()
}

/// Reads the journal beside the event loops.
async fn records(journal: &Journal, filter: Filter) -> Result<Vec<Line>> {
    let dir = journal.dir().to_owned();
    let records = tokio::task::spawn_blocking(move || fleethaven_audit::read(&dir, &filter)).await?;
    Ok(audit::told(records.context("the journal cannot be read")?))
}

async fn entries(dir: PathBuf, filter: Box<fleethaven_logging::Filter>) -> Result<Vec<Line>> {
    let found = tokio::task::spawn_blocking(move || fleethaven_logging::read(&dir, &filter)).await?;
    Ok(logs::told(found.context("the log entries cannot be read")?))
}
