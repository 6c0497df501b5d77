//! `fleethaven dead-letter`: messages that no rules worker could finish: what became of them is an operator's decision.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_storage::{DeadLetter, Error, RuleEntryId, RuleQueue};
use fleethaven_types::AccountId;
use serde::Serialize;

use crate::ask::operate;
use crate::cli::{DeadLetterCommand, EncryptionArgs, PlaceArgs, RunningArgs};
use crate::operators::{Line, Request};

/// Most dead letters that one answer tells, or that are dealt with at once.
const MOST: usize = 1000;

/// A dead letter. Keys are only ever added: programs depend on them.
#[derive(Serialize)]
pub(crate) struct DeadLetterLine {
    id: u64,
    account_id: String,
    /// Milliseconds since 1970.
    at: u64,
    topic: String,
    rules: Vec<String>,
    reason: String,
    /// How often it was given out.
    deliveries: u32,
    payload_base64: String,
}

/// Carries out the command.
pub(crate) async fn run(command: DeadLetterCommand) -> Result<()> {
    let (place, request) = match command {
        DeadLetterCommand::List(list) => {
            (list.running, Request::ListDeadLetters { account: list.account, limit: list.limit })
        }
        DeadLetterCommand::Redrive(some) => (some.running, Request::RedriveDeadLetters { ids: some.ids }),
        DeadLetterCommand::Delete(some) => (some.running, Request::DeleteDeadLetters { ids: some.ids }),
    };
    operate(&at(place), request).await
}

fn at(running: RunningArgs) -> PlaceArgs {
    let RunningArgs { data_dir, admin, json } = running;
    PlaceArgs {
        data_dir,
        admin,
        metastore: Vec::new(),
        cluster_tls: None,
        encryption: EncryptionArgs::default(),
        json,
    }
}

/// Answers a request that is about dead letters; gives any other back.
pub(crate) async fn answer(
    rules: Arc<dyn RuleQueue>,
    request: Request,
) -> Result<Result<Vec<Line>>, Request> {
    Ok(match request {
        Request::ListDeadLetters { account, limit } => list(rules, account, limit.min(MOST)).await,
        Request::RedriveDeadLetters { ids } => each(rules, ids, |rules, id| rules.redrive(id)).await,
        Request::DeleteDeadLetters { ids } => each(rules, ids, |rules, id| rules.discard(id)).await,
        other => return Err(other),
    })
}

/// The store is waited for on a thread of its own.
async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T> {
    let answered = tokio::task::spawn_blocking(ask).await.context("the store was not asked")?;
    answered.context("the store does not answer")
}

async fn list(rules: Arc<dyn RuleQueue>, account: Option<AccountId>, limit: usize) -> Result<Vec<Line>> {
    let letters = blocking(move || rules.dead_letters(account, limit)).await?;
    Ok(letters.into_iter().map(line).collect())
}

fn line(letter: DeadLetter) -> Line {
    let message = letter.message;
    Line::DeadLetter(DeadLetterLine {
        id: letter.id.0,
        account_id: message.publisher.scope.account.to_string(),
        at: letter.at.as_millis(),
        topic: message.topic.to_string(),
        rules: letter.rules.iter().map(|rule| rule.name.to_string()).collect(),
        reason: letter.reason,
        deliveries: letter.deliveries,
        payload_base64: STANDARD.encode(&message.payload),
    })
}

/// Does something with each dead letter; those that are not there are named when all others are done.
async fn each(
    rules: Arc<dyn RuleQueue>,
    ids: Vec<u64>,
    act: impl Fn(&dyn RuleQueue, RuleEntryId) -> Result<bool, Error> + Send + 'static,
) -> Result<Vec<Line>> {
    if ids.len() > MOST {
        bail!("{} dead letters: {MOST} at a time", ids.len());
    }
    let absent = blocking(move || {
        let mut absent = Vec::new();
        for id in ids {
            if !act(&*rules, RuleEntryId(id))? {
                absent.push(id.to_string());
            }
        }
        Ok(absent)
    });
    match absent.await?.as_slice() {
        [] => Ok(Vec::new()),
        absent => bail!("there is no dead letter {}", absent.join(", ")),
    }
}
