//! Sealing and opening the values of a store.
//!
//! A sealed value: 0xff; the number of its data key (u32), the salt of the opening in which it was sealed (12 bytes), its count
//! in that (u64), big-endian; what AES-256-GCM made of the value, and the tag. A value of any of our stores begins with another
//! byte: a version, a small number, or a field of protobuf, of which none ends in seven.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::master::{DataKey, KEY_BYTES};

/// Random bytes of an opening.
pub const SALT: usize = 12;
/// Bytes that a value grows by.
pub const OVERHEAD: usize = HEADER + TAG;
/// First byte of a sealed value.
const SEALED: u8 = 0xff;
const HEADER: usize = 1 + PLACE;
pub(crate) const PLACE: usize = 4 + SALT + 8;
pub(crate) const TAG: usize = 16;
/// Derived keys kept: one for each opening whose values are read.
const MOST_DERIVED: usize = 1024;

/// Why a value cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It was sealed under a data key that is not in the keyring.
    #[error("it is sealed under data key {0}, which is not in the store's keyring")]
    NoDataKey(u32),
    /// It was changed, or stood elsewhere.
    #[error("it was changed since it was sealed, or belongs elsewhere")]
    Changed,
    /// It is not sealed, and everything in the store should be.
    #[error("it is not encrypted, as everything in this store is")]
    Plain,
    /// It is sealed, and there is no key.
    #[error("it is encrypted, and there is no key: see --encryption-key-file")]
    NoKey,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<Unspecified> for Error {
    fn from(Unspecified: Unspecified) -> Self {
        Self::Library
    }
}

/// Whether a stored value is sealed.
pub fn is_sealed(value: &[u8]) -> bool {
    value.first() == Some(&SEALED) && value.len() >= OVERHEAD
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    data_key: u32,
    salt: [u8; SALT],
    count: u64,
}

impl Place {
    pub(crate) fn encode(self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        let fields = self.data_key.to_be_bytes().into_iter().chain(self.salt).chain(self.count.to_be_bytes());
        bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; PLACE]) -> Option<Self> {
        let (data_key, rest) = bytes.split_first_chunk::<4>()?;
        let (salt, count) = rest.split_first_chunk::<SALT>()?;
        let count = u64::from_be_bytes(count.try_into().ok()?);
        Some(Self { data_key: u32::from_be_bytes(*data_key), salt: *salt, count })
    }
}

/// What a key is derived for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Use {
    /// 2³² values.
    Values,
    /// One file.
    File,
}

/// A derived key's ingredients.
type Lot = (u32, [u8; SALT], u64);

struct Keys {
    all: BTreeMap<u32, Prk>,
    last: u32,
}

/// Seals and opens the values of one store, for one opening of it.
pub struct Vault {
    salt: [u8; SALT],
    count: AtomicU64,
    keys: RwLock<Keys>,
    derived: RwLock<FxHashMap<Lot, Arc<LessSafeKey>>>,
    strict: AtomicBool,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("data_keys", &self.keys.read().all.len()).finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault of these data keys: what is new is sealed under the one with the highest number. `salt` is random. `None` without
    /// a data key.
    pub fn new(keys: impl IntoIterator<Item = (u32, DataKey)>, salt: [u8; SALT]) -> Option<Self> {
        let all: BTreeMap<u32, Prk> =
            keys.into_iter().map(|(number, key)| (number, expandable(&key))).collect();
        let last = *all.last_key_value()?.0;
        Some(Self {
            salt,
            count: AtomicU64::new(0),
            keys: RwLock::new(Keys { all, last }),
            derived: RwLock::default(),
            strict: AtomicBool::new(false),
        })
    }

    /// Adds a data key: from now on, what is new is sealed under it. Its keyring must be durable already.
    pub fn add(&self, number: u32, key: &DataKey) {
        let mut keys = self.keys.write();
        keys.all.insert(number, expandable(key));
        keys.last = keys.last.max(number);
    }

