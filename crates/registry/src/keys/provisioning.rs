//! Provisioning: templates, tokens, devices that register themselves, bulk registration.

use bytes::Bytes;
use fleethaven_types::{Scope, Timestamp};

use super::{Order, below, global, parse, scoped};

pub(crate) fn provisioning_template_version(scope: Scope, template: &str, version: u64) -> Bytes {
    scoped(scope, "provisioning-template-version", &[template, &format!("{version:016x}")])
}

pub(crate) fn versions_of_provisioning_template(scope: Scope, template: &str) -> Bytes {
    below(scope, "provisioning-template-version", &[template])
}

pub(crate) fn ownership_token(scope: Scope, token_sha256: &str) -> Bytes {
    scoped(scope, "ownership-token", &[token_sha256])
}

/// A CA certificate with whose certificates devices may register themselves, by its subject.
pub(crate) fn auto_registration(scope: Scope, subject_hash: &str, id: &str) -> Bytes {
    let Scope { account, region } = scope;
    global("auto-registration", &[subject_hash, &account.to_string(), region.as_str(), id])
}

pub(crate) fn auto_registrations(subject_hash: &str) -> Bytes {
    global("auto-registration", &[subject_hash, ""])
}

/// Scope and id that [`auto_registration`] made this key of.
pub(crate) fn parse_auto_registration(key: &[u8]) -> Option<(Scope, String)> {
    let parts = parse(key)?.parts;
    let [_, account, region, id] = parts.as_slice() else { return None };
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((scope, (*id).to_owned()))
}

/// When an ownership token (`token`, by its hash) or a claim (`claim`, by its certificate) is over.
pub(crate) fn enrolment_end(at: Timestamp, scope: Scope, kind: &str, id: &str) -> Bytes {
    let Scope { account, region } = scope;
    let parts = [&Order::Oldest.part(at), &account.to_string(), region.as_str(), kind, id];
    global("enrolment-end", &parts)
}

pub(crate) fn enrolment_ends() -> Bytes {
    global("enrolment-end", &[])
}

/// What [`enrolment_end`] made this key of.
pub(crate) fn parse_enrolment_end(key: &[u8]) -> Option<(Timestamp, Scope, String, String)> {
    let parts = parse(key)?.parts;
    let [at, account, region, kind, id] = parts.as_slice() else { return None };
    let at = Timestamp(u64::from_str_radix(at, 16).ok()?);
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((at, scope, (*kind).to_owned(), (*id).to_owned()))
}

/// The bulk registration task that has not ended.
pub(crate) fn running_registration_task(scope: Scope) -> Bytes {
    scoped(scope, "running-registration-task", &[])
}

/// A piece of the input of a bulk registration task that was uploaded.
pub(crate) fn registration_input(scope: Scope, task: &str, piece: u64) -> Bytes {
    scoped(scope, "registration-input", &[task, &format!("{piece:016x}")])
}

pub(crate) fn registration_inputs(scope: Scope, task: &str) -> Bytes {
    below(scope, "registration-input", &[task])
}

/// A part of a report of a bulk registration task.
pub(crate) fn registration_report(scope: Scope, task: &str, report: &str, part: u64) -> Bytes {
    scoped(scope, "registration-report", &[task, report, &format!("{part:016x}")])
}

pub(crate) fn registration_reports(scope: Scope, task: &str) -> Bytes {
    below(scope, "registration-report", &[task])
}

/// A bulk registration task that something is to be done about from `at` on.
pub(crate) fn due_registration_task(at: Timestamp, scope: Scope, task: &str) -> Bytes {
    let Scope { account, region } = scope;
    let parts = [&Order::Oldest.part(at), &account.to_string(), region.as_str(), task];
    global("due-registration-task", &parts)
}

pub(crate) fn due_registration_tasks() -> Bytes {
    global("due-registration-task", &[])
}

/// What [`due_registration_task`] made this key of.
pub(crate) fn parse_due_registration_task(key: &[u8]) -> Option<(Timestamp, Scope, String)> {
    let parts = parse(key)?.parts;
    let [at, account, region, task] = parts.as_slice() else { return None };
    let at = Timestamp(u64::from_str_radix(at, 16).ok()?);
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    Some((at, scope, (*task).to_owned()))
}
