//! A certificate authority: the one that issues device certificates, or the one behind our own servers.

use std::{fmt, net::IpAddr};

use rcgen::{KeyPair, PublicKeyData, SigningKey};

use crate::{
    Certificate, Error, KeyKind, Name, ServiceIdentity, SigningRequest, der,
    name::Attribute,
    pem,
    registration::check_may_issue,
    tbs::{self, KeyUsage, Tbs},
};

/// End of validity of the certificates AWS issues: 2049-12-31T23:59:59Z, in unix seconds.
pub const DEVICE_NOT_AFTER: u64 = 2_524_607_999;

/// Seconds by which the certificates AWS issues are valid already, for clocks that lag.
const BACKDATED: u64 = 120;

/// Common name of a device certificate whose CSR has an empty subject.
pub const DEVICE_COMMON_NAME: &str = "AWS IoT Certificate";

/// A CA certificate with its private key.
pub struct Authority {
    certificate: Certificate,
    key: KeyPair,
    private_key_pem: String,
}

/// Sixteen random bytes for a serial number. Two bits of them are overruled, so that the number is positive
/// and always as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serial(pub [u8; 16]);

impl Serial {
    pub(crate) fn positive(self) -> [u8; 16] {
        let mut bytes = self.0;
        let [first, ..] = &mut bytes;
        *first = *first & 0x7f | 0x40;
        bytes
    }
}

/// From when to when a certificate holds, in unix seconds, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: u64,
    /// The last second.
    pub not_after: u64,
}

/// A name under which a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// A host name; may begin with `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// What a server certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndEntityUse {
    /// Being connected to: serverAuth.
    Server,
    /// A node of the cluster, which also connects to others: serverAuth and clientAuth.
    Peer,
}

/// A certificate issued together with a fresh key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// Its private key, PKCS #8 in PEM. Secret.
    pub private_key_pem: String,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate.id).finish_non_exhaustive()
    }
}

