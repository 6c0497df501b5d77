//! Bulk registration (provisioning.md section 7.5): tasks that register things by a template and a file with a line for each.
//!
//! Who reads the file is a process elsewhere, one at a time for a task: it [claims](claim) it for a while, and claims it anew with
//! every step. A step carries out some lines and moves the task on, in one command: whatever dies in between, no line is done twice
//! and none is left out.

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use hmac::{Hmac, Mac};
use prost::Message;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::keys;
use crate::page::{self, Listing};
use crate::provisioning;
use crate::query::QueryReply;
use crate::record::{self, RegistrationReportPart, RegistrationTask, ReportedLine};
use crate::shapes::{
    AdvanceRegistrationTask, ClaimRegistrationTask, DueRegistrationTask, FailRegistrationTask, Listed,
    PageRequest, RegistrationLine, RegistrationTaskDescription, RegistrationTaskStatus, RegistrationWork,
    ReportLink, ReportType, StartThingRegistrationTask, WantedLine,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::template::{Purpose, Template};
use crate::transaction::Transaction;
use crate::view::Effects;

pub(crate) mod upload;

pub use upload::{UPLOAD_PIECE, UPLOAD_PIECES};

/// How long a claim is good, in milliseconds.
pub const CLAIMED_MILLIS: u64 = 20_000;
/// Most lines of a step.
pub const STEP_LINES: usize = 32;
/// How long a task may take, and how long what it has reported is kept, in milliseconds (30 days).
const LIFETIME_MILLIS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Parts of a report in one of its pieces.
const PIECE_PARTS: u64 = 32;
/// How long a link is good, in seconds.
const LINK_SECS: u64 = 3600;
/// Keys that one command forgets.
const FORGOTTEN_AT_ONCE: usize = 500;
/// Tasks that are told at a time.
const DUE: usize = 100;

/// StartThingRegistrationTask: one at a time in a scope.
pub(crate) fn start(store: &Store<'_>, context: &Context, args: &StartThingRegistrationTask) -> Outcome {
    let invalid = |error: crate::template::Error| Error::invalid(error.to_string());
    Template::parse(&args.template_body, Purpose::Registration).map_err(invalid)?;
    syntax::bucket(&args.input_file_bucket)?;
    syntax::object_key(&args.input_file_key)?;
    if !(20..=2048).contains(&args.role_arn.len()) {
        return Err(Error::invalid("roleArn must be 20 to 2048 characters"));
    }
    let id = ids::uuid(&context.random);
    let task = RegistrationTask {
        template_body: args.template_body.clone(),
        bucket: args.input_file_bucket.clone(),
        key: args.input_file_key.clone(),
        role_arn: args.role_arn.clone(),
        ..new_task(context)
    };
    let mut effects = Effects::default();
    put_new(store, context, (&id, &task), &mut effects)?;
    Ok((Reply::RegistrationTask(id), effects))
}

/// A task that begins now.
fn new_task(context: &Context) -> RegistrationTask {
    let now = context.now.as_millis();
    let mut mac = mac(&context.random);
    mac.update(b"report links");
    RegistrationTask {
        created_at: now,
        modified_at: now,
        secret: mac.finalize().into_bytes().to_vec(),
        ..RegistrationTask::default()
    }
}

/// Keeps a task that begins now, unless another one is running.
fn put_new(
    store: &Store<'_>,
    context: &Context,
    (id, task): (&str, &RegistrationTask),
    effects: &mut Effects,
) -> Result<(), Error> {
    let running = keys::running_registration_task(store.scope);
    if store.exists(&running) {
        return Err(Error::invalid("a thing registration task is running: only one may at a time"));
    }
    effects.put(running, id.to_owned().into_bytes());
    effects.put(keys::due_registration_task(context.now, store.scope, id), Vec::new());
    effects.put(keys::registration_task(store.scope, id), task.encode_to_vec());
    Ok(())
}

/// StopThingRegistrationTask: whoever works on it is told at its next step.
pub(crate) fn stop(store: &Store<'_>, context: &Context, id: &str) -> Outcome {
    let mut task = required(store, id)?;
    if task.status() != RegistrationTaskStatus::InProgress {
        return Err(Error::invalid(format!("thing registration task '{id}' is not in progress")));
    }
    task.set_status(RegistrationTaskStatus::Cancelling);
    task.modified_at = context.now.as_millis();
    let mut effects = Effects::default();
    effects.put(keys::registration_task(store.scope, id), task.encode_to_vec());
    done(effects)
}

/// ClaimRegistrationTask: nothing where somebody else works on it, or nothing is left to do.
pub(crate) fn claim(store: &Store<'_>, context: &Context, args: &ClaimRegistrationTask) -> Outcome {
    let Some(mut task) = found(store, &args.task_id)? else {
        return Ok((Reply::RegistrationWork(None), Effects::default()));
    };
    let now = context.now.as_millis();
    let taken = task.owner != args.owner && task.owned_until > now;
    let mut effects = Effects::default();
    match task.status() {
        _ if taken => {}
        RegistrationTaskStatus::Cancelling => {
            end(store, context, (&args.task_id, &mut task), RegistrationTaskStatus::Cancelled, &mut effects);
        }
        RegistrationTaskStatus::InProgress if now > task.created_at.saturating_add(LIFETIME_MILLIS) => {
            task.message = Some("it has not ended within 30 days".to_owned());
            end(store, context, (&args.task_id, &mut task), RegistrationTaskStatus::Failed, &mut effects);
        }
        RegistrationTaskStatus::InProgress => {
            own(&mut task, &args.owner, now);
            effects.put(keys::registration_task(store.scope, &args.task_id), task.encode_to_vec());
            let work = RegistrationWork {
                started_with: started_with(&task),
                uploaded: upload::is_uploaded(&task),
                input: (task.size > 0).then(|| (task.size, task.version.clone())),
                offset: task.offset,
            };
            return Ok((Reply::RegistrationWork(Some(Box::new(work))), effects));
        }
        _ => {}
    }
    Ok((Reply::RegistrationWork(None), effects))
}

/// AdvanceRegistrationTask: nothing of it where the task is somewhere else, or not its owner's.
pub(crate) fn advance(store: &Store<'_>, context: &Context, args: &AdvanceRegistrationTask) -> Outcome {
    let id = &args.task_id;
    let Some(task) = found(store, id)? else {
        return Ok((Reply::RegistrationWork(None), Effects::default()));
    };
    let ours = task.owner == args.owner && task.offset == args.from;
    if !ours || task.status() != RegistrationTaskStatus::InProgress {
        // What is to stop ends here; whoever has lost it learns so.
        let again = ClaimRegistrationTask { task_id: id.clone(), owner: args.owner.clone() };
        return claim(store, context, &again);
    }
    let mut transaction = Transaction::new(store, context);
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (line, number) in args.lines.iter().zip(task.lines.saturating_add(1)..) {
        match carry_out(&mut transaction, line, number) {
            Some(reported) if reported.code.is_empty() => results.push(reported),
            Some(reported) => errors.push(reported),
            None => {}
        }
    }
    let mut effects = transaction.into_effects();
    let mut task = task;
    task.lines = task.lines.saturating_add(args.lines.len() as u64);
    task.succeeded = task.succeeded.saturating_add(results.len() as u64);
    task.failed = task.failed.saturating_add(errors.len() as u64);
    (task.size, task.version) = args.input.clone();
    task.offset = args.to;
    for (kind, lines) in [(ReportType::Results, results), (ReportType::Errors, errors)] {
        if !lines.is_empty() {
            let parts = parts(&mut task, kind);
            effects.put(
                keys::registration_report(store.scope, id, report(kind), *parts),
                RegistrationReportPart { lines }.encode_to_vec(),
            );
            *parts = parts.saturating_add(1);
        }
    }
    own(&mut task, &args.owner, context.now.as_millis());
    if task.offset >= task.size {
        end(store, context, (id, &mut task), RegistrationTaskStatus::Completed, &mut effects);
        return Ok((Reply::RegistrationWork(None), effects));
    }
    effects.put(keys::registration_task(store.scope, id), task.encode_to_vec());
    let work = RegistrationWork {
        started_with: started_with(&task),
        uploaded: upload::is_uploaded(&task),
        input: Some(args.input.clone()),
        offset: task.offset,
    };
    Ok((Reply::RegistrationWork(Some(Box::new(work))), effects))
}

/// Does what a line wants, or nothing of it; what is reported.
fn carry_out(
    transaction: &mut Transaction<'_>,
    line: &RegistrationLine,
    number: u64,
) -> Option<ReportedLine> {
    let offset = line.offset;
    let refused = |code: String, message: String| ReportedLine {
        number,
        offset,
        code,
        message,
        ..ReportedLine::default()
    };
    match &line.wanted {
        WantedLine::Nothing => None,
        WantedLine::Refused(code, message) => Some(refused(code.clone(), message.clone())),
        WantedLine::Provision(provision) => {
            match transaction.attempt(|transaction| provisioning::carry_out(transaction, provision)) {
                Ok(provisioned) => Some(ReportedLine {
                    number,
                    offset,
                    resource_arns: provisioned.resource_arns,
                    ..ReportedLine::default()
                }),
                Err(error) => Some(refused(error.code.to_string(), error.message)),
            }
        }
    }
}

/// FailRegistrationTask.
pub(crate) fn fail(store: &Store<'_>, context: &Context, args: &FailRegistrationTask) -> Outcome {
    let Some(mut task) = found(store, &args.task_id)? else { return done(Effects::default()) };
    let mut effects = Effects::default();
    if task.owner == args.owner && task.status() == RegistrationTaskStatus::InProgress {
        task.message = Some(args.message.chars().take(2048).collect());
        end(store, context, (&args.task_id, &mut task), RegistrationTaskStatus::Failed, &mut effects);
    }
    done(effects)
}

/// ForgetRegistrationTask: of one that ended long ago, piece by piece; whether there is more.
pub(crate) fn forget(store: &Store<'_>, context: &Context, id: &str) -> Outcome {
    let mut effects = Effects::default();
    let Some(task) = found(store, id)? else { return upload::forget(store, context, id) };
    let due = Timestamp(task.modified_at.saturating_add(LIFETIME_MILLIS));
    if is_open(&task) || due > context.now {
        return Ok((Reply::Ended(0), effects));
    }
    let reports = keys::registration_reports(store.scope, id);
    let found = store.view.scan(&reports, None, FORGOTTEN_AT_ONCE);
    let count = found.len();
    found.into_iter().for_each(|(key, _)| effects.delete(key));
    if count < FORGOTTEN_AT_ONCE {
        effects.delete(keys::registration_task(store.scope, id));
        effects.delete(keys::due_registration_task(due, store.scope, id));
    }
    Ok((Reply::Ended(count), effects))
}

fn is_open(task: &RegistrationTask) -> bool {
    matches!(task.status(), RegistrationTaskStatus::InProgress | RegistrationTaskStatus::Cancelling)
}

fn own(task: &mut RegistrationTask, owner: &str, now: u64) {
    owner.clone_into(&mut task.owner);
    task.owned_until = now.saturating_add(CLAIMED_MILLIS);
    task.modified_at = now;
}

/// The task has ended, and is to be forgotten in time.
fn end(
    store: &Store<'_>,
    context: &Context,
    (id, task): (&str, &mut RegistrationTask),
    status: RegistrationTaskStatus,
    effects: &mut Effects,
) {
    let now = context.now.as_millis();
    task.set_status(status);
    (task.modified_at, task.owned_until) = (now, 0);
    effects.put(keys::registration_task(store.scope, id), task.encode_to_vec());
    upload::drop_input(store, id, task, effects);
    effects.delete(keys::running_registration_task(store.scope));
    effects.delete(keys::due_registration_task(Timestamp(task.created_at), store.scope, id));
    let forgotten = Timestamp(now.saturating_add(LIFETIME_MILLIS));
    effects.put(keys::due_registration_task(forgotten, store.scope, id), Vec::new());
}

fn report(kind: ReportType) -> &'static str {
    match kind {
        ReportType::Errors => "errors",
        ReportType::Results => "results",
    }
}

