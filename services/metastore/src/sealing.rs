//! Private keys of issuing CAs: sealed before a command is evaluated, opened when a read is answered. Log, state, snapshots, backups and
//! watches know sealed keys only, whether or not the store as a whole is encrypted.
//!
//! What seals is a key of a file that lies outside of the store, the same on all nodes: any of them may have to open what another one has
//! sealed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_registry::shapes::{CreateAccount, IssuingCa, IssuingKey, SealedKey, Secret};
use fleethaven_registry::{self as registry, Action, Command, Query, QueryKind, QueryReply, View};
use fleethaven_types::{AccountId, Region, Scope, Timestamp};
use fleethaven_vault::KeyFile;
use fleethaven_vault::master::WRAPPING_NONCE;
use parking_lot::RwLock;

use crate::metastore::Metastore;

/// What seals the keys of issuing CAs. It may be replaced while the node runs.
pub struct Sealing {
    keys: RwLock<Option<Arc<KeyFile>>>,
}

impl Sealing {
    /// By the first of these keys; without any, what needs one is refused.
    pub fn new(keys: Option<KeyFile>) -> Arc<Self> {
        Arc::new(Self { keys: RwLock::new(keys.map(Arc::new)) })
    }

    /// Seals by the first of these from now on, and opens by all of them.
    pub fn replace(&self, keys: KeyFile) {
        *self.keys.write() = Some(Arc::new(keys));
    }

    /// The ids of the keys, the one that seals first.
    pub fn ids(&self) -> Vec<String> {
        let keys = self.keys.read();
        keys.iter().flat_map(|keys| keys.all()).map(|key| key.id().to_owned()).collect()
    }

    /// The command with the private key in it sealed.
    pub(crate) fn sealed(&self, mut command: Command) -> Result<Command, CallError> {
        let account = command.scope.account;
        match &mut command.action {
            Action::BootstrapAccount(args) | Action::CreateAccount(args) => {
                let CreateAccount { issuing_ca, .. } = &mut **args;
                self.seal(account, issuing_ca)?;
            }
            Action::PutIssuingCa(ca) => self.seal(account, ca)?,
            _ => {}
        }
        Ok(command)
    }

    fn seal(&self, account: AccountId, ca: &mut IssuingCa) -> Result<(), CallError> {
        let IssuingKey::PrivateKeyPem(pem) = &ca.key else { return Ok(()) };
        let Some(keys) = self.keys.read().clone() else {
            return Err(registry::Error::invalid(
                "the metadata store keeps no private key that it cannot seal: give its nodes --issuing-key-file",
            )
            .into());
        };
        let broken = |_| CallError::Unavailable("the cryptographic library seals nothing".to_owned());
        let mut nonce = [0; WRAPPING_NONCE];
        rand::fill(&mut nonce).map_err(broken)?;
        let key = keys.first();
        let sealed = key.seal(&context(account), pem.0.as_bytes(), nonce).map_err(broken)?;
        ca.key =
            IssuingKey::SealedKey(SealedKey { under: key.id().to_owned(), sealed: STANDARD.encode(sealed) });
        Ok(())
    }

    /// The answer with the private key in it opened, as far as there is a key that opens it.
    pub(crate) fn opened(&self, account: AccountId, mut reply: QueryReply) -> QueryReply {
        if let QueryReply::IssuingCa(Some(ca)) = &mut reply
            && let IssuingKey::SealedKey(sealed) = &ca.key
            && let Some(pem) = self.open(account, sealed)
        {
            ca.sealed_under = Some(sealed.under.clone());
            ca.key = IssuingKey::PrivateKeyPem(pem);
        }
        reply
    }

    fn open(&self, account: AccountId, sealed: &SealedKey) -> Option<Secret> {
        let keys = self.keys.read().clone()?;
        let bytes = STANDARD.decode(&sealed.sealed).ok()?;
        let opened = keys.find(&sealed.under)?.open(&context(account), &bytes)?;
        String::from_utf8(opened).ok().map(Secret)
    }

