//! What operators do with accounts, access keys, users, roles, connections, functions and server certificates: the request, and how it is answered from the metadata.
//!
//! The same request is answered in the command's own process, on a data directory or through a cluster's metadata store,
//! or in the process that runs, which gets it at its admin port.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fleethaven_audit::{Filter, Journal, Record};
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_logging::{Entry, Logs};
use fleethaven_registry::shapes::{
    AccessKey, AccessKeyDescription, AccountDescription, Connection, ConnectionDescription, ConnectionTls,
    CreateAccount, CreateRole, DeleteRole, DeleteUser, FunctionDescription, FunctionKind, FunctionTarget,
    IssuingCa, IssuingKey, OperatorPolicy, OperatorPolicyName, PageRequest, PolicyHolder, PutConnection,
    PutFunction, PutOperatorPolicy, RoleDescription, Secret, ServerCertificateDescription, UpdateAccessKey,
    UpdateRole, UserDescription,
};
use fleethaven_registry::{Action, Command, Query, QueryKind, QueryReply, Reply};
use fleethaven_storage::RuleQueue;
use fleethaven_telemetry::admin::Operator;
use fleethaven_types::{AccountId, Region, Scope};
use fleethaven_usage::summary::Sum;
use fleethaven_usage::{By, Days};
use serde::{Deserialize, Serialize};

use crate::audit;
use crate::certificates;
use crate::dead_letters::{self, DeadLetterLine};
use crate::issuing;
use crate::logs;
use crate::server_certificates::checked;
use crate::usage;

/// What an operator wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    CreateAccount {
        account: AccountId,
        name: String,
    },
    ListAccounts,
    CreateAccessKey {
        account: Option<AccountId>,
        #[serde(default)]
        user_name: Option<String>,
    },
    ListAccessKeys {
        account: Option<AccountId>,
    },
    UpdateAccessKey {
        account: Option<AccountId>,
        access_key_id: String,
        active: bool,
    },
    DeleteAccessKey {
        account: Option<AccountId>,
        access_key_id: String,
    },
    CreateUser {
        account: Option<AccountId>,
        user_name: String,
    },
    ListUsers {
        account: Option<AccountId>,
    },
    DeleteUser {
        account: Option<AccountId>,
        user_name: String,
        force: bool,
    },
    CreateRole {
        account: Option<AccountId>,
        role: CreateRole,
    },
    UpdateRole {
        account: Option<AccountId>,
        role: UpdateRole,
    },
    ListRoles {
        account: Option<AccountId>,
    },
    DeleteRole {
        account: Option<AccountId>,
        role_name: String,
        force: bool,
    },
    PutOperatorPolicy {
        account: Option<AccountId>,
        holder: PolicyHolder,
        policy_name: String,
        policy_document: String,
    },
    ListOperatorPolicies {
        account: Option<AccountId>,
        holder: PolicyHolder,
    },
    DeleteOperatorPolicy {
        account: Option<AccountId>,
        holder: PolicyHolder,
        policy_name: String,
    },
    Audit {
        filter: Filter,
    },
    Logs {
        filter: Box<fleethaven_logging::Filter>,
    },
    PutConnection {
        account: Option<AccountId>,
        name: String,
        connection: Connection,
    },
    ListConnections {
        account: Option<AccountId>,
    },
    DeleteConnection {
        account: Option<AccountId>,
        name: String,
    },
    PutFunction {
        account: Option<AccountId>,
        function_arn: String,
        target: FunctionTarget,
    },
    ListFunctions {
        account: Option<AccountId>,
    },
    DeleteFunction {
        account: Option<AccountId>,
        function_arn: String,
    },
    PutServerCertificate {
        account: Option<AccountId>,
        server_certificate_arn: String,
        certificate_chain: String,
        private_key: Secret,
    },
    ListServerCertificates {
        account: Option<AccountId>,
    },
    DeleteServerCertificate {
        account: Option<AccountId>,
        server_certificate_arn: String,
    },
    ListDeadLetters {
        account: Option<AccountId>,
        limit: usize,
    },
    RedriveDeadLetters {
        ids: Vec<u64>,
    },
    DeleteDeadLetters {
        ids: Vec<u64>,
    },
    PutIssuingCa {
        account: Option<AccountId>,
        ca: IssuingCa,
    },
    ShowIssuingCa {
        account: Option<AccountId>,
    },
    Usage {
        account: Option<AccountId>,
        from: u32,
        to: u32,
        by: Vec<By>,
    },
}

