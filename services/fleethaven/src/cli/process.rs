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

    #[command(flatten)]
    pub(crate) traces: TracesArgs,
}

/// Traces over OTLP. All roles of a cluster are given the same.
#[derive(Args, Clone)]
pub(crate) struct TracesArgs {
    /// Send traces to this OpenTelemetry receiver (OTLP over HTTP with protobuf), such as http://collector:4318; without a path,
    /// /v1/traces is meant. Otherwise the variables OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT count.
    #[arg(long, value_name = "URL", env = "FLEETHAVEN_TRACES_ENDPOINT")]
    pub(crate) traces_endpoint: Option<String>,

    /// The part of all messages and requests that is traced, 0 to 1.
    #[arg(long, value_name = "RATIO", env = "FLEETHAVEN_TRACES_RATIO", default_value_t = 0.01, value_parser = ratio)]
    pub(crate) traces_ratio: f64,

    /// Go on with the traces that clients bring (`traceparent`: a user property of MQTT 5, a header of HTTPS), and record them
    /// where they say so.
    #[arg(long, env = "FLEETHAVEN_TRACES_CONTINUE")]
    pub(crate) traces_continue: bool,

    /// Certificates (PEM) of authorities that may certify the receiver, beside the system's. May be repeated.
    #[arg(long, value_name = "FILE", env = "FLEETHAVEN_TRACES_CA", value_delimiter = ',')]
    pub(crate) traces_ca: Vec<PathBuf>,
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    if (0.0..=1.0).contains(&ratio) { Ok(ratio) } else { Err("it is between 0 and 1".to_owned()) }
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