fn parts(task: &mut RegistrationTask, kind: ReportType) -> &mut u64 {
    match kind {
        ReportType::Errors => &mut task.error_parts,
        ReportType::Results => &mut task.result_parts,
    }
}

fn found(store: &Store<'_>, id: &str) -> Result<Option<RegistrationTask>, Error> {
    store.record(&keys::registration_task(store.scope, id))
}

fn required(store: &Store<'_>, id: &str) -> Result<RegistrationTask, Error> {
    syntax::task_id(id)?;
    found(store, id)?.ok_or_else(|| Error::not_found("Thing registration task", id))
}

fn started_with(task: &RegistrationTask) -> StartThingRegistrationTask {
    StartThingRegistrationTask {
        template_body: task.template_body.clone(),
        input_file_bucket: task.bucket.clone(),
        input_file_key: task.key.clone(),
        role_arn: task.role_arn.clone(),
    }
}

/// DescribeThingRegistrationTask.
pub(crate) fn describe(store: &Store<'_>, id: &str) -> Result<QueryReply, Error> {
    let task = required(store, id)?;
    let percentage = task.offset.saturating_mul(100).checked_div(task.size).unwrap_or_default();
    let is_complete = task.status() == RegistrationTaskStatus::Completed;
    Ok(QueryReply::RegistrationTask(Box::new(RegistrationTaskDescription {
        task_id: id.to_owned(),
        started_with: started_with(&task),
        created_at: Timestamp(task.created_at),
        modified_at: Timestamp(task.modified_at),
        status: task.status(),
        success_count: task.succeeded,
        failure_count: task.failed,
        percentage_progress: if is_complete { 100 } else { u8::try_from(percentage).unwrap_or(100).min(100) },
        message: task.message,
    })))
}

