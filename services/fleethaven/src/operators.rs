//! What operators do with accounts, access keys, users, roles, connections, functions and server certificates: the request, and how it
//! is answered from the metadata.
//!
//! The same request is answered in the command's own process, on a data directory or through a cluster's metadata store,
//! or in the process that runs, which gets it at its admin port.

use anyhow::{Context, Result, bail};
use fleethaven_audit::Filter;
use fleethaven_daemon::clock;
use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::{
    AccessKey, Connection, CreateAccount, CreateRole, CreateUser, DeleteRole, DeleteUser, FunctionTarget,
    IssuingCa, IssuingKey, OperatorPolicyName, PolicyHolder, PutConnection, PutFunction, PutOperatorPolicy,
    Secret, UpdateAccessKey, UpdateRole,
};
use fleethaven_registry::{Action, Command, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::{AccountId, Region, Scope};
use fleethaven_usage::{By, Days};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::certificates;
use crate::issuing;
use crate::server_certificates::checked;
use crate::usage;

mod lines;
mod listings;
mod port;
mod uploads;

pub(crate) use lines::{Line, lines};
pub(crate) use listings::{access_keys, connections};
pub(crate) use port::{Kept, operator, reader};
pub(crate) use uploads::requests as upload;

use lines::{
    access_key, account, connection, credentials, function, operator_policy, role, server_certificate, user,
};
use listings::{accounts, functions, roles, server_certificates, users};

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
    /// The input of a task that registers things will be uploaded.
    BeginRegistrationUpload {
        account: Option<AccountId>,
        region: Region,
        task_id: String,
        template_body: String,
    },
    PutRegistrationInput {
        account: Option<AccountId>,
        region: Region,
        task_id: String,
        piece: u64,
        /// In base64.
        data: String,
    },
    StartUploadedRegistration {
        account: Option<AccountId>,
        region: Region,
        task_id: String,
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

/// Carries out a request. An account counts as made when everything that answers for it knows it.
pub(crate) async fn answer(metadata: &dyn Metadata, request: Request) -> Result<Vec<Line>> {
    match request {
        Request::CreateAccount { account, name } => {
            let arguments = new_account(account, name)?;
            let key = arguments.access_key.clone();
            execute(metadata, account, Action::CreateAccount(Box::new(arguments))).await?;
            Ok(vec![credentials(account, key)])
        }
        Request::ListAccounts => Ok(accounts(metadata).await?.into_iter().map(account).collect()),
        Request::ListDeadLetters { .. }
        | Request::RedriveDeadLetters { .. }
        | Request::DeleteDeadLetters { .. } => {
            bail!(
                "dead letters are where messages are: ask a `fleethaven dev` that runs, or the --admin of a `rules-worker`"
            )
        }
        Request::CreateAccessKey { account, user_name } => {
            let account = meant(metadata, account).await?;
            let key = new_access_key(user_name);
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
            match execute(metadata, account, Action::CreateUser(CreateUser { user_name, tags: Vec::new() }))
                .await?
            {
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
        Request::Audit { .. } | Request::Logs { .. } => port::not_kept(&request),
        request @ (Request::BeginRegistrationUpload { .. }
        | Request::PutRegistrationInput { .. }
        | Request::StartUploadedRegistration { .. }) => uploads::answer(metadata, request).await,
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
    match accounts(metadata).await?.as_slice() {
        [only] => Ok(only.account),
        [] => bail!("there is no account yet: make one with `fleethaven account create`"),
        _ => bail!("there are several accounts: name one with --account"),
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
            match metadata.query(Query::new(scope, QueryKind::GetUser(name.clone()))).await? {
                QueryReply::User(Some(user)) => user.policies,
                QueryReply::User(None) => bail!("User '{name}' does not exist"),
                _ => bail!("an answer of another kind"),
            }
        }
        PolicyHolder::Role(name) => {
            match metadata.query(Query::new(scope, QueryKind::GetRole(name.clone()))).await? {
                QueryReply::Role(Some(role)) => role.policies,
                QueryReply::Role(None) => bail!("Role '{name}' does not exist"),
                _ => bail!("an answer of another kind"),
            }
        }
    };
    Ok(policies.into_iter().map(operator_policy).collect())
}

/// A new account's arguments: with an access key, an issuing CA and secrets of its own.
pub(crate) fn new_account(account: AccountId, name: String) -> Result<CreateAccount> {
    let (certificate_pem, private_key_pem) =
        certificates::issuing_ca(&account.to_string(), clock::now().as_secs())?;
    Ok(CreateAccount {
        name,
        access_key: new_access_key(None),
        issuing_ca: IssuingCa {
            certificate_pem,
            key: IssuingKey::PrivateKeyPem(Secret(private_key_pem)),
            sealed_under: None,
        },
        pagination_secret: Secret(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())),
    })
}

/// A new access key of a user, or of an account itself.
pub(crate) fn new_access_key(user_name: Option<String>) -> AccessKey {
    let random = [*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()];
    fleethaven_operators::new_access_key(random.as_flattened(), user_name)
}

/// Accounts, their keys, connections and functions belong to no region: any one will do.
fn scope(account: AccountId) -> Result<Scope> {
    Ok(Scope { account, region: "us-east-1".parse::<Region>()? })
}
