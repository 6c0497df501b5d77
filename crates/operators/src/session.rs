//! Temporary credentials.
//!
//! A session is nowhere stored. Its token says who it is, and an HMAC with a key of ours proves that we wrote it; its secret
//! access key follows from the same key and the token. The token is readable to whoever has it: it holds nothing that its
//! holder may not know. Layout: version 1, number of the key (8 bytes), the contents (protobuf), HMAC-SHA256; in base64 for
//! URLs, without padding, so that a client may append it to a URL as it is.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fleethaven_registry::shapes::{RoleDescription, Secret, SessionKey};
use fleethaven_types::AccountId;
use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;

use crate::request::{iso, principal_tag};

const VERSION: u8 = 1;
const HEAD: usize = 9;
const MAC: usize = 32;

/// Most characters of a token: a session policy of 2048 characters, in up to four bytes each, and the rest.
pub const TOKEN_BYTES: usize = 16 << 10;
/// The longest session, in seconds.
pub const LONGEST_SECS: u64 = 43_200;

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// We did not write it, or its key is no more.
    #[error("The security token included in the request is invalid.")]
    Invalid,
    /// It was signed with a key that is not among those given.
    #[error("the token's key {0} is not known")]
    UnknownKey(u64),
    /// Its time is over.
    #[error("The security token included in the request is expired")]
    Expired,
}

/// Who has assumed a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The role's account.
    pub account: AccountId,
    /// The role.
    pub role_name: String,
    /// `AROA…`
    pub role_id: String,
    /// What the session is called.
    pub name: String,
    /// When it began, in seconds since the epoch.
    pub issued_at: u64,
    /// When it ends.
    pub expires_at: u64,
    /// What it may do at most, beside its role's policies: JSON; nothing: whatever these allow.
    pub policy: String,
    /// Condition keys of its own, such as `credentials-iot:ThingName`.
    pub keys: Vec<(String, String)>,
}

/// Temporary credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// `ASIA…`
    pub access_key_id: String,
    /// The secret that signs.
    pub secret_access_key: Secret,
    /// Goes with every request.
    pub token: Secret,
    /// When they end: ISO 8601.
    pub expiration: String,
}

/// A session as its token has it.
#[derive(Clone, PartialEq, Message)]
struct Contents {
    #[prost(string, tag = "1")]
    access_key_id: String,
    #[prost(uint64, tag = "2")]
    account: u64,
    #[prost(string, tag = "3")]
    role_name: String,
    #[prost(string, tag = "4")]
    role_id: String,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(uint64, tag = "6")]
    issued_at: u64,
    #[prost(uint64, tag = "7")]
    expires_at: u64,
    #[prost(string, tag = "8")]
    policy: String,
    #[prost(message, repeated, tag = "9")]
    keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Message)]
struct Key {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Session {
    /// A session of `role` that begins now, at `now` seconds since the epoch.
    pub fn of(role: &RoleDescription, name: &str, now: u64, seconds: u64) -> Self {
        Self {
            account: role.account,
            role_name: role.role_name.clone(),
            role_id: role.role_id.clone(),
            name: name.to_owned(),
            issued_at: now,
            expires_at: now.saturating_add(seconds.min(LONGEST_SECS)),
            policy: String::new(),
            keys: Vec::new(),
        }
    }

    /// The same session, which may do no more than this policy says.
    #[must_use]
    pub fn with_policy(self, policy: &str) -> Self {
        Self { policy: policy.to_owned(), ..self }
    }

    /// The same session, which goes by the tags that its role has now.
    #[must_use]
    pub fn with_tags_of(mut self, role: &RoleDescription) -> Self {
        self.keys.extend(role.tags.iter().map(|tag| (principal_tag(&tag.key), tag.value.clone())));
        self
    }

    /// `arn:aws:sts::<account>:assumed-role/<role>/<session>`
    pub fn arn(&self) -> String {
        format!("arn:aws:sts::{}:assumed-role/{}/{}", self.account, self.role_name, self.name)
    }

    /// `arn:aws:iam::<account>:role/<role>`
    pub fn role_arn(&self) -> String {
        format!("arn:aws:iam::{}:role/{}", self.account, self.role_name)
    }

    /// `AROA…:<session>`
    pub fn user_id(&self) -> String {
        format!("{}:{}", self.role_id, self.name)
    }

