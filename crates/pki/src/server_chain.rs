//! The certificate chain of a server and its key, as an owner hands them in for a domain configuration ("Creating and
//! configuring customer managed domains", developer guide).

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{Certificate, Error, KeyKind, pem, registration::check_may_issue};

/// Most certificates of a chain, the server's own included.
pub const MAX_CHAIN: usize = 5;
/// Longest chain, in bytes of PEM.
pub const MAX_CHAIN_LEN: usize = 16 << 10;
/// Most names that a server certificate may be for.
pub const MAX_NAMES: usize = 4;

/// A chain that holds together, of a certificate that servers may show, or that signs answers of OCSP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerChain {
    /// The server's certificate.
    pub certificate: Certificate,
    /// The DNS names that it is for, in lower case: exact ones, or with `*` as the first label. None where it is for no server: it signs
    /// answers of OCSP.
    pub names: Vec<String>,
    /// Until when all of the chain is valid, in unix seconds.
    pub not_after: u64,
}

impl ServerChain {
    /// Reads a PEM chain, the server's certificate first and each signed by the next, and checks that it may be shown at
    /// `now` (unix seconds) with this key: PKCS #8, PKCS #1 or SEC 1, PEM.
    ///
    /// # Errors
    ///
    /// [`Error::ServerChain`] with what AWS asks of server certificates and is not so; those of [`Certificate::parse_der`],
    /// [`Certificate::check_issued_by`] and [`Certificate::check_validity`]; [`Error::MalformedKey`], [`Error::KeyMismatch`].
    pub fn check(chain: &str, key: &str, now: u64) -> Result<Self, Error> {
        if chain.len() > MAX_CHAIN_LEN {
            return Err(refused(format!(
                "the chain has {} bytes, at most {MAX_CHAIN_LEN} are allowed",
                chain.len()
            )));
        }
        let blocks = pem::decode_all(chain, "CERTIFICATE")?;
        if blocks.len() > MAX_CHAIN {
            return Err(refused(format!(
                "the chain has {} certificates, at most {MAX_CHAIN} are allowed",
                blocks.len()
            )));
        }
        let chain = blocks.iter().map(|der| Certificate::parse_der(der)).collect::<Result<Vec<_>, _>>()?;
        for (one, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            one.check_issued_by(issuer)?;
            check_may_issue(issuer)?;
        }
        chain.iter().try_for_each(|one| one.check_validity(now))?;
        let not_after = chain.iter().map(|one| one.not_after).min().unwrap_or_default();
        let Some(certificate) = chain.into_iter().next() else {
            return Err(Error::NoPemBlock("CERTIFICATE"));
        };
        let is_shown = check_purpose(&certificate)?;
        check_key(&certificate, key)?;
        let names = if is_shown { names(&certificate)? } else { Vec::new() };
        Ok(Self { certificate, names, not_after })
    }
}

fn refused(why: impl Into<String>) -> Error {
    Error::ServerChain(why.into())
}

/// Whether servers may show it; otherwise it signs answers of OCSP, and a domain configuration may name it for that.
fn check_purpose(certificate: &Certificate) -> Result<bool, Error> {
    let accepted = match certificate.public_key.kind {
        KeyKind::Rsa => certificate.public_key.bits >= 2048,
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => true,
        KeyKind::Dsa | KeyKind::Other => false,
    };
    if !accepted {
        return Err(Error::WeakKey(certificate.public_key));
    }
    let unread = |error: &dyn ToString| Error::MalformedCertificate(error.to_string());
    let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|error| unread(&error))?;
    let usage = parsed.extended_key_usage().map_err(|error| unread(&error))?;
    match usage {
        Some(usage) if usage.value.server_auth || usage.value.any => Ok(true),
        Some(usage) if usage.value.ocsp_signing => Ok(false),
        _ => Err(refused("its extended key usage has no serverAuth")),
    }
}

fn check_key(certificate: &Certificate, key: &str) -> Result<(), Error> {
    let der = pem::decode(key, &["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"])?;
    let key = KeyPair::try_from(der).map_err(|error| Error::MalformedKey(error.to_string()))?;
    match key.subject_public_key_info() == certificate.public_key_der()? {
        true => Ok(()),
        false => Err(Error::KeyMismatch(certificate.id)),
    }
}

