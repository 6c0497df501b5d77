use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm as Kind,
};
use rustls::crypto::aws_lc_rs;
use tempfile::TempDir;

use super::*;

const EC: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];
const BOTH: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];

/// A pair of files; the certificate is for `names`.
fn files(
    dir: &TempDir,
    file: &str,
    names: &[&str],
    kind: &'static Kind,
) -> (std::path::PathBuf, std::path::PathBuf) {
    let key = KeyPair::generate_for(kind).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let (at, key_at) = (dir.path().join(format!("{file}.crt")), dir.path().join(format!("{file}.key")));
    std::fs::write(&at, certificate.pem()).unwrap();
    std::fs::write(&key_at, key.serialize_pem()).unwrap();
    (at, key_at)
}

fn read(at: &Path, key: &Path) -> Result<Identity, Error> {
    Identity::from_files(at, key, &aws_lc_rs::default_provider())
}

fn identity(dir: &TempDir, file: &str, names: &[&str], kind: &'static Kind) -> Identity {
    let (at, key) = files(dir, file, names, kind);
    read(&at, &key).unwrap()
}

#[test]
fn by_name_then_wildcard_then_default() {
    let dir = TempDir::new().unwrap();
    let default = identity(&dir, "default", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    let exact = identity(&dir, "exact", &["iot.example.com"], &PKCS_ECDSA_P256_SHA256);
    let wild = identity(&dir, "wild", &["*.example.com"], &PKCS_ECDSA_P256_SHA256);
    let choice = Choice::new(&default, &[wild.clone(), exact.clone()]);
    for (name, expected) in [
        (None, &default),
        (Some("localhost"), &default),
        (Some("iot.example.com"), &exact),
        (Some("IOT.Example.com."), &exact),
        (Some("other.example.com"), &wild),
        (Some("a.other.example.com"), &default),
        (Some("example.com"), &default),
        (Some("unknown"), &default),
    ] {
        let chosen = choice.choose(name, EC).unwrap();
        assert!(Arc::ptr_eq(&chosen, &expected.certified), "{name:?}");
    }
}

#[test]
fn by_what_the_client_can_check() {
    let dir = TempDir::new().unwrap();
    let rsa = identity(&dir, "rsa", &["localhost"], &PKCS_RSA_SHA256);
    let ec = identity(&dir, "ec", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    let only_ec = identity(&dir, "only-ec", &["ec.example"], &PKCS_ECDSA_P256_SHA256);
    let choice = Choice::new(&rsa, &[ec.clone(), only_ec]);
    for name in [None, Some("localhost")] {
        for (schemes, expected) in [(RSA, &rsa), (EC, &ec), (BOTH, &ec)] {
            assert!(
                Arc::ptr_eq(&choice.choose(name, schemes).unwrap(), &expected.certified),
                "{name:?} {schemes:?}"
            );
        }
    }
    // Better a certificate of another name that the client can read than none.
    assert!(Arc::ptr_eq(&choice.choose(Some("ec.example"), RSA).unwrap(), &rsa.certified));
    assert!(choice.choose(Some("ec.example"), &[]).is_some(), "the handshake says what is wrong");
}

#[test]
fn names_of_ones_own() {
    let dir = TempDir::new().unwrap();
    let default = identity(&dir, "default", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    let named =
        identity(&dir, "other", &["x"], &PKCS_ECDSA_P256_SHA256).for_names(["*.fleet.example".to_owned()]);
    let choice = Choice::new(&default, std::slice::from_ref(&named));
    assert!(Arc::ptr_eq(&choice.choose(Some("a.fleet.example"), EC).unwrap(), &named.certified));
    assert!(Arc::ptr_eq(&choice.choose(Some("x"), EC).unwrap(), &default.certified));
}

#[test]
fn mistakes_are_named() {
    let dir = TempDir::new().unwrap();
    let (at, key) = files(&dir, "a", &["a"], &PKCS_ECDSA_P256_SHA256);
    let (_, other) = files(&dir, "b", &["b"], &PKCS_ECDSA_P256_SHA256);
    assert!(matches!(read(&at, &other), Err(Error::Mismatch { .. })));
    assert!(matches!(read(&key, &key), Err(Error::Empty { .. })));
    assert!(matches!(read(&at, &at), Err(Error::Pem { what: "the server key", .. })));
    assert!(matches!(read(&dir.path().join("absent"), &key), Err(Error::Pem { .. })));
    assert!(read(&at, &key).unwrap().not_after().is_some());
}
