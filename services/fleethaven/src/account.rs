//! `fleethaven account` and `fleethaven access-key`; and the account and access key that the first start makes.

use anyhow::{Context, Result, bail};
use fleethaven_fabric::Metadata;
use fleethaven_registry::{Action, Command, Query, QueryKind, QueryReply};
use fleethaven_types::Scope;
use serde::Serialize;

use crate::ask::operate;
use crate::cli::{AccessKeyCommand, AccountArgs, AccountCommand};
use crate::cluster;
use crate::kubernetes::{OPAQUE, Secrets};
use crate::operators::{self, Request, new_access_key, new_account};
use crate::process;

/// An access key as users get it.
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// What `fleethaven account` without a further word prints. It holds a secret.
#[derive(Serialize)]
struct Printed {
    account_id: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
}

/// What it prints when the key goes into a Kubernetes secret.
#[derive(Serialize)]
struct Kept {
    account_id: String,
    region: String,
    access_key_id: String,
    secret: String,
    changed: bool,
}

/// `fleethaven account`.
pub(crate) async fn run(arguments: AccountArgs) -> Result<()> {
    match arguments.command {
        Some(AccountCommand::Create(create)) => {
            let request = Request::CreateAccount { account: create.account, name: create.name };
            operate(&create.target.place, request).await
        }
        Some(AccountCommand::List(list)) => operate(&list.target.place, Request::ListAccounts).await,
        None => first(&arguments).await,
    }
}

/// Makes the first account, and prints or keeps its access key.
async fn first(arguments: &AccountArgs) -> Result<()> {
    let scope = arguments.scope.scope();
    let made = bootstrap(&cluster::ask(&arguments.cluster).await?, scope).await?;
    let Credentials { access_key_id, secret_access_key } = made;
    let (account_id, region) = (scope.account.to_string(), scope.region.to_string());
    let Some(secret) = arguments.kubernetes_secret.clone() else {
        return process::print_line(&Printed { account_id, region, access_key_id, secret_access_key });
    };
    // Named as the AWS CLI and the SDKs name their variables: a pod takes them with `envFrom`.
    let data = [
        ("AWS_ACCESS_KEY_ID", access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", secret_access_key),
        ("AWS_REGION", region.clone()),
    ];
    let data = data.map(|(name, value)| (name.to_owned(), value)).into();
    let changed = Secrets::of_this_pod(&arguments.pod)?.keep(&secret, OPAQUE, data).await?;
    process::print_line(&Kept { account_id, region, access_key_id, secret, changed })
}

/// `fleethaven access-key`.
pub(crate) async fn run_access_key(command: AccessKeyCommand) -> Result<()> {
    let (of, request) = match command {
        AccessKeyCommand::Create(create) => {
            let (account, user_name) = (create.of.account, create.user);
            (create.of, Request::CreateAccessKey { account, user_name })
        }
        AccessKeyCommand::List(of) => {
            let account = of.account;
            (of, Request::ListAccessKeys { account })
        }
        AccessKeyCommand::Delete(key) => {
            let (account, access_key_id) = (key.of.account, key.access_key_id);
            (key.of, Request::DeleteAccessKey { account, access_key_id })
        }
        AccessKeyCommand::Activate(key) => {
            let (account, access_key_id) = (key.of.account, key.access_key_id);
            (key.of, Request::UpdateAccessKey { account, access_key_id, active: true })
        }
        AccessKeyCommand::Deactivate(key) => {
            let (account, access_key_id) = (key.of.account, key.access_key_id);
            (key.of, Request::UpdateAccessKey { account, access_key_id, active: false })
        }
    };
    operate(&of.target.place, request).await
}

/// Makes the scope's account unless it exists; returns its own first access key that is active, a new one when none is.
pub(crate) async fn bootstrap(metadata: &dyn Metadata, scope: Scope) -> Result<Credentials> {
    let accounts = metadata.query(Query::new(scope, QueryKind::Accounts)).await?;
    let QueryReply::Accounts(accounts) = accounts else { bail!("an answer of another kind") };
    if !accounts.iter().any(|account| account.account == scope.account) {
        let account = new_account(scope.account, "default".to_owned())?;
        let action = Action::BootstrapAccount(Box::new(account));
        metadata.execute(Command::new(scope, action)).await.context("cannot make the account")?;
    }
    for key in operators::access_keys(metadata, scope)
        .await?
        .into_iter()
        .filter(|key| key.active && key.user_name.is_none())
    {
        let owner =
            metadata.query(Query::new(scope, QueryKind::AccessKey(key.access_key_id.clone()))).await?;
        if let QueryReply::AccessKey(Some(owner)) = owner {
            let secret_access_key = owner.secret_access_key.0;
            return Ok(Credentials { access_key_id: key.access_key_id, secret_access_key });
        }
    }
    let key = new_access_key(None);
    let action = Action::CreateAccessKey(Box::new(key.clone()));
    metadata.execute(Command::new(scope, action)).await.context("cannot make an access key")?;
    Ok(Credentials { access_key_id: key.access_key_id, secret_access_key: key.secret_access_key.0 })
}
