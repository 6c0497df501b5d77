//! Bulk registration tasks.

use std::fmt;

use prost::Message;

use crate::shapes::RegistrationTaskStatus;

/// A bulk registration task. It does not print the secret of its links.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct RegistrationTask {
    /// `templateBody`.
    #[prost(string, tag = "1")]
    pub template_body: String,
    /// `inputFileBucket`; nothing where the input was uploaded.
    #[prost(string, tag = "2")]
    pub bucket: String,
    /// `inputFileKey`.
    #[prost(string, tag = "3")]
    pub key: String,
    /// `roleArn`.
    #[prost(string, tag = "4")]
    pub role_arn: String,
    /// When it was started.
    #[prost(uint64, tag = "5")]
    pub created_at: u64,
    /// When it last changed.
    #[prost(uint64, tag = "6")]
    pub modified_at: u64,
    /// Status.
    #[prost(enumeration = "RegistrationTaskStatus", tag = "7")]
    pub status: i32,
    /// Why it failed.
    #[prost(string, optional, tag = "8")]
    pub message: Option<String>,
    /// Bytes of the input; 0 before it was looked at.
    #[prost(uint64, tag = "9")]
    pub size: u64,
    /// Which version of the input.
    #[prost(string, tag = "10")]
    pub version: String,
    /// Bytes that are dealt with: whole lines.
    #[prost(uint64, tag = "11")]
    pub offset: u64,
    /// Lines among them, blank ones too.
    #[prost(uint64, tag = "12")]
    pub lines: u64,
    /// Lines that were carried out.
    #[prost(uint64, tag = "13")]
    pub succeeded: u64,
    /// Lines that were not.
    #[prost(uint64, tag = "14")]
    pub failed: u64,
    /// Which process works on it.
    #[prost(string, tag = "15")]
    pub owner: String,
    /// Until when nobody else may.
    #[prost(uint64, tag = "16")]
    pub owned_until: u64,
    /// What signs the links to its reports.
    #[prost(bytes = "vec", tag = "17")]
    pub secret: Vec<u8>,
    /// Parts of its report of results.
    #[prost(uint64, tag = "18")]
    pub result_parts: u64,
    /// Parts of its report of errors.
    #[prost(uint64, tag = "19")]
    pub error_parts: u64,
}

impl fmt::Debug for RegistrationTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationTask")
            .field("status", &self.status)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// An input that is being uploaded.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegistrationUpload {
    /// The template of the task that it will be.
    #[prost(string, tag = "1")]
    pub template_body: String,
    /// When it was begun.
    #[prost(uint64, tag = "2")]
    pub created_at: u64,
    /// Pieces that are there.
    #[prost(uint64, tag = "3")]
    pub pieces: u64,
    /// Bytes of them.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
}

/// A piece of an input that was uploaded. It does not print what it holds.
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct RegistrationInput {
    /// As it was uploaded.
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

impl fmt::Debug for RegistrationInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationInput").field("bytes", &self.data.len()).finish()
    }
}

/// Some lines of a report.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegistrationReportPart {
    /// In the order of the input.
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<ReportedLine>,
}

/// What became of a line.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ReportedLine {
    /// From 1.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Where it begins.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// What was made: ARNs by the resources' logical names.
    #[prost(btree_map = "string, string", tag = "3")]
    pub resource_arns: std::collections::BTreeMap<String, String>,
    /// The exception.
    #[prost(string, tag = "4")]
    pub code: String,
    /// Its message.
    #[prost(string, tag = "5")]
    pub message: String,
}
