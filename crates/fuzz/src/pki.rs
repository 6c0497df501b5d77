//! What devices and operators present: certificates and signing requests, as DER or PEM; what OCSP responders answer.

use fleethaven_pki::{Certificate, CertificateId, OcspQuestion, SigningRequest};

const NOW: u64 = 1_700_000_000;
/// A certificate that the answers of the corpus are about, and its issuer.
const CHAIN: &str = include_str!("ocsp-chain.pem");
/// When those answers count.
const ANSWERED: u64 = 1_767_312_000;

pub(crate) fn certificate(data: &[u8]) {
    let parsed = match std::str::from_utf8(data) {
        Ok(text) if text.contains("-----BEGIN") => Certificate::parse_pem(text),
        _ => Certificate::parse_der(data),
    };
    let Ok(certificate) = parsed else { return };
    let _ = certificate.check_validity(NOW);
    let _ = certificate.check_issued_by(&certificate);
    let _ = fleethaven_pki::check_ca(&certificate, NOW);
    let _ = certificate.public_key_der();
    let _ = certificate.public_key_bits();
    // What is kept is what is looked up by.
    let again = Certificate::parse_pem(&certificate.pem()).unwrap();
    assert_eq!(CertificateId::of_der(again.der()), CertificateId::of_der(certificate.der()));
}

pub(crate) fn signing_request(data: &[u8]) {
    let _ = match std::str::from_utf8(data) {
        Ok(text) if text.contains("-----BEGIN") => SigningRequest::parse_pem(text),
        _ => SigningRequest::parse_der(data),
    };
}

/// An answer that counts now is one that does not end before.
pub(crate) fn ocsp(data: &[u8]) {
    let question = OcspQuestion::of_chain(CHAIN).unwrap();
    if let Ok(answer) = question.check(data, ANSWERED) {
        assert!(answer.next_update >= ANSWERED);
    }
}