/// A line of an answer. Keys are only ever added: programs depend on them.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Account {
        account_id: String,
        name: String,
        created_at: u64,
    },
    Credentials {
        account_id: String,
        access_key_id: String,
        secret_access_key: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<String>,
    },
    AccessKey {
        account_id: String,
        access_key_id: String,
        status: &'static str,
        created_at: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_name: Option<String>,
    },
    User {
        account_id: String,
        user_name: String,
        user_id: String,
        arn: String,
        created_at: u64,
        policies: Vec<String>,
    },
    Role {
        account_id: String,
        role_name: String,
        role_id: String,
        arn: String,
        created_at: u64,
        max_session_seconds: u64,
        policies: Vec<String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        description: String,
        trust_policy: String,
    },
    OperatorPolicy {
        policy_name: String,
        policy_document: String,
    },
    Audit {
        time: String,
        #[serde(flatten)]
        record: Box<Record>,
    },
    Log {
        id: String,
        #[serde(flatten)]
        entry: Box<Entry>,
    },
    Connection {
        account_id: String,
        name: String,
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        region: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        credentials_id: Option<String>,
        roles: Vec<String>,
        rules: Vec<String>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        options: BTreeMap<String, String>,
        /// Of its certificates, which it has of its own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        certificates: Vec<&'static str>,
    },
    Function {
        account_id: String,
        function_arn: String,
        kind: &'static str,
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signing_secret: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        access_key_id: Option<String>,
    },
    ServerCertificate {
        account_id: String,
        server_certificate_arn: String,
        names: Vec<String>,
        not_after: u64,
        put_at: u64,
        domains: Vec<String>,
    },
    DeadLetter(DeadLetterLine),
    Usage(Box<Sum>),
    IssuingCa {
        account_id: String,
        common_name: String,
        not_after: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        external_key: Option<String>,
        certificate_pem: String,
    },
}

/// What a process keeps in folders of its own.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) journal: Option<Arc<Journal>>,
    pub(crate) logs: Logs,
}

impl Kept {
    /// Answers a request for what is kept here; another one is given back. What this process does not keep is said.
    async fn answer(&self, request: Request) -> Result<Result<Vec<Line>>, Request> {
        match (request, &self.journal, self.logs.dir()) {
            (Request::Audit { filter }, Some(journal), _) => Ok(records(journal, filter).await),
            (Request::Logs { filter }, _, Some(dir)) => Ok(entries(dir, filter).await),
            (request, _, _) => Err(request),
        }
    }
}

/// The request of an operator that came to the admin port.
fn read(body: &Bytes) -> Result<Request, String> {
    serde_json::from_slice(body).map_err(|error| format!("not a request: {error}"))
}

fn answered(answer: Result<Vec<Line>>) -> Result<String, String> {
    answer.and_then(|answer| lines(&answer)).map_err(|error| format!("{error:#}"))
}

/// Answers only what is asked of the folders of a process that has no accounts.
pub(crate) fn reader(kept: Kept) -> Operator {
    Arc::new(move |body: Bytes| {
        let kept = kept.clone();
        Box::pin(async move {
            match kept.answer(read(&body)?).await {
                Ok(answer) => answered(answer),
                Err(request) => answered(not_kept(&request)),
            }
        })
    })
}

/// Why a process cannot answer.
fn not_kept(request: &Request) -> Result<Vec<Line>> {
    match request {
        Request::Audit { .. } => bail!("this process keeps no audit journal: see --audit-dir"),
        Request::Logs { .. } => bail!("this process keeps no log entries in a folder: see --iot-log-dir"),
        _ => bail!("this process keeps no accounts: ask `fleethaven dev` or `api`"),
    }
}

/// Carries out requests that come as JSON, for the admin port. Changes are recorded in the audit journal, where there is one.
pub(crate) fn operator(metadata: Arc<dyn Metadata>, rules: Arc<dyn RuleQueue>, kept: Kept) -> Operator {
    Arc::new(move |body: Bytes| {
        let (metadata, rules, kept) = (metadata.clone(), rules.clone(), kept.clone());
        Box::pin(async move {
            let (name, journal) = (name_of(&body), kept.journal.as_deref());
            let answer = match kept.answer(read(&body)?).await {
                Ok(answer) => answer,
                Err(request) => match dead_letters::answer(rules, request).await {
                    Ok(answer) => answer,
                    Err(request) => answer(&*metadata, request).await,
                },
            };
            let answered = answered(answer);
            if let Some(journal) = journal.filter(|_| changes(&name)) {
                journal.record_durably(audit::command(&name, answered.as_ref().err().cloned())).await;
            }
            answered
        })
    })
}

