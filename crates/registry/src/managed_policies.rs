//! Managed policies: policies of an account that its users and roles share, each with a few versions of which one counts.
//! IAM's customer managed policies; policies of AWS's own there are none.

use fleethaven_policy::PolicyDocument;
use fleethaven_types::{AccountId, Timestamp};
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::ids;
use crate::keys;
use crate::limits;
use crate::operator_tags;
use crate::operators::{conflict, limit, policy_limits, required_account, required_holder};
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record::{self, ManagedPolicy, ManagedPolicyVersion};
use crate::shapes::{
    CreateManagedPolicy, CreateManagedPolicyVersion, Listed, ManagedPolicyDescription,
    ManagedPolicyVersionDescription, ManagedPolicyVersionName, OperatorPolicy, OperatorPolicyName,
    PageRequest, PolicyHolder,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// CreateManagedPolicy.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateManagedPolicy) -> Outcome {
    let account = required_account(store)?;
    let name = &args.policy_name;
    syntax::policy_name(name)?;
    let key = keys::managed_policy(account, name);
    if store.exists(&key) {
        let arn = format!("arn:aws:iam::{account}:policy/{name}");
        return Err(Error::exists(format!("Policy '{name}' already exists"), name.as_str(), arn));
    }
    syntax::description("description", &args.description, 1000)?;
    check(&args.policy_document)?;
    limit(
        store,
        &keys::managed_policies(account),
        limits::MANAGED_POLICIES,
        "an account",
        "managed policies",
    )?;
    let now = context.now.as_millis();
    let version = ManagedPolicyVersion { number: 1, document: args.policy_document.clone(), created_at: now };
    let record = ManagedPolicy {
        policy_id: ids::unique("ANPA", &context.random),
        created_at: now,
        modified_at: now,
        description: args.description.clone(),
        versions: vec![version],
        default_version: 1,
        next_version: 2,
        tags: operator_tags::initial(context, &args.tags)?,
    };
    put(store, name, record)
}

/// DeleteManagedPolicy: with its versions; nobody may have it.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    required(store, name)?;
    let account = store.scope.account;
    if ["user", "role"].iter().any(|kind| store.any(&keys::holder_of_policy(account, kind, name, ""))) {
        return Err(conflict(format!("Policy '{name}' is attached: detach it from everybody first")));
    }
    let mut effects = Effects::default();
    effects.delete(keys::managed_policy(account, name));
    done(effects)
}

/// CreateManagedPolicyVersion.
pub(crate) fn create_version(
    store: &Store<'_>,
    context: &Context,
    args: &CreateManagedPolicyVersion,
) -> Outcome {
    let mut record = required(store, &args.policy_name)?;
    check(&args.policy_document)?;
    let most = limits::MANAGED_POLICY_VERSIONS;
    if record.versions.len() >= most {
        return Err(Error::limit(format!("a managed policy has at most {most} versions: delete one first")));
    }
    let (number, now) = (record.next_version, context.now.as_millis());
    let document = args.policy_document.clone();
    record.versions.push(ManagedPolicyVersion { number, document, created_at: now });
    (record.next_version, record.modified_at) = (number.saturating_add(1), now);
    if args.set_as_default {
        record.default_version = number;
    }
    put(store, &args.policy_name, record)
}

/// SetDefaultManagedPolicyVersion.
pub(crate) fn set_default(store: &Store<'_>, context: &Context, args: &ManagedPolicyVersionName) -> Outcome {
    let mut record = required(store, &args.policy_name)?;
    known(&record, args)?;
    (record.default_version, record.modified_at) = (args.version, context.now.as_millis());
    put(store, &args.policy_name, record).map(|(_, effects)| (Reply::Done, effects))
}

/// DeleteManagedPolicyVersion.
pub(crate) fn delete_version(
    store: &Store<'_>,
    context: &Context,
    args: &ManagedPolicyVersionName,
) -> Outcome {
    let mut record = required(store, &args.policy_name)?;
    known(&record, args)?;
    if record.default_version == args.version {
        return Err(conflict("the default version of a policy cannot be deleted".to_owned()));
    }
    record.versions.retain(|version| version.number != args.version);
    record.modified_at = context.now.as_millis();
    put(store, &args.policy_name, record).map(|(_, effects)| (Reply::Done, effects))
}

/// AttachManagedPolicy.
pub(crate) fn attach(store: &Store<'_>, args: &OperatorPolicyName) -> Outcome {
    let OperatorPolicyName { holder, policy_name } = args;
    required_holder(store, holder)?;
    required(store, policy_name)?;
    let account = store.scope.account;
    let key = keys::attached_policy(account, holder, policy_name);
    let mut effects = Effects::default();
    if !store.exists(&key) {
        let all = keys::attached_policy(account, holder, "");
        limit(store, &all, limits::ATTACHED_POLICIES, "a user or role", "managed policies")?;
        effects.put(key, Vec::new());
        effects.put(keys::holder_of_policy(account, holder.kind(), policy_name, holder.name()), Vec::new());
    }
    done(effects)
}

