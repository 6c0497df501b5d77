//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fleethaven_mqtt::{QoS, Version};

use crate::stamp::Stamp;

/// Tick of an open loop in microseconds: it sends a few messages at a time rather than wake for each.
const TICK: u64 = 20;

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
    /// The highest open-loop rate at which latency stays bounded and nothing is lost, found by search.
    Sustained(Sustained),
    /// Stores retained messages, then one subscriber receives them all.
    Retained(Retained),
    /// Publishes to persistent sessions while they are away; then they come back for their messages.
    Offline(Offline),
    /// All connections come at once.
    ConnectStorm(Storm),
    /// All connections are lost at once and come back.
    ReconnectStorm(Storm),
    /// A steady load with clients that come and go, for as long as wanted: what grows in the broker?
    Soak(Soak),
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
            | Self::Sustained(Sustained { fan_in: FanIn { common, .. }, .. })
            | Self::Retained(Retained { common, .. })
            | Self::Offline(Offline { common, .. })
            | Self::ConnectStorm(Storm { common, .. })
            | Self::ReconnectStorm(Storm { common, .. })
            | Self::Soak(Soak { common, .. })
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
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=200_000))]
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
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// How topics are named.
    #[arg(long, value_enum, default_value = "run")]
    pub(crate) topics: Topics,
    /// What publishers put before their topics, and subscribers do not: something in between brings the messages from one to the other.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish_below: Option<String>,
    /// Payloads are JSON, with a member `temperature` of 71.5; at least 71 bytes.
    #[arg(long)]
    pub(crate) json_payload: bool,
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
    /// In open loop, spin between messages instead of sleeping: the most even schedule, for a whole core.
    #[arg(long, requires = "rate")]
    pub(crate) spin: bool,
    /// In open loop, send what has come due at multiples of this many microseconds, all of a publisher at once. At high rates a
    /// coarser tick leaves the generator time for more messages; latency counts from when each was due.
    #[arg(long, default_value_t = TICK, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) tick: u64,
    /// Publish this many messages and measure them all, instead of a duration.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

impl Load {
    /// An open loop for as long as its caller wants.
    pub(crate) fn steady(qos: QoS, payload: u32, rate: u64) -> Self {
        Self {
            qos: qos.bits(),
            topics: Topics::Run,
            publish_below: None,
            json_payload: false,
            payload,
            rate: Some(rate),
            window: 1000,
            duration: 0,
            warmup: 1,
            spin: false,
            tick: TICK,
            count: None,
        }
    }

    /// So many messages: a closed loop, or an open one where there is a rate.
    pub(crate) fn counted(qos: QoS, payload: u32, window: u16, count: u64, rate: Option<u64>) -> Self {
        Self { rate, window, count: Some(count), ..Self::steady(qos, payload, 1) }
    }

    /// The same in open loop at this rate.
    pub(crate) fn at_rate(&self, rate: u64) -> Self {
        Self { rate: Some(rate), ..self.clone() }
    }

    pub(crate) fn qos(&self) -> QoS {
        QoS::from_bits(self.qos).unwrap_or_default()
    }

    /// A payload with room for a stamp.
    pub(crate) fn blank(&self) -> Vec<u8> {
        let length = self.payload as usize;
        if self.json_payload { Stamp::json(length) } else { vec![0x2E; length] }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// A counted run measures from its first message.
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs(if self.count.is_some() { 0 } else { self.warmup })
    }
}

#[derive(Clone, Debug, Args)]
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
pub(crate) struct Sustained {
    #[command(flatten)]
    pub(crate) fan_in: FanIn,
    /// Latency that the 99th percentile may reach, in milliseconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) bound: u64,
    /// The rate to begin with; it is doubled until it is too much, then narrowed down.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) from: u64,
    /// The highest rate to try.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) most: u64,
    /// The search ends when the highest good and the lowest bad rate are this close, in percent.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) precision: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Retained {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many messages, each on a topic of its own.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) messages: u32,
    /// How many publishers store them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) publishers: u32,
    /// Quality of service of storing and of the subscription; at 0 nothing would say that a message is stored.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// What publishers put before their topics, and subscribers do not: something in between brings the messages from one to the other.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish_below: Option<String>,
    /// Payloads are JSON, with a member `temperature` of 71.5; at least 71 bytes.
    #[arg(long)]
    pub(crate) json_payload: bool,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=131_072))]
    pub(crate) payload: u32,
    /// Unacknowledged messages of one publisher at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) window: u16,
    /// Leave the messages stored instead of clearing them at the end.
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Retained {
    pub(crate) fn qos(&self) -> QoS {
        QoS::from_bits(self.qos).unwrap_or(QoS::AtLeastOnce)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Offline {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Messages in all.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: u64,
    /// How many persistent sessions, each with a publisher of its own. The messages of one must fit its queue.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) sessions: u32,
    /// Quality of service of publishes and subscriptions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    qos: u8,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=131_072))]
    pub(crate) payload: u32,
    /// Unacknowledged messages of one publisher at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) window: u16,
    /// Open loop: publishes per second of all publishers together. Closed loop when absent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: Option<u64>,
}

impl Offline {
    pub(crate) fn qos(&self) -> QoS {
        QoS::from_bits(self.qos).unwrap_or(QoS::AtLeastOnce)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Storm {
    #[command(flatten)]
    pub(crate) common: Common,
    /// How many connections, each with a subscription of its own.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// The connections' sessions are persistent.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Resume TLS sessions instead of full handshakes.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Pairs of clients that were there before and exchange messages all the while.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) bystanders: u32,
    /// Messages per second of all bystanders together.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) rate: u64,
    /// Seconds for which the bystanders are measured before the storm.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) quiet: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Soak {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Minutes to run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_080))]
    pub(crate) minutes: u64,
    /// How many publishers, each with a subscriber of its own.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) pairs: u32,
    /// Messages per second of all together.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) rate: u64,
    /// Quality of service of publishes and subscriptions.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// What publishers put before their topics, and subscribers do not: something in between brings the messages from one to the other.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) publish_below: Option<String>,
    /// Payloads are JSON, with a member `temperature` of 71.5; at least 71 bytes.
    #[arg(long)]
    pub(crate) json_payload: bool,
    /// Payload size in bytes.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(20..=131_072))]
    pub(crate) payload: u32,
    /// Connections opened and closed per second beside the load.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) churn: u32,
    /// Seconds between two looks at the broker's memory and files.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) sample: u64,
}

impl Soak {
    pub(crate) fn qos(&self) -> QoS {
        QoS::from_bits(self.qos).unwrap_or_default()
    }
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

/// How topics are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topics {
    /// PREFIX/PROCESS/NUMBER.
    Run,
    /// acme/prod/NUMBER/telemetry: a fleet below one prefix.
    Fleet,
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

impl MqttVersion {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

impl From<MqttVersion> for Version {
    fn from(version: MqttVersion) -> Self {
        match version {
            MqttVersion::V311 => Self::V311,
            MqttVersion::V5 => Self::V5,
        }
    }
}
