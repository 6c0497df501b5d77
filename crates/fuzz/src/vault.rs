//! What a store finds on a disk that somebody else wrote to: key files, keyrings, sealed values and sealed files. The first byte
//! chooses.

use std::io::Read;

use fleethaven_vault::{DataKey, KeyFile, Keyring, Opener, Vault, frames, is_sealed};

use crate::selected;

pub(crate) fn disk(data: &[u8]) {
    let (choice, data) = selected(data);
    match choice % 4 {
        0 => key_file(data),
        1 => keyring(data),
        2 => value(data),
        _ => file(data),
    }
}

fn key_file(data: &[u8]) {
    if let Ok(file) = KeyFile::parse(data) {
        assert!(file.find(file.first().id()).is_some());
    }
}

/// What was read can be written and read again.
fn keyring(data: &[u8]) {
    if let Ok(keyring) = Keyring::parse(data) {
        assert_eq!(Keyring::parse(&keyring.encode()), Ok(keyring));
    }
}

fn vault() -> Vault {
    Vault::new([(1, DataKey([1; 32]))], [0; 12]).unwrap()
}

/// Nobody who has no key makes a value that opens; what is sealed comes back.
fn value(data: &[u8]) {
    let vault = vault();
    match vault.open("table", b"key", data) {
        Ok(opened) => assert!(opened.is_none() && !is_sealed(data)),
        Err(_) => assert!(is_sealed(data)),
    }
    let sealed = vault.seal("table", b"key", data).unwrap();
    assert_eq!(vault.open("table", b"key", &sealed), Ok(Some(data.to_vec())));
}

/// The same of files; a file without its end tells nothing but whole frames of it.
fn file(data: &[u8]) {
    let Some(rest) = data.strip_prefix(frames::MAGIC.as_slice()) else { return };
    if let Ok(mut opener) = Opener::after_magic(&vault(), rest) {
        assert!(opener.read_to_end(&mut Vec::new()).is_err());
    }
}