/// Whether a request of this name changes anything.
fn changes(name: &str) -> bool {
    !name.starts_with("List") && !name.starts_with("Show") && !matches!(name, "Audit" | "Logs" | "Usage")
}

/// What a request is called: `CreateUser`.
fn name_of(body: &Bytes) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let words = body.get("request").and_then(serde_json::Value::as_str).unwrap_or("unknown").split('_');
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    words.map(capital).collect()
}

/// Reads the journal beside the event loops.
async fn records(journal: &Journal, filter: Filter) -> Result<Vec<Line>> {
    let dir = journal.dir().to_owned();
    let records = tokio::task::spawn_blocking(move || fleethaven_audit::read(&dir, &filter)).await?;
    Ok(audit::told(records.context("the journal cannot be read")?))
}

async fn entries(dir: PathBuf, filter: Box<fleethaven_logging::Filter>) -> Result<Vec<Line>> {
    let found = tokio::task::spawn_blocking(move || fleethaven_logging::read(&dir, &filter)).await?;
    Ok(logs::told(found.context("the log entries cannot be read")?))
}

/// One JSON object a line.
pub(crate) fn lines(answer: &[Line]) -> Result<String> {
    let mut text = String::new();
    for line in answer {
        text += &serde_json::to_string(line)?;
        text.push('\n');
    }
    Ok(text)
}

