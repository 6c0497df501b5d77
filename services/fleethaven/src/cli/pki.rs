//! `fleethaven pki`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fleethaven_pki::ServiceRole;

use super::roles::PodArgs;

/// What `fleethaven pki` does.
#[derive(Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the cluster's CA.
    Init(InitArgs),
    /// Issue the certificate of one process, or a new one in its place.
    Issue(IssueArgs),
    /// Make a new CA beside the present one, which stays trusted: certificates are issued by the new one from then on.
    Rotate(CaArgs),
    /// Trust only the present CA any more: for when every process has a certificate that it issued.
    Retire(CaArgs),
    /// Issue the server certificate that devices and API users see, by a CA of its own, which is made on first use.
    Server(ServerCertificateArgs),
    /// Keep the certificates of a cluster in secrets of the Kubernetes namespace that this runs in: make what is absent, renew
    /// what has used up two thirds of its time. A job of the Helm chart runs it.
    Kubernetes(KubernetesArgs),
}

/// Where the CA is.
#[derive(Args, Clone)]
pub(crate) struct CaArgs {
    /// The folder with the cluster's CA: `ca-key.pem`, and `trust.pem` with all CAs that are trusted.
    #[arg(long, value_name = "DIR", default_value = "pki")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `fleethaven pki init`.
#[derive(Args, Clone)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    pub(crate) ca: CaArgs,

    /// The cluster's name, which stands in every certificate: lower-case letters, digits, `.`, `-`, `_`.
    #[arg(long, value_name = "NAME", default_value = "fleethaven")]
    pub(crate) cluster: String,

    /// Leave a CA alone that is there already, instead of refusing.
    #[arg(long)]
    pub(crate) if_absent: bool,
}

/// Arguments of `fleethaven pki issue`.
#[derive(Args, Clone)]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    pub(crate) ca: CaArgs,

    /// What the process is: metastore, router, gateway, rules-worker, api, or operator for the commands of people.
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: ServiceRole,

    /// The process's name, for people who read the certificate: a host name.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,

    /// Days for which it is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub(crate) days: u64,

    /// The folder that gets `tls.crt`, `tls.key` and `ca.crt`; a process is given it as --cluster-tls. Unless given, the
    /// process's name below the CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `fleethaven pki server`.
#[derive(Args, Clone)]
pub(crate) struct ServerCertificateArgs {
    /// The folder for `ca.pem`, which clients are given, `ca-key.pem`, `server.pem` and `server-key.pem`.
    #[arg(long, value_name = "DIR", default_value = "server-pki")]
    pub(crate) dir: PathBuf,

    /// A name or address in the certificate beside localhost and this host's name. May be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) san: Vec<String>,

    /// The base domain of the endpoints, whose names are added.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) base_domain: Option<String>,
}

/// Arguments of `fleethaven pki kubernetes`.
#[derive(Args, Clone)]
pub(crate) struct KubernetesArgs {
    #[command(flatten)]
    pub(crate) pod: PodArgs,

    /// What the names of all secrets begin with: PREFIX-ca, PREFIX-metastore and so on for each role, PREFIX-server,
    /// PREFIX-redis, PREFIX-issuing-keys.
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: String,

    /// The cluster's name, which stands in every certificate.
    #[arg(long, value_name = "NAME", default_value = "fleethaven")]
    pub(crate) cluster: String,

    /// Issue the certificates by which services know each other.
    #[arg(long)]
    pub(crate) services: bool,

    /// Days for which these are valid.
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(3..=3650))]
    pub(crate) days: u64,

    /// Issue the server certificate, for this name or address and localhost. May be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) server_name: Vec<String>,

    /// The base domain of the endpoints, whose names are added to it.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) base_domain: Option<String>,

    /// Make the key that seals the private keys of issuing CAs in the metadata store.
    #[arg(long)]
    pub(crate) issuing_keys: bool,

    /// Make a password for the Redis at this address.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) redis: Option<String>,

    /// Make a new CA for the services first. It is trusted beside the old one; the next run issues certificates by it.
    #[arg(long, requires = "services")]
    pub(crate) rotate: bool,

    /// Trust only the newest CA of the services any more.
    #[arg(long, requires = "services", conflicts_with = "rotate")]
    pub(crate) retire: bool,
}
