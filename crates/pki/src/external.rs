//! A certificate authority whose key is elsewhere: what is to be signed is made here, the signature comes from outside and is
//! checked.

use sha2::{Digest, Sha256};

use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::authority::{assembled, authority_body, device_body, sha256_with};
use crate::registration::check_may_issue;
use crate::{Certificate, Error, Name, PublicKey, Serial, SigningRequest, Validity, pem};

/// A CA certificate without its private key.
#[derive(Debug)]
pub struct ExternalAuthority {
    certificate: Certificate,
    algorithm: Vec<u8>,
}

/// A certificate that is yet to be signed.
#[derive(Debug)]
pub struct Unsigned {
    /// `None`: itself.
    issuer: Option<Certificate>,
    algorithm: Vec<u8>,
    body: Vec<u8>,
}

impl ExternalAuthority {
    /// A CA by its certificate, whose key is RSA of 2048 bits or more, or on NIST P-256.
    ///
    /// # Errors
    ///
    /// Those of [`Certificate::parse_pem`]; [`Error::CaVersion`], [`Error::NotCa`] and [`Error::CaKeyUsage`] when it may not
    /// issue; [`Error::WeakKey`]; [`Error::MalformedKey`] for a key of another kind.
    pub fn from_pem(certificate: &str) -> Result<Self, Error> {
        let certificate = Certificate::parse_pem(certificate)?;
        check_may_issue(&certificate)?;
        certificate.public_key.check_strength()?;
        let algorithm = sha256_with(certificate.public_key.kind)?;
        Ok(Self { certificate, algorithm })
    }

    /// What is to be signed for a device, as with [`Authority::issue_device_until`](crate::Authority::issue_device_until).
    ///
    /// # Errors
    ///
    /// [`Error::Unissuable`] when `now` is past `not_after`.
    pub fn device(
        &self,
        csr: &SigningRequest,
        serial: Serial,
        (now, not_after): (u64, u64),
    ) -> Result<Unsigned, Error> {
        let body = device_body((&self.certificate, &self.algorithm), csr, serial, (now, not_after))?;
        Ok(Unsigned { issuer: Some(self.certificate.clone()), algorithm: self.algorithm.clone(), body })
    }
}

impl Unsigned {
    /// A CA for a key that is elsewhere, which signs itself. `public_key` is its SubjectPublicKeyInfo, PEM or DER.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedPublicKey`]; [`Error::WeakKey`]; [`Error::MalformedKey`] for a key of another kind than
    /// [`ExternalAuthority::from_pem`] takes; [`Error::Unissuable`] for an empty subject or an impossible validity.
    pub fn authority(
        public_key: &[u8],
        subject: &Name,
        serial: Serial,
        validity: Validity,
    ) -> Result<Self, Error> {
        let der = match std::str::from_utf8(public_key) {
            Ok(text) if text.contains("-----BEGIN") => pem::decode(text, &["PUBLIC KEY"])?,
            _ => public_key.to_vec(),
        };
        let malformed = |what: String| Error::MalformedPublicKey(what);
        let (rest, info) =
            SubjectPublicKeyInfo::from_der(&der).map_err(|error| malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(malformed("something follows the key".to_owned()));
        }
        let key = PublicKey::of(&info);
        key.check_strength()?;
        let algorithm = sha256_with(key.kind)?;
        let body = authority_body(&algorithm, &der, subject, serial, validity)?;
        Ok(Self { issuer: None, algorithm, body })
    }

    /// The SHA-256 digest that the CA's key is to sign.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }

    /// The certificate, with the signature over the digest: ECDSA as a DER sequence of two integers, RSA by PKCS #1 v1.5.
    ///
    /// # Errors
    ///
    /// [`Error::CertificateSignature`] when the signature is not by the CA's key.
    pub fn signed(self, signature: &[u8]) -> Result<Certificate, Error> {
        let certificate = assembled(&self.body, &self.algorithm, signature)?;
        certificate.check_issued_by(self.issuer.as_ref().unwrap_or(&certificate))?;
        Ok(certificate)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    use super::*;
    use crate::name::Attribute;
    use crate::{Authority, DeviceKey};

    fn authority() -> Authority {
        let name = Name::new(&[(Attribute::CommonName, "elsewhere")]).unwrap();
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        Authority::create(&name, Serial([1; 16]), validity).unwrap()
    }

    #[test]
    fn a_signature_from_outside_makes_the_certificate_that_the_key_itself_would() {
        let (authority, key) = (authority(), DeviceKey::generate().unwrap());
        let external = ExternalAuthority::from_pem(&authority.certificate().pem()).unwrap();
        let (serial, period) = (Serial([7; 16]), (1_700_000_000, 1_800_000_000));
        let unsigned = external.device(key.signing_request(), serial, period).unwrap();
        assert_eq!(unsigned.digest(), <[u8; 32]>::from(Sha256::digest(&unsigned.body)));
        // The library signs messages, not digests; what an external signer does is the same signature.
        let der = pem::decode(authority.private_key_pem(), &["PRIVATE KEY"]).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der).unwrap();
        let signature = pair.sign(&SystemRandom::new(), &unsigned.body).unwrap();
        let here = authority.issue_device_until(key.signing_request(), serial, period).unwrap();
        let made = unsigned.signed(signature.as_ref()).unwrap();
        assert_eq!(
            (made.subject.der(), made.serial, made.issuer),
            (here.subject.der(), here.serial, here.issuer)
        );
        assert_eq!((made.not_before, made.not_after), (here.not_before, here.not_after));
    }

    #[test]
    fn a_key_elsewhere_gets_a_certificate_that_it_signs_itself() {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        let public = pair.public_key().as_der().unwrap();
        let name = Name::new(&[(Attribute::CommonName, "elsewhere")]).unwrap();
        let validity = Validity { not_before: 0, not_after: 4_000_000_000 };
        let made = || Unsigned::authority(public.as_ref(), &name, Serial([2; 16]), validity).unwrap();
        let signature = pair.sign(&SystemRandom::new(), &made().body).unwrap();
        let certificate = made().signed(signature.as_ref()).unwrap();
        assert!(ExternalAuthority::from_pem(&certificate.pem()).is_ok());
        assert!(made().signed(&[0x30, 0]).is_err());
        assert!(Unsigned::authority(b"no key", &name, Serial([2; 16]), validity).is_err());
    }

    #[test]
    fn a_signature_by_anybody_else_is_refused() {
        let key = DeviceKey::generate().unwrap();
        let external = ExternalAuthority::from_pem(&authority().certificate().pem()).unwrap();
        for signature in [&[][..], &[0x30, 6, 2, 1, 1, 2, 1, 1], &[0; 256]] {
            let unsigned = external.device(key.signing_request(), Serial([7; 16]), (1, 2)).unwrap();
            assert!(unsigned.signed(signature).is_err());
        }
        let leaf = authority().issue_device(key.signing_request(), Serial([7; 16]), 1).unwrap();
        assert!(matches!(ExternalAuthority::from_pem(&leaf.pem()), Err(Error::NotCa(_))));
    }
}
