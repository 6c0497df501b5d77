//! A certificate read once: everything the registry, the gateway and policies ask of it.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    time::ASN1Time,
};

use crate::{
    AlternativeNames, CertificateId, Error, Name, PublicKey, SignatureAlgorithm,
    algorithm::is_exact_envelope, pem,
};

/// A certificate that is well-formed and signed with an algorithm AWS IoT accepts.
///
/// Nothing is said about trust: see [`Certificate::check_issued_by`] and [`Certificate::check_validity`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of the DER.
    pub id: CertificateId,
    /// The X.509 version: 1, 2 or 3.
    pub version: u32,
    /// The subject.
    pub subject: Name,
    /// The issuer.
    pub issuer: Name,
    /// The subject alternative names.
    pub subject_alternative_names: AlternativeNames,
    /// The issuer alternative names.
    pub issuer_alternative_names: AlternativeNames,
    /// The serial number, in lower-case hex of whole bytes without a leading zero byte.
    pub serial: String,
    /// Start of validity, in unix seconds; 0 for times before 1970.
    pub not_before: u64,
    /// End of validity, in unix seconds; 0 for times before 1970.
    pub not_after: u64,
    /// What signed it.
    pub signature_algorithm: SignatureAlgorithm,
    /// The kind and size of its key.
    pub public_key: PublicKey,
    /// Whether basicConstraints says CA=TRUE.
    pub is_ca: bool,
    /// Whether the key usage has keyCertSign; `None` without the extension.
    pub key_cert_sign: Option<bool>,
    pub(crate) subject_key_identifier: Option<Vec<u8>>,
    der: Vec<u8>,
}

impl Certificate {
    /// Reads the one `CERTIFICATE` block of a PEM text.
    ///
    /// # Errors
    ///
    /// Those of [`pem::decode`] and [`Certificate::parse_der`].
    pub fn parse_pem(text: &str) -> Result<Self, Error> {
        Self::parse_der(&pem::decode(text, &["CERTIFICATE"])?)
    }

    /// Reads exactly one certificate.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::MalformedCertificate`], and [`Error::SignatureAlgorithm`] for SHA-1, MD5
    /// and others outside the list of "X.509 client certificates".
    pub fn parse_der(der: &[u8]) -> Result<Self, Error> {
        let parsed = parse(der)?;
        let signature_algorithm = SignatureAlgorithm::of(&parsed.signature_algorithm)?;
        if parsed.signature_algorithm != parsed.tbs_certificate.signature {
            return Err(malformed("inner and outer signature algorithms differ"));
        }
        let body = parsed.tbs_certificate.as_ref();
        if !is_exact_envelope(der, body, &parsed.signature_algorithm, &parsed.signature_value.data) {
            return Err(malformed("not in distinguished encoding (DER)"));
        }
        let key_usage = parsed.key_usage().map_err(malformed)?;
        let constraints = parsed.basic_constraints().map_err(malformed)?;
        let (subject_alternative_names, issuer_alternative_names) = alternative_names(&parsed)?;
        Ok(Self {
            id: CertificateId::of_der(der),
            version: parsed.version().0.saturating_add(1),
            subject: Name::of(parsed.subject()),
            issuer: Name::of(parsed.issuer()),
            subject_alternative_names,
            issuer_alternative_names,
            serial: hex::encode(parsed.tbs_certificate.serial.to_bytes_be()),
            not_before: seconds(parsed.validity().not_before),
            not_after: seconds(parsed.validity().not_after),
            signature_algorithm,
            public_key: PublicKey::of(parsed.public_key()),
            is_ca: constraints.is_some_and(|extension| extension.value.ca),
            key_cert_sign: key_usage.map(|extension| extension.value.key_cert_sign()),
            subject_key_identifier: subject_key_identifier(&parsed),
            der: der.to_vec(),
        })
    }

    /// The certificate's encoding.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as one PEM block.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    /// Checks that `now` (unix seconds) lies within the validity period, ends included.
    ///
    /// # Errors
    ///
    /// [`Error::NotYetValid`] and [`Error::Expired`].
    pub fn check_validity(&self, now: u64) -> Result<(), Error> {
        if now < self.not_before {
            return Err(Error::NotYetValid { id: self.id, not_before: self.not_before, now });
        }
        if now > self.not_after {
            return Err(Error::Expired { id: self.id, not_after: self.not_after, now });
        }
        Ok(())
    }

    /// Checks that `ca` issued this certificate: names agree byte for byte and the signature holds.
    ///
    /// Says nothing about whether `ca` may issue ([`crate::check_ca`]), nor about validity periods.
    ///
    /// # Errors
    ///
    /// [`Error::IssuerMismatch`], [`Error::CertificateSignature`], [`Error::UnverifiableSignature`].
    pub fn check_issued_by(&self, ca: &Self) -> Result<(), Error> {
        if self.issuer.der() != ca.subject.der() {
            return Err(Error::IssuerMismatch(self.id));
        }
        let (ours, theirs) = (parse(&self.der)?, parse(&ca.der)?);
        let message = ours.tbs_certificate.as_ref();
        let signature = &ours.signature_value.data;
        match self.signature_algorithm.verify(theirs.public_key(), message, signature)? {
            true => Ok(()),
            false => Err(Error::CertificateSignature(self.id)),
        }
    }

    /// Whether its key made a signature.
    pub(crate) fn verifies(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, Error> {
        algorithm.verify(parse(&self.der)?.public_key(), message, signature)
    }

    /// The SubjectPublicKeyInfo, as DER.
    pub fn public_key_der(&self) -> Result<Vec<u8>, Error> {
        Ok(parse(&self.der)?.public_key().raw.to_vec())
    }

    /// The public key itself: the contents of the BIT STRING in the SubjectPublicKeyInfo.
    pub fn public_key_bits(&self) -> Result<Vec<u8>, Error> {
        Ok(parse(&self.der)?.public_key().subject_public_key.data.to_vec())
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    if der.len() > pem::MAX_LEN {
        return Err(Error::TooLong(der.len()));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(malformed("data follows the certificate")),
        Err(error) => Err(malformed(error)),
    }
}

fn malformed(why: impl ToString) -> Error {
    Error::MalformedCertificate(why.to_string())
}

fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

fn alternative_names(parsed: &X509Certificate<'_>) -> Result<(AlternativeNames, AlternativeNames), Error> {
    let subject = parsed.subject_alternative_name().map_err(malformed)?;
    let subject: &[GeneralName<'_>] = subject.as_ref().map_or(&[], |san| &san.value.general_names);
    let issuer = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::IssuerAlternativeName(ian) => Some(ian.general_names.as_slice()),
        _ => None,
    });
    Ok((AlternativeNames::of(subject), AlternativeNames::of(issuer.unwrap_or_default())))
}

fn subject_key_identifier(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
