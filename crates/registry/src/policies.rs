//! Rules of policies and their versions (security.md section 9.1).

mod attachments;
mod effective;
mod reads;

pub(crate) use attachments::{
    attach, attach_principal, detach, detach_all, detach_principal, list_attached, list_principal_policies,
    list_principals, list_targets, names_of_target,
};
pub(crate) use effective::{effective, names_of_groups};
pub(crate) use reads::{get, get_version, list, list_versions};

use bytes::Bytes;
use fleethaven_policy::PolicyDocument;
use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys::{self, Order};
use crate::limits::Limits;
use crate::record;
use crate::shapes::{
    CreatePolicy, CreatePolicyVersion, CreatedPolicy, CreatedPolicyVersion, PolicyVersionName,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "policy";

/// CreatePolicy: version 1, which is the default.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreatePolicy) -> Outcome {
    let name = &args.policy_name;
    syntax::policy_name(name)?;
    check_document(&args.policy_document, &context.limits)?;
    let arn = store.arn(KIND, name);
    let key = keys::policy(store.scope, name);
    if store.exists(&key) {
        return Err(Error::exists(format!("Policy '{name}' already exists"), name.as_str(), arn));
    }
    let now = context.now.as_millis();
    let policy = record::Policy {
        default_version: 1,
        last_version: 1,
        created_at: now,
        modified_at: now,
        generation_id: crate::ids::uuid(&context.random),
    };
    let mut effects = Effects::default();
    effects.put(key, policy.encode_to_vec());
    put_version(store, &mut effects, name, 1, &args.policy_document, now);
    for order in Order::BOTH {
        effects.put(keys::policy_by_date(store.scope, order, context.now, name), Bytes::new());
    }
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    let reply = CreatedPolicy {
        policy_name: name.clone(),
        policy_arn: arn,
        policy_document: args.policy_document.clone(),
        policy_version_id: "1".to_owned(),
    };
    Ok((Reply::Policy(Box::new(reply)), effects))
}

/// CreatePolicyVersion: version numbers rise and are never used again.
pub(crate) fn create_version(store: &Store<'_>, context: &Context, args: &CreatePolicyVersion) -> Outcome {
    let name = &args.policy_name;
    syntax::policy_name(name)?;
    check_document(&args.policy_document, &context.limits)?;
    let mut policy = required(store, name)?;
    let most = context.limits.policy_versions;
    if store.count(&keys::versions_of_policy(store.scope, name), most) >= most {
        let message = format!("Policy '{name}' has {most} versions: delete one first");
        return Err(Error::new(ErrorCode::VersionsLimitExceededException, message));
    }
    let now = context.now.as_millis();
    policy.last_version = policy.last_version.saturating_add(1);
    if args.set_as_default {
        policy.default_version = policy.last_version;
        policy.modified_at = now;
    }
    let mut effects = Effects::default();
    put_version(store, &mut effects, name, policy.last_version, &args.policy_document, now);
    effects.put(keys::policy(store.scope, name), policy.encode_to_vec());
    let reply = CreatedPolicyVersion {
        policy_arn: store.arn(KIND, name),
        policy_document: args.policy_document.clone(),
        policy_version_id: policy.last_version.to_string(),
        is_default_version: args.set_as_default,
    };
    Ok((Reply::PolicyVersion(Box::new(reply)), effects))
}

fn put_version(store: &Store<'_>, effects: &mut Effects, name: &str, version: u64, document: &str, now: u64) {
    let record = record::PolicyVersion { document: document.to_owned(), created_at: now };
    effects.put(keys::policy_version(store.scope, name, version), record.encode_to_vec());
}

/// SetDefaultPolicyVersion.
pub(crate) fn set_default(store: &Store<'_>, context: &Context, args: &PolicyVersionName) -> Outcome {
    let (mut policy, version) = required_version(store, &args.policy_name, &args.version_id)?;
    let mut effects = Effects::default();
    if policy.default_version != version {
        policy.default_version = version;
        policy.modified_at = context.now.as_millis();
        effects.put(keys::policy(store.scope, &args.policy_name), policy.encode_to_vec());
    }
    done(effects)
}

