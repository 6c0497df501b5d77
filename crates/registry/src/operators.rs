//! Users, roles and their policies: who may do what in an account, besides the account itself.
//!
//! They belong to an account and to no region. A session of a role is nowhere stored: it is good as long as the role is
//! there (by its id: a role that is made again under the name is another one) and its keys are.

use fleethaven_policy::{Limits as PolicyLimits, PolicyDocument, Services, TrustPolicy};
use fleethaven_types::{AccountId, Timestamp};
use prost::Message;

use crate::accounts;
use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::keys;
use crate::limits;
use crate::managed_policies;
use crate::operator_tags;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    CreateRole, CreateUser, DeleteRole, DeleteUser, Listed, OperatorPolicy, OperatorPolicyName, PageRequest,
    PolicyHolder, PutOperatorPolicy, RoleDescription, UpdateRole, UserDescription,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// How long sessions of a role may last where nothing is said, in seconds; AWS's.
const DEFAULT_SESSION_SECS: u64 = 3600;

/// CreateUser.
pub(crate) fn create_user(store: &Store<'_>, context: &Context, args: &CreateUser) -> Outcome {
    let (account, name) = (required_account(store)?, args.user_name.as_str());
    syntax::operator_name("user name", name)?;
    let key = keys::user(account, name);
    if store.exists(&key) {
        let arn = format!("arn:aws:iam::{account}:user/{name}");
        return Err(Error::exists(format!("User '{name}' already exists"), name, arn));
    }
    limit(store, &keys::users_of_account(account), limits::USERS, "an account", "users")?;
    let user_id = ids::unique("AIDA", &context.random);
    let tags = operator_tags::initial(context, &args.tags)?;
    let record = record::User { user_id, created_at: context.now.as_millis(), tags };
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    Ok((Reply::User(Box::new(describe_user(account, name, record, Policies::default()))), effects))
}

/// DeleteUser.
pub(crate) fn delete_user(store: &Store<'_>, args: &DeleteUser) -> Outcome {
    let (account, name) = (store.scope.account, &args.user_name);
    required_user(store, name)?;
    let keys_of_user = store.all(&keys::access_key_of_user(account, name, ""));
    let mut effects = Effects::default();
    if !keys_of_user.is_empty() && !args.force {
        return Err(conflict(format!("User '{name}' has access keys: delete them first")));
    }
    for id in keys_of_user.iter().filter_map(|(key, _)| keys::last_part(key)) {
        accounts::forget_access_key(store, &mut effects, id, name);
    }
    delete_policies(store, &mut effects, &PolicyHolder::User(name.clone()), args.force)?;
    effects.delete(keys::user(account, name));
    done(effects)
}

/// CreateRole.
pub(crate) fn create_role(store: &Store<'_>, context: &Context, args: &CreateRole) -> Outcome {
    let account = required_account(store)?;
    let name = &args.role_name;
    syntax::operator_name("role name", name)?;
    let key = keys::role(account, name);
    if store.exists(&key) {
        let arn = format!("arn:aws:iam::{account}:role/{name}");
        return Err(Error::exists(format!("Role '{name}' already exists"), name.as_str(), arn));
    }
    limit(store, &keys::roles_of_account(account), limits::ROLES, "an account", "roles")?;
    let record = record::Role {
        role_id: ids::unique("AROA", &context.random),
        created_at: context.now.as_millis(),
        trust_policy: args.assume_role_policy_document.clone(),
        max_session_secs: args.max_session_duration.unwrap_or(DEFAULT_SESSION_SECS),
        description: args.description.clone(),
        tags: operator_tags::initial(context, &args.tags)?,
    };
    put_role(account, name, record, Policies::default())
}

/// UpdateRole. Sessions that there are last as long as they were made for.
pub(crate) fn update_role(store: &Store<'_>, args: &UpdateRole) -> Outcome {
    let (account, name) = (store.scope.account, &args.role_name);
    let mut record = required_role(store, name)?;
    record.trust_policy = args.assume_role_policy_document.clone().unwrap_or(record.trust_policy);
    record.max_session_secs = args.max_session_duration.unwrap_or(record.max_session_secs);
    record.description = args.description.clone().unwrap_or(record.description);
    let policies = policies(store, account, &PolicyHolder::Role(name.clone()))?;
    put_role(account, name, record, policies)
}

