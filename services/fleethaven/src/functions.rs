//! `fleethaven function`.

use anyhow::Result;
use fleethaven_registry::shapes::{FunctionCredentials, FunctionKind, FunctionTarget, Secret};

use crate::ask::operate;
use crate::cli::{FunctionCommand, FunctionKindArg, PutFunctionArgs};
use crate::config::from_file;
use crate::operators::Request;

/// Carries out the command.
pub(crate) async fn run(command: FunctionCommand) -> Result<()> {
    match command {
        FunctionCommand::Put(put) => {
            let target = target(&put)?;
            let (of, function_arn) = (put.function.of, put.function.function_arn);
            operate(&of.place, Request::PutFunction { account: of.account, function_arn, target }).await
        }
        FunctionCommand::List(of) => operate(&of.place, Request::ListFunctions { account: of.account }).await,
        FunctionCommand::Delete(function) => {
            let (of, function_arn) = (function.of, function.function_arn);
            operate(&of.place, Request::DeleteFunction { account: of.account, function_arn }).await
        }
    }
}

fn target(put: &PutFunctionArgs) -> Result<FunctionTarget> {
    let secret = put.signing_secret_file.as_deref().map(from_file).transpose()?;
    let key = put.secret_access_key_file.as_deref().map(from_file).transpose()?;
    let kind = match put.kind {
        FunctionKindArg::Webhook => {
            anyhow::ensure!(key.is_none(), "an access key is for --kind lambda");
            FunctionKind::Webhook { signing_secret: secret.map(Secret) }
        }
        FunctionKindArg::Lambda => {
            anyhow::ensure!(secret.is_none(), "a signing secret is for --kind webhook");
            let credentials = put.access_key_id.clone().zip(key).map(|(access_key_id, secret)| {
                FunctionCredentials { access_key_id, secret_access_key: Secret(secret) }
            });
            FunctionKind::Lambda { credentials }
        }
    };
    Ok(FunctionTarget { url: put.url.clone(), kind })
}
