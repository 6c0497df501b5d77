//! `fleethaven account` and `fleethaven access-key`: who may use the API.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use fleethaven_types::AccountId;

use super::cluster::ClusterArgs;
use super::encryption::EncryptionArgs;
use super::process::ScopeArgs;
use super::roles::PodArgs;

/// Arguments of `fleethaven account`.
#[derive(Args, Clone)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AccountArgs {
    /// What to do instead.
    #[command(subcommand)]
    pub(crate) command: Option<AccountCommand>,

    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    /// Keep the access key in this Kubernetes secret of the pod's namespace instead of printing it.
    #[arg(long, value_name = "NAME")]
    pub(crate) kubernetes_secret: Option<String>,

    #[command(flatten)]
    pub(crate) pod: PodArgs,
}

/// What is done to accounts.
#[derive(Subcommand, Clone)]
pub(crate) enum AccountCommand {
    /// Make an account and print its first access key.
    Create(CreateAccountArgs),
    /// Print every account.
    List(ListAccountsArgs),
}

/// Arguments of `account create`.
#[derive(Args, Clone)]
pub(crate) struct CreateAccountArgs {
    /// Its id: twelve digits.
    #[arg(value_name = "ID")]
    pub(crate) account: AccountId,

    /// What people call it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Arguments of `account list`.
#[derive(Args, Clone)]
pub(crate) struct ListAccountsArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// What is done to the access keys of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum AccessKeyCommand {
    /// Make an access key and print it: its secret is shown by no later command.
    Create(CreateKeyArgs),
    /// Print the ids of all access keys, and whether they are active.
    List(OfAccountArgs),
    /// Refuse what the access key signs, until it is activated again.
    Deactivate(NamedKeyArgs),
    /// Let an access key sign again.
    Activate(NamedKeyArgs),
    /// Remove an access key for good.
    Delete(NamedKeyArgs),
}

/// An account whose access keys are meant, and where it is.
#[derive(Args, Clone)]
pub(crate) struct OfAccountArgs {
    /// The account; needed only where there are several.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// An account, and where it is.
#[derive(Args, Clone)]
pub(crate) struct AccountPlaceArgs {
    /// The account; needed only where there are several.
    #[arg(long, value_name = "ID")]
    pub(crate) account: Option<AccountId>,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Arguments of `access-key create`.
#[derive(Args, Clone)]
pub(crate) struct CreateKeyArgs {
    #[command(flatten)]
    pub(crate) of: OfAccountArgs,

    /// The user that it is for, whose policies decide; otherwise it may do everything in the account.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

/// An access key.
#[derive(Args, Clone)]
pub(crate) struct NamedKeyArgs {
    /// Its id.
    #[arg(value_name = "ACCESS_KEY_ID")]
    pub(crate) access_key_id: String,

    #[command(flatten)]
    pub(crate) of: OfAccountArgs,
}

/// Whose accounts are meant. Not from the environment: what a command changes is to be seen in it.
#[derive(Args, Clone)]
#[command(group = ArgGroup::new("required-place").required(true).args(["data_dir", "admin", "metastore"]))]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

/// Where accounts are: the data directory `.fleethaven` unless something is named.
#[derive(Args, Clone)]
#[command(group = ArgGroup::new("target"))]
pub(crate) struct PlaceArgs {
    /// The data directory of a `fleethaven dev`, whether or not it runs; made if need be.
    #[arg(long, value_name = "DIR", group = "target")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The admin port of a `fleethaven dev` or `fleethaven api` that runs on this machine, as the same user.
    #[arg(long, value_name = "HOST:PORT", group = "target")]
    pub(crate) admin: Option<String>,

    /// The nodes of a cluster's metadata store; one is asked at a time. May be repeated.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', group = "target", requires = "cluster_tls")]
    pub(crate) metastore: Vec<String>,

    /// A folder with a certificate of role operator, as `fleethaven pki issue --role operator` makes it.
    #[arg(long, value_name = "DIR", requires = "metastore")]
    pub(crate) cluster_tls: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) encryption: EncryptionArgs,

    /// Print JSON: one object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Result<Command, clap::Error> {
        let words = ["fleethaven"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.command)
    }

    #[test]
    fn a_target_is_named_and_only_one() {
        let account = "account create 210987654321 --json";
        assert!(parse(account).is_err());
        assert!(parse(&format!("{account} --data-dir d --admin 127.0.0.1:1")).is_err());
        assert!(parse(&format!("{account} --metastore a:1")).is_err(), "without a certificate");
        for target in ["--data-dir d", "--admin 127.0.0.1:1", "--metastore a:1,b:1 --cluster-tls op"] {
            assert!(parse(&format!("{account} {target}")).is_ok(), "{target}");
        }
        assert!(parse("account create 12345 --data-dir d").is_err());
        assert!(parse("account --metastore a:1 --cluster-tls op").is_ok());
    }

    #[test]
    fn keys_belong_to_an_account() {
        let line = "access-key deactivate AKIAEXAMPLE --account 210987654321 --admin 127.0.0.1:1";
        let Ok(Command::AccessKey(AccessKeyCommand::Deactivate(key))) = parse(line) else {
            panic!("another command")
        };
        assert_eq!(key.access_key_id, "AKIAEXAMPLE");
        let Ok(Command::AccessKey(AccessKeyCommand::Create(made))) = parse("access-key create --data-dir d")
        else {
            panic!("another command")
        };
        assert_eq!(made.of.account, None, "the only one");
        assert!(parse("access-key create --account 210987654321").is_err(), "without a place");
    }
}