    /// Values that are not sealed are refused from now on.
    pub fn refuse_plain_values(&self) {
        self.strict.store(true, Ordering::Relaxed);
    }

    /// Seals what `table` has under `key`.
    ///
    /// # Errors
    /// [`Error::Library`]: no value is too long for a store and not for the cipher.
    pub fn seal(&self, table: &str, key: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
        let place = self.next();
        let derived = self.key(Use::Values, place)?;
        let mut sealed = Vec::with_capacity(value.len() + OVERHEAD);
        sealed.push(SEALED);
        sealed.extend_from_slice(&place.encode());
        sealed.extend_from_slice(value);
        let (_, inner) = sealed.split_at_mut_checked(HEADER).ok_or(Error::Library)?;
        let tag = derived.seal_in_place_separate_tag(nonce(place.count), bound(table, key), inner)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what `table` has under `key`; `None` when it is not sealed and need not be.
    ///
    /// # Errors
    /// When its data key is not known, or when it is not what was sealed there.
    pub fn open(&self, table: &str, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if !is_sealed(value) {
            return if self.strict.load(Ordering::Relaxed) { Err(Error::Plain) } else { Ok(None) };
        }
        let (header, inner) = value.split_first_chunk::<HEADER>().ok_or(Error::Changed)?;
        let place = header.last_chunk::<PLACE>().and_then(Place::decode).ok_or(Error::Changed)?;
        let derived = self.key(Use::Values, place)?;
        let mut opened = inner.to_vec();
        let opening = derived.open_in_place(nonce(place.count), bound(table, key), &mut opened);
        let length = opening.map_err(|Unspecified| Error::Changed)?.len();
        opened.truncate(length);
        Ok(Some(opened))
    }

    /// A place that nothing was sealed at.
    pub(crate) fn next(&self) -> Place {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Place { data_key: self.keys.read().last, salt: self.salt, count }
    }

    /// The key for a place. Those of values are remembered.
    pub(crate) fn key(&self, used: Use, place: Place) -> Result<Arc<LessSafeKey>, Error> {
        match used {
            Use::File => self.derive(used, place, place.count).map(Arc::new),
            Use::Values => {
                let part = place.count >> 32;
                let lot = (place.data_key, place.salt, part);
                if let Some(key) = self.derived.read().get(&lot) {
                    return Ok(key.clone());
                }
                let key = Arc::new(self.derive(used, place, part)?);
                let mut derived = self.derived.write();
                if derived.len() >= MOST_DERIVED {
                    derived.clear();
                }
                derived.insert(lot, key.clone());
                Ok(key)
            }
        }
    }

    fn derive(&self, used: Use, place: Place, part: u64) -> Result<LessSafeKey, Error> {
        let keys = self.keys.read();
        let key = keys.all.get(&place.data_key).ok_or(Error::NoDataKey(place.data_key))?;
        let purpose: &[u8] = match used {
            Use::Values => b"fleethaven values",
            Use::File => b"fleethaven file",
        };
        let mut derived = [0; KEY_BYTES];
        key.expand(&[purpose, &place.salt, &part.to_be_bytes()], Length)?.fill(&mut derived)?;
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived)?))
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// A data key is uniform, so that HKDF needs no first step.
fn expandable(key: &DataKey) -> Prk {
    Prk::new_less_safe(HKDF_SHA256, &key.0)
}

/// The lower half of the count: the upper half is in the key.
fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes
        .iter_mut()
        .skip(NONCE_LEN - 4)
        .zip((count as u32).to_be_bytes())
        .for_each(|(byte, part)| *byte = part);
    Nonce::assume_unique_for_key(bytes)
}

