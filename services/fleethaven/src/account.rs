//! The account and access key that the first start makes, or `fleethaven account` in a cluster.

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::{AccessKey, CreateAccount, IssuingCa, PageRequest, Secret};
use fleethaven_registry::{Action, Command, Query, QueryKind, QueryReply};
use fleethaven_types::Scope;

use serde::Serialize;

use crate::certificates;
use crate::cli::AccountArgs;
use crate::cluster;
use crate::process;

/// An access key as users get it.
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

/// What `fleethaven account` prints. It holds a secret.
#[derive(Serialize)]
struct Printed {
    account_id: String,
    region: String,
    access_key_id: String,
    secret_access_key: String,
}

/// `fleethaven account`.
pub(crate) async fn run(arguments: AccountArgs) -> Result<()> {
    let scope = arguments.scope.scope();
    let metadata = cluster::ask(&arguments.cluster)?;
    let made = bootstrap(&metadata, scope, clock::now().as_secs()).await?;
    let Credentials { access_key_id, secret_access_key } = made;
    let (account_id, region) = (scope.account.to_string(), scope.region.to_string());
    process::print_line(&Printed { account_id, region, access_key_id, secret_access_key })
}

/// Makes the scope's account unless it exists; returns its first access key.
pub(crate) async fn bootstrap(metadata: &dyn Metadata, scope: Scope, now: u64) -> Result<Credentials> {
    if let Some(credentials) = first_key(metadata, scope).await? {
        return Ok(credentials);
    }
    let (certificate_pem, private_key_pem) = certificates::issuing_ca(&scope.account.to_string(), now)?;
    let account = CreateAccount {
        name: "default".to_owned(),
        access_key: AccessKey { access_key_id: access_key_id(), secret_access_key: Secret(secret(40)) },
        issuing_ca: IssuingCa { certificate_pem, private_key_pem: Secret(private_key_pem) },
        pagination_secret: Secret(secret(64)),
    };
    let action = Action::BootstrapAccount(Box::new(account));
    metadata.execute(Command::new(scope, action)).await.context("cannot make the account")?;
    first_key(metadata, scope).await?.context("the account has no access key")
}

async fn first_key(metadata: &dyn Metadata, scope: Scope) -> Result<Option<Credentials>> {
    let accounts = metadata.query(Query::new(scope, QueryKind::Accounts)).await?;
    let QueryReply::Accounts(accounts) = accounts else { bail!("an answer of another kind") };
    if !accounts.iter().any(|account| account.account == scope.account) {
        return Ok(None);
    }
    let page = PageRequest { token: None, limit: Some(1) };
    let keys = metadata.query(Query::new(scope, QueryKind::ListAccessKeys(page))).await?;
    let QueryReply::Names(keys) = keys else { bail!("an answer of another kind") };
    let Some(access_key_id) = keys.items.into_iter().next() else { return Ok(None) };
    let owner = metadata.query(Query::new(scope, QueryKind::AccessKey(access_key_id.clone()))).await?;
    let QueryReply::AccessKey(Some(owner)) = owner else { bail!("the access key is gone") };
    let secret_access_key = owner.secret_access_key.0;
    Ok(Some(Credentials { access_key_id, secret_access_key }))
}

/// Twenty characters that begin as AWS's long-term keys do.
fn access_key_id() -> String {
    format!("AKIA{}", secret(16).to_uppercase())
}

/// `length` (up to 64) hexadecimal digits of fresh randomness.
fn secret(length: usize) -> String {
    let mut digits = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    digits.truncate(length);
    digits
}