impl Authority {
    /// Creates a self-signed CA with a fresh P-256 key.
    ///
    /// # Errors
    ///
    /// [`Error::Unissuable`] for an empty subject or an impossible validity; [`Error::Crypto`].
    pub fn create(subject: &Name, serial: Serial, validity: Validity) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(crypto)?;
        let algorithm = algorithm_identifier(&key)?;
        let body = authority_body(&algorithm, &key.subject_public_key_info(), subject, serial, validity)?;
        let certificate = sign(&body, &algorithm, &key)?;
        Ok(Self { certificate, private_key_pem: key.serialize_pem(), key })
    }

    /// Loads a CA from its certificate and its private key, both PEM; PKCS #8, PKCS #1 and SEC 1 are read.
    ///
    /// # Errors
    ///
    /// Those of [`Certificate::parse_pem`]; [`Error::MalformedKey`]; [`Error::KeyMismatch`];
    /// [`Error::CaVersion`], [`Error::NotCa`] and [`Error::CaKeyUsage`] when the certificate may not issue.
    pub fn from_pem(certificate: &str, private_key: &str) -> Result<Self, Error> {
        let certificate = Certificate::parse_pem(certificate)?;
        check_may_issue(&certificate)?;
        let der = pem::decode(private_key, &["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"])?;
        let key = KeyPair::try_from(der).map_err(|error| Error::MalformedKey(error.to_string()))?;
        algorithm_identifier(&key)?;
        if key.subject_public_key_info() != certificate.public_key_der()? {
            return Err(Error::KeyMismatch(certificate.id));
        }
        Ok(Self { certificate, key, private_key_pem: private_key.to_owned() })
    }

    /// The CA's own certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The CA's private key in PEM, as it was created or loaded. Secret.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key_pem
    }

    /// Issues a device certificate for a CSR, from two minutes before `now` (unix seconds) to
    /// [`DEVICE_NOT_AFTER`].
    ///
    /// The subject is the CSR's, or `CN=AWS IoT Certificate` when that is empty. A fresh `serial` makes the
    /// same CSR give another certificate each time, as `CreateCertificateFromCsr` promises.
    ///
    /// # Errors
    ///
    /// [`Error::Unissuable`] when the one is past the other; [`Error::Crypto`].
    pub fn issue_device(&self, csr: &SigningRequest, serial: Serial, now: u64) -> Result<Certificate, Error> {
        self.issue_device_until(csr, serial, (now, DEVICE_NOT_AFTER))
    }

    /// The same to another last second, for certificates that are for once.
    ///
    /// # Errors
    ///
    /// As for [`issue_device`](Self::issue_device).
    pub fn issue_device_until(
        &self,
        csr: &SigningRequest,
        serial: Serial,
        (now, not_after): (u64, u64),
    ) -> Result<Certificate, Error> {
        let algorithm = algorithm_identifier(&self.key)?;
        let body = device_body((&self.certificate, &algorithm), csr, serial, (now, not_after))?;
        sign(&body, &algorithm, &self.key)
    }

    /// Issues a certificate for a server reached under `names`, with a fresh P-256 key.
    ///
    /// # Errors
    ///
    /// [`Error::Unissuable`] for no names, a name that is no host name, or an impossible validity;
    /// [`Error::Crypto`].
    pub fn issue_server(
        &self,
        names: &[ServerName],
        purpose: EndEntityUse,
        serial: Serial,
        validity: Validity,
    ) -> Result<Issued, Error> {
        if names.is_empty() {
            return Err(Error::Unissuable("a server certificate needs a name".into()));
        }
        self.issue_named((names, None), purpose, serial, validity)
    }

    /// Issues a certificate for a service of a cluster, which is called and calls others, with a fresh P-256 key. `names`
    /// are for people and other tools: services know each other by the identity.
    ///
    /// # Errors
    ///
    /// As for [`issue_server`](Self::issue_server), but there may be no names.
    pub fn issue_service(
        &self,
        identity: &ServiceIdentity,
        names: &[ServerName],
        serial: Serial,
        validity: Validity,
    ) -> Result<Issued, Error> {
        self.issue_named((names, Some(identity)), EndEntityUse::Peer, serial, validity)
    }

    fn issue_named(
        &self,
        (names, identity): (&[ServerName], Option<&ServiceIdentity>),
        purpose: EndEntityUse,
        serial: Serial,
        validity: Validity,
    ) -> Result<Issued, Error> {
        check_server_names(names)?;
        let key = KeyPair::generate().map_err(crypto)?;
        let extensions = vec![
            tbs::basic_constraints(false),
            tbs::key_usage(KeyUsage::EndEntity),
            tbs::extended_key_usage(purpose == EndEntityUse::Peer),
            tbs::subject_alternative_name(names, identity),
        ];
        let nameless = der::sequence(&[]);
        let public_key = key.subject_public_key_info();
        let certificate = self.issue(&nameless, &public_key, (serial, validity), extensions)?;
        Ok(Issued { certificate, private_key_pem: key.serialize_pem() })
    }

    fn issue(
        &self,
        subject: &[u8],
        public_key: &[u8],
        (serial, validity): (Serial, Validity),
        extensions: Vec<Vec<u8>>,
    ) -> Result<Certificate, Error> {
        let algorithm = algorithm_identifier(&self.key)?;
        let of = (self.certificate(), algorithm.as_slice());
        sign(&body(of, subject, public_key, (serial, validity), extensions)?, &algorithm, &self.key)
    }
}

/// What a CA signs for itself.
pub(crate) fn authority_body(
    algorithm: &[u8],
    public_key: &[u8],
    subject: &Name,
    serial: Serial,
    validity: Validity,
) -> Result<Vec<u8>, Error> {
    if subject.is_empty() {
        return Err(Error::Unissuable("a CA needs a subject".into()));
    }
    let extensions = vec![
        tbs::basic_constraints(true),
        tbs::key_usage(KeyUsage::Ca),
        tbs::subject_key_identifier(&tbs::key_identifier(public_key)),
    ];
    let (issuer, subject) = (subject.der(), subject.der());
    Tbs { serial, algorithm, issuer, validity, subject, public_key, extensions }.encode()
}

