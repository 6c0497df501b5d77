//! Working on bulk registration tasks (provisioning.md section 7.5). A process that serves the API takes tasks as it has room, reads
//! their files a piece at a time, and has each step carried out together with the task's progress: one that dies is gone on from by
//! another, where it was.

mod lines;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_daemon::clock;
use fleethaven_fabric::metadata::{BoxFuture, Error as CallError};
use fleethaven_registry::shapes::{
    AdvanceRegistrationTask, ClaimRegistrationTask, DueRegistrationTask, FailRegistrationTask,
    RegistrationLine, RegistrationWork, WantedLine,
};
use fleethaven_registry::template::{Purpose, Template};
use fleethaven_registry::thing_registration_tasks::{UPLOAD_PIECE, malformed};
use fleethaven_registry::{Action, Command, ErrorCode, IdempotencyKey, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::Scope;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use self::lines::{Line, Lines};
use crate::api::State;
use crate::call::Place;
use crate::control::registration;
use crate::error::Error;

/// How often it is asked whether something is to be done.
const INTERVAL: Duration = Duration::from_secs(1);
/// Tasks that a process works on at a time.
const TASKS: usize = 4;
/// Lines of a task that are prepared at a time: certificates are issued for them.
const PREPARED: usize = 4;
/// Pauses before a store that does not answer is asked again.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8)];

/// Where the input of a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Whose task it is.
    pub scope: Scope,
    /// With what rights it is read.
    pub role_arn: String,
    /// The bucket.
    pub bucket: String,
    /// Its name there.
    pub key: String,
}

/// Why an input cannot be read; for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketError {
    /// Why.
    pub reason: String,
    /// Whether it may work later.
    pub transient: bool,
}

/// The stores that inputs are read from.
pub trait Buckets: Send + Sync + 'static {
    /// How many bytes a file has, and which version of it that is.
    fn look<'a>(&'a self, file: &'a InputFile) -> BoxFuture<'a, Result<(u64, String), BucketError>>;

    /// Some bytes of a version of a file: no fewer than asked for.
    fn read<'a>(
        &'a self,
        file: &'a InputFile,
        version: &'a str,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<Bytes, BucketError>>;
}

/// What the tasks of a process share.
struct Worker {
    state: Arc<State>,
    buckets: Arc<dyn Buckets>,
    /// Who this process is.
    owner: String,
    places: Arc<Semaphore>,
    /// What is under way here.
    taken: Mutex<HashSet<(Scope, String)>>,
}

pub(crate) async fn run(state: Arc<State>, buckets: Arc<dyn Buckets>) {
    let worker = Arc::new(Worker {
        state,
        buckets,
        owner: Uuid::new_v4().to_string(),
        places: Arc::new(Semaphore::new(TASKS)),
        taken: Mutex::default(),
    });
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let query = Query::new(worker.state.config.default_scope, QueryKind::DueRegistrationTasks);
        match worker.state.metadata.query(query).await {
            Ok(QueryReply::DueRegistrationTasks(due)) => due.into_iter().for_each(|task| worker.take(task)),
            Ok(_) => tracing::error!("the metadata store gave an answer of another kind"),
            // The metadata store may be electing a leader.
            Err(error) => tracing::debug!(%error, "bulk registration tasks cannot be asked for"),
        }
    }
}

impl Worker {
    /// Begins with a task, where there is room and it is not under way.
    fn take(self: &Arc<Self>, due: DueRegistrationTask) {
        let key = (due.scope, due.task_id.clone());
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        if !self.taken.lock().insert(key.clone()) {
            return;
        }
        let worker = self.clone();
        tokio::spawn(async move {
            let task = Task { worker: &worker, scope: due.scope, id: &due.task_id };
            let done = if due.expired { task.forget().await } else { task.work().await };
            if let Err(error) = done {
                // It is due again, here or elsewhere.
                tracing::warn!(account = %due.scope.account, task_id = due.task_id, %error, "a bulk registration task waits");
            }
            worker.taken.lock().remove(&key);
            drop(place);
        });
    }
}

/// A task that this process works on.
struct Task<'a> {
    worker: &'a Worker,
    scope: Scope,
    id: &'a str,
}

/// Why a task is not gone on with.
enum Stop {
    /// It can be gone on with later.
    Later(Error),
    /// Never.
    Never(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Later(error)
    }
}

