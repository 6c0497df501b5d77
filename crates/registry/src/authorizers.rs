//! Rules of custom authorizers and of the account's default one (security.md section 6.1).

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_types::Timestamp;
use prost::Message;

use crate::command::{Context, Reply};
use crate::domain_configurations;
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    AuthorizerDescription, AuthorizerStatus, AuthorizerSummary, CreateAuthorizer, Listed, PageRequest,
    UpdateAuthorizer,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "authorizer";
/// Keys of one authorizer: enough to change from one to the next.
const MOST_KEYS: usize = 10;
/// Characters of a key's PEM.
const KEY_CHARACTERS: usize = 5120;

/// CreateAuthorizer.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateAuthorizer) -> Outcome {
    let name = &args.authorizer_name;
    syntax::authorizer_name("authorizerName", name)?;
    let arn = store.arn(KIND, name);
    let key = keys::authorizer(store.scope, name);
    if store.exists(&key) {
        return Err(Error::exists(format!("Authorizer '{name}' already exists"), name.as_str(), arn));
    }
    let now = context.now.as_millis();
    let authorizer = record::Authorizer {
        function_arn: args.authorizer_function_arn.clone(),
        token_key_name: args.token_key_name.clone(),
        public_keys: args.token_signing_public_keys.clone(),
        status: args.status.into(),
        signing_disabled: args.signing_disabled,
        caching_for_http: args.enable_caching_for_http,
        created_at: now,
        modified_at: now,
    };
    check(&authorizer)?;
    let most = context.limits.authorizers;
    if store.count(&keys::authorizers_prefix(store.scope), most) >= most {
        return Err(Error::limit(format!("there are {most} authorizers, which is the most allowed")));
    }
    let mut effects = Effects::default();
    effects.put(key, authorizer.encode_to_vec());
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    Ok((told(store, name), effects))
}

/// UpdateAuthorizer.
pub(crate) fn update(store: &Store<'_>, context: &Context, args: &UpdateAuthorizer) -> Outcome {
    let name = &args.authorizer_name;
    let mut authorizer = required(store, name)?;
    authorizer.function_arn = args.authorizer_function_arn.clone().unwrap_or(authorizer.function_arn);
    authorizer.token_key_name = args.token_key_name.clone().or(authorizer.token_key_name);
    authorizer.public_keys = args.token_signing_public_keys.clone().unwrap_or(authorizer.public_keys);
    authorizer.status = args.status.map_or(authorizer.status, i32::from);
    authorizer.caching_for_http = args.enable_caching_for_http.unwrap_or(authorizer.caching_for_http);
    authorizer.modified_at = context.now.as_millis();
    check(&authorizer)?;
    let mut effects = Effects::default();
    effects.put(keys::authorizer(store.scope, name), authorizer.encode_to_vec());
    Ok((told(store, name), effects))
}

/// What holds of every authorizer, whatever was changed.
fn check(authorizer: &record::Authorizer) -> Result<(), Error> {
    let function = &authorizer.function_arn;
    if function.len() > 2048 || !function.starts_with("arn:") {
        return Err(Error::invalid("authorizerFunctionArn must be an ARN of at most 2048 characters"));
    }
    if let Some(name) = &authorizer.token_key_name {
        syntax::token_key_name(name)?;
    }
    check_keys(&authorizer.public_keys)?;
    if authorizer.signing_disabled {
        return Ok(());
    }
    if authorizer.token_key_name.is_none() || authorizer.public_keys.is_empty() {
        return Err(Error::invalid(
            "tokenKeyName and tokenSigningPublicKeys are required unless signing is disabled",
        ));
    }
    Ok(())
}

fn check_keys(keys: &BTreeMap<String, String>) -> Result<(), Error> {
    if keys.len() > MOST_KEYS {
        return Err(Error::invalid(format!("tokenSigningPublicKeys may have {MOST_KEYS} keys")));
    }
    for (name, pem) in keys {
        syntax::signing_key_name(name)?;
        if pem.len() > KEY_CHARACTERS {
            return Err(Error::invalid(format!(
                "the key '{name}' has more than {KEY_CHARACTERS} characters"
            )));
        }
    }
    Ok(())
}