/// DetachManagedPolicy.
pub(crate) fn detach(store: &Store<'_>, args: &OperatorPolicyName) -> Outcome {
    let OperatorPolicyName { holder, policy_name } = args;
    required_holder(store, holder)?;
    if !store.exists(&keys::attached_policy(store.scope.account, holder, policy_name)) {
        return Err(Error::not_found("Attached policy", policy_name));
    }
    let mut effects = Effects::default();
    forget_attachment(store, &mut effects, holder, policy_name);
    done(effects)
}

/// Takes a managed policy that it has from a user or role.
pub(crate) fn forget_attachment(
    store: &Store<'_>,
    effects: &mut Effects,
    holder: &PolicyHolder,
    policy_name: &str,
) {
    let account = store.scope.account;
    effects.delete(keys::attached_policy(account, holder, policy_name));
    effects.delete(keys::holder_of_policy(account, holder.kind(), policy_name, holder.name()));
}

/// What counts of the managed policies of a user or role, by name.
pub(crate) fn attached(
    store: &Store<'_>,
    account: AccountId,
    holder: &PolicyHolder,
) -> Result<Vec<OperatorPolicy>, Error> {
    let mut policies = Vec::new();
    for (key, _) in store.all(&keys::attached_policy(account, holder, "")) {
        let Some(policy_name) = keys::last_part(&key).map(str::to_owned) else { continue };
        let record = store.record::<ManagedPolicy>(&keys::managed_policy(account, &policy_name))?;
        let document = record.and_then(|mut record| {
            let at = record.versions.iter().position(|version| version.number == record.default_version)?;
            Some(record.versions.swap_remove(at).document)
        });
        let gone =
            || Error::internal(format!("the managed policy '{policy_name}' is attached and not there"));
        let policy_document = document.ok_or_else(gone)?;
        policies.push(OperatorPolicy { policy_name, policy_document });
    }
    Ok(policies)
}

/// GetManagedPolicy.
pub(crate) fn get(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    let record = store.record(&keys::managed_policy(store.scope.account, name))?;
    Ok(QueryReply::ManagedPolicy(record.map(|record| Box::new(described(store, name, record)))))
}

/// Managed policies, by name; without documents, which a page would have too many of.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::managed_policies(store.scope.account);
    let (pairs, next) = page::read(store, &Listing::new("ListManagedPolicies", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(name) = keys::last_part(key) else { continue };
        let mut policy = described(store, name, record::decode(value)?);
        policy.versions.iter_mut().for_each(|version| version.document.clear());
        items.push(policy);
    }
    Ok(QueryReply::ManagedPolicies(Listed { items, next }))
}

fn put(store: &Store<'_>, name: &str, record: ManagedPolicy) -> Outcome {
    let mut effects = Effects::default();
    effects.put(keys::managed_policy(store.scope.account, name), record.encode_to_vec());
    Ok((Reply::ManagedPolicy(Box::new(described(store, name, record))), effects))
}

fn described(store: &Store<'_>, name: &str, record: ManagedPolicy) -> ManagedPolicyDescription {
    let account = store.scope.account;
    let holders = |kind: &str| -> Vec<String> {
        let pairs = store.all(&keys::holder_of_policy(account, kind, name, ""));
        pairs.iter().filter_map(|(key, _)| keys::last_part(key)).map(str::to_owned).collect()
    };
    let version = |version: ManagedPolicyVersion| ManagedPolicyVersionDescription {
        number: version.number,
        document: version.document,
        created_at: Timestamp(version.created_at),
    };
    ManagedPolicyDescription {
        account,
        policy_name: name.to_owned(),
        policy_id: record.policy_id,
        description: record.description,
        default_version: record.default_version,
        versions: record.versions.into_iter().map(version).collect(),
        created_at: Timestamp(record.created_at),
        modified_at: Timestamp(record.modified_at),
        users: holders("user"),
        roles: holders("role"),
        tags: operator_tags::told(record.tags),
    }
}

pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<ManagedPolicy, Error> {
    syntax::policy_name(name)?;
    let record = store.record(&keys::managed_policy(store.scope.account, name))?;
    record.ok_or_else(|| Error::not_found("Policy", name))
}

fn known(record: &ManagedPolicy, args: &ManagedPolicyVersionName) -> Result<(), Error> {
    match record.versions.iter().any(|version| version.number == args.version) {
        true => Ok(()),
        false => Err(Error::not_found("Policy version", &format!("{}:v{}", args.policy_name, args.version))),
    }
}

fn check(document: &str) -> Result<(), Error> {
    let malformed =
        |error: fleethaven_policy::Error| Error::new(ErrorCode::MalformedPolicyException, error.to_string());
    PolicyDocument::parse(document, &policy_limits()).map_err(malformed)?;
    Ok(())
}

#[cfg(test)]
mod tests;