/// What a value is bound to: its table and its key.
fn bound(table: &str, key: &[u8]) -> Aad<SmallVec<[u8; 128]>> {
    let mut bound = SmallVec::new();
    bound.extend_from_slice(&(table.len() as u64).to_be_bytes());
    bound.extend_from_slice(table.as_bytes());
    bound.extend_from_slice(key);
    Aad::from(bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vault(salt: u8) -> Vault {
        Vault::new([(1, DataKey([1; 32])), (2, DataKey([2; 32]))], [salt; SALT]).unwrap()
    }

    #[test]
    fn a_value_opens_where_it_was_sealed_and_nowhere_else() {
        let vault = vault(0);
        let sealed = vault.seal("queues", b"k1", b"a payload").unwrap();
        assert_eq!(sealed.len(), 9 + OVERHEAD);
        assert_eq!(vault.open("queues", b"k1", &sealed), Ok(Some(b"a payload".to_vec())));
        assert_eq!(vault.open("queues", b"k2", &sealed), Err(Error::Changed));
        assert_eq!(vault.open("queue", b"sk1", &sealed), Err(Error::Changed));
        assert_eq!(vault.open("rules", b"k1", &sealed), Err(Error::Changed));
    }

    #[test]
    fn the_next_opening_reads_what_this_one_sealed() {
        let (one, two) = (vault(1), vault(2));
        let sealed = one.seal("t", b"k", b"v").unwrap();
        assert_eq!(two.open("t", b"k", &sealed), Ok(Some(b"v".to_vec())));
        assert_ne!(two.seal("t", b"k", b"v").unwrap(), sealed);
        let other = Vault::new([(1, DataKey([1; 32]))], [3; SALT]).unwrap();
        assert_eq!(other.open("t", b"k", &sealed), Err(Error::NoDataKey(2)));
        other.add(2, &DataKey([2; 32]));
        assert_eq!(other.open("t", b"k", &sealed), Ok(Some(b"v".to_vec())));
        let wrong = Vault::new([(2, DataKey([9; 32]))], [3; SALT]).unwrap();
        assert_eq!(wrong.open("t", b"k", &sealed), Err(Error::Changed));
    }

    #[test]
    fn what_is_plain_stays_readable_until_it_is_refused() {
        let vault = vault(0);
        for plain in [b"".as_slice(), b"\x01row", &[0xff; 8]] {
            assert_eq!(vault.open("t", b"k", plain), Ok(None));
        }
        vault.refuse_plain_values();
        assert_eq!(vault.open("t", b"k", b"\x01row"), Err(Error::Plain));
    }

    #[test]
    fn no_key_and_nonce_come_twice() {
        let vault = vault(0);
        // The count runs over the end of its lower half.
        vault.count.store((1 << 32) - 2, Ordering::Relaxed);
        let sealed: Vec<_> = (0..4).map(|_| vault.seal("t", b"k", b"v").unwrap()).collect();
        let places: std::collections::BTreeSet<_> = sealed.iter().map(|s| s[..HEADER].to_vec()).collect();
        assert_eq!(places.len(), 4);
        assert_eq!(vault.derived.read().len(), 2, "a key for each half");
        for sealed in sealed {
            assert_eq!(vault.open("t", b"k", &sealed), Ok(Some(b"v".to_vec())));
        }
    }

    proptest! {
        #[test]
        fn any_value_survives(key: Vec<u8>, value: Vec<u8>) {
            let vault = vault(5);
            let sealed = vault.seal("table", &key, &value).unwrap();
            prop_assert!(is_sealed(&sealed));
            prop_assert_eq!(vault.open("table", &key, &sealed), Ok(Some(value)));
        }

        #[test]
        fn any_change_is_noticed(value: Vec<u8>, at: proptest::sample::Index, bit in 0..8_u8) {
            let vault = vault(5);
            let mut sealed = vault.seal("table", b"key", &value).unwrap();
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let opened = vault.open("table", b"key", &sealed);
            // Without the first byte's mark it counts as plain: only a store without plain values refuses it.
            let noticed = if at == 0 { opened == Ok(None) } else { opened.is_err() };
            prop_assert!(noticed);
        }
    }
}
