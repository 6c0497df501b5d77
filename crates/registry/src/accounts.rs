//! Accounts, access keys and issuing CAs.

use fleethaven_types::{AccountId, Scope, Timestamp};
use prost::Message;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::limits;
use crate::operators;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    AccessKey, AccessKeyDescription, AccessKeyOwner, AccountDescription, CreateAccount, IssuingCa,
    IssuingKey, Listed, PageRequest, SealedKey, Secret, UpdateAccessKey,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// BootstrapAccount: an account that exists stays as it is.
pub(crate) fn bootstrap(store: &Store<'_>, context: &Context, args: &CreateAccount) -> Outcome {
    if store.exists(&keys::account(store.scope.account)) {
        return done(Effects::default());
    }
    create(store, context, args)
}

/// CreateAccount.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &CreateAccount) -> Outcome {
    let account = store.scope.account;
    let key = keys::account(account);
    if store.exists(&key) {
        let arn = format!("arn:aws:iam::{account}:root");
        return Err(Error::exists(format!("account {account} already exists"), account.to_string(), arn));
    }
    syntax::description("account name", &args.name, 128)?;
    if args.pagination_secret.0.len() < 32 {
        return Err(Error::invalid("the pagination secret must have at least 32 characters"));
    }
    let mut effects = Effects::default();
    let record = record::Account {
        name: args.name.clone(),
        created_at: context.now.as_millis(),
        pagination_secret: args.pagination_secret.0.clone(),
    };
    effects.put(key, record.encode_to_vec());
    put_access_key(store, context, &mut effects, &args.access_key)?;
    put_ca(store, &mut effects, &args.issuing_ca)?;
    done(effects)
}

/// PutIssuingCa: certificates are issued by another CA from now on. Those that there are stay as they are.
pub(crate) fn put_issuing_ca(store: &Store<'_>, args: &IssuingCa) -> Outcome {
    let account = store.scope.account;
    if !store.exists(&keys::account(account)) {
        return Err(Error::not_found("Account", &account.to_string()));
    }
    let mut effects = Effects::default();
    put_ca(store, &mut effects, args)?;
    done(effects)
}

/// SealIssuingCa: the key of the account's CA is kept sealed so from now on. Once the account has another CA there is nothing to do.
pub(crate) fn seal_issuing_ca(store: &Store<'_>, args: &IssuingCa) -> Outcome {
    let mut effects = Effects::default();
    let present: Option<record::IssuingCa> = store.record(&keys::issuing_ca(store.scope.account))?;
    let same =
        |ca: &record::IssuingCa| ca.certificate_pem == args.certificate_pem && ca.external_key.is_empty();
    if present.is_some_and(|ca| same(&ca)) && matches!(args.key, IssuingKey::SealedKey(_)) {
        put_ca(store, &mut effects, args)?;
    }
    done(effects)
}

fn put_ca(store: &Store<'_>, effects: &mut Effects, ca: &IssuingCa) -> Result<(), Error> {
    let mut record =
        record::IssuingCa { certificate_pem: ca.certificate_pem.clone(), ..record::IssuingCa::default() };
    match &ca.key {
        IssuingKey::PrivateKeyPem(pem) => record.private_key_pem = pem.0.clone(),
        IssuingKey::ExternalKey(key) => {
            syntax::external_key(key)?;
            record.external_key = key.clone();
        }
        IssuingKey::SealedKey(SealedKey { under, sealed }) => {
            record.sealed_under = under.clone();
            record.sealed_key = sealed.clone();
        }
    }
    effects.put(keys::issuing_ca(store.scope.account), record.encode_to_vec());
    Ok(())
}

/// CreateAccessKey.
pub(crate) fn create_access_key(store: &Store<'_>, context: &Context, args: &AccessKey) -> Outcome {
    let account = store.scope.account;
    if !store.exists(&keys::account(account)) {
        return Err(Error::not_found("Account", &account.to_string()));
    }
    let mut effects = Effects::default();
    put_access_key(store, context, &mut effects, args)?;
    done(effects)
}

