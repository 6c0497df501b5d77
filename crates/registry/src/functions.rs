//! What is called where AWS would run Lambda functions: ARNs and their targets, of each account.

use fleethaven_types::{AccountId, Timestamp};
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::keys;
use crate::limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    FunctionCredentials, FunctionDescription, FunctionKind, FunctionTarget, Listed, PageRequest, PutFunction,
    Secret,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// Checks the ARN of a function and the address that it is mapped to.
///
/// # Errors
/// `InvalidRequestException`, with the form that is expected.
pub fn check(arn: &str, url: &str) -> Result<(), Error> {
    syntax::function_arn(arn)?;
    syntax::function_url(url)
}

/// PutFunction.
pub(crate) fn put(store: &Store<'_>, context: &Context, args: &PutFunction) -> Outcome {
    let account = store.scope.account;
    if !store.exists(&keys::account(account)) {
        return Err(Error::not_found("Account", &account.to_string()));
    }
    let arn = &args.function_arn;
    check(arn, &args.target.url)?;
    let key = keys::function(account, arn);
    let before: Option<record::Function> = store.record(&key)?;
    if before.is_none() && store.all(&keys::functions_of_account(account)).len() >= limits::FUNCTIONS {
        let most = limits::FUNCTIONS;
        return Err(Error::limit(format!("an account has at most {most} functions")));
    }
    let mut record = record::Function {
        url: args.target.url.clone(),
        created_at: before.as_ref().map_or(context.now.as_millis(), |before| before.created_at),
        ..record::Function::default()
    };
    match &args.target.kind {
        FunctionKind::Webhook { signing_secret } => {
            let given = signing_secret.as_ref().map(|secret| secret.0.clone());
            let kept = || before.map(|before| before.signing_secret).filter(|secret| !secret.is_empty());
            record.signing_secret = given.or_else(kept).unwrap_or_else(|| hex::encode(context.random));
            if !(16..=256).contains(&record.signing_secret.len()) {
                return Err(Error::invalid("a signing secret has 16 to 256 characters"));
            }
        }
        FunctionKind::Lambda { credentials } => {
            record.lambda = true;
            if let Some(FunctionCredentials { access_key_id, secret_access_key }) = credentials {
                if access_key_id.is_empty() || secret_access_key.0.is_empty() {
                    return Err(Error::invalid("an access key has an id and a secret"));
                }
                record.access_key_id.clone_from(access_key_id);
                record.secret_access_key.clone_from(&secret_access_key.0);
            }
        }
    }
    let mut effects = Effects::default();
    effects.put(key, record.encode_to_vec());
    Ok((Reply::Function(Box::new(describe(arn, record))), effects))
}

/// DeleteFunction.
pub(crate) fn delete(store: &Store<'_>, arn: &str) -> Outcome {
    let key = keys::function(store.scope.account, arn);
    if !store.exists(&key) {
        return Err(Error::not_found("Function", arn));
    }
    let mut effects = Effects::default();
    effects.delete(key);
    done(effects)
}

/// The account's functions, in the order of their ARNs.
pub(crate) fn list(store: &Store<'_>, page: &PageRequest, now: Timestamp) -> Result<QueryReply, Error> {
    let prefix = keys::functions_of_account(store.scope.account);
    let (pairs, next) = page::read(store, &Listing::new("ListFunctions", &[], prefix), page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let Some(arn) = keys::last_part(key) else { continue };
        items.push(describe(arn, record::decode(value)?));
    }
    Ok(QueryReply::Functions(Listed { items, next }))
}

/// The account and ARN of a function's key, and what its value says.
pub fn decode(key: &[u8], value: &[u8]) -> Option<(AccountId, FunctionDescription)> {
    let (account, arn) = key_of(key)?;
    Some((account, describe(&arn, record::decode(value).ok()?)))
}

/// The account and ARN that a key below [`functions_prefix`](keys::functions_prefix) names.
pub fn key_of(key: &[u8]) -> Option<(AccountId, String)> {
    let parsed = keys::parse(key)?;
    match (parsed.account, parsed.collection, &parsed.parts[..]) {
        ("global", "function", [account, arn]) => Some((account.parse().ok()?, (*arn).to_owned())),
        _ => None,
    }
}

fn describe(arn: &str, record: record::Function) -> FunctionDescription {
    let kind = if record.lambda {
        let id = record.access_key_id;
        FunctionKind::Lambda {
            credentials: (!id.is_empty()).then_some(FunctionCredentials {
                access_key_id: id,
                secret_access_key: Secret(record.secret_access_key),
            }),
        }
    } else {
        FunctionKind::Webhook { signing_secret: Some(Secret(record.signing_secret)) }
    };
    FunctionDescription {
        function_arn: arn.to_owned(),
        target: FunctionTarget { url: record.url, kind },
        created_at: Timestamp(record.created_at),
    }
}

#[cfg(test)]
mod tests;
