//! Bulk registration tasks (provisioning.md section 7.5).

use fleethaven_types::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Provision, timestamp};

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, prost::Enumeration)]
#[repr(i32)]
pub enum RegistrationTaskStatus {
    /// It is under way, or waits for its turn.
    InProgress = 0,
    /// All lines are dealt with.
    Completed = 1,
    /// It could not go on.
    Failed = 2,
    /// It is to stop.
    Cancelling = 3,
    /// It was stopped.
    Cancelled = 4,
}

/// Which report of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReportType {
    /// Lines that were not carried out.
    Errors,
    /// Lines that were.
    Results,
}

/// Arguments of StartThingRegistrationTask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartThingRegistrationTask {
    /// The template.
    pub template_body: String,
    /// Where the input is.
    pub input_file_bucket: String,
    /// The input's name there.
    pub input_file_key: String,
    /// With what rights it is read.
    pub role_arn: String,
}

/// Arguments of BeginRegistrationUpload: an input will be uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginRegistrationUpload {
    /// What the task will be called: 1 to 40 of `a-zA-Z0-9-`, such as no other ever was.
    pub task_id: String,
    /// The template.
    pub template_body: String,
}

/// Arguments of PutRegistrationInput.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutRegistrationInput {
    /// Which upload.
    pub task_id: String,
    /// Which piece, from 0, one after the other.
    pub piece: u64,
    /// [`UPLOAD_PIECE`](crate::thing_registration_tasks::UPLOAD_PIECE) bytes, fewer only in the last piece; in base64.
    pub data: String,
}

/// Answer of DescribeThingRegistrationTask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationTaskDescription {
    /// Its id.
    pub task_id: String,
    /// What it was started with.
    pub started_with: StartThingRegistrationTask,
    /// When it was started.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it last changed.
    #[serde(with = "timestamp")]
    pub modified_at: Timestamp,
    /// Status.
    pub status: RegistrationTaskStatus,
    /// Why it failed.
    pub message: Option<String>,
    /// Lines that were carried out.
    pub success_count: u64,
    /// Lines that were not.
    pub failure_count: u64,
    /// Of the input, in bytes.
    pub percentage_progress: u8,
}

/// Arguments of ClaimRegistrationTask: a process wants to work on a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimRegistrationTask {
    /// Which.
    pub task_id: String,
    /// The process: a name that no other ever has.
    pub owner: String,
}

/// What a process that has claimed a task needs to go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationWork {
    /// What it was started with.
    pub started_with: StartThingRegistrationTask,
    /// Whether its input is here: it was uploaded, and is in no bucket.
    #[serde(default)]
    pub uploaded: bool,
    /// Bytes of the input, and which version of it; `None` before it was looked at.
    pub input: Option<(u64, String)>,
    /// Where the next line begins.
    pub offset: u64,
}

/// Arguments of AdvanceRegistrationTask: some lines, carried out or not, at once with the task's progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvanceRegistrationTask {
    /// Which.
    pub task_id: String,
    /// Who works on it.
    pub owner: String,
    /// Bytes of the input, and which version of it.
    pub input: (u64, String),
    /// Where the first of the lines begins: where the task is.
    pub from: u64,
    /// Where the line after the last one begins.
    pub to: u64,
    /// The lines.
    pub lines: Vec<RegistrationLine>,
}

/// A line of the input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationLine {
    /// Where it begins.
    pub offset: u64,
    /// What is to be done.
    pub wanted: WantedLine,
}

/// What a line of the input wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WantedLine {
    /// Nothing: it is blank.
    Nothing,
    /// What the template makes of its parameters.
    Provision(Box<Provision>),
    /// It cannot be carried out: the exception and its message.
    Refused(String, String),
}

/// Arguments of FailRegistrationTask: it cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailRegistrationTask {
    /// Which.
    pub task_id: String,
    /// Who works on it.
    pub owner: String,
    /// Why.
    pub message: String,
}

/// A task that something is to be done about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRegistrationTask {
    /// Where.
    pub scope: Scope,
    /// Its id.
    pub task_id: String,
    /// Whether it has ended so long ago that it is to be forgotten.
    pub expired: bool,
}

/// A link to a piece of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportLink {
    /// Which task.
    pub task_id: String,
    /// Which report.
    pub report_type: ReportType,
    /// Which piece of it, from 0.
    pub piece: u64,
    /// Until when it is good, in seconds since the epoch.
    pub expires: u64,
    /// 64 hexadecimal digits that nobody else can make.
    pub signature: String,
}
