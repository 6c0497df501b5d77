//! `ssl.truststore` and `ssl.keystore`: PEM, or the store of Java that AWS asks for (JKS), either as it is or in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_outbound::dial::Identity;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha1::{Digest, Sha1};

use super::wire::{Reader, Unreadable};

/// Most bytes of a store (AWS: 65 KB).
const MAX_STORE: usize = 128 << 10;
const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
/// How a password and the content of a JKS store are joined.
const WHITENER: &[u8] = b"Mighty Aphrodite";
const DIGEST: usize = 20;

/// The certificates that are trusted.
pub(super) fn authorities(
    store: &str,
    password: Option<&str>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = content(store)?;
    let certificates = match bytes.starts_with(&JKS) {
        true => JavaStore::read(&bytes, password)?.trusted,
        false => certificates(&bytes)?,
    };
    if certificates.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(certificates)
}

/// A certificate with its chain and its key.
pub(super) fn identity(
    store: &str,
    password: Option<&str>,
    key_password: Option<&str>,
) -> Result<Identity, String> {
    let bytes = content(store)?;
    if bytes.starts_with(&JKS) {
        let (sealed, chain) = JavaStore::read(&bytes, password)?.key.ok_or("there is no key in it")?;
        let key = opened(&sealed, key_password.unwrap_or_default())?;
        return Ok(Identity { chain, key: PrivateKeyDer::Pkcs8(key.into()) });
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes);
    let key = key.map_err(|_| "it has no PEM key that is not encrypted")?;
    Ok(Identity { chain: certificates(&bytes)?, key })
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    read.map_err(|_| "its PEM cannot be read".to_owned())
}

/// A store as bytes: PEM, or what stands there in base64.
fn content(store: &str) -> Result<Vec<u8>, String> {
    if store.len() > MAX_STORE {
        return Err(format!("it has more than {MAX_STORE} bytes"));
    }
    if store.contains("-----BEGIN") {
        return Ok(store.as_bytes().to_vec());
    }
    let compact: String = store.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(compact).map_err(|_| "it is neither PEM nor base64".to_owned())?;
    let pem = bytes.windows(10).any(|window| window == b"-----BEGIN");
    match pem || bytes.starts_with(&JKS) {
        true => Ok(bytes),
        false => Err("it is neither PEM nor JKS; PKCS #12 can be turned into PEM by openssl".to_owned()),
    }
}

