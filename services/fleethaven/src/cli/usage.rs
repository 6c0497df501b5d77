//! What is used: how often it is reported, and `fleethaven usage`.

use std::path::PathBuf;

use clap::Args;
use fleethaven_types::AccountId;
use fleethaven_usage::By;

use super::accounts::PlaceArgs;

/// Counting what is used.
#[derive(Args, Clone)]
pub(crate) struct UsageArgs {
    /// Seconds between two reports of what was used to the metadata store: what a process that is killed may leave uncounted. 0: nothing
    /// is counted.
    #[arg(long, value_name = "SECONDS", env = "FLEETHAVEN_USAGE_INTERVAL", default_value_t = 60)]
    pub(crate) usage_interval: u32,
}

/// Arguments of `fleethaven usage`.
#[derive(Args, Clone)]
pub(crate) struct UsageQueryArgs {
    /// Only what this account has used.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    /// From this day (2026-01-31) or month (2026-01) on, UTC; the current month unless given.
    #[arg(long, value_name = "DAY", conflicts_with = "month")]
    pub(crate) from: Option<String>,

    /// Up to this day or month, included.
    #[arg(long, value_name = "DAY", conflicts_with = "month")]
    pub(crate) to: Option<String>,

    /// A whole month, such as 2026-01; `last`: the one before this one.
    #[arg(long, value_name = "MONTH")]
    pub(crate) month: Option<String>,

    /// What sums are parted by beside account and region: billing-group, day, month. May be several.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = by)]
    pub(crate) by: Vec<By>,

    /// Print a table for spreadsheets: a line for each sum and unit, with what AWS's price list calls it.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,

    /// Write the table into this folder instead, as usage-MONTH.csv: an older one is replaced when the new one is whole.
    #[arg(long, value_name = "DIR", requires_all = ["month", "csv"])]
    pub(crate) into: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

fn by(text: &str) -> Result<By, String> {
    By::named(text).ok_or_else(|| "one of billing-group, day and month".to_owned())
}
