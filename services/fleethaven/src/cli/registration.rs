//! `fleethaven register-things`: bulk registration of a file that is in no bucket.

use std::path::PathBuf;

use clap::Args;
use fleethaven_types::Region;

use super::accounts::AccountPlaceArgs;

/// Arguments of `fleethaven register-things`.
#[derive(Args, Clone)]
pub(crate) struct RegisterThingsArgs {
    /// A file with a line for each thing: a JSON object of the template's parameters. 16 MiB at most; `-`: standard input.
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// A file with the provisioning template.
    #[arg(long, value_name = "FILE")]
    pub(crate) template: PathBuf,

    /// The region that the things are registered in.
    #[arg(long, value_name = "R", default_value = "us-east-1")]
    pub(crate) region: Region,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}
