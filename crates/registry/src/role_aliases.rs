//! Rules of role aliases (security.md section 8).

use std::collections::BTreeSet;

use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    CreateRoleAlias, Listed, PageRequest, RoleAliasDescription, RoleAliasNameAndArn, UpdateRoleAlias,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "rolealias";
/// How long credentials are valid where nothing is said, in seconds.
const DEFAULT_SECS: u64 = 3600;

/// CreateRoleAlias.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateRoleAlias) -> Outcome {
    let name = &args.role_alias;
    syntax::authorizer_name("roleAlias", name)?;
    let arn = store.arn(KIND, name);
    let key = keys::role_alias(store.scope, name);
    if store.exists(&key) {
        return Err(Error::exists(format!("Role alias '{name}' already exists"), name.as_str(), arn));
    }
    let now = context.now.as_millis();
    let alias = record::RoleAlias {
        role_arn: args.role_arn.clone(),
        duration_secs: args.credential_duration_seconds.unwrap_or(DEFAULT_SECS),
        created_at: now,
        modified_at: now,
    };
    check(&alias)?;
    let most = context.limits.role_aliases;
    if store.count(&keys::role_aliases_prefix(store.scope), most) >= most {
        return Err(Error::limit(format!("there are {most} role aliases, which is the most allowed")));
    }
    let mut effects = Effects::default();
    effects.put(key, alias.encode_to_vec());
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    Ok((told(store, name), effects))
}

/// UpdateRoleAlias. Credentials that were given out stay as they are.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateRoleAlias) -> Outcome {
    let mut alias = required(store, &args.role_alias)?;
    alias.role_arn = args.role_arn.clone().unwrap_or(alias.role_arn);
    alias.duration_secs = args.credential_duration_seconds.unwrap_or(alias.duration_secs);
    alias.modified_at = context.now.as_millis();
    check(&alias)?;
    let mut effects = Effects::default();
    effects.put(keys::role_alias(store.scope, &args.role_alias), alias.encode_to_vec());
    Ok((told(store, &args.role_alias), effects))
}

fn check(alias: &record::RoleAlias) -> Result<(), Error> {
    let role = &alias.role_arn;
    let is_role = role.starts_with("arn:") && role.contains(":role/");
    if !(20..=2048).contains(&role.len()) || !is_role {
        return Err(Error::invalid("roleArn must be the ARN of a role, of 20 to 2048 characters"));
    }
    if !(900..=43_200).contains(&alias.duration_secs) {
        return Err(Error::invalid("credentialDurationSeconds must be 900 to 43200"));
    }
    Ok(())
}

/// DeleteRoleAlias.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    required(store, name)?;
    let mut effects = Effects::default();
    effects.delete(keys::role_alias(store.scope, name));
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

/// DescribeRoleAlias.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    let alias = required(store, name)?;
    Ok(QueryReply::RoleAlias(Box::new(RoleAliasDescription {
        role_alias: name.to_owned(),
        role_alias_arn: store.arn(KIND, name),
        role_arn: alias.role_arn,
        credential_duration_seconds: alias.duration_secs,
        created_at: Timestamp(alias.created_at),
        modified_at: Timestamp(alias.modified_at),
    })))
}

/// ListRoleAliases, by name.
pub(crate) fn list(
    store: &Store<'_>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let prefix = keys::role_aliases_prefix(store.scope);
    let pairs = store.all(&prefix);
    let names: BTreeSet<_> =
        pairs.iter().filter_map(|(key, _)| Some(keys::last_part(key)?.to_owned())).collect();
    let filters = [page::order_name(ascending)];
    let listing = Listing::new("ListRoleAliases", &filters, prefix);
    let (items, next) = page::of(store, &listing, names, ascending, page, now)?;
    Ok(QueryReply::RoleAliases(Listed { items, next }))
}

fn required(store: &Store<'_>, name: &str) -> Result<record::RoleAlias, Error> {
    syntax::authorizer_name("roleAlias", name)?;
    let alias = store.record(&keys::role_alias(store.scope, name))?;
    alias.ok_or_else(|| Error::not_found("Role alias", name))
}

fn told(store: &Store<'_>, name: &str) -> Reply {
    let (role_alias, role_alias_arn) = (name.to_owned(), store.arn(KIND, name));
    Reply::RoleAlias(Box::new(RoleAliasNameAndArn { role_alias, role_alias_arn }))
}

#[cfg(test)]
mod tests;
