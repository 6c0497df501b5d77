//! The audit journal: its options, and `fleethaven audit`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fleethaven_types::AccountId;

use super::accounts::PlaceArgs;

/// Which calls are recorded.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuditedArg {
    /// None.
    Off,
    /// Of the control plane, `sts`, `iam` and the credentials provider, and what is denied in the data plane.
    Control,
    /// All, each publish over HTTPS too.
    All,
}

/// Options of processes that serve calls.
#[derive(Args, Clone)]
pub(crate) struct AuditArgs {
    /// Which calls are recorded in the audit journal.
    #[arg(long, value_name = "WHICH", env = "FLEETHAVEN_AUDIT", value_enum, default_value_t = AuditedArg::Control)]
    pub(crate) audit: AuditedArg,

    /// The folder of the audit journal. Of `fleethaven dev` it is `audit` in the data directory unless said; other roles keep none
    /// without it.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_AUDIT_DIR")]
    pub(crate) audit_dir: Option<PathBuf>,

    /// How many mebibytes it may hold; the oldest records go.
    #[arg(long, value_name = "MEBIBYTES", env = "FLEETHAVEN_AUDIT_MAX_SIZE", default_value_t = 1024)]
    pub(crate) audit_max_size: u32,

    /// How many days it holds records.
    #[arg(long, value_name = "DAYS", env = "FLEETHAVEN_AUDIT_MAX_AGE", default_value_t = 90)]
    pub(crate) audit_max_age: u32,
}

/// Arguments of `fleethaven audit`.
#[derive(Args, Clone)]
pub(crate) struct AuditQueryArgs {
    /// Only calls of this account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    /// Only of callers whose ARN, certificate or access key holds this text.
    #[arg(long, value_name = "TEXT")]
    pub(crate) principal: Option<String>,

    /// Only of this operation, `CreateThing` say.
    #[arg(long, value_name = "NAME")]
    pub(crate) operation: Option<String>,

    /// Only with this outcome.
    #[arg(long, value_name = "OUTCOME", value_enum)]
    pub(crate) outcome: Option<OutcomeArg>,

    /// Only with this exception, `ThrottlingException` say.
    #[arg(long, value_name = "NAME")]
    pub(crate) error: Option<String>,

    /// Only from this address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<String>,

    /// Only the call whose answer had this `x-amzn-RequestId`.
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,

    /// Not before: `2026-01-31T12:00:00Z`, or so long ago: `90m`, `24h`, `7d`.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,

    /// Before.
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,

    /// The last so many; 10000 at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,

    /// A folder of a journal, whether or not a process writes to it.
    #[arg(long, value_name = "DIR", conflicts_with = "target")]
    pub(crate) audit_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// How a call ended.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutcomeArg {
    /// It was carried out.
    Done,
    /// The caller was not known, or not allowed to.
    Denied,
    /// It was refused for what it asked.
    Refused,
    /// We failed.
    Failed,
}
