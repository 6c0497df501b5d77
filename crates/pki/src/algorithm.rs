//! The signature algorithms AWS IoT accepts ("X.509 client certificates", developer guide) and checking with
//! them.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{
    asn1_rs::Tag,
    signature_algorithm::RsaSsaPssParams,
    x509::{AlgorithmIdentifier, SubjectPublicKeyInfo},
};

use crate::{Error, KeyKind, PublicKey, der};

/// What signed a certificate or a CSR. SHA-1, MD5 and the like have no place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    Rsa(Hash),
    /// RSASSA-PSS.
    RsaPss(Hash),
    /// DSA with SHA-256; accepted when read, though our crypto library cannot verify it.
    DsaSha256,
    /// ECDSA on a NIST curve.
    Ecdsa(Hash),
}

/// The digest of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

use Hash::{Sha256, Sha384, Sha512};

impl SignatureAlgorithm {
    pub(crate) fn of(identifier: &AlgorithmIdentifier<'_>) -> Result<Self, Error> {
        let oid = identifier.algorithm.to_id_string();
        let algorithm = match oid.as_str() {
            "1.2.840.113549.1.1.11" => Some(Self::Rsa(Sha256)),
            "1.2.840.113549.1.1.12" => Some(Self::Rsa(Sha384)),
            "1.2.840.113549.1.1.13" => Some(Self::Rsa(Sha512)),
            "1.2.840.113549.1.1.10" => pss_hash(identifier).map(Self::RsaPss),
            "2.16.840.1.101.3.4.3.2" => Some(Self::DsaSha256),
            "1.2.840.10045.4.3.2" => Some(Self::Ecdsa(Sha256)),
            "1.2.840.10045.4.3.3" => Some(Self::Ecdsa(Sha384)),
            "1.2.840.10045.4.3.4" => Some(Self::Ecdsa(Sha512)),
            _ => None,
        };
        algorithm.ok_or(Error::SignatureAlgorithm(oid))
    }

    /// Checks `signature` over `message` with the signer's key; `Ok(false)` when it does not hold.
    pub(crate) fn verify(
        self,
        signer: &SubjectPublicKeyInfo<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Error> {
        let kind = PublicKey::of(signer).kind;
        let Some(algorithm) = self.with_key(kind) else {
            return Err(Error::UnverifiableSignature { algorithm: self, kind });
        };
        let key = UnparsedPublicKey::new(algorithm, &signer.subject_public_key.data);
        Ok(key.verify(message, signature).is_ok())
    }

    fn with_key(self, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self, kind) {
            (Self::Rsa(Sha256), KeyKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa(Sha384), KeyKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa(Sha512), KeyKind::Rsa) => &signature::RSA_PKCS1_2048_8192_SHA512,
            (Self::RsaPss(Sha256), KeyKind::Rsa) => &signature::RSA_PSS_2048_8192_SHA256,
            (Self::RsaPss(Sha384), KeyKind::Rsa) => &signature::RSA_PSS_2048_8192_SHA384,
            (Self::RsaPss(Sha512), KeyKind::Rsa) => &signature::RSA_PSS_2048_8192_SHA512,
            (Self::Ecdsa(Sha256), KeyKind::P256) => &signature::ECDSA_P256_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyKind::P256) => &signature::ECDSA_P256_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyKind::P256) => &signature::ECDSA_P256_SHA512_ASN1,
            (Self::Ecdsa(Sha256), KeyKind::P384) => &signature::ECDSA_P384_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyKind::P384) => &signature::ECDSA_P384_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyKind::P384) => &signature::ECDSA_P384_SHA512_ASN1,
            (Self::Ecdsa(Sha256), KeyKind::P521) => &signature::ECDSA_P521_SHA256_ASN1,
            (Self::Ecdsa(Sha384), KeyKind::P521) => &signature::ECDSA_P521_SHA384_ASN1,
            (Self::Ecdsa(Sha512), KeyKind::P521) => &signature::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        })
    }
}

/// Whether `der` is exactly SEQUENCE { `body`, `identifier`, BIT STRING `signature` }.
///
/// The parser forgives wrong tags and lengths there, where no signature protects them. Accepting them would
/// let anyone make a second certificate, with an id of its own, out of one that was revoked.
pub(crate) fn is_exact_envelope(
    der: &[u8],
    body: &[u8],
    identifier: &AlgorithmIdentifier<'_>,
    signature: &[u8],
) -> bool {
    let oid = der::tlv(der::OID, identifier.algorithm.as_bytes());
    let parameters = match &identifier.parameters {
        None => Vec::new(),
        Some(any) if any.tag() == Tag::Sequence => der::tlv(der::SEQUENCE, any.data),
        Some(any) => der::tlv(der::NULL, any.data),
    };
    let identifier = der::sequence(&[&oid, &parameters]);
    der == der::sequence(&[body, &identifier, &der::bit_string(signature)])
}

fn pss_hash(identifier: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let parameters = RsaSsaPssParams::try_from(identifier.parameters.as_ref()?).ok()?;
    match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => Some(Sha256),
        "2.16.840.1.101.3.4.2.2" => Some(Sha384),
        "2.16.840.1.101.3.4.2.3" => Some(Sha512),
        _ => None,
    }
}
