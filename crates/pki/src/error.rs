//! Why a certificate, a request or a registration is refused.

use crate::{CertificateId, KeyKind, PublicKey};

/// What is wrong with the material given. Trying again with the same material never helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text or DER is longer than [`crate::pem::MAX_LEN`] bytes.
    #[error("input of {0} bytes exceeds the limit of {max}", max = crate::pem::MAX_LEN)]
    TooLong(usize),
    /// The text has no PEM block.
    #[error("no PEM block found; expected -----BEGIN {0}-----")]
    NoPemBlock(&'static str),
    /// The PEM block is of another kind.
    #[error("PEM block is '{found}', expected '{expected}'")]
    PemLabel {
        /// The label in the text.
        found: String,
        /// The label wanted.
        expected: &'static str,
    },
    /// A second PEM block follows the first.
    #[error("more than one PEM block")]
    SeveralPemBlocks,
    /// The `-----END …-----` line is absent or bears another label.
    #[error("PEM block '{0}' is not closed by a matching END line")]
    PemNotClosed(String),
    /// What stands between the PEM lines is not base64.
    #[error("PEM block '{0}' is not base64")]
    PemBase64(String),
    /// The DER is not a certificate; says what the parser met.
    #[error("not a valid X.509 certificate: {0}")]
    MalformedCertificate(String),
    /// The DER is not a certificate signing request; says what the parser met.
    #[error("not a valid certificate signing request: {0}")]
    MalformedRequest(String),
    /// The private key cannot be read or is of a kind we do not sign with.
    #[error("not a usable private key: {0}")]
    MalformedKey(String),
    /// The public key cannot be read; says what the parser met.
    #[error("not a valid public key: {0}")]
    MalformedPublicKey(String),
    /// The signature algorithm, by its OID, is not one AWS IoT accepts.
    #[error("signature algorithm {0} is not accepted")]
    SignatureAlgorithm(String),
    /// The key is too weak or of a kind a CSR may not carry.
    #[error("{0} is not accepted: RSA of 2048 bits or more, or NIST P-256, P-384 or P-521")]
    WeakKey(PublicKey),
    /// The CSR's signature is not by its own key.
    #[error("the certificate signing request is not signed by its own key")]
    RequestSignature,
    /// The signer's key and the signature algorithm do not go together, or we cannot verify the pair.
    #[error("cannot verify {algorithm:?} with a {kind:?} key")]
    UnverifiableSignature {
        /// The algorithm of the signature.
        algorithm: crate::SignatureAlgorithm,
        /// The kind of the signer's key.
        kind: KeyKind,
    },
    /// The issuer named in the certificate is not the subject of the CA.
    #[error("certificate {0} names another issuer")]
    IssuerMismatch(CertificateId),
    /// The certificate's signature is not by the CA's key.
    #[error("certificate {0} is not signed by the CA's key")]
    CertificateSignature(CertificateId),
    /// The CA certificate is not X.509 version 3.
    #[error("CA certificate is X.509 version {0}, expected 3")]
    CaVersion(u32),
    /// Basic constraints are absent or say CA=FALSE.
    #[error("CA certificate {0} lacks basicConstraints CA=TRUE")]
    NotCa(CertificateId),
    /// The key usage extension is there without keyCertSign.
    #[error("CA certificate {0} has a key usage without keyCertSign")]
    CaKeyUsage(CertificateId),
    /// `now` lies before notBefore. Times in unix seconds.
    #[error("certificate {id} is not valid before {not_before} (now {now})")]
    NotYetValid {
        /// Which certificate.
        id: CertificateId,
        /// Its notBefore.
        not_before: u64,
        /// The time of the check.
        now: u64,
    },
    /// `now` lies after notAfter. Times in unix seconds.
    #[error("certificate {id} expired at {not_after} (now {now})")]
    Expired {
        /// Which certificate.
        id: CertificateId,
        /// Its notAfter.
        not_after: u64,
        /// The time of the check.
        now: u64,
    },
    /// The verification certificate's CN is not the registration code.
    #[error("the verification certificate's common name is not the registration code")]
    RegistrationCode,
    /// What AWS IoT asks of the certificates of servers, and is not so.
    #[error("the server certificate cannot be used: {0}")]
    ServerChain(String),
    /// An OCSP answer that cannot be used, or a certificate that nobody can be asked about.
    #[error("OCSP: {0}")]
    Ocsp(String),
    /// The certificate and the private key do not belong together.
    #[error("the private key does not belong to certificate {0}")]
    KeyMismatch(CertificateId),
    /// A name, a validity period or a subject that cannot be written into a certificate.
    #[error("cannot issue: {0}")]
    Unissuable(String),
    /// Not the identity of a service of a cluster.
    #[error("no service identity: {0}")]
    ServiceIdentity(String),
    /// The crypto library failed.
    #[error("crypto library: {0}")]
    Crypto(String),
    /// Not 64 hex digits.
    #[error("'{0}' is not a certificate id: 64 hex digits")]
    CertificateId(String),
}

impl Error {
    /// The exception AWS answers when this comes up in a control-plane call.
    pub fn aws_code(&self) -> &'static str {
        match self {
            Self::RegistrationCode => "RegistrationCodeValidationException",
            Self::MalformedRequest(_)
            | Self::MalformedPublicKey(_)
            | Self::WeakKey(_)
            | Self::RequestSignature
            | Self::CertificateId(_) => "InvalidRequestException",
            Self::Crypto(_) | Self::KeyMismatch(_) | Self::Unissuable(_) | Self::MalformedKey(_) => {
                "InternalFailureException"
            }
            _ => "CertificateValidationException",
        }
    }
}