fn put_role(account: AccountId, name: &str, record: record::Role, policies: Policies) -> Outcome {
    let malformed = |error: fleethaven_policy::Error| {
        Error::new(ErrorCode::MalformedPolicyException, format!("the trust policy: {error}"))
    };
    TrustPolicy::parse(&record.trust_policy, &policy_limits()).map_err(malformed)?;
    if !(3600..=43_200).contains(&record.max_session_secs) {
        return Err(Error::invalid("the longest session of a role must be 3600 to 43200 seconds"));
    }
    syntax::description("description", &record.description, 1000)?;
    let mut effects = Effects::default();
    effects.put(keys::role(account, name), record.encode_to_vec());
    Ok((Reply::Role(Box::new(describe_role(account, name, record, policies))), effects))
}

/// DeleteRole: its sessions end with it.
pub(crate) fn delete_role(store: &Store<'_>, args: &DeleteRole) -> Outcome {
    let name = &args.role_name;
    required_role(store, name)?;
    let mut effects = Effects::default();
    delete_policies(store, &mut effects, &PolicyHolder::Role(name.clone()), args.force)?;
    effects.delete(keys::role(store.scope.account, name));
    done(effects)
}

/// PutOperatorPolicy: a policy of the name is replaced.
pub(crate) fn put_policy(store: &Store<'_>, context: &Context, args: &PutOperatorPolicy) -> Outcome {
    required_holder(store, &args.holder)?;
    syntax::policy_name(&args.policy_name)?;
    let malformed =
        |error: fleethaven_policy::Error| Error::new(ErrorCode::MalformedPolicyException, error.to_string());
    PolicyDocument::parse(&args.policy_document, &policy_limits()).map_err(malformed)?;
    let account = store.scope.account;
    let key = keys::operator_policy(account, &args.holder, &args.policy_name);
    if !store.exists(&key) {
        let all = keys::operator_policy(account, &args.holder, "");
        limit(store, &all, limits::OPERATOR_POLICIES, "a user or role", "policies")?;
    }
    let record = record::OperatorPolicy {
        document: args.policy_document.clone(),
        modified_at: context.now.as_millis(),
    };
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    done(effects)
}

/// DeleteOperatorPolicy.
pub(crate) fn delete_policy(store: &Store<'_>, args: &OperatorPolicyName) -> Outcome {
    required_holder(store, &args.holder)?;
    let key = keys::operator_policy(store.scope.account, &args.holder, &args.policy_name);
    if !store.exists(&key) {
        return Err(Error::not_found("Policy", &args.policy_name));
    }
    let mut effects = Effects::default();
    effects.delete(key);
    done(effects)
}

/// A user with its policies.
pub(crate) fn user(
    store: &Store<'_>,
    account: AccountId,
    name: &str,
) -> Result<Option<UserDescription>, Error> {
    let Some(record) = store.record(&keys::user(account, name))? else { return Ok(None) };
    let policies = policies(store, account, &PolicyHolder::User(name.to_owned()))?;
    Ok(Some(describe_user(account, name, record, policies)))
}

