//! The CA that issues certificates: where its key is, and `fleethaven issuing-ca`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::accounts::AccountPlaceArgs;

/// Issuing by keys that are elsewhere.
#[derive(Args, Clone)]
pub(crate) struct IssuingArgs {
    /// The Unix socket of the external signer, which has the keys of issuing CAs that are not in the metadata store.
    #[arg(long, value_name = "SOCKET", env = "FLEETHAVEN_ISSUING_SIGNER")]
    pub(crate) issuing_signer: Option<PathBuf>,
}

/// What is done to the CA that issues an account's certificates.
#[derive(Subcommand, Clone)]
pub(crate) enum IssuingCaCommand {
    /// Make a CA certificate for a key that an external signer has, which signs it, and print it.
    Make(MakeIssuingCaArgs),
    /// Have certificates issued by another CA from now on; those that there are stay as they are.
    Put(PutIssuingCaArgs),
    /// Print the CA's certificate, and what the external signer calls its key.
    Show(AccountPlaceArgs),
}

/// Arguments of `issuing-ca make`.
#[derive(Args, Clone)]
pub(crate) struct MakeIssuingCaArgs {
    /// The Unix socket of the external signer.
    #[arg(long, value_name = "SOCKET")]
    pub(crate) signer: PathBuf,

    /// What the external signer calls the key.
    #[arg(long, value_name = "NAME")]
    pub(crate) external_key: String,

    /// A file with the public key (PEM or DER, SubjectPublicKeyInfo): on NIST P-256, or RSA.
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: PathBuf,

    /// The common name of the CA.
    #[arg(long, value_name = "NAME", default_value = "Fleethaven device CA")]
    pub(crate) common_name: String,

    /// For how many days it holds.
    #[arg(long, value_name = "N", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

/// Arguments of `issuing-ca put`.
#[derive(Args, Clone)]
#[command(group = ArgGroup::new("ca-key").required(true).args(["external_key", "key"]))]
pub(crate) struct PutIssuingCaArgs {
    /// A file with the CA's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,

    /// What the external signer calls its key.
    #[arg(long, value_name = "NAME")]
    pub(crate) external_key: Option<String>,

    /// A file with its key (PEM), to be kept in the metadata store.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}
