//! The wrapped data keys of a store, as a file: JSON, so that an operator can look which master keys it names.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The file's name in a store's directory.
pub const FILE: &str = "keyring.json";
/// Most data keys of a store.
pub const MOST_DATA_KEYS: usize = 4096;
/// Longest file that is believed, in bytes.
pub const MOST_BYTES: usize = 4 << 20;
/// Longest wrapped data key, in bytes: what AWS KMS returns has some 200.
const MOST_WRAPPED: usize = 6144;
const FORMAT: u32 = 1;

/// Why a keyring cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// It is no keyring, or damaged.
    #[error("it is no keyring: {0}")]
    Damaged(String),
    /// It is of a later version.
    #[error("its format is {0}, and this version knows {FORMAT}")]
    Format(u32),
}

/// A data key, wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Its number, from 1: what is sealed under it names that.
    pub number: u32,
    /// The id of the master key that wraps it.
    pub master_key: String,
    /// What the master key made of it.
    pub wrapped: Vec<u8>,
}

/// The data keys of a store. What is new is sealed under the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// Whether values may be found that were written before the store was encrypted.
    pub plain_values: bool,
    /// Whether files may be left that hold such values although nothing reads them any more: they go when the store is opened again.
    pub old_files: bool,
    keys: Vec<WrappedKey>,
}

#[derive(Serialize, Deserialize)]
struct Form {
    format: u32,
    plain_values: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    old_files: bool,
    data_keys: Vec<KeyForm>,
}

#[derive(Serialize, Deserialize)]
struct KeyForm {
    number: u32,
    master_key: String,
    wrapped: String,
}

impl Keyring {
    /// The keyring of a store that is encrypted from now on.
    pub fn new(first: WrappedKey, plain_values: bool) -> Self {
        Self { plain_values, old_files: false, keys: vec![first] }
    }

    /// The data keys, in the order of their numbers.
    pub fn keys(&self) -> &[WrappedKey] {
        &self.keys
    }

    /// The number of the next data key; `None` when there may be no more.
    pub fn next_number(&self) -> Option<u32> {
        let last = self.keys.last().map_or(0, |key| key.number);
        (self.keys.len() < MOST_DATA_KEYS).then(|| last.checked_add(1))?
    }

    /// Adds a data key, under [`next_number`](Self::next_number).
    pub fn add(&mut self, key: WrappedKey) {
        self.keys.push(key);
    }

    /// Puts data keys in other wrappings.
    pub fn rewrap(&mut self, wrap: impl FnMut(&mut WrappedKey)) {
        self.keys.iter_mut().for_each(wrap);
    }

    /// How many data keys each master key wraps: one that is not named here may go.
    pub fn master_keys(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        self.keys.iter().for_each(|key| *counts.entry(key.master_key.as_str()).or_default() += 1);
        counts
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`KeyringError`] when it is damaged, or of a later version.
    pub fn parse(contents: &[u8]) -> Result<Self, KeyringError> {
        let damaged = |reason: &str| KeyringError::Damaged(reason.to_owned());
        if contents.len() > MOST_BYTES {
            return Err(damaged("it is too long"));
        }
        let form: Form = serde_json::from_slice(contents).map_err(|error| damaged(&error.to_string()))?;
        if form.format != FORMAT {
            return Err(KeyringError::Format(form.format));
        }
        if form.data_keys.is_empty() || form.data_keys.len() > MOST_DATA_KEYS {
            return Err(damaged("it has no data key, or too many"));
        }
        let mut keys = Vec::<WrappedKey>::with_capacity(form.data_keys.len());
        for KeyForm { number, master_key, wrapped } in form.data_keys {
            if number <= keys.last().map_or(0, |key| key.number) {
                return Err(damaged("its data keys are not in order"));
            }
            let wrapped = STANDARD.decode(wrapped).map_err(|error| damaged(&error.to_string()))?;
            if wrapped.len() > MOST_WRAPPED {
                return Err(damaged("a wrapped key is too long"));
            }
            keys.push(WrappedKey { number, master_key, wrapped });
        }
        Ok(Self { plain_values: form.plain_values, old_files: form.old_files, keys })
    }

    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let key = |key: &WrappedKey| KeyForm {
            number: key.number,
            master_key: key.master_key.clone(),
            wrapped: STANDARD.encode(&key.wrapped),
        };
        let data_keys = self.keys.iter().map(key).collect();
        let Self { plain_values, old_files, .. } = *self;
        let form = Form { format: FORMAT, plain_values, old_files, data_keys };
        let mut text = serde_json::to_vec_pretty(&form).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32, master_key: &str) -> WrappedKey {
        WrappedKey { number, master_key: master_key.to_owned(), wrapped: vec![1, 2, 3] }
    }

    #[test]
    fn a_keyring_survives_the_disk() {
        let mut keyring = Keyring::new(key(1, "file:a"), true);
        keyring.add(key(2, "file:b"));
        assert_eq!(Keyring::parse(&keyring.encode()), Ok(keyring.clone()));
        assert_eq!(keyring.next_number(), Some(3));
        keyring.rewrap(|key| key.master_key = "file:b".to_owned());
        assert_eq!(keyring.master_keys(), BTreeMap::from([("file:b", 2)]));
    }

    #[test]
    fn what_is_no_keyring_is_refused() {
        assert!(matches!(Keyring::parse(b"{}"), Err(KeyringError::Damaged(_))));
        let text = String::from_utf8(Keyring::new(key(1, "file:a"), true).encode()).unwrap();
        let other = |from: &str, to: &str| Keyring::parse(text.replace(from, to).as_bytes());
        assert_eq!(other("\"format\": 1", "\"format\": 2"), Err(KeyringError::Format(2)));
        assert!(matches!(other("\"number\": 1", "\"number\": 0"), Err(KeyringError::Damaged(_))));
        assert!(matches!(other("AQID", "!"), Err(KeyringError::Damaged(_))));
    }
}
