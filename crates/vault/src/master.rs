//! Master keys that lie in a file, and what they wrap and seal.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Bytes of a master key and of a data key.
pub const KEY_BYTES: usize = 32;
/// Most keys of a file.
pub const MOST_KEYS: usize = 64;
/// Longest file that is believed, in bytes.
pub const MOST_FILE_BYTES: usize = 64 << 10;
/// Random bytes that a wrapping takes.
pub const WRAPPING_NONCE: usize = NONCE_LEN;

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A data key: under it the values of a store are sealed. It is written nowhere unless wrapped.
#[derive(Clone)]
pub struct DataKey(pub [u8; KEY_BYTES]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// A master key of a file.
pub struct MasterKey {
    id: String,
    key: LessSafeKey,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKey").field(&self.id).finish()
    }
}

impl MasterKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn new(secret: &[u8; KEY_BYTES]) -> Result<Self, Unspecified> {
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(b"fleethaven master key\0");
        hashed.update(secret);
        let id: String = hex::encode(hashed.finish().as_ref()).chars().take(16).collect();
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret)?);
        Ok(Self { id: format!("file:{id}"), key })
    }

    /// What keyrings, metrics and messages call it: `file:` and 16 hexadecimal digits of a hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Wraps data key `number`. The nonce is random: a master key wraps a few thousand data keys at most.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn wrap(
        &self,
        number: u32,
        key: &DataKey,
        nonce: [u8; WRAPPING_NONCE],
    ) -> Result<Vec<u8>, Unspecified> {
        self.seal(&of_number(number), &key.0, nonce)
    }

    /// The data key `number` that [`wrap`](Self::wrap) wrapped under this key.
    pub fn unwrap(&self, number: u32, wrapped: &[u8]) -> Option<DataKey> {
        self.open(&of_number(number), wrapped)?.try_into().ok().map(DataKey)
    }

    /// Seals a secret of its own, bound to what `context` names. The nonce is random: this is for what is written seldom; values of a
    /// store are a [`Vault`](crate::Vault)'s.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn seal(
        &self,
        context: &[u8],
        secret: &[u8],
        nonce: [u8; WRAPPING_NONCE],
    ) -> Result<Vec<u8>, Unspecified> {
        let mut sealed = secret.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(unique, Aad::from(context), &mut sealed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// What [`seal`](Self::seal) sealed under this key, with the same context.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<WRAPPING_NONCE>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.key.open_in_place(nonce, Aad::from(context), &mut sealed).ok().map(|opened| opened.to_vec())
    }
}

/// What a wrapped data key is bound to.
fn of_number(number: u32) -> [u8; 12] {
    let mut bound = *b"data key\0\0\0\0";
    bound.iter_mut().skip(8).zip(number.to_be_bytes()).for_each(|(byte, digit)| *byte = digit);
    bound
}

/// Why a file of master keys cannot be used. Never quotes the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// There is none in it.
    #[error("there is no key in it: make one with `fleethaven encryption-key new`")]
    Empty,
    /// A line is no key.
    #[error("line {0} is no key: a key is 32 bytes in base64 or hexadecimal")]
    Line(usize),
    /// A key stands in it twice.
    #[error("line {0} repeats a key")]
    Repeated(usize),
    /// There are more than [`MOST_KEYS`], or it is longer than [`MOST_FILE_BYTES`].
    #[error("it is too long: a file holds 64 keys at most")]
    TooLong,
    /// It is no text.
    #[error("it is no text")]
    NoText,
    /// The cryptographic library failed.
    #[error("the cryptographic library takes no key")]
    Library,
}

/// A file of master keys: a key a line, 32 bytes in base64 or hexadecimal. Empty lines and those that begin with `#` mean nothing.
/// The first key wraps what is new, the others open what is old.
#[derive(Debug)]
pub struct KeyFile {
    first: MasterKey,
    others: Vec<MasterKey>,
}

