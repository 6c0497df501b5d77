//! Certificate signing requests (PKCS #10): read, checked for strength and for possession of the key.

use rcgen::{KeyPair, PublicKeyData};
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer, x509::SubjectPublicKeyInfo,
};

use crate::{
    Attribute, Certificate, Error, Name, PublicKey, SignatureAlgorithm, algorithm::is_exact_envelope, pem,
};

/// A CSR that is signed by its own key, which is strong enough.
///
/// The extensions it asks for are not looked at: a device certificate has those we give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// The subject asked for; may be empty.
    pub subject: Name,
    /// The kind and size of its key.
    pub public_key: PublicKey,
    pub(crate) public_key_der: Vec<u8>,
}

impl SigningRequest {
    /// Reads and checks the one `CERTIFICATE REQUEST` block of a PEM text.
    ///
    /// # Errors
    ///
    /// Those of [`pem::decode`] and [`SigningRequest::parse_der`].
    pub fn parse_pem(text: &str) -> Result<Self, Error> {
        Self::parse_der(&pem::decode(text, &["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"])?)
    }

    /// Reads and checks exactly one CSR.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::MalformedRequest`], [`Error::WeakKey`], [`Error::SignatureAlgorithm`],
    /// [`Error::UnverifiableSignature`] and [`Error::RequestSignature`].
    pub fn parse_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > pem::MAX_LEN {
            return Err(Error::TooLong(der.len()));
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed("data follows the request"));
        }
        let info = &request.certification_request_info;
        if !is_exact_envelope(der, info.raw, &request.signature_algorithm, &request.signature_value.data) {
            return Err(malformed("not in distinguished encoding (DER)"));
        }
        let public_key = PublicKey::of(&info.subject_pki);
        public_key.check_strength()?;
        let algorithm = SignatureAlgorithm::of(&request.signature_algorithm)?;
        if !algorithm.verify(&info.subject_pki, info.raw, &request.signature_value.data)? {
            return Err(Error::RequestSignature);
        }
        Ok(Self {
            subject: Name::of(&info.subject),
            public_key,
            public_key_der: info.subject_pki.raw.to_vec(),
        })
    }

    /// Whether a certificate, whoever has issued it, is for the key and the subject of the request. The subject's texts count,
    /// not how they are encoded.
    pub fn is_answered_by(&self, certificate: &Certificate) -> bool {
        let same = |attribute| self.subject.values(attribute).eq(certificate.subject.values(attribute));
        let has_key = certificate.public_key_der().is_ok_and(|key| key == self.public_key_der);
        has_key && (self.subject == certificate.subject || Attribute::ALL.into_iter().all(same))
    }

    /// A request for a key that we made ourselves, without a subject.
    pub(crate) fn unnamed(key: &KeyPair) -> Result<Self, Error> {
        let public_key_der = key.subject_public_key_info();
        let (_, parsed) = SubjectPublicKeyInfo::from_der(&public_key_der).map_err(malformed)?;
        let public_key = PublicKey::of(&parsed);
        Ok(Self { subject: Name::new(&[])?, public_key, public_key_der })
    }
}

fn malformed(why: impl ToString) -> Error {
    Error::MalformedRequest(why.to_string())
}