/// DeletePolicyVersion: not the default one.
pub(crate) fn delete_version(store: &Store<'_>, args: &PolicyVersionName) -> Outcome {
    let (policy, version) = required_version(store, &args.policy_name, &args.version_id)?;
    if policy.default_version == version {
        return Err(conflict(format!(
            "version {version} of policy '{}' is the default version and cannot be deleted",
            args.policy_name
        )));
    }
    let mut effects = Effects::default();
    effects.delete(keys::policy_version(store.scope, &args.policy_name, version));
    done(effects)
}

/// DeletePolicy: neither attached nor with versions besides the default.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    syntax::policy_name(name)?;
    let policy = required(store, name)?;
    if store.any(&keys::targets_of_policy(store.scope, Order::Oldest, name)) {
        return Err(conflict(format!("Policy '{name}' is still attached")));
    }
    if store.count(&keys::versions_of_policy(store.scope, name), 2) > 1 {
        return Err(conflict(format!("Policy '{name}' has versions besides the default one")));
    }
    let mut effects = Effects::default();
    effects.delete(keys::policy(store.scope, name));
    effects.delete(keys::policy_version(store.scope, name, policy.default_version));
    for order in Order::BOTH {
        effects.delete(keys::policy_by_date(store.scope, order, Timestamp(policy.created_at), name));
    }
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

fn conflict(message: String) -> Error {
    Error::new(ErrorCode::DeleteConflictException, message)
}

fn check_document(document: &str, limits: &Limits) -> Result<(), Error> {
    let limits = fleethaven_policy::Limits {
        characters: limits.policy_characters,
        ..fleethaven_policy::Limits::default()
    };
    let malformed =
        |error: fleethaven_policy::Error| Error::new(ErrorCode::MalformedPolicyException, error.to_string());
    PolicyDocument::parse(document, &limits).map(|_| ()).map_err(malformed)
}

/// The stored policy, or `ResourceNotFoundException`.
fn required(store: &Store<'_>, name: &str) -> Result<record::Policy, Error> {
    store.record(&keys::policy(store.scope, name))?.ok_or_else(|| Error::not_found("Policy", name))
}

fn required_version(store: &Store<'_>, name: &str, id: &str) -> Result<(record::Policy, u64), Error> {
    syntax::policy_name(name)?;
    let digits = !id.is_empty() && id.len() <= 19 && id.bytes().all(|b| b.is_ascii_digit());
    let version = digits.then(|| id.parse().ok()).flatten().ok_or_else(|| {
        Error::invalid(format!("policyVersionId '{}' is not a number", syntax::shortened(id)))
    })?;
    let policy = required(store, name)?;
    if !store.exists(&keys::policy_version(store.scope, name, version)) {
        return Err(Error::not_found("Policy version", &format!("{name}:{id}")));
    }
    Ok((policy, version))
}

/// The version of a policy that `id` names: for callers that have checked that both exist.
fn version(store: &Store<'_>, name: &str, number: u64) -> Result<record::PolicyVersion, Error> {
    let key = keys::policy_version(store.scope, name, number);
    store
        .record(&key)?
        .ok_or_else(|| Error::internal(format!("version {number} of policy '{name}' is missing")))
}

/// The number and document of a policy's default version; `None`: there is no such policy.
pub(crate) fn default_document(store: &Store<'_>, name: &str) -> Result<Option<(u64, String)>, Error> {
    let policy: Option<record::Policy> = store.record(&keys::policy(store.scope, name))?;
    let Some(number) = policy.map(|policy| policy.default_version) else { return Ok(None) };
    Ok(Some((number, version(store, name, number)?.document)))
}

#[cfg(test)]
mod tests;