/// DeleteAuthorizer: neither an active one, nor one that something names as its default.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    let authorizer = required(store, name)?;
    let conflict =
        |why: &str| Err(Error::new(ErrorCode::DeleteConflictException, format!("Authorizer '{name}' {why}")));
    if authorizer.status() == AuthorizerStatus::Active {
        return conflict("is ACTIVE: set it INACTIVE first");
    }
    if default_name(store)?.as_deref() == Some(name) {
        return conflict("is the default authorizer: clear that first");
    }
    if let Some(domain) = domain_configurations::names_authorizer(store, name)? {
        return conflict(&format!("is the default one of the domain configuration '{domain}'"));
    }
    let mut effects = Effects::default();
    effects.delete(keys::authorizer(store.scope, name));
    tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    done(effects)
}

/// DescribeAuthorizer.
pub(crate) fn describe(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    Ok(QueryReply::Authorizer(Box::new(description(store, name)?)))
}

/// ListAuthorizers, by name.
pub(crate) fn list(
    store: &Store<'_>,
    status: Option<AuthorizerStatus>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let prefix = keys::authorizers_prefix(store.scope);
    let mut names = BTreeSet::new();
    for (key, value) in store.all(&prefix) {
        let authorizer: record::Authorizer = record::decode(&value)?;
        if status.is_none_or(|status| authorizer.status() == status) {
            names.extend(keys::last_part(&key).map(str::to_owned));
        }
    }
    let wanted = match status {
        None => "",
        Some(AuthorizerStatus::Active) => "active",
        Some(AuthorizerStatus::Inactive) => "inactive",
    };
    let filters = [wanted, page::order_name(ascending)];
    let listing = Listing::new("ListAuthorizers", &filters, prefix);
    let (names, next) = page::of(store, &listing, names, ascending, page, now)?;
    let items = names.into_iter().map(|name| summary(store, name)).collect();
    Ok(QueryReply::Authorizers(Listed { items, next }))
}

/// SetDefaultAuthorizer: refused when there is one.
pub(crate) fn set_default(store: &Store<'_>, name: &str) -> Outcome {
    required(store, name)?;
    if let Some(present) = default_name(store)? {
        let message = format!("'{present}' is the default authorizer already: clear it first");
        return Err(Error::exists(message, present.as_str(), store.arn(KIND, &present)));
    }
    let mut effects = Effects::default();
    let record = record::DefaultAuthorizer { name: name.to_owned() };
    effects.put(keys::default_authorizer(store.scope), record.encode_to_vec());
    Ok((told(store, name), effects))
}

/// ClearDefaultAuthorizer.
pub(crate) fn clear_default(store: &Store<'_>) -> Outcome {
    required_default(store)?;
    let mut effects = Effects::default();
    effects.delete(keys::default_authorizer(store.scope));
    done(effects)
}

/// DescribeDefaultAuthorizer.
pub(crate) fn describe_default(store: &Store<'_>) -> Result<QueryReply, Error> {
    describe(store, &required_default(store)?)
}

fn default_name(store: &Store<'_>) -> Result<Option<String>, Error> {
    let record: Option<record::DefaultAuthorizer> = store.record(&keys::default_authorizer(store.scope))?;
    Ok(record.map(|record| record.name))
}

fn required_default(store: &Store<'_>) -> Result<String, Error> {
    let none = || Error::new(ErrorCode::ResourceNotFoundException, "there is no default authorizer");
    default_name(store)?.ok_or_else(none)
}

/// The authorizer called `name`.
pub(crate) fn required(store: &Store<'_>, name: &str) -> Result<record::Authorizer, Error> {
    syntax::authorizer_name("authorizerName", name)?;
    let authorizer = store.record(&keys::authorizer(store.scope, name))?;
    authorizer.ok_or_else(|| Error::not_found("Authorizer", name))
}

fn told(store: &Store<'_>, name: &str) -> Reply {
    Reply::Authorizer(Box::new(summary(store, name.to_owned())))
}

fn summary(store: &Store<'_>, authorizer_name: String) -> AuthorizerSummary {
    AuthorizerSummary { authorizer_arn: store.arn(KIND, &authorizer_name), authorizer_name }
}

fn description(store: &Store<'_>, name: &str) -> Result<AuthorizerDescription, Error> {
    let authorizer = required(store, name)?;
    Ok(AuthorizerDescription {
        authorizer_name: name.to_owned(),
        authorizer_arn: store.arn(KIND, name),
        status: authorizer.status(),
        authorizer_function_arn: authorizer.function_arn,
        token_key_name: authorizer.token_key_name,
        token_signing_public_keys: authorizer.public_keys,
        created_at: Timestamp(authorizer.created_at),
        modified_at: Timestamp(authorizer.modified_at),
        signing_disabled: authorizer.signing_disabled,
        enable_caching_for_http: authorizer.caching_for_http,
    })
}

#[cfg(test)]
mod tests;
