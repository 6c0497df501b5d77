//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fleethaven_mqtt::{QoS, Version};

/// Load scenarios against any MQTT broker, and what they cost it.
#[derive(Debug, Parser)]
#[command(name = "fleethaven-loadtest", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Many publishers to one subscriber, or a few.
    FanIn(FanIn),
    /// One publisher to many subscribers.
    FanOut(FanOut),
    /// As many publishers as subscribers, each with a topic of its own.
    Pairs(Pairs),
    /// Opens connections and holds them, to see what memory they take.
    Idle(Idle),
    /// Opens connections up to CONNACK and closes them, over and over.
    Handshakes(Handshakes),
}

impl Command {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::FanIn(FanIn { common, .. })
            | Self::FanOut(FanOut { common, .. })
            | Self::Pairs(Pairs { common, .. })
            | Self::Idle(Idle { common, .. })
            | Self::Handshakes(Handshakes { common, .. }) => common,
        }
    }
}

/// What every scenario takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The broker, as host:port.
    #[arg(long)]
    pub(crate) target: String,
    /// Permit a target that is not on this machine's loopback.
    #[arg(long)]
    pub(crate) allow_remote: bool,
    /// Connect over TLS.
    #[arg(long, requires = "ca")]
    pub(crate) tls: bool,
    /// PEM file of the authorities that the broker's certificate is checked against.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// PEM file of the client certificate that all clients present.
    #[arg(long, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Folder of client certificates NAME.crt with keys NAME.key; clients take them in turn.
    #[arg(long, conflicts_with = "cert")]
    pub(crate) identities: Option<PathBuf>,
    /// Name expected in the broker's certificate, and sent as SNI.
    #[arg(long, default_value = "localhost")]
    pub(crate) server_name: String,
    /// ALPN protocol to offer.
    #[arg(long)]
    pub(crate) alpn: Option<String>,
    /// TLS version to speak.
    #[arg(long, value_enum, default_value = "1.3")]
    pub(crate) tls_version: TlsVersion,
    /// MQTT version to speak.
    #[arg(long, value_enum, default_value = "5")]
    pub(crate) mqtt: MqttVersion,
    /// Client identifiers are this, a dash and a number.
    #[arg(long, default_value = "load")]
    pub(crate) client_prefix: String,
    /// How many connections may be opening at a time.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) opening: u32,
    /// How many of 127.0.0.1, 127.0.0.2 … to connect from; as many as the connections need when absent.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=254))]
    pub(crate) sources: Option<u8>,
    /// Seconds until the connections must be open.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) connect_timeout: u64,
    /// Process id of the broker, to report its CPU time and memory.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Print one JSON document instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print progress to standard error every second.
    #[arg(long)]
    pub(crate) progress: bool,
}

/// What the scenarios with messages take.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// Quality of service of publishes and subscriptions.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=131_072))]
    pub(crate) payload: u32,
    /// Open loop: publishes per second of all publishers together. Closed loop when absent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: Option<u64>,
    /// Messages of one publisher under way at most. In open loop it bounds unacknowledged QoS 1 only.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) window: u16,
    /// Seconds to publish and measure, after the warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    duration: u64,
    /// Seconds of load before measuring starts.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=3600))]
    warmup: u64,
    /// Publish this many messages and measure them all, instead of a duration.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

impl Load {
    pub(crate) fn qos(&self) -> QoS {
        if self.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// A counted run measures from its first message.
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs(if self.count.is_some() { 0 } else { self.warmup })
    }
}

#[derive(Debug, Args)]
pub(crate) struct FanIn {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) load: Load,
    /// How many publishers.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) publishers: u32,
    /// How many subscribers; each gets every message.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) subscribers: u32,
    /// The subscribers share one subscription ($share): each message goes to one of them.
    #[arg(long)]
    pub(crate) shared: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FanOut {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) load: Load,
    /// How many subscribers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) subscribers: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Pairs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) load: Load,
    /// How many pairs.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pairs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Idle {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many connections.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Each connection also subscribes to a topic of its own.
    #[arg(long)]
    pub(crate) subscribe: bool,
    /// Seconds to wait before memory is read.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub(crate) settle: u64,
    /// Seconds to hold the connections after that.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(crate) hold: u64,
    /// Stop holding when a line, or the end, comes on standard input.
    #[arg(long)]
    pub(crate) until_stdin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Handshakes {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) duration: u64,
    /// How many handshakes under way at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) in_flight: u32,
    /// Resume TLS sessions instead of full handshakes.
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TlsVersion {
    #[value(name = "1.2")]
    V12,
    #[value(name = "1.3")]
    V13,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum MqttVersion {
    #[value(name = "3.1.1")]
    V311,
    #[value(name = "5")]
    V5,
}

impl From<MqttVersion> for Version {
    fn from(version: MqttVersion) -> Self {
        match version {
            MqttVersion::V311 => Self::V311,
            MqttVersion::V5 => Self::V5,
        }
    }
}
