//! `fleethaven connection`: where rule actions go.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::accounts::AccountPlaceArgs;

/// What is done to the connections of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum ConnectionCommand {
    /// Make a connection, or replace it: a system that rule actions may use, the roles that stand for it, and the rules that may.
    Put(Box<PutConnectionArgs>),
    /// Print every connection, without its secret.
    List(AccountPlaceArgs),
    /// Remove a connection: actions that used it fail from then on.
    Delete(NamedConnectionArgs),
}

/// A connection.
#[derive(Args, Clone)]
pub(crate) struct NamedConnectionArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `connection put`.
#[derive(Args, Clone)]
pub(crate) struct PutConnectionArgs {
    #[command(flatten)]
    pub(crate) connection: NamedConnectionArgs,

    /// The type of action that it is for, as rules name it (s3, sqs, dynamoDB, …; http: for its signatures), or aws: all of AWS's
    /// services that have no connection of their own; for actions that AWS has not: amqp, redis, postgres, nats, mqtt, loki or
    /// prometheus.
    #[arg(long)]
    pub(crate) kind: String,

    /// Where it is, such as https://minio:9000 or rediss://cache:6380/0; otherwise AWS's own endpoint of the region.
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// The region that requests are signed for; otherwise the rule's.
    #[arg(long)]
    pub(crate) region: Option<String>,

    /// The access key, or the user. Without a secret only beside a client certificate.
    #[arg(long, value_name = "ID")]
    pub(crate) credentials_id: Option<String>,

    /// A file with the secret access key, or the password.
    #[arg(long, value_name = "FILE", requires = "credentials_id")]
    pub(crate) secret_file: Option<PathBuf>,

    /// PEM: the certificate authorities that TLS to it trusts, instead of the system's and those of --outbound-ca.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// PEM: the certificate, followed by its chain, that it is shown when it asks for one.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub(crate) certificate_file: Option<PathBuf>,

    /// PEM: the key of that certificate, not encrypted.
    #[arg(long, value_name = "FILE", requires = "certificate_file")]
    pub(crate) key_file: Option<PathBuf>,

    /// A roleArn that stands for it in rules: whole, or the beginning and `*`. May be repeated. Not for kinds that rules name by
    /// the connection itself.
    #[arg(long, value_name = "ARN")]
    pub(crate) role: Vec<String>,

    /// A rule that may use it: its name, or the beginning and `*`. May be repeated.
    #[arg(long, value_name = "NAME", required = true)]
    pub(crate) rule: Vec<String>,

    /// What else the system is told: tenant=<name> for loki and prometheus, version=V1, V2 or V3 for influxDB,
    /// auth=basic for openSearch. May be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = option)]
    pub(crate) option: Vec<(String, String)>,
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("this is no NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