    /// The key of a CA sealed by the first key, if it was not yet.
    fn resealed(&self, account: AccountId, ca: &IssuingCa) -> Result<Option<IssuingCa>, Unopened> {
        let first = self.ids().into_iter().next();
        let pem = match &ca.key {
            IssuingKey::ExternalKey(_) => return Ok(None),
            IssuingKey::SealedKey(sealed) if Some(&sealed.under) == first.as_ref() => {
                // Told now, not when a device asks for its certificate.
                return self
                    .open(account, sealed)
                    .map(|_| None)
                    .ok_or_else(|| Unopened(sealed.under.clone()));
            }
            IssuingKey::SealedKey(sealed) => {
                self.open(account, sealed).ok_or_else(|| Unopened(sealed.under.clone()))?
            }
            IssuingKey::PrivateKeyPem(pem) => pem.clone(),
        };
        let mut resealed = IssuingCa { key: IssuingKey::PrivateKeyPem(pem), ..ca.clone() };
        Ok(self.seal(account, &mut resealed).is_ok().then_some(resealed))
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealing").field(&self.ids()).finish()
    }
}

/// The id of a key that is not there, or opens nothing.
struct Unopened(String);

/// What the sealed key of an account's CA is bound to.
fn context(account: AccountId) -> Vec<u8> {
    format!("issuing ca of {account}").into_bytes()
}

/// How the keys of issuing CAs are kept, after as many as possible were sealed by the key that seals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Keys that were sealed now: they were plain, or sealed by another key.
    pub changed: u64,
    /// Keys that cannot be opened: the ids of what sealed them, and of how many accounts.
    pub unopened: BTreeMap<String, u64>,
}

impl Metastore {
    /// Has the keys of all issuing CAs sealed by the key that seals. Only what all nodes can open should be asked for.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn seal_issuing_keys(&self) -> Result<Sealed, CallError> {
        let mut found = Sealed::default();
        for (account, ca) in issuing_cas(&self.control.state.now(), (self.clock)())? {
            match self.sealing.resealed(account, &ca) {
                Ok(None) => {}
                Ok(Some(resealed)) => {
                    let action = Action::SealIssuingCa(Box::new(resealed));
                    self.execute(Command::new(scope(account)?, action)).await?;
                    found.changed += 1;
                }
                Err(Unopened(under)) => *found.unopened.entry(under).or_default() += 1,
            }
        }
        Ok(found)
    }
}

/// What seals the keys of the issuing CAs in a state.
pub(crate) fn sealed_under(view: &dyn View, now: Timestamp) -> Result<BTreeSet<String>, CallError> {
    let cas = issuing_cas(view, now)?;
    let sealed = cas.into_iter().filter_map(|(_, ca)| match ca.key {
        IssuingKey::SealedKey(sealed) => Some(sealed.under),
        _ => None,
    });
    Ok(sealed.collect())
}

/// The issuing CAs of all accounts, as they are kept.
fn issuing_cas(view: &dyn View, now: Timestamp) -> Result<Vec<(AccountId, IssuingCa)>, CallError> {
    // Accounts belong to no account themselves: any one will do to ask for them.
    let anyone = AccountId::from_u64(1).ok_or_else(other_kind)?;
    let QueryReply::Accounts(accounts) =
        registry::query(view, &Query::new(scope(anyone)?, QueryKind::Accounts), now)?
    else {
        return Err(other_kind());
    };
    let mut found = Vec::new();
    for account in accounts.into_iter().map(|described| described.account) {
        let query = Query::new(scope(account)?, QueryKind::IssuingCa);
        if let QueryReply::IssuingCa(Some(ca)) = registry::query(view, &query, now)? {
            found.push((account, *ca));
        }
    }
    Ok(found)
}

/// Issuing CAs belong to no region: any one will do.
fn scope(account: AccountId) -> Result<Scope, CallError> {
    let region = "us-east-1".parse::<Region>().map_err(|_| other_kind())?;
    Ok(Scope { account, region })
}

fn other_kind() -> CallError {
    CallError::Unavailable("an answer of another kind".to_owned())
}
