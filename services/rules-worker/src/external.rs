//! Functions of the SQL that ask others (rules-sql.md section 8.6), through one asynchronous seam with a deadline.
//!
//! Evaluation is synchronous and pure: it defers a call that has no answer yet. The call is made, its answer kept, and the
//! statement or the action's templates evaluated again. They make the same calls then, as random bytes are drawn once.

mod lambda;
mod objects;
mod registry;
mod replay;

use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::{External, ExternalError, Value};
use fleethaven_types::Scope;
use parking_lot::Mutex;
use uuid::Uuid;

pub use objects::Objects;
pub use registry::SqlFunctions;
pub(crate) use replay::Replay;

/// How long a call may take (AWS: the one of Lambda).
const DEADLINE: Duration = Duration::from_secs(2);
/// Most calls for one statement or the templates of one action: more than a statement can have makes no progress.
const MAX_CALLS: usize = 24;

/// A call that an evaluation waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function, in lower case.
    pub function: String,
    /// Its evaluated arguments.
    pub arguments: Vec<Value>,
}

/// Which rule asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    /// Its account and region.
    pub scope: Scope,
    /// Its name.
    pub rule: &'a str,
    /// The trace of the message that it asks for.
    pub trace_id: Option<Uuid>,
}

/// Who answers.
pub trait Functions: Send + Sync {
    /// Makes the call for a rule. The error, for people, ends the rule for the message.
    fn answer<'a>(&'a self, asker: Asker<'a>, call: &'a Call) -> BoxFuture<'a, Result<Value, String>>;
}

/// What has been answered for one message and one statement or action, and the call that was deferred last.
#[derive(Default)]
pub struct Answers(Mutex<State>);

#[derive(Default)]
struct State {
    known: Vec<(Call, Result<Value, String>)>,
    deferred: Option<Call>,
}

impl Answers {
    /// The seam of an evaluation.
    pub fn external(&self) -> impl External + '_ {
        Seam(self)
    }

    /// Makes the call that the last evaluation deferred; `None` if it deferred none, else whether the answer is one. An
    /// evaluation that goes on deferring is stopped by an error.
    pub async fn settle(&self, functions: &dyn Functions, asker: Asker<'_>) -> Option<Settled> {
        let call = self.0.lock().deferred.take()?;
        if self.0.lock().known.len() >= MAX_CALLS {
            return None;
        }
        let answer = tokio::time::timeout(DEADLINE, functions.answer(asker, &call)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(format!("no answer within {} seconds", DEADLINE.as_secs())));
        let settled = Settled { function: call.function.clone(), failure: answer.as_ref().err().cloned() };
        self.0.lock().known.push((call, answer));
        Some(settled)
    }
}

/// Shorter texts are no secrets, and are in everything.
const SHORTEST_SECRET: usize = 4;
/// What stands where a secret was.
const HIDDEN: &str = "***";

impl Answers {
    /// The text without secrets that `get_secret` has answered.
    pub(crate) fn hide(&self, text: String) -> String {
        let state = self.0.lock();
        let answered = state.known.iter().filter(|(call, _)| call.function == "get_secret");
        let mut secrets = Vec::new();
        answered.filter_map(|(_, answer)| answer.as_ref().ok()).for_each(|value| texts(value, &mut secrets));
        secrets.iter().fold(text, |text, secret| text.replace(secret, HIDDEN))
    }
}

/// What a secret is as text, and each text and number in it.
fn texts(secret: &Value, found: &mut Vec<String>) {
    let whole = secret.to_text(true).ok().flatten();
    found.extend(whole.filter(|text| text.len() >= SHORTEST_SECRET).map(|text| text.to_string()));
    match secret {
        Value::Object(members) => members.iter().for_each(|(_, member)| texts(member, found)),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        _ => {}
    }
}

/// A call that was made.
pub struct Settled {
    /// The function.
    pub function: String,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

struct Seam<'a>(&'a Answers);

impl External for Seam<'_> {
    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Value, ExternalError> {
        let mut state = self.0.0.lock();
        let same = |(call, _): &&(Call, _)| call.function == name && call.arguments == arguments;
        if let Some((_, answer)) = state.known.iter().find(same) {
            return answer.clone().map_err(ExternalError::Failed);
        }
        state.deferred = Some(Call { function: name.to_owned(), arguments: arguments.to_vec() });
        Err(ExternalError::Deferred)
    }
}

#[cfg(test)]
mod tests;