fn put_access_key(
    store: &Store<'_>,
    context: &Context,
    effects: &mut Effects,
    args: &AccessKey,
) -> Result<(), Error> {
    let id = &args.access_key_id;
    syntax::access_key_id(id)?;
    if args.secret_access_key.0.is_empty() {
        return Err(Error::invalid("a secret access key must not be empty"));
    }
    let key = keys::access_key(id);
    if store.exists(&key) {
        let message = format!("access key '{id}' already exists");
        return Err(Error::exists(message, id.as_str(), format!("access-key/{id}")));
    }
    let user_name = args.user_name.clone().unwrap_or_default();
    let account = store.scope.account;
    if args.user_name.is_some() {
        operators::required_user(store, &user_name)?;
        let most = limits::ACCESS_KEYS_PER_USER;
        if store.count(&keys::access_key_of_user(account, &user_name, ""), most) >= most {
            return Err(Error::limit(format!(
                "user '{user_name}' has {most} access keys, which is the most allowed"
            )));
        }
        effects.put(keys::access_key_of_user(account, &user_name, id), Vec::new());
    }
    let record = record::AccessKey {
        account: account.as_u64(),
        secret_access_key: args.secret_access_key.0.clone(),
        created_at: context.now.as_millis(),
        inactive: false,
        user_name,
    };
    effects.put(key, record.encode_to_vec());
    effects.put(keys::access_key_of_account(account, id), Vec::new());
    Ok(())
}

/// UpdateAccessKey, of the scope's account only.
pub(crate) fn update_access_key(store: &Store<'_>, args: &UpdateAccessKey) -> Outcome {
    let id = &args.access_key_id;
    let mut record = owned_access_key(store, id)?;
    let mut effects = Effects::default();
    if record.inactive == args.active {
        record.inactive = !args.active;
        effects.put(keys::access_key(id), record.encode_to_vec());
    }
    done(effects)
}

/// An access key of the scope's account.
fn owned_access_key(store: &Store<'_>, id: &str) -> Result<record::AccessKey, Error> {
    syntax::access_key_id(id)?;
    let record: Option<record::AccessKey> = store.record(&keys::access_key(id))?;
    let own = record.filter(|record| record.account == store.scope.account.as_u64());
    own.ok_or_else(|| Error::not_found("Access key", id))
}

/// DeleteAccessKey, of the scope's account only.
pub(crate) fn delete_access_key(store: &Store<'_>, id: &str) -> Outcome {
    let record = owned_access_key(store, id)?;
    let mut effects = Effects::default();
    forget_access_key(store, &mut effects, id, &record.user_name);
    done(effects)
}

/// Removes an access key of the scope's account.
pub(crate) fn forget_access_key(store: &Store<'_>, effects: &mut Effects, id: &str, user_name: &str) {
    let account = store.scope.account;
    effects.delete(keys::access_key_of_account(account, id));
    effects.delete(keys::access_key(id));
    if !user_name.is_empty() {
        effects.delete(keys::access_key_of_user(account, user_name, id));
    }
}

/// The owner of an access key, whatever the scope.
pub(crate) fn access_key(store: &Store<'_>, id: &str) -> Result<QueryReply, Error> {
    if syntax::access_key_id(id).is_err() {
        return Ok(QueryReply::AccessKey(None));
    }
    let Some(record) = store.record::<record::AccessKey>(&keys::access_key(id))? else {
        return Ok(QueryReply::AccessKey(None));
    };
    let account = AccountId::from_u64(record.account)
        .ok_or_else(|| Error::internal("an access key belongs to no account"))?;
    let user = match record.user_name.as_str() {
        "" => None,
        name => match operators::user(store, account, name)? {
            // Users go with their keys: without its user a key is nobody's.
            None => return Ok(QueryReply::AccessKey(None)),
            user => user,
        },
    };
    let secret_access_key = Secret(record.secret_access_key);
    let owner = AccessKeyOwner { account, secret_access_key, active: !record.inactive, user };
    Ok(QueryReply::AccessKey(Some(Box::new(owner))))
}