/// ListThingRegistrationTasks: ids.
pub(crate) fn list(
    store: &Store<'_>,
    status: Option<RegistrationTaskStatus>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let prefix = keys::registration_tasks_prefix(store.scope);
    let wanted = status.map_or_else(String::new, |status| i32::from(status).to_string());
    let filters = [wanted.as_str()];
    let listing = Listing::new("ListThingRegistrationTasks", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let task: RegistrationTask = record::decode(value)?;
        if status.is_none_or(|status| task.status() == status) {
            items.extend(keys::last_part(key).map(str::to_owned));
        }
    }
    Ok(QueryReply::Names(Listed { items, next }))
}

/// What is to be done about tasks, of all scopes, at `now`.
pub(crate) fn due(store: &Store<'_>, now: Timestamp) -> Result<QueryReply, Error> {
    let mut tasks = Vec::new();
    for (key, _) in store.view.scan(&keys::due_registration_tasks(), None, DUE) {
        let Some((at, scope, task_id)) = keys::parse_due_registration_task(&key) else { continue };
        if at > now {
            break;
        }
        let store = Store { view: store.view, scope };
        let expired = found(&store, &task_id)?.is_none_or(|task| !is_open(&task));
        tasks.push(DueRegistrationTask { scope, task_id, expired });
    }
    Ok(QueryReply::DueRegistrationTasks(tasks))
}

