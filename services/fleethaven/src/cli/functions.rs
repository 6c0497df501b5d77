//! `fleethaven function`: what is called where AWS would run Lambda functions.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::accounts::AccountPlaceArgs;

/// What is done to the functions of an account.
#[derive(Subcommand, Clone)]
pub(crate) enum FunctionCommand {
    /// Say what is called where an ARN is named, and print it: of a webhook with the secret that signs what it is sent.
    Put(PutFunctionArgs),
    /// Print what every function ARN stands for.
    List(AccountPlaceArgs),
    /// Let an ARN stand for nothing any more.
    Delete(NamedFunctionArgs),
}

/// A function.
#[derive(Args, Clone)]
pub(crate) struct NamedFunctionArgs {
    /// Its ARN.
    #[arg(value_name = "ARN")]
    pub(crate) function_arn: String,

    #[command(flatten)]
    pub(crate) of: AccountPlaceArgs,
}

/// Arguments of `function put`.
#[derive(Args, Clone)]
pub(crate) struct PutFunctionArgs {
    #[command(flatten)]
    pub(crate) function: NamedFunctionArgs,

    /// Of a webhook its address; of an endpoint that speaks Lambda's Invoke API its origin.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,

    /// What is spoken there.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = FunctionKindArg::Webhook)]
    pub(crate) kind: FunctionKindArg,

    /// A file with the secret that signs what a webhook is sent; otherwise it is made, or stays as it was.
    #[arg(long, value_name = "FILE")]
    pub(crate) signing_secret_file: Option<PathBuf>,

    /// An access key that signs requests to Lambda's Invoke API.
    #[arg(long, value_name = "ID", requires = "secret_access_key_file")]
    pub(crate) access_key_id: Option<String>,

    /// A file with its secret.
    #[arg(long, value_name = "FILE", requires = "access_key_id")]
    pub(crate) secret_access_key_file: Option<PathBuf>,
}

/// How a function is called.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionKindArg {
    /// A POST of the event, signed by HMAC.
    Webhook,
    /// Lambda's Invoke API.
    Lambda,
}