/// Carries out a request. An account counts as made when everything that answers for it knows it.
pub(crate) async fn answer(metadata: &dyn Metadata, request: Request) -> Result<Vec<Line>> {
    match request {
        Request::CreateAccount { account, name } => {
            let arguments = new_account(account, name)?;
            let key = arguments.access_key.clone();
            execute(metadata, account, Action::CreateAccount(Box::new(arguments))).await?;
            Ok(vec![credentials(account, key)])
        }
        Request::ListAccounts => accounts(metadata).await,
        Request::ListDeadLetters { .. }
        | Request::RedriveDeadLetters { .. }
        | Request::DeleteDeadLetters { .. } => {
            bail!(
                "dead letters are where messages are: ask a `fleethaven dev` that runs, or the --admin of a `rules-worker`"
            )
        }
        Request::CreateAccessKey { account, user_name } => {
            let account = meant(metadata, account).await?;
            let key = AccessKey { user_name, ..new_access_key() };
            execute(metadata, account, Action::CreateAccessKey(Box::new(key.clone()))).await?;
            Ok(vec![credentials(account, key)])
        }
        Request::ListAccessKeys { account } => {
            let account = meant(metadata, account).await?;
            let keys = access_keys(metadata, scope(account)?).await?.into_iter();
            Ok(keys.map(|key| access_key(account, key)).collect())
        }
        Request::UpdateAccessKey { account, access_key_id, active } => {
            let account = meant(metadata, account).await?;
            let action = Action::UpdateAccessKey(Box::new(UpdateAccessKey { access_key_id, active }));
            execute(metadata, account, action).await?;
            Ok(Vec::new())
        }
        Request::DeleteAccessKey { account, access_key_id } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteAccessKey(access_key_id)).await?;
            Ok(Vec::new())
        }
        Request::CreateUser { account, user_name } => {
            let account = meant(metadata, account).await?;
            match execute(metadata, account, Action::CreateUser(user_name)).await? {
                Reply::User(made) => Ok(vec![user(*made)]),
                _ => bail!("an answer of another kind"),
            }
        }
        Request::ListUsers { account } => {
            let account = meant(metadata, account).await?;
            Ok(users(metadata, scope(account)?).await?.into_iter().map(user).collect())
        }
        Request::DeleteUser { account, user_name, force } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteUser(DeleteUser { user_name, force })).await?;
            Ok(Vec::new())
        }
        Request::CreateRole { account, role: made } => {
            let account = meant(metadata, account).await?;
            put_role(metadata, account, Action::CreateRole(Box::new(made))).await
        }
        Request::UpdateRole { account, role: changed } => {
            let account = meant(metadata, account).await?;
            put_role(metadata, account, Action::UpdateRole(Box::new(changed))).await
        }
        Request::ListRoles { account } => {
            let account = meant(metadata, account).await?;
            Ok(roles(metadata, scope(account)?).await?.into_iter().map(role).collect())
        }
        Request::DeleteRole { account, role_name, force } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteRole(DeleteRole { role_name, force })).await?;
            Ok(Vec::new())
        }
        Request::PutOperatorPolicy { account, holder, policy_name, policy_document } => {
            let account = meant(metadata, account).await?;
            let put = PutOperatorPolicy { holder, policy_name, policy_document };
            execute(metadata, account, Action::PutOperatorPolicy(Box::new(put))).await?;
            Ok(Vec::new())
        }
        Request::ListOperatorPolicies { account, holder } => {
            let account = meant(metadata, account).await?;
            operator_policies(metadata, scope(account)?, &holder).await
        }
        Request::DeleteOperatorPolicy { account, holder, policy_name } => {
            let account = meant(metadata, account).await?;
            let name = OperatorPolicyName { holder, policy_name };
            execute(metadata, account, Action::DeleteOperatorPolicy(Box::new(name))).await?;
            Ok(Vec::new())
        }
        Request::Audit { .. } | Request::Logs { .. } => not_kept(&request),
        Request::PutIssuingCa { account, ca } => {
            let account = meant(metadata, account).await?;
            let ca = issuing::checked(ca).context("the CA cannot be put")?;
            execute(metadata, account, Action::PutIssuingCa(Box::new(ca))).await?;
            Ok(Vec::new())
        }
        Request::ShowIssuingCa { account } => {
            let account = meant(metadata, account).await?;
            match metadata.query(Query::new(scope(account)?, QueryKind::IssuingCa)).await? {
                QueryReply::IssuingCa(Some(ca)) => Ok(vec![issuing::told(account, *ca)?]),
                QueryReply::IssuingCa(None) => bail!("the account has no issuing CA"),
                _ => bail!("an answer of another kind"),
            }
        }
        Request::Usage { account, from, to, by } => {
            usage::answer(metadata, account, Days { from, to }, &by).await
        }
        Request::PutConnection { account, name, connection } => {
            let account = meant(metadata, account).await?;
            let action = Action::PutConnection(Box::new(PutConnection { name, connection }));
            execute(metadata, account, action).await?;
            Ok(Vec::new())
        }
        Request::ListConnections { account } => {
            let account = meant(metadata, account).await?;
            let connections = connections(metadata, scope(account)?).await?;
            Ok(connections.into_iter().map(|listed| connection(account, listed)).collect())
        }
        Request::DeleteConnection { account, name } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteConnection(name)).await?;
            Ok(Vec::new())
        }
        Request::PutFunction { account, function_arn, target } => {
            let account = meant(metadata, account).await?;
            let action = Action::PutFunction(Box::new(PutFunction { function_arn, target }));
            match execute(metadata, account, action).await? {
                Reply::Function(put) => Ok(vec![function(account, *put)]),
                _ => bail!("an answer of another kind"),
            }
        }
        Request::ListFunctions { account } => {
            let account = meant(metadata, account).await?;
            let functions = functions(metadata, scope(account)?).await?;
            Ok(functions.into_iter().map(|listed| function(account, listed)).collect())
        }
        Request::DeleteFunction { account, function_arn } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteFunction(function_arn)).await?;
            Ok(Vec::new())
        }
        Request::PutServerCertificate { account, server_certificate_arn, certificate_chain, private_key } => {
            let account = meant(metadata, account).await?;
            let put = checked(server_certificate_arn, certificate_chain, private_key)?;
            match execute(metadata, account, Action::PutServerCertificate(Box::new(put))).await? {
                Reply::ServerCertificate(put) => Ok(vec![server_certificate(account, *put)]),
                _ => bail!("an answer of another kind"),
            }
        }
        Request::ListServerCertificates { account } => {
            let account = meant(metadata, account).await?;
            let found = server_certificates(metadata, scope(account)?).await?;
            Ok(found.into_iter().map(|listed| server_certificate(account, listed)).collect())
        }
        Request::DeleteServerCertificate { account, server_certificate_arn } => {
            let account = meant(metadata, account).await?;
            execute(metadata, account, Action::DeleteServerCertificate(server_certificate_arn)).await?;
            Ok(Vec::new())
        }
    }
}

/// Every server certificate of the scope's account.
async fn server_certificates(
    metadata: &dyn Metadata,
    scope: Scope,
) -> Result<Vec<ServerCertificateDescription>> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListServerCertificates(page))).await?;
        let QueryReply::ServerCertificates(page) = reply else { bail!("an answer of another kind") };
        found.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(found);
        }
    }
}