    /// Its credentials, made with the key that signs. `random` is fresh: it becomes the access key's id.
    pub fn issue(&self, key: &SessionKey, random: [u8; 16]) -> Issued {
        let access_key_id = access_key_id(random);
        let keys = self.keys.iter().map(|(name, value)| Key { name: name.clone(), value: value.clone() });
        let contents = Contents {
            access_key_id: access_key_id.clone(),
            account: self.account.as_u64(),
            role_name: self.role_name.clone(),
            role_id: self.role_id.clone(),
            name: self.name.clone(),
            issued_at: self.issued_at,
            expires_at: self.expires_at,
            policy: self.policy.clone(),
            keys: keys.collect(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(key.number.to_be_bytes());
        contents.encode(&mut bytes).unwrap_or_default();
        let tag = mac(key, b"token", &bytes);
        bytes.extend(tag);
        Issued {
            secret_access_key: secret(key, &access_key_id, &tag),
            access_key_id,
            token: Secret(URL_SAFE_NO_PAD.encode(bytes)),
            expiration: iso(self.expires_at),
        }
    }

    /// The session of a token that came with the access key `access_key_id`, and the secret that signs for it.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::UnknownKey`], newer keys may help.
    pub fn open(
        token: &str,
        access_key_id: &str,
        keys: &[SessionKey],
        now: u64,
    ) -> Result<(Self, Secret), Error> {
        if token.len() > TOKEN_BYTES {
            return Err(Error::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::Invalid)?;
        let split = bytes.len().checked_sub(MAC).ok_or(Error::Invalid)?;
        let (signed, tag) = bytes.split_at_checked(split).ok_or(Error::Invalid)?;
        let (head, contents) = signed.split_at_checked(HEAD).ok_or(Error::Invalid)?;
        if head.first() != Some(&VERSION) {
            return Err(Error::Invalid);
        }
        let number = head.iter().skip(1).fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
        let key = keys.iter().find(|key| key.number == number).ok_or(Error::UnknownKey(number))?;
        let mut expected = keyed(key, b"token");
        expected.update(signed);
        expected.verify_slice(tag).map_err(|_| Error::Invalid)?;
        let contents = Contents::decode(contents).map_err(|_| Error::Invalid)?;
        if contents.access_key_id != access_key_id {
            return Err(Error::Invalid);
        }
        if contents.expires_at <= now {
            return Err(Error::Expired);
        }
        let secret = secret(key, access_key_id, tag);
        let session = Self {
            account: AccountId::from_u64(contents.account).ok_or(Error::Invalid)?,
            role_name: contents.role_name,
            role_id: contents.role_id,
            name: contents.name,
            issued_at: contents.issued_at,
            expires_at: contents.expires_at,
            policy: contents.policy,
            keys: contents.keys.into_iter().map(|key| (key.name, key.value)).collect(),
        };
        Ok((session, secret))
    }
}

/// As AWS's temporary keys begin, and 16 of `A-Z2-7`.
fn access_key_id(random: [u8; 16]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |byte: u8| DIGITS.get(usize::from(byte & 31)).map_or('A', |digit| char::from(*digit));
    std::iter::once("ASIA".to_owned()).chain(random.map(|byte| digit(byte).to_string())).collect()
}

/// Forty characters, as AWS's.
fn secret(key: &SessionKey, access_key_id: &str, tag: &[u8]) -> Secret {
    let bytes = mac(key, b"secret", &[access_key_id.as_bytes(), tag].concat());
    Secret(STANDARD.encode(bytes.get(..30).unwrap_or_default()))
}

fn mac(key: &SessionKey, purpose: &[u8], message: &[u8]) -> [u8; MAC] {
    let mut mac = keyed(key, purpose);
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Keys for tokens and for secrets differ.
fn keyed(key: &SessionKey, purpose: &[u8]) -> Hmac<Sha256> {
    let derived = {
        // The metastore keeps 32 bytes; what is no hexadecimal is a key of its own bytes.
        let bytes = hex::decode(&key.secret.0).unwrap_or_else(|_| key.secret.0.clone().into_bytes());
        let mut mac = new_mac(&bytes);
        mac.update(b"fleethaven session ");
        mac.update(purpose);
        mac.finalize().into_bytes()
    };
    new_mac(&derived)
}

#[expect(clippy::expect_used, reason = "an HMAC takes keys of any length")]
fn new_mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u64) -> SessionKey {
        SessionKey { number, secret: Secret(format!("{number:064x}")) }
    }

    fn session() -> Session {
        Session {
            account: "123456789012".parse().unwrap(),
            role_name: "device".to_owned(),
            role_id: "AROAEXAMPLE".to_owned(),
            name: "abc".to_owned(),
            issued_at: 1000,
            expires_at: 4600,
            policy: "{}".to_owned(),
            keys: vec![("credentials-iot:ThingName".to_owned(), "pump".to_owned())],
        }
    }

    #[test]
    fn what_was_issued_is_known_again() {
        let issued = session().issue(&key(2), [7; 16]);
        assert!(issued.access_key_id.starts_with("ASIA") && issued.access_key_id.len() == 20);
        assert_eq!(
            (issued.secret_access_key.0.len(), issued.expiration.as_str()),
            (40, "1970-01-01T01:16:40Z")
        );
        let open =
            |keys: &[SessionKey], now| Session::open(&issued.token.0, &issued.access_key_id, keys, now);
        let (known, secret) = open(&[key(1), key(2)], 4599).unwrap();
        assert_eq!((known, secret), (session(), issued.secret_access_key.clone()));
        assert_eq!(open(&[key(2)], 4600), Err(Error::Expired));
        assert_eq!(open(&[key(1), key(3)], 2000), Err(Error::UnknownKey(2)));
        let forged = SessionKey { number: 2, ..key(1) };
        assert_eq!(open(&[forged], 2000), Err(Error::Invalid));
        let other = Session::open(&issued.token.0, "ASIAOTHEROTHEROTHERO", &[key(2)], 2000);
        assert_eq!(other, Err(Error::Invalid));
    }

    #[test]
    fn secrets_differ_and_are_not_printed() {
        let (a, b) = (session().issue(&key(1), [1; 16]), session().issue(&key(1), [2; 16]));
        assert_ne!(a.secret_access_key, b.secret_access_key);
        let printed = format!("{a:?}");
        assert!(!printed.contains(&a.secret_access_key.0) && !printed.contains(&a.token.0));
    }

    proptest! {
        #[test]
        fn a_changed_token_is_none(at in 0usize..400, to in "[A-Za-z0-9_-]") {
            let issued = session().issue(&key(1), [7; 16]);
            let mut changed = issued.token.0.clone();
            let at = at % changed.len();
            changed.replace_range(at..=at, &to);
            let opened = Session::open(&changed, &issued.access_key_id, &[key(1)], 2000);
            // The last character has bits that count for nothing: another one may mean the same bytes, or none.
            prop_assert!(opened.is_err() || changed == issued.token.0);
        }

        #[test]
        fn nothing_panics(token in "\\PC{0,80}") {
            let _ = Session::open(&token, "ASIA", &[key(1)], 0);
        }
    }
}