/// The account's access keys, in the order of their ids.
pub(crate) fn list_access_keys(
    store: &Store<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let prefix = keys::access_key_of_account(store.scope.account, "");
    let (pairs, next) = page::read(store, &Listing::new("ListAccessKeys", &[], prefix), page, now)?;
    let ids = pairs.iter().filter_map(|(key, _)| keys::last_part(key));
    let items = ids.map(|id| described_access_key(store, id)).collect::<Result<_, _>>()?;
    Ok(QueryReply::AccessKeys(Listed { items, next }))
}

/// The access keys of a user of the scope's account: a quota bounds them.
pub(crate) fn access_keys_of_user(store: &Store<'_>, user: &str) -> Result<QueryReply, Error> {
    operators::required_user(store, user)?;
    let pairs = store.all(&keys::access_key_of_user(store.scope.account, user, ""));
    let ids = pairs.iter().filter_map(|(key, _)| keys::last_part(key));
    let items = ids.map(|id| described_access_key(store, id)).collect::<Result<_, _>>()?;
    Ok(QueryReply::AccessKeys(Listed { items, next: None }))
}

fn described_access_key(store: &Store<'_>, id: &str) -> Result<AccessKeyDescription, Error> {
    let record = owned_access_key(store, id)?;
    Ok(AccessKeyDescription {
        access_key_id: id.to_owned(),
        active: !record.inactive,
        user_name: Some(record.user_name).filter(|name| !name.is_empty()),
        created_at: Timestamp(record.created_at),
    })
}

/// The CA that issues the account's certificates.
pub(crate) fn issuing_ca(store: &Store<'_>) -> Result<QueryReply, Error> {
    let record: Option<record::IssuingCa> = store.record(&keys::issuing_ca(store.scope.account))?;
    let ca = record.map(|ca| {
        let key = match (ca.external_key.is_empty(), ca.sealed_key.is_empty()) {
            (false, _) => IssuingKey::ExternalKey(ca.external_key),
            (true, false) => {
                IssuingKey::SealedKey(SealedKey { under: ca.sealed_under, sealed: ca.sealed_key })
            }
            (true, true) => IssuingKey::PrivateKeyPem(Secret(ca.private_key_pem)),
        };
        Box::new(IssuingCa { certificate_pem: ca.certificate_pem, key, sealed_under: None })
    });
    Ok(QueryReply::IssuingCa(ca))
}

/// Every account.
pub(crate) fn list(store: &Store<'_>) -> Result<QueryReply, Error> {
    let mut accounts = Vec::new();
    for (key, value) in store.all(&keys::accounts_prefix()) {
        let record: record::Account = record::decode(&value)?;
        let Some(account) = keys::last_part(&key).and_then(|id| id.parse().ok()) else { continue };
        let created_at = Timestamp(record.created_at);
        accounts.push(AccountDescription { account, name: record.name, created_at });
    }
    Ok(QueryReply::Accounts(accounts))
}

/// Every scope in which something was ever created.
pub(crate) fn scopes(store: &Store<'_>) -> QueryReply {
    let pairs = store.all(&keys::scopes_prefix());
    QueryReply::Scopes(pairs.iter().filter_map(|(key, _)| scope_of(key)).collect())
}

/// The scopes in which a certificate is registered.
pub(crate) fn certificate_owners(store: &Store<'_>, certificate_id: &str) -> Result<QueryReply, Error> {
    let id = syntax::certificate_id(certificate_id)?;
    let pairs = store.all(&keys::certificate_owners(&id));
    Ok(QueryReply::Scopes(pairs.iter().filter_map(|(key, _)| scope_of(key)).collect()))
}

/// The scope that the last two parts of a key name.
fn scope_of(key: &[u8]) -> Option<Scope> {
    let mut parts = keys::parse(key)?.parts;
    let region = parts.pop()?.parse().ok()?;
    Some(Scope { account: parts.pop()?.parse().ok()?, region })
}

#[cfg(test)]
mod tests;