/// What a CA signs for a device: see [`Authority::issue_device_until`].
pub(crate) fn device_body(
    of: (&Certificate, &[u8]),
    csr: &SigningRequest,
    serial: Serial,
    (now, not_after): (u64, u64),
) -> Result<Vec<u8>, Error> {
    let validity = Validity { not_before: now.saturating_sub(BACKDATED), not_after };
    let unnamed = Name::new(&[(Attribute::CommonName, DEVICE_COMMON_NAME)])?;
    let subject = if csr.subject.is_empty() { &unnamed } else { &csr.subject };
    let extensions = vec![tbs::basic_constraints(false), tbs::key_usage(KeyUsage::EndEntity)];
    body(of, subject.der(), &csr.public_key_der, (serial, validity), extensions)
}

/// What a CA signs, of which the certificate and the algorithm are given.
fn body(
    (ca, algorithm): (&Certificate, &[u8]),
    subject: &[u8],
    public_key: &[u8],
    (serial, validity): (Serial, Validity),
    mut extensions: Vec<Vec<u8>>,
) -> Result<Vec<u8>, Error> {
    let ours = match &ca.subject_key_identifier {
        Some(identifier) => identifier.clone(),
        None => tbs::key_identifier(&ca.public_key_der()?),
    };
    extensions.push(tbs::subject_key_identifier(&tbs::key_identifier(public_key)));
    extensions.push(tbs::authority_key_identifier(&ours));
    let issuer = ca.subject.der();
    Tbs { serial, algorithm, issuer, validity, subject, public_key, extensions }.encode()
}

fn sign(body: &[u8], algorithm: &[u8], key: &KeyPair) -> Result<Certificate, Error> {
    let signature = key.sign(body).map_err(crypto)?;
    assembled(body, algorithm, &signature)
}

/// The certificate of a body and its signature.
pub(crate) fn assembled(body: &[u8], algorithm: &[u8], signature: &[u8]) -> Result<Certificate, Error> {
    Certificate::parse_der(&der::sequence(&[body, algorithm, &der::bit_string(signature)]))
}

/// The AlgorithmIdentifier under which `key` signs.
fn algorithm_identifier(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let algorithm = key.algorithm();
    if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
        Ok(ecdsa(2))
    } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        Ok(ecdsa(3))
    } else if *algorithm == rcgen::PKCS_ECDSA_P521_SHA512 {
        Ok(ecdsa(4))
    } else if *algorithm == rcgen::PKCS_RSA_SHA256 {
        Ok(sha256_with_rsa())
    } else {
        Err(Error::MalformedKey("a CA signs with RSA or a NIST curve".into()))
    }
}

/// The AlgorithmIdentifier under which a key of this kind signs a SHA-256 digest.
pub(crate) fn sha256_with(kind: KeyKind) -> Result<Vec<u8>, Error> {
    match kind {
        KeyKind::P256 => Ok(ecdsa(2)),
        KeyKind::Rsa => Ok(sha256_with_rsa()),
        _ => Err(Error::MalformedKey("an external signer signs with RSA or on NIST P-256".into())),
    }
}

/// ecdsa-with-SHA256 (2), -SHA384 (3) or -SHA512 (4).
fn ecdsa(hash: u8) -> Vec<u8> {
    const ECDSA_WITH: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    der::sequence(&[&der::tlv(der::OID, &[ECDSA_WITH.as_slice(), &[hash]].concat())])
}

fn sha256_with_rsa() -> Vec<u8> {
    const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    der::sequence(&[&der::tlv(der::OID, SHA256_WITH_RSA), &[0x05, 0x00]])
}

fn check_server_names(names: &[ServerName]) -> Result<(), Error> {
    for name in names {
        if let ServerName::Dns(host) = name
            && !is_host_name(host)
        {
            return Err(Error::Unissuable(format!("'{host}' is not a host name")));
        }
    }
    Ok(())
}

fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253 && host.strip_prefix("*.").unwrap_or(host).split('.').all(label)
}

fn crypto(error: impl ToString) -> Error {
    Error::Crypto(error.to_string())
}

#[cfg(test)]
mod tests;
