//! A [`View`] in memory and a registry on top of it, for tests of this crate and of those that use it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_types::{AccountId, Scope, Timestamp};
use sha2::{Digest, Sha256};

use crate::command::{Action, Command, Context, Reply, evaluate};
use crate::error::Error;
use crate::limits::Limits;
use crate::query::{Query, QueryKind, QueryReply, query};
use crate::shapes::{AccessKey, CreateAccount, IssuingCa, IssuingKey, Secret};
use crate::view::{Effects, Emit, View, Write};

/// Keys and values in a sorted map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryView {
    entries: BTreeMap<Bytes, Bytes>,
}

impl MemoryView {
    /// Carries out the writes, in order.
    pub fn apply(&mut self, effects: &Effects) {
        for write in &effects.writes {
            match write {
                Write::Put { key, value } => self.entries.insert(key.clone(), value.clone()),
                Write::Delete { key } => self.entries.remove(key),
            };
        }
    }

    /// Every key and value.
    pub fn entries(&self) -> &BTreeMap<Bytes, Bytes> {
        &self.entries
    }
}

impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// A registry in memory with one account, `123456789012` in `eu-west-1`, a clock that stands still unless
/// moved, and entropy that is different for each command and the same in each run.
#[derive(Debug, Clone)]
pub struct Registry {
    /// What is stored.
    pub view: MemoryView,
    /// Whose commands and queries follow.
    pub scope: Scope,
    /// The time.
    pub now: Timestamp,
    /// The quotas.
    pub limits: Limits,
    /// What the commands published, oldest first.
    pub emits: Vec<Emit>,
    commands: u64,
}

impl Registry {
    /// The first account, bootstrapped.
    ///
    /// # Errors
    /// None in practice.
    pub fn new() -> Result<Self, Error> {
        let account = AccountId::from_u64(123_456_789_012);
        let scope = account.zip("eu-west-1".parse().ok()).map(|(account, region)| Scope { account, region });
        let mut registry = Self {
            view: MemoryView::default(),
            scope: scope.ok_or_else(|| Error::invalid("the scope of tests"))?,
            now: Timestamp(1_700_000_000_000),
            limits: Limits::default(),
            emits: Vec::new(),
            commands: 0,
        };
        registry.run(Action::BootstrapAccount(Box::new(account_arguments("AKIATESTTESTTEST"))))?;
        Ok(registry)
    }

    /// Evaluates and applies.
    ///
    /// # Errors
    /// Those of [`evaluate`].
    pub fn run(&mut self, action: Action) -> Result<Reply, Error> {
        let command = Command::new(self.scope, action);
        let context = self.context();
        let (reply, effects) = evaluate(&self.view, &command, &context)?;
        self.view.apply(&effects);
        self.emits.extend(effects.emits);
        Ok(reply)
    }

    /// Asks.
    ///
    /// # Errors
    /// Those of [`query`](crate::query()).
    pub fn ask(&self, kind: QueryKind) -> Result<QueryReply, Error> {
        query(&self.view, &Query::new(self.scope, kind), self.now)
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn context(&mut self) -> Context {
        self.commands = self.commands.saturating_add(1);
        let random = Sha256::digest(self.commands.to_be_bytes()).into();
        Context { now: self.now, random, limits: self.limits.clone() }
    }
}

/// An account with the given access key; its CA is not real.
pub fn account_arguments(access_key_id: &str) -> CreateAccount {
    CreateAccount {
        name: "test".to_owned(),
        access_key: AccessKey {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Secret("secret".to_owned()),
            user_name: None,
        },
        issuing_ca: IssuingCa {
            certificate_pem: "certificate".to_owned(),
            key: IssuingKey::PrivateKeyPem(Secret("key".to_owned())),
            sealed_under: None,
        },
        pagination_secret: Secret("0123456789abcdef0123456789abcdef".to_owned()),
    }
}
