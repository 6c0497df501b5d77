//! `fleethaven account` and `fleethaven access-key`; and the account and access key that the first start makes.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_metastore::{Config as MetastoreConfig, Metastore, NoPeers};
use fleethaven_registry::{Action, Command, Limits, Query, QueryKind, QueryReply};
use fleethaven_types::{Profile, Scope};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::{AccessKeyCommand, AccountArgs, AccountCommand, TargetArgs};
use crate::cluster;
use crate::data_dir::DataDir;
use crate::kubernetes::{OPAQUE, Secrets};
use crate::operators::{self, Request, new_access_key, new_account};
use crate::process;

/// How long the process behind an admin port may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

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
            operate(&create.target, request).await
        }
        Some(AccountCommand::List(list)) => operate(&list.target, Request::ListAccounts).await,
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
        AccessKeyCommand::Create(of) => {
            let account = of.account;
            (of, Request::CreateAccessKey { account })
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
    operate(&of.target, request).await
}

/// Has a request carried out where the target says, and prints the answer.
async fn operate(target: &TargetArgs, request: Request) -> Result<()> {
    let answer = match (&target.admin, &target.data_dir, &target.cluster_tls) {
        (Some(admin), ..) => ask_process(admin, &request)?,
        (None, Some(dir), _) => {
            let store = open(&DataDir::open(dir)?).await?;
            let answered = operators::answer(&*store, request).await;
            store.shutdown().await.context("the metadata store did not close in order")?;
            operators::lines(&answered?)?
        }
        (None, None, Some(folder)) => {
            let metadata = cluster::ask_nodes(folder, &target.metastore)?;
            operators::lines(&operators::answer(&metadata, request).await?)?
        }
        (None, None, None) => bail!("name --data-dir, --admin or --metastore"),
    };
    let answer = if target.json { answer } else { readable(&answer)? };
    std::io::stdout().lock().write_all(answer.as_bytes()).context("cannot write to standard output")
}

async fn open(data: &DataDir) -> Result<Arc<Metastore>> {
    let limits = Limits::of(Profile::default());
    let config = MetastoreConfig::new(data.path("metastore"), clock::now, limits);
    Metastore::open(config, Arc::new(NoPeers))
        .await
        .context("cannot open the metadata store: while a process runs on it, use its --admin")
}

/// Has the process behind an admin port carry a request out.
fn ask_process(admin: &str, request: &Request) -> Result<String> {
    let failed = || format!("no answer from --admin {admin}");
    let address = admin.to_socket_addrs().with_context(failed)?.next().with_context(failed)?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN).with_context(failed)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let body = serde_json::to_string(request)?;
    let length = body.len();
    // HTTP/1.0, so that the answer is what comes until the connection ends.
    let head = format!(
        "POST /operator HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).with_context(failed)?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer).with_context(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(failed)?;
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(body.to_owned()),
        Some("404" | "405") => {
            bail!("the process at {admin} keeps no accounts: ask `fleethaven dev` or `api`")
        }
        Some(_) => bail!("{}", body.trim()),
        None => bail!(failed()),
    }
}

/// The answer for people: one line for each object, without its names.
fn readable(answer: &str) -> Result<String> {
    let mut text = String::new();
    for line in answer.lines() {
        let object: Map<String, Value> = serde_json::from_str(line)?;
        let cells =
            object.values().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        text += &cells.collect::<Vec<_>>().join("\t");
        text.push('\n');
    }
    Ok(text)
}

/// Makes the scope's account unless it exists; returns its first access key that is active, a new one when none is.
pub(crate) async fn bootstrap(metadata: &dyn Metadata, scope: Scope) -> Result<Credentials> {
    let accounts = metadata.query(Query::new(scope, QueryKind::Accounts)).await?;
    let QueryReply::Accounts(accounts) = accounts else { bail!("an answer of another kind") };
    if !accounts.iter().any(|account| account.account == scope.account) {
        let account = new_account(scope.account, "default".to_owned())?;
        let action = Action::BootstrapAccount(Box::new(account));
        metadata.execute(Command::new(scope, action)).await.context("cannot make the account")?;
    }
    for key in operators::access_keys(metadata, scope).await?.into_iter().filter(|key| key.active) {
        let owner =
            metadata.query(Query::new(scope, QueryKind::AccessKey(key.access_key_id.clone()))).await?;
        if let QueryReply::AccessKey(Some(owner)) = owner {
            let secret_access_key = owner.secret_access_key.0;
            return Ok(Credentials { access_key_id: key.access_key_id, secret_access_key });
        }
    }
    let key = new_access_key();
    let action = Action::CreateAccessKey(Box::new(key.clone()));
    metadata.execute(Command::new(scope, action)).await.context("cannot make an access key")?;
    Ok(Credentials { access_key_id: key.access_key_id, secret_access_key: key.secret_access_key.0 })
}