impl Task<'_> {
    /// Takes the task, and works on it until it has ended or is another's.
    async fn work(&self) -> Result<(), Error> {
        let Some(work) = self.claim().await? else { return Ok(()) };
        match self.go_on(work).await {
            Ok(()) => Ok(()),
            Err(Stop::Later(error)) => Err(error),
            Err(Stop::Never(message)) => {
                tracing::warn!(account = %self.scope.account, task_id = self.id, message, "a bulk registration task failed");
                let (task_id, owner) = (self.id.to_owned(), self.worker.owner.clone());
                let action = FailRegistrationTask { task_id, owner, message };
                self.execute(Action::FailRegistrationTask(Box::new(action)), None).await.map(drop)
            }
        }
    }

    async fn go_on(&self, work: RegistrationWork) -> Result<(), Stop> {
        let RegistrationWork { started_with, uploaded, input, offset } = work;
        let template = Template::parse(&started_with.template_body, Purpose::Registration);
        let template = template.map_err(|error| Stop::Never(error.to_string()))?;
        let file = InputFile {
            scope: self.scope,
            role_arn: started_with.role_arn,
            bucket: started_with.input_file_bucket,
            key: started_with.input_file_key,
        };
        let input = match input {
            Some(input) => input,
            None => self.patiently(|| self.worker.buckets.look(&file)).await?,
        };
        let mut lines = Lines::new(input.0, offset);
        loop {
            let from = lines.offset();
            let step = loop {
                match lines.step() {
                    Ok(step) => break step,
                    Err(missing) if uploaded => lines.add(&self.uploaded(missing.start).await?),
                    Err(missing) => {
                        let read = || self.worker.buckets.read(&file, &input.1, missing.clone());
                        lines.add(&self.patiently(read).await?);
                    }
                }
            };
            let prepared = stream::iter(step).map(|line| self.prepare(&template, line)).buffered(PREPARED);
            let prepared: Vec<Result<RegistrationLine, Error>> = prepared.collect().await;
            let advance = AdvanceRegistrationTask {
                task_id: self.id.to_owned(),
                owner: self.worker.owner.clone(),
                input: input.clone(),
                from,
                to: lines.offset(),
                lines: prepared.into_iter().collect::<Result<_, _>>()?,
            };
            match self.advance(advance).await? {
                Some(work) if work.offset == lines.offset() => {}
                // It has ended, or it is another's.
                _ => return Ok(()),
            }
        }
    }

    /// Some bytes of the input, from `start` on, where it was uploaded.
    async fn uploaded(&self, start: u64) -> Result<Bytes, Stop> {
        let size = UPLOAD_PIECE as u64;
        let (piece, skipped) = (start / size, usize::try_from(start % size).unwrap_or(usize::MAX));
        let place = Place { state: &self.worker.state, scope: self.scope, now: clock::now() };
        let query = QueryKind::RegistrationInput { task_id: self.id.to_owned(), piece };
        let QueryReply::RegistrationInput(found) = place.query(query).await? else {
            return Err(Error::unexpected_reply().into());
        };
        let found = found.and_then(|data| STANDARD.decode(data).ok()).map(Bytes::from);
        let rest = found.filter(|data| data.len() > skipped).map(|data| data.slice(skipped..));
        // What a task has is there until it ends, which may be right now, by another process.
        rest.ok_or_else(|| Stop::Later(Error::Unavailable("the input is not there any more".to_owned())))
    }

    /// What a line wants. What is wrong with it is its own failure; what this process cannot do now, nobody's.
    async fn prepare(&self, template: &Template, line: Line) -> Result<RegistrationLine, Error> {
        let wanted = match line.parameters {
            Ok(None) => WantedLine::Nothing,
            Err(message) => malformed(message),
            Ok(Some(parameters)) => self.wanted(template, &parameters).await?,
        };
        Ok(RegistrationLine { offset: line.offset, wanted })
    }

    async fn wanted(
        &self,
        template: &Template,
        parameters: &BTreeMap<String, String>,
    ) -> Result<WantedLine, Error> {
        let place = Place { state: &self.worker.state, scope: self.scope, now: clock::now() };
        match registration::provision(place, template, parameters).await {
            Ok(provision) => Ok(WantedLine::Provision(Box::new(provision))),
            Err(error @ (Error::Unavailable(_) | Error::Throttled)) => Err(error),
            Err(Error::Refused(error)) if error.code == ErrorCode::ServiceUnavailableException => {
                Err(Error::Refused(error))
            }
            Err(error) => Ok(WantedLine::Refused(error.code(None).to_owned(), error.to_string())),
        }
    }

    /// Asks a store again that does not answer, as long as the task is this process's.
    async fn patiently<'f, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'f, Result<T, BucketError>>,
    ) -> Result<T, Stop> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let BucketError { reason, transient } = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match pauses.next().filter(|_| transient) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(Stop::Never(reason)),
            }
            if self.claim().await?.is_none() {
                return Err(Stop::Later(Error::Unavailable("it is another process's".to_owned())));
            }
        }
    }

    async fn claim(&self) -> Result<Option<RegistrationWork>, Error> {
        let claim = ClaimRegistrationTask { task_id: self.id.to_owned(), owner: self.worker.owner.clone() };
        work_of(self.execute(Action::ClaimRegistrationTask(Box::new(claim)), None).await?)
    }

    /// One step; it is carried out once, however often it is asked for.
    async fn advance(&self, advance: AdvanceRegistrationTask) -> Result<Option<RegistrationWork>, Error> {
        let Scope { account, region } = self.scope;
        let (account, from) = (account.to_string(), advance.from.to_string());
        let key = IdempotencyKey::of(&[
            &account,
            region.as_str(),
            "registration-task",
            self.id,
            &self.worker.owner,
            &from,
        ]);
        work_of(self.execute(Action::AdvanceRegistrationTask(Box::new(advance)), Some(key)).await?)
    }

    async fn execute(&self, action: Action, key: Option<IdempotencyKey>) -> Result<Reply, Error> {
        let command = Command { key, ..Command::new(self.scope, action) };
        let metadata = &self.worker.state.metadata;
        match metadata.execute(command.clone()).await {
            Err(CallError::Unknown) if key.is_some() => Ok(metadata.execute(command).await?.reply),
            executed => Ok(executed?.reply),
        }
    }

    /// Forgets a task that ended long ago.
    async fn forget(&self) -> Result<(), Error> {
        loop {
            let action = Action::ForgetRegistrationTask(self.id.to_owned());
            match self.execute(action, None).await? {
                Reply::Ended(0) => return Ok(()),
                Reply::Ended(_) => {}
                _ => return Err(Error::unexpected_reply()),
            }
        }
    }
}

fn work_of(reply: Reply) -> Result<Option<RegistrationWork>, Error> {
    match reply {
        Reply::RegistrationWork(work) => Ok(work.map(|work| *work)),
        _ => Err(Error::unexpected_reply()),
    }
}

#[cfg(test)]
mod tests;