/// A key that is sealed with a password, and its chain.
type SealedKey = (Vec<u8>, Vec<CertificateDer<'static>>);

/// A key store of Java's own old format.
struct JavaStore {
    trusted: Vec<CertificateDer<'static>>,
    key: Option<SealedKey>,
}

impl JavaStore {
    /// Reads a store; its password proves that it is whole.
    fn read(bytes: &[u8], password: Option<&str>) -> Result<Self, String> {
        let broken = "the JKS store is broken";
        let (content, digest) = bytes.split_at_checked(bytes.len().saturating_sub(DIGEST)).ok_or(broken)?;
        if let Some(password) = password {
            let mut hash = Sha1::new();
            hash.update(utf16(password));
            hash.update(WHITENER);
            hash.update(content);
            if hash.finalize().as_slice() != digest {
                return Err("the password is not that of the JKS store".to_owned());
            }
        }
        Self::entries(content).map_err(|Unreadable| broken.to_owned())
    }

    fn entries(content: &[u8]) -> Result<Self, Unreadable> {
        const KEY: i32 = 1;
        const TRUSTED: i32 = 2;
        let mut reader = Reader::new(content);
        let (_magic, version) = (reader.i32()?, reader.i32()?);
        if version != 2 {
            return Err(Unreadable);
        }
        let mut store = Self { trusted: Vec::new(), key: None };
        for _ in 0..reader.i32()? {
            let (tag, _alias, _made) = (reader.i32()?, reader.text()?, reader.i64()?);
            match tag {
                KEY => {
                    let sealed = reader.bytes()?.to_vec();
                    store.key = Some((sealed, reader.array(certificate)?));
                }
                TRUSTED => store.trusted.push(certificate(&mut reader)?),
                _ => return Err(Unreadable),
            }
        }
        Ok(store)
    }
}

fn certificate(reader: &mut Reader<'_>) -> Result<CertificateDer<'static>, Unreadable> {
    let _type = reader.text()?;
    Ok(CertificateDer::from(reader.bytes()?.to_vec()))
}

/// A key of a JKS store, opened: PKCS #8. It is sealed by a chain of digests that its password and a salt begin.
fn opened(sealed: &[u8], password: &str) -> Result<Vec<u8>, String> {
    let wrong = || "the password is not that of the key, or the key is sealed in another way".to_owned();
    // The key is at the end of the one structure that Java writes: a salt, the sealed bytes and a check.
    let sealed = octets(sealed).ok_or_else(wrong)?;
    let (salt, rest) = sealed.split_at_checked(DIGEST).ok_or_else(wrong)?;
    let (hidden, check) = rest.split_at_checked(rest.len().saturating_sub(DIGEST)).ok_or_else(wrong)?;
    let password = utf16(password);
    let mut block = salt.to_vec();
    let mut plain = Vec::with_capacity(hidden.len());
    for chunk in hidden.chunks(DIGEST) {
        block = Sha1::new().chain_update(&password).chain_update(&block).finalize().to_vec();
        plain.extend(chunk.iter().zip(&block).map(|(hidden, mask)| hidden ^ mask));
    }
    let proof = Sha1::new().chain_update(&password).chain_update(&plain).finalize();
    if proof.as_slice() == check { Ok(plain) } else { Err(wrong()) }
}

/// The OCTET STRING of an EncryptedPrivateKeyInfo.
fn octets(der: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const OCTET_STRING: u8 = 0x04;
    let (whole, _) = element(der, SEQUENCE)?;
    let (_algorithm, rest) = element(whole, SEQUENCE)?;
    Some(element(rest, OCTET_STRING)?.0)
}

/// The content of the element of this type that DER begins with, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (short, rest) = rest.split_first().filter(|_| *first == tag)?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(*short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A password as Java writes it.
fn utf16(password: &str) -> Vec<u8> {
    password.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `keytool -importcert -storetype JKS`, and `keytool -genkeypair -storetype JKS`.
    const TRUST_STORE: &str = "\
        /u3+7QAAAAIAAAABAAAAAgACY2EAAAGiIga/9wAFWC41MDkAAAE2MIIBMjCB2qADAgECAgkA4iEP/D3QJdswCgYIKoZIzj0EAwIw\
        DTELMAkGA1UEAxMCY2EwIBcNMjYxMTI4MTE1OTU3WhgPMjEyNjExMDQxMTU5NTdaMA0xCzAJBgNVBAMTAmNhMFkwEwYHKoZIzj0C\
        AQYIKoZIzj0DAQcDQgAEpcAc6O8ulMdxj/seq58wOFnOSDBFEoulhnKC/aCqZy743LpiHfehp9U/UXfOGXMS21jO9wVVElaYxiCl\
        NDNXoKMhMB8wHQYDVR0OBBYEFDy8hYN0YaRhQl0wcehPzHS+c5ExMAoGCCqGSM49BAMCA0cAMEQCIGS3FIXs8/MBD4bvnOo1V15J\
        Ue55KB5lvwSiRcliHhLhAiAl91wwecG6Ssaq4UaOq+9s+aD8kMLP8I1VC+8tkpQSIabzhxvkqjtMDMdYML4Mn0XnkmP6";
    const KEY_STORE: &str = "\
        /u3+7QAAAAIAAAABAAAAAQAGY2xpZW50AAABoiIGvdEAAAB/MH0wDgYKKwYBBAEqAhEBAQUABGuPj1deMm1ME9UEzUwPYlurQG7Y\
        /s5C8Mnggx0Nhn4I46db6lbUgjm9ixuvSXhX6L/9W9XBE7pVuWArhSguODRcin3E60NzDJb/Gc+fCyiIcXZ6rD8nFrClAKN6kj3x\
        E8p1O/mQV9pU3sPE4wAAAAEABVguNTA5AAABPzCCATswgeKgAwIBAgIJAIEuWvXlnqRFMAoGCCqGSM49BAMCMBExDzANBgNVBAMT\
        BmNsaWVudDAgFw0yNjExMjgxMTU5NTZaGA8yMTI2MTEwNDExNTk1NlowETEPMA0GA1UEAxMGY2xpZW50MFkwEwYHKoZIzj0CAQYI\
        KoZIzj0DAQcDQgAElIitd1P8Je6JvE5bRLlgm97tSimfp53Ss6IbbbYDxVgo+8IP5c1BvwaiqpPXBuZACqOBiLV7D9zyontqw4Va\
        TKMhMB8wHQYDVR0OBBYEFMtuXWUd589IJKmRVDc1k88ona3UMAoGCCqGSM49BAMCA0gAMEUCIQC6HQnxJauIkg+mJ0act7BIYy10\
        skL0Gv2rn3jo5yswqgIgIDv8QAhsnBDxd+Hp3FP4208zFqQ1gTAxflRCPi26Lxr/mXnxv+8mK0VcZlQX8nSXHfZUmw==";

    #[test]
    fn javas_stores_are_read() {
        assert_eq!(authorities(TRUST_STORE, Some("changeit")).unwrap().len(), 1);
        assert_eq!(authorities(TRUST_STORE, None).unwrap().len(), 1);
        assert!(authorities(TRUST_STORE, Some("wrong")).unwrap_err().contains("password"));
        assert!(authorities(KEY_STORE, None).unwrap_err().contains("no certificate"));
        let identity = identity(KEY_STORE, Some("changeit"), Some("changeit")).unwrap();
        assert_eq!(identity.chain.len(), 1);
        assert!(rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key).is_ok());
        assert!(refusal(KEY_STORE, Some("wrong")).contains("password"));
        assert!(refusal(TRUST_STORE, None).contains("no key"));
    }

    fn refusal(store: &str, key_password: Option<&str>) -> String {
        identity(store, None, key_password).err().unwrap()
    }

    #[test]
    fn what_is_broken_is_refused() {
        let bytes = STANDARD.decode(KEY_STORE).unwrap();
        for end in 4..bytes.len() {
            assert!(identity(&STANDARD.encode(&bytes[..end]), None, Some("changeit")).is_err());
        }
        assert!(authorities("nonsense!", None).unwrap_err().contains("neither PEM nor base64"));
        assert!(authorities("MIIB", None).unwrap_err().contains("PKCS #12"));
        assert!(identity("-----BEGIN CERTIFICATE-----", None, None).is_err());
        assert!(authorities(&"A".repeat(MAX_STORE + 1), None).is_err());
    }
}
