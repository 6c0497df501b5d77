//! `fleethaven server-certificate`: what domains show where AWS would take a certificate of its certificate manager.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::accounts::AccountPlaceArgs;

/// What is done to the server certificates of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum ServerCertificateCommand {
    /// Say what domain configurations show that name an ARN; in place of an earlier one from the next handshake on.
    Put(PutServerCertificateArgs),
    /// Print every server certificate: its names, its end, the domains that show it.
    List(AccountPlaceArgs),
    /// Remove a server certificate that no domain configuration names.
    Delete(NamedServerCertificateArgs),
}

/// A server certificate.
#[derive(Args, Clone)]
pub(crate) struct NamedServerCertificateArgs {
    /// Its ARN: arn:aws:acm:REGION:ACCOUNT:certificate/ID, as the domain configuration names it.
    #[arg(value_name = "ARN")]
    pub(crate) server_certificate_arn: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `server-certificate put`.
#[derive(Args, Clone)]
pub(crate) struct PutServerCertificateArgs {
    #[command(flatten)]
    pub(crate) certificate: NamedServerCertificateArgs,

    /// A file with the PEM chain, the server's certificate first.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,

    /// A file with its PEM key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}
