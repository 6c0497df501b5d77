//! AWS's log entries: where a process keeps them, and `fleethaven logs`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use fleethaven_types::AccountId;

use super::accounts::PlaceArgs;

/// Where entries are kept.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IotLogArg {
    /// Nowhere.
    Off,
    /// In a folder.
    Dir,
    /// On standard error, an entry a line, for whoever collects what containers say.
    Stderr,
}

/// Options of processes that have something to tell.
#[derive(Args, Clone)]
pub(crate) struct IotLogArgs {
    /// Where the log entries are kept that accounts ask for (AWS's SetV2LoggingOptions): nowhere, in a folder, or on standard
    /// error, an entry a line.
    #[arg(long, value_name = "WHERE", env = "FLEETHAVEN_IOT_LOG", value_enum, default_value_t = IotLogArg::Dir)]
    pub(crate) iot_log: IotLogArg,

    /// The folder of the log entries. Of `fleethaven dev` it is `logs` in the data directory unless said; other roles keep none
    /// without it.
    #[arg(long, value_name = "DIR", env = "FLEETHAVEN_IOT_LOG_DIR")]
    pub(crate) iot_log_dir: Option<PathBuf>,

    /// How many mebibytes the folder may hold; the oldest entries go.
    #[arg(long, value_name = "MEBIBYTES", env = "FLEETHAVEN_IOT_LOG_MAX_SIZE", default_value_t = 1024)]
    pub(crate) iot_log_max_size: u32,

    /// How many days it holds entries.
    #[arg(long, value_name = "DAYS", env = "FLEETHAVEN_IOT_LOG_MAX_AGE", default_value_t = 30)]
    pub(crate) iot_log_max_age: u32,

    /// Entries a second that an account may have in this process; more are dropped and counted, details first.
    #[arg(long, value_name = "N", env = "FLEETHAVEN_IOT_LOG_RATE", default_value_t = 1000)]
    pub(crate) iot_log_rate: u32,
}

/// Arguments of `fleethaven logs`.
#[derive(Args, Clone)]
pub(crate) struct LogsArgs {
    /// Only entries of this account.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    /// Only about this client.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// Only about this certificate or user.
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Option<String>,

    /// Only of this event, `Publish-In` say. May be repeated.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    pub(crate) event: Vec<String>,

    /// Only what is as important as this: `error` leaves what failed.
    #[arg(long, value_name = "LEVEL", value_enum)]
    pub(crate) level: Option<LevelArg>,

    /// Only on topics that this filter matches.
    #[arg(long, value_name = "FILTER")]
    pub(crate) topic: Option<String>,

    /// Only from this address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) source_ip: Option<IpAddr>,

    /// Only of this rule.
    #[arg(long, value_name = "NAME")]
    pub(crate) rule: Option<String>,

    /// Only what this request or message led to.
    #[arg(long, value_name = "UUID")]
    pub(crate) trace_id: Option<String>,

    /// Only in this log group.
    #[arg(long, value_name = "NAME")]
    pub(crate) log_group: Option<String>,

    /// Not before: `2026-01-31T12:00:00Z`, or so long ago: `90m`, `24h`, `7d`.
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,

    /// Before.
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,

    /// The last so many; 10000 at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,

    /// Then go on with what is written from now on, until interrupted.
    #[arg(long, short, conflicts_with = "until")]
    pub(crate) follow: bool,

    /// A folder of entries, whether or not a process writes to it.
    #[arg(long, value_name = "DIR", conflicts_with = "target")]
    pub(crate) iot_log_dir: Option<PathBuf>,

    /// What standard input holds, as it comes, such as the log of a process that was started with `--iot-log stderr`: lines that are no
    /// entries are left out.
    #[arg(long, conflicts_with_all = ["target", "iot_log_dir", "follow", "limit"])]
    pub(crate) stdin: bool,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// How important an entry is.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LevelArg {
    /// Something failed.
    Error,
    /// Something may lead to inconsistencies.
    Warn,
    /// The flow of things.
    Info,
    /// Everything.
    Debug,
}