async fn execute(metadata: &dyn Metadata, account: AccountId, action: Action) -> Result<Reply> {
    let executed = metadata.execute(Command::new(scope(account)?, action)).await?;
    metadata.in_force(executed.revision).await;
    Ok(executed.reply)
}

/// The account that is named, or the only one.
async fn meant(metadata: &dyn Metadata, account: Option<AccountId>) -> Result<AccountId> {
    if let Some(account) = account {
        return Ok(account);
    }
    match all_accounts(metadata).await?.as_slice() {
        [only] => Ok(only.account),
        [] => bail!("there is no account yet: make one with `fleethaven account create`"),
        _ => bail!("there are several accounts: name one with --account"),
    }
}

async fn accounts(metadata: &dyn Metadata) -> Result<Vec<Line>> {
    let line = |account: AccountDescription| Line::Account {
        account_id: account.account.to_string(),
        name: account.name,
        created_at: account.created_at.as_secs(),
    };
    Ok(all_accounts(metadata).await?.into_iter().map(line).collect())
}

async fn all_accounts(metadata: &dyn Metadata) -> Result<Vec<AccountDescription>> {
    let nobody = AccountId::from_u64(0).context("an account id")?;
    match metadata.query(Query::new(scope(nobody)?, QueryKind::Accounts)).await? {
        QueryReply::Accounts(accounts) => Ok(accounts),
        _ => bail!("an answer of another kind"),
    }
}

/// Every connection of the scope's account.
pub(crate) async fn connections(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<ConnectionDescription>> {
    let (mut connections, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListConnections(page))).await?;
        let QueryReply::Connections(page) = reply else { bail!("an answer of another kind") };
        connections.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(connections);
        }
    }
}

/// Every function of the scope's account.
async fn functions(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<FunctionDescription>> {
    let (mut functions, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListFunctions(page))).await?;
        let QueryReply::Functions(page) = reply else { bail!("an answer of another kind") };
        functions.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(functions);
        }
    }
}

/// Every user of the scope's account.
async fn users(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<UserDescription>> {
    let (mut users, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListUsers(page))).await?;
        let QueryReply::Users(page) = reply else { bail!("an answer of another kind") };
        users.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(users);
        }
    }
}

/// Every role of the scope's account.
async fn roles(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<RoleDescription>> {
    let (mut roles, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListRoles(page))).await?;
        let QueryReply::Roles(page) = reply else { bail!("an answer of another kind") };
        roles.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(roles);
        }
    }
}

async fn put_role(metadata: &dyn Metadata, account: AccountId, action: Action) -> Result<Vec<Line>> {
    match execute(metadata, account, action).await? {
        Reply::Role(put) => Ok(vec![role(*put)]),
        _ => bail!("an answer of another kind"),
    }
}

async fn operator_policies(
    metadata: &dyn Metadata,
    scope: Scope,
    holder: &PolicyHolder,
) -> Result<Vec<Line>> {
    let policies = match holder {
        PolicyHolder::User(name) => {
            let found = users(metadata, scope).await?.into_iter().find(|user| user.user_name == *name);
            found.with_context(|| format!("User '{name}' does not exist"))?.policies
        }
        PolicyHolder::Role(name) => {
            match metadata.query(Query::new(scope, QueryKind::GetRole(name.clone()))).await? {
                QueryReply::Role(Some(role)) => role.policies,
                QueryReply::Role(None) => bail!("Role '{name}' does not exist"),
                _ => bail!("an answer of another kind"),
            }
        }
    };
    let line = |policy: OperatorPolicy| Line::OperatorPolicy {
        policy_name: policy.policy_name,
        policy_document: policy.policy_document,
    };
    Ok(policies.into_iter().map(line).collect())
}

/// Every access key of the scope's account.
pub(crate) async fn access_keys(metadata: &dyn Metadata, scope: Scope) -> Result<Vec<AccessKeyDescription>> {
    let (mut keys, mut token) = (Vec::new(), None);
    loop {
        let page = PageRequest { token, limit: None };
        let reply = metadata.query(Query::new(scope, QueryKind::ListAccessKeys(page))).await?;
        let QueryReply::AccessKeys(page) = reply else { bail!("an answer of another kind") };
        keys.extend(page.items);
        token = page.next;
        if token.is_none() {
            return Ok(keys);
        }
    }
}

