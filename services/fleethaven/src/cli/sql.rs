//! `fleethaven sql`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// What `fleethaven sql` does.
#[derive(Subcommand)]
pub(crate) enum SqlCommand {
    /// Try a rule's statement on one message: whether the rule fires, and with what.
    Test(Box<SqlTestArgs>),
    /// Run files of cases: each a statement, a message, and what is expected. 0: all passed, 1: some did not, 2: a file is no
    /// file of cases.
    Check(SqlCheckArgs),
}

/// Arguments of `fleethaven sql test`.
#[derive(Args, Clone)]
#[command(group = ArgGroup::new("message").args(["payload", "payload_base64", "payload_file"]))]
pub(crate) struct SqlTestArgs {
    /// The statement.
    #[arg(long, value_name = "TEXT")]
    pub(crate) sql: String,

    /// The topic of the message; `$aws/rules/NAME/…` is Basic Ingest.
    #[arg(long)]
    pub(crate) topic: String,

    /// The payload; none unless given.
    #[arg(long, value_name = "TEXT")]
    pub(crate) payload: Option<String>,

    /// The payload, as base64.
    #[arg(long, value_name = "BASE64")]
    pub(crate) payload_base64: Option<String>,

    /// A file with the payload.
    #[arg(long, value_name = "FILE")]
    pub(crate) payload_file: Option<PathBuf>,

    /// `2015-10-08`, `2016-03-23` or `beta`: a rule's `awsIotSqlVersion`. (A rule that has none is of 2015-10-08.)
    #[arg(long, value_name = "VERSION", default_value = "2016-03-23")]
    pub(crate) sql_version: String,

    /// A field of an action, whose `${…}` are to be replaced.
    #[arg(long, value_name = "TEXT")]
    pub(crate) template: Option<String>,

    /// The MQTT client that publishes; a message of none did not come over MQTT.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,

    /// What `principal()` answers.
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Option<String>,

    /// What `sourceip()` answers.
    #[arg(long, value_name = "ADDR")]
    pub(crate) source_ip: Option<String>,

    /// What `traceid()` answers.
    #[arg(long, value_name = "UUID")]
    pub(crate) trace_id: Option<String>,

    /// MQTT 5 properties of the message, as in files of cases: `{"contentType": "text/plain", "userProperties": [["site", "north"]]}`.
    #[arg(long, value_name = "JSON")]
    pub(crate) mqtt_properties: Option<String>,

    /// What `accountid()` answers.
    #[arg(long, value_name = "ID", default_value = "123456789012")]
    pub(crate) account_id: String,

    /// What `timestamp()` answers, in milliseconds since 1970; the present unless given.
    #[arg(long, value_name = "MS")]
    pub(crate) now: Option<i64>,

    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `fleethaven sql check`.
#[derive(Args, Clone)]
pub(crate) struct SqlCheckArgs {
    /// Files of cases: JSON arrays (docs/rules.md).
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Print one JSON document, `{"results":[{"id","passed","got","expected"}…]}`, with a result for each case in order.
    #[arg(long)]
    pub(crate) json: bool,
}