/// Users, by name; without documents, which a page would have too many of.
pub(crate) fn list_users(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let account = store.scope.account;
    let prefix = keys::users_of_account(account);
    let (pairs, next) = page::read(store, &Listing::new("ListUsers", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(name) = keys::last_part(key) else { continue };
        let policies = named(store, account, &PolicyHolder::User(name.to_owned()));
        items.push(describe_user(account, name, record::decode(value)?, policies));
    }
    Ok(QueryReply::Users(Listed { items, next }))
}

/// A role with its policies.
pub(crate) fn role(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    Ok(QueryReply::Role(described_role(store, name)?.map(Box::new)))
}

/// Roles, by name; of policies without documents.
pub(crate) fn list_roles(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let account = store.scope.account;
    let prefix = keys::roles_of_account(account);
    let (pairs, next) = page::read(store, &Listing::new("ListRoles", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(name) = keys::last_part(key) else { continue };
        let policies = named(store, account, &PolicyHolder::Role(name.to_owned()));
        items.push(describe_role(account, name, record::decode(value)?, policies));
    }
    Ok(QueryReply::Roles(Listed { items, next }))
}

fn described_role(store: &Store<'_>, name: &str) -> Result<Option<RoleDescription>, Error> {
    let account = store.scope.account;
    let Some(record) = store.record(&keys::role(account, name))? else { return Ok(None) };
    let policies = policies(store, account, &PolicyHolder::Role(name.to_owned()))?;
    Ok(Some(describe_role(account, name, record, policies)))
}

pub(crate) fn required_user(store: &Store<'_>, name: &str) -> Result<record::User, Error> {
    syntax::operator_name("user name", name)?;
    let user = store.record(&keys::user(store.scope.account, name))?;
    user.ok_or_else(|| Error::not_found("User", name))
}

pub(crate) fn required_role(store: &Store<'_>, name: &str) -> Result<record::Role, Error> {
    syntax::operator_name("role name", name)?;
    let role = store.record(&keys::role(store.scope.account, name))?;
    role.ok_or_else(|| Error::not_found("Role", name))
}

pub(crate) fn required_holder(store: &Store<'_>, holder: &PolicyHolder) -> Result<(), Error> {
    match holder {
        PolicyHolder::User(name) => required_user(store, name).map(drop),
        PolicyHolder::Role(name) => required_role(store, name).map(drop),
    }
}

pub(crate) fn required_account(store: &Store<'_>) -> Result<AccountId, Error> {
    let account = store.scope.account;
    match store.exists(&keys::account(account)) {
        true => Ok(account),
        false => Err(Error::not_found("Account", &account.to_string())),
    }
}

/// What decides about a user or role.
#[derive(Default)]
struct Policies {
    own: Vec<OperatorPolicy>,
    attached: Vec<OperatorPolicy>,
}

fn policies(store: &Store<'_>, account: AccountId, holder: &PolicyHolder) -> Result<Policies, Error> {
    let attached = managed_policies::attached(store, account, holder)?;
    let mut own = Vec::new();
    for (key, value) in store.all(&keys::operator_policy(account, holder, "")) {
        let record: record::OperatorPolicy = record::decode(&value)?;
        let policy_name = keys::last_part(&key).unwrap_or_default().to_owned();
        own.push(OperatorPolicy { policy_name, policy_document: record.document });
    }
    Ok(Policies { own, attached })
}

/// The same by name only, without reading what they say.
fn named(store: &Store<'_>, account: AccountId, holder: &PolicyHolder) -> Policies {
    let names = |prefix: &[u8]| {
        let pairs = store.all(prefix);
        let names = pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(str::to_owned);
        let unread = |policy_name| OperatorPolicy { policy_name, policy_document: String::new() };
        names.map(unread).collect()
    };
    Policies {
        own: names(&keys::operator_policy(account, holder, "")),
        attached: names(&keys::attached_policy(account, holder, "")),
    }
}

fn delete_policies(
    store: &Store<'_>,
    effects: &mut Effects,
    holder: &PolicyHolder,
    force: bool,
) -> Result<(), Error> {
    let account = store.scope.account;
    let policies = store.all(&keys::operator_policy(account, holder, ""));
    if !policies.is_empty() && !force {
        return Err(conflict(format!("'{}' has policies: delete them first", holder.name())));
    }
    let attached = store.all(&keys::attached_policy(account, holder, ""));
    if !attached.is_empty() && !force {
        return Err(conflict(format!("'{}' has managed policies: detach them first", holder.name())));
    }
    for (key, _) in policies {
        effects.delete(key);
    }
    for name in attached.iter().filter_map(|(key, _)| keys::last_part(key)) {
        managed_policies::forget_attachment(store, effects, holder, name);
    }
    Ok(())
}

fn describe_user(
    account: AccountId,
    name: &str,
    record: record::User,
    policies: Policies,
) -> UserDescription {
    UserDescription {
        account,
        user_name: name.to_owned(),
        user_id: record.user_id,
        created_at: Timestamp(record.created_at),
        policies: policies.own,
        attached: policies.attached,
        tags: operator_tags::told(record.tags),
    }
}

fn describe_role(
    account: AccountId,
    name: &str,
    record: record::Role,
    policies: Policies,
) -> RoleDescription {
    RoleDescription {
        account,
        role_name: name.to_owned(),
        role_id: record.role_id,
        assume_role_policy_document: record.trust_policy,
        max_session_duration: record.max_session_secs,
        description: record.description,
        created_at: Timestamp(record.created_at),
        policies: policies.own,
        attached: policies.attached,
        tags: operator_tags::told(record.tags),
    }
}

/// What is taken for a policy of an operator.
pub(crate) fn policy_limits() -> PolicyLimits {
    PolicyLimits {
        characters: limits::OPERATOR_POLICY_CHARACTERS,
        services: Services::Any,
        ..PolicyLimits::default()
    }
}

pub(crate) fn limit(
    store: &Store<'_>,
    prefix: &[u8],
    most: usize,
    whose: &str,
    what: &str,
) -> Result<(), Error> {
    match store.count(prefix, most) >= most {
        true => Err(Error::limit(format!("{whose} has at most {most} {what}"))),
        false => Ok(()),
    }
}

pub(crate) fn conflict(message: String) -> Error {
    Error::new(ErrorCode::DeleteConflictException, message)
}

#[cfg(test)]
mod tests;