/// The alternative names; the common name only counts where there are none.
fn names(certificate: &Certificate) -> Result<Vec<String>, Error> {
    let alternative = &certificate.subject_alternative_names.dns_names;
    let common = certificate.subject.common_name().filter(|_| alternative.is_empty()).map(str::to_owned);
    let names: Vec<String> =
        alternative.iter().cloned().chain(common).map(|name| name.to_ascii_lowercase()).collect();
    match names.len() {
        0 => Err(refused("it is for no DNS name")),
        1..=MAX_NAMES => Ok(names),
        many => Err(refused(format!("it is for {many} names, at most {MAX_NAMES} are allowed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attribute, Authority, EndEntityUse, Name, Serial, ServerName, Validity};

    const VALIDITY: Validity = Validity { not_before: 1000, not_after: 2000 };

    fn authority() -> Authority {
        let name = Name::new(&[(Attribute::CommonName, "ca")]).unwrap();
        Authority::create(&name, Serial([1; 16]), Validity { not_before: 0, not_after: 1900 }).unwrap()
    }

    fn server(authority: &Authority, names: &[&str]) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| ServerName::Dns((*name).to_owned())).collect();
        let issued = authority.issue_server(&names, EndEntityUse::Server, Serial([2; 16]), VALIDITY).unwrap();
        (issued.certificate.pem(), issued.private_key_pem)
    }

    #[test]
    fn a_chain_that_may_be_shown() {
        let authority = authority();
        let (certificate, key) = server(&authority, &["Device.Example", "*.fleet.example"]);
        let chain = format!("{certificate}\n{}", authority.certificate().pem());
        let checked = ServerChain::check(&chain, &key, 1500).unwrap();
        assert_eq!(checked.names, ["device.example", "*.fleet.example"]);
        assert_eq!(checked.not_after, 1900, "the first that ends");
        assert_eq!(ServerChain::check(&certificate, &key, 1500).unwrap().not_after, 2000);
    }

    #[test]
    fn a_responder_of_ocsp_is_for_no_name() {
        let key = KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::OcspSigning];
        let certificate = parameters.self_signed(&key).unwrap().pem();
        let checked = ServerChain::check(&certificate, &key.serialize_pem(), 1_700_000_000).unwrap();
        assert!(checked.names.is_empty());
    }

    #[test]
    fn what_may_not_be_shown() {
        let (one, other) = (authority(), authority());
        let (certificate, key) = server(&one, &["a.example"]);
        let (_, other_key) = server(&one, &["a.example"]);
        let check = |chain: &str, key: &str, now| ServerChain::check(chain, key, now).unwrap_err();
        assert!(matches!(check(&certificate, &other_key, 1500), Error::KeyMismatch(_)));
        assert!(matches!(check(&certificate, &key, 2001), Error::Expired { .. }));
        assert!(matches!(check(&certificate, &key, 999), Error::NotYetValid { .. }));
        let stranger = format!("{certificate}{}", other.certificate().pem());
        assert!(matches!(check(&stranger, &key, 1500), Error::CertificateSignature(_)));
        let not_a_ca = format!("{certificate}{certificate}");
        assert!(matches!(check(&not_a_ca, &key, 1500), Error::IssuerMismatch(_)));
        let own = one.certificate().pem();
        let reason = check(&own, one.private_key_pem(), 1500).to_string();
        assert!(reason.contains("serverAuth"), "{reason}");
        let (many, key) = server(&one, &["a.example", "b.example", "c.example", "d.example", "e.example"]);
        assert!(check(&many, &key, 1500).to_string().contains("at most 4"));
        assert!(check(&own.repeat(6), &key, 1500).to_string().contains("at most 5"));
        assert!(check(&own.repeat(40), &key, 1500).to_string().contains("bytes"));
        assert_eq!(check("", &key, 1500), Error::NoPemBlock("CERTIFICATE"));
    }
}