impl KeyFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`KeyFileError`] says which line is wrong.
    pub fn parse(contents: &[u8]) -> Result<Self, KeyFileError> {
        if contents.len() > MOST_FILE_BYTES {
            return Err(KeyFileError::TooLong);
        }
        let text = std::str::from_utf8(contents).map_err(|_| KeyFileError::NoText)?;
        let lines = (1..).zip(text.lines().map(str::trim));
        let mut keys = Vec::<MasterKey>::new();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let secret = secret(line).ok_or(KeyFileError::Line(number))?;
            let key = MasterKey::new(&secret).map_err(|Unspecified| KeyFileError::Library)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyFileError::Repeated(number));
            }
            if keys.len() == MOST_KEYS {
                return Err(KeyFileError::TooLong);
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(KeyFileError::Empty)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// The key that wraps what is new.
    pub fn first(&self) -> &MasterKey {
        &self.first
    }

    /// All keys, the first one first.
    pub fn all(&self) -> impl Iterator<Item = &MasterKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The key of that id.
    pub fn find(&self, id: &str) -> Option<&MasterKey> {
        self.all().find(|key| key.id == id)
    }
}

/// The bytes of a key as a line tells them.
fn secret(line: &str) -> Option<[u8; KEY_BYTES]> {
    let bytes = match line.len() {
        64 => hex::decode(line).ok()?,
        _ => BASE64.decode(line).ok()?,
    };
    bytes.try_into().ok()
}

/// A line of a file for these bytes.
pub fn line(secret: &[u8; KEY_BYTES]) -> String {
    BASE64.encode(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_line_by_line() {
        let text = format!("# of 2026\n\n{}\n  {}  \n", line(&[1; 32]), hex::encode([2; 32]));
        let file = KeyFile::parse(text.as_bytes()).unwrap();
        let ids: Vec<_> = file.all().map(MasterKey::id).collect();
        assert_eq!(ids, [MasterKey::new(&[1; 32]).unwrap().id(), MasterKey::new(&[2; 32]).unwrap().id()]);
        assert!(file.find(ids[1]).is_some() && file.find("file:0").is_none());
        let unpadded = KeyFile::parse(line(&[1; 32]).trim_end_matches('=').as_bytes()).unwrap();
        assert_eq!(unpadded.first().id(), ids[0]);
        assert!(!format!("{file:?}").contains(&hex::encode([2; 32])));
    }

    #[test]
    fn what_is_no_file_of_keys_is_refused_with_its_line() {
        let refused = |text: &str| KeyFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused("# none\n"), KeyFileError::Empty);
        assert_eq!(refused("\nsecret"), KeyFileError::Line(2));
        assert_eq!(refused(&line(&[1; 32]).repeat(2)), KeyFileError::Line(1));
        assert_eq!(refused(&format!("{0}\n{0}", line(&[1; 32]))), KeyFileError::Repeated(2));
        assert_eq!(KeyFile::parse(&[0xff]).unwrap_err(), KeyFileError::NoText);
        let many: String = (0..65_u8).map(|n| line(&[n; 32]) + "\n").collect();
        assert_eq!(refused(&many), KeyFileError::TooLong);
    }

    #[test]
    fn a_data_key_comes_out_of_its_own_wrapping_only() {
        let (one, two) = (MasterKey::new(&[1; 32]).unwrap(), MasterKey::new(&[2; 32]).unwrap());
        let wrapped = one.wrap(7, &DataKey([9; 32]), [3; 12]).unwrap();
        assert_eq!(one.unwrap(7, &wrapped).unwrap().0, [9; 32]);
        assert!(one.unwrap(8, &wrapped).is_none(), "another number");
        assert!(two.unwrap(7, &wrapped).is_none(), "another master key");
        assert!(one.unwrap(7, &wrapped[1..]).is_none() && one.unwrap(7, &[]).is_none());
    }

    #[test]
    fn a_secret_opens_under_its_own_key_and_for_what_it_was_sealed_for() {
        let (one, two) = (MasterKey::new(&[1; 32]).unwrap(), MasterKey::new(&[2; 32]).unwrap());
        let sealed = one.seal(b"of a", b"secret", [3; 12]).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(one.open(b"of a", &sealed).unwrap(), b"secret");
        assert!(one.open(b"of b", &sealed).is_none() && two.open(b"of a", &sealed).is_none());
        assert!(one.open(b"of a", &sealed[..5]).is_none());
    }
}
