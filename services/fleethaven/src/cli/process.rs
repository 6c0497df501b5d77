//! What every long-running command takes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use fleethaven_types::{AccountId, Profile, Region, Scope};

/// Settings, logs, the admin port, the end.
#[derive(Args, Clone)]
pub(crate) struct ProcessArgs {
    /// A file with settings (TOML): flags by their name, `[limits]` and `[behaviour]`. Flags and environment go before it.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Print the settings in force as such a file, and exit.
    #[arg(long)]
    pub(crate) print_config: bool,

    /// Check the settings, and exit.
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Health and metrics.
    #[arg(long, value_name = "ADDR", env = "FLEETHAVEN_ADMIN", default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,

    /// Seconds that a drain may take after SIGTERM.
    #[arg(long, value_name = "SECONDS", env = "FLEETHAVEN_GRACE_PERIOD", default_value_t = 20)]
    pub(crate) grace_period: u16,

    /// What is logged: a level, or `target=level` parts parted by commas.
    #[arg(
        long,
        value_name = "FILTER",
        env = "FLEETHAVEN_LOG",
        default_value = "warn,fleethaven=info,openraft=error"
    )]
    pub(crate) log: String,

    /// `json` or `text`; text when standard error is a terminal.
    #[arg(long, value_name = "FORMAT", env = "FLEETHAVEN_LOG_FORMAT")]
    pub(crate) log_format: Option<String>,
}

/// Accounts and what they are held to.
#[derive(Args, Clone)]
pub(crate) struct ScopeArgs {
    /// The account that the first start makes: twelve digits.
    #[arg(long, value_name = "ID", env = "FLEETHAVEN_ACCOUNT_ID", default_value = "123456789012")]
    pub(crate) account_id: AccountId,

    /// The region meant where a request does not say.
    #[arg(long, value_name = "R", env = "FLEETHAVEN_REGION", default_value = "us-east-1")]
    pub(crate) region: Region,

    /// Refuse API requests that are signed for another region.
    #[arg(long, env = "FLEETHAVEN_SINGLE_REGION")]
    pub(crate) single_region: bool,

    /// `standard`: MQTT by the OASIS text, generous limits. `aws`: AWS's own deviations and quotas.
    #[arg(long, value_name = "standard|aws", env = "FLEETHAVEN_PROFILE", default_value = "standard")]
    pub(crate) profile: Profile,
}

impl ScopeArgs {
    /// The account and the region meant where nothing else is said.
    pub(crate) fn scope(&self) -> Scope {
        Scope { account: self.account_id, region: self.region }
    }
}