/// ListThingRegistrationTaskReports: links that are good for an hour.
pub(crate) fn reports(
    store: &Store<'_>,
    (id, kind): (&str, ReportType),
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let mut task = required(store, id)?;
    let pieces = parts(&mut task, kind).div_ceil(PIECE_PARTS);
    let first = match page.token.as_deref() {
        None => 0,
        Some(token) => {
            token.parse::<u64>().map_err(|_| Error::invalid("'nextToken' is not one of this listing"))?
        }
    };
    let limit = page.limit.unwrap_or(250);
    if !(1..=250).contains(&limit) {
        return Err(Error::invalid("'maxResults' must be from 1 to 250"));
    }
    let end = first.saturating_add(limit.into()).min(pieces);
    let expires = now.as_secs().saturating_add(LINK_SECS);
    let link = |piece| ReportLink {
        task_id: id.to_owned(),
        report_type: kind,
        piece,
        expires,
        signature: hex::encode(
            signed(store, &task.secret, (id, kind, piece), expires).finalize().into_bytes(),
        ),
    };
    let items = (first..end).map(link).collect();
    Ok(QueryReply::RegistrationReports(Listed { items, next: (end < pieces).then(|| end.to_string()) }))
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    // Any length will do for an HMAC key, so this cannot fail.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

/// What signs a link.
fn signed(
    store: &Store<'_>,
    secret: &[u8],
    (id, kind, piece): (&str, ReportType, u64),
    expires: u64,
) -> Hmac<Sha256> {
    let mut mac = mac(secret);
    let (scope, kind) = (store.scope, report(kind));
    mac.update(format!("{}/{}/{id}/{kind}/{piece}/{expires}", scope.account, scope.region).as_bytes());
    mac
}

/// A piece of a report, a line of JSON for each line of the input; `None` unless the link is good.
pub(crate) fn piece(store: &Store<'_>, link: &ReportLink, now: Timestamp) -> Result<QueryReply, Error> {
    let nothing = Ok(QueryReply::RegistrationReport(None));
    let Some(task) = found(store, &link.task_id)? else { return nothing };
    let signature = hex::decode(&link.signature).unwrap_or_default();
    let about = (link.task_id.as_str(), link.report_type, link.piece);
    let good = signed(store, &task.secret, about, link.expires).verify_slice(&signature).is_ok();
    if !good || link.expires < now.as_secs() {
        return nothing;
    }
    let first = link.piece.saturating_mul(PIECE_PARTS);
    let mut text = String::new();
    for part in first..first.saturating_add(PIECE_PARTS) {
        let key = keys::registration_report(store.scope, &link.task_id, report(link.report_type), part);
        let Some(part) = store.record::<RegistrationReportPart>(&key)? else { break };
        for line in &part.lines {
            text += &told(store, line)?.to_string();
            text.push('\n');
        }
    }
    Ok(QueryReply::RegistrationReport(Some(text)))
}

/// A line as it is reported: what RegisterThing would have answered, or refused.
fn told(store: &Store<'_>, line: &ReportedLine) -> Result<Value, Error> {
    let response = if line.code.is_empty() {
        let mut response = BTreeMap::from([("resourceArns", json!(line.resource_arns))]);
        if let Some(pem) = certificate_pem(store, line)? {
            response.insert("certificatePem", pem.into());
        }
        json!(response)
    } else {
        json!({"errorCode": line.code, "errorMessage": line.message})
    };
    Ok(json!({"lineNumber": line.number, "offset": line.offset, "response": response}))
}

/// The certificate among what was made, as long as it is there.
fn certificate_pem(store: &Store<'_>, line: &ReportedLine) -> Result<Option<String>, Error> {
    let id = line.resource_arns.values().find_map(|arn| arn.rsplit_once(":cert/").map(|(_, id)| id));
    let Some(id) = id else { return Ok(None) };
    let certificate = store.record::<record::Certificate>(&keys::certificate(store.scope, id))?;
    Ok(certificate.map(|certificate| certificate.certificate_pem))
}

/// A line that is no object of strings, or too long.
pub fn malformed(message: &str) -> WantedLine {
    WantedLine::Refused(ErrorCode::InvalidRequestException.to_string(), message.to_owned())
}

#[cfg(test)]
mod tests;