/// A new account's arguments: with an access key, an issuing CA and secrets of its own.
pub(crate) fn new_account(account: AccountId, name: String) -> Result<CreateAccount> {
    let (certificate_pem, private_key_pem) =
        certificates::issuing_ca(&account.to_string(), clock::now().as_secs())?;
    Ok(CreateAccount {
        name,
        access_key: new_access_key(),
        issuing_ca: IssuingCa { certificate_pem, key: IssuingKey::PrivateKeyPem(Secret(private_key_pem)) },
        pagination_secret: Secret(secret(64)),
    })
}

/// A new access key: twenty characters that begin as AWS's long-term keys do, and a secret of forty.
pub(crate) fn new_access_key() -> AccessKey {
    let access_key_id = format!("AKIA{}", secret(16).to_uppercase());
    AccessKey { access_key_id, secret_access_key: Secret(secret(40)), user_name: None }
}

/// `length` (up to 64) hexadecimal digits of fresh randomness.
fn secret(length: usize) -> String {
    let mut digits = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    digits.truncate(length);
    digits
}

fn credentials(account: AccountId, key: AccessKey) -> Line {
    let AccessKey { access_key_id, secret_access_key, user_name } = key;
    Line::Credentials {
        account_id: account.to_string(),
        access_key_id,
        secret_access_key: secret_access_key.0,
        user_name,
    }
}

fn access_key(account: AccountId, key: AccessKeyDescription) -> Line {
    Line::AccessKey {
        account_id: account.to_string(),
        access_key_id: key.access_key_id,
        status: if key.active { "Active" } else { "Inactive" },
        created_at: key.created_at.as_secs(),
        user_name: key.user_name,
    }
}

fn user(user: UserDescription) -> Line {
    Line::User {
        account_id: user.account.to_string(),
        arn: user.arn(),
        user_name: user.user_name,
        user_id: user.user_id,
        created_at: user.created_at.as_secs(),
        policies: names(user.policies),
    }
}

fn role(role: RoleDescription) -> Line {
    Line::Role {
        account_id: role.account.to_string(),
        arn: role.arn(),
        role_name: role.role_name,
        role_id: role.role_id,
        created_at: role.created_at.as_secs(),
        max_session_seconds: role.max_session_duration,
        policies: names(role.policies),
        description: role.description,
        trust_policy: role.assume_role_policy_document,
    }
}

fn names(policies: Vec<OperatorPolicy>) -> Vec<String> {
    policies.into_iter().map(|policy| policy.policy_name).collect()
}

fn connection(account: AccountId, listed: ConnectionDescription) -> Line {
    let ConnectionDescription { name, connection, .. } = listed;
    let ConnectionTls { authorities, identity } = &connection.tls;
    let certificates = [("authorities", authorities.is_some()), ("client", identity.is_some())];
    Line::Connection {
        account_id: account.to_string(),
        name,
        kind: connection.kind,
        endpoint: connection.endpoint,
        region: connection.region,
        credentials_id: connection.credentials.map(|credentials| credentials.id),
        roles: connection.roles,
        rules: connection.rules,
        options: connection.options,
        certificates: certificates.into_iter().filter_map(|(kind, own)| own.then_some(kind)).collect(),
    }
}

fn function(account: AccountId, function: FunctionDescription) -> Line {
    let (kind, signing_secret, access_key_id) = match function.target.kind {
        FunctionKind::Webhook { signing_secret } => ("webhook", signing_secret.map(|secret| secret.0), None),
        FunctionKind::Lambda { credentials } => ("lambda", None, credentials.map(|key| key.access_key_id)),
    };
    Line::Function {
        account_id: account.to_string(),
        function_arn: function.function_arn,
        kind,
        url: function.target.url,
        signing_secret,
        access_key_id,
    }
}

fn server_certificate(account: AccountId, listed: ServerCertificateDescription) -> Line {
    Line::ServerCertificate {
        account_id: account.to_string(),
        server_certificate_arn: listed.server_certificate_arn,
        names: listed.names,
        not_after: listed.not_after.as_secs(),
        put_at: listed.put_at.as_secs(),
        domains: listed.domains,
    }
}

/// Accounts, their keys, connections and functions belong to no region: any one will do.
fn scope(account: AccountId) -> Result<Scope> {
    Ok(Scope { account, region: "us-east-1".parse::<Region>()? })
}
