//! OCSP (RFC 6960): the question whether a server certificate is revoked, and what a responder answers, as it is stapled into
//! handshakes.

use aws_lc_rs::digest;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    x509::AlgorithmIdentifier,
};

use crate::der::{self, Reader};
use crate::{Certificate, Error, SignatureAlgorithm};

/// Longest answer that is read, in bytes.
const MAX_RESPONSE_LEN: usize = 64 << 10;
/// Seconds that a responder's clock may be ahead of ours.
const SKEW_SECS: u64 = 300;
/// How long an answer counts that does not say when there will be a newer one, in seconds.
const UNTOLD_SECS: u64 = 24 * 60 * 60;

const OCSP: &str = "1.3.6.1.5.5.7.48.1";
/// `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// `id-sha1`: what certificates are named by, which needs no resistance to collisions (RFC 6960 section 4.3).
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const ENUMERATED: u8 = 0x0a;

/// A certificate and who issued it: what a responder is asked about.
#[derive(Debug, Clone)]
pub struct OcspQuestion {
    certificate: Certificate,
    issuer: Certificate,
    /// Who alone may sign the answer, where that is said.
    signer: Option<Certificate>,
    id: Vec<u8>,
    responder: Option<String>,
}

/// An answer that holds: what is stapled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspAnswer {
    /// Whether the certificate is revoked.
    pub revoked: bool,
    /// When it was known, in unix seconds.
    pub this_update: u64,
    /// Until when it counts, in unix seconds.
    pub next_update: u64,
}

impl OcspQuestion {
    /// What is to be asked about the first certificate of a PEM chain, whose second one issued it.
    ///
    /// # Errors
    /// [`Error::Ocsp`] where the chain has no issuer, and those of reading certificates.
    pub fn of_chain(chain: &str) -> Result<Self, Error> {
        let blocks = crate::pem::decode_all(chain, "CERTIFICATE")?;
        let [certificate, issuer, ..] = blocks.as_slice() else {
            return Err(refused("the chain has no certificate of the issuer"));
        };
        let (certificate, issuer) = (Certificate::parse_der(certificate)?, Certificate::parse_der(issuer)?);
        certificate.check_issued_by(&issuer)?;
        let responder = responder(&certificate)?;
        let id = certificate_id(&certificate, &issuer)?;
        Ok(Self { certificate, issuer, signer: None, id, responder })
    }

    /// The same, of which nobody but the first certificate of another PEM chain may sign the answer.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn answered_by(self, chain: &str) -> Result<Self, Error> {
        Ok(Self { signer: Some(Certificate::parse_pem(chain)?), ..self })
    }

    /// Where the responder is that the certificate names: an address of http or https.
    ///
    /// # Errors
    /// [`Error::Ocsp`] where it names none.
    pub fn responder(&self) -> Result<&str, Error> {
        self.responder.as_deref().ok_or_else(|| refused("the certificate names no responder of http"))
    }

    /// The request, in DER.
    pub fn request(&self) -> Vec<u8> {
        let request = der::sequence(&[&self.id]);
        let list = der::sequence(&[&request]);
        der::sequence(&[&der::sequence(&[&list])])
    }

    /// Reads the answer, in DER, as of `now` (unix seconds): signed by the issuer, or by whom it lets answer; by
    /// [whom alone](Self::answered_by) it may be, where that is said.
    ///
    /// # Errors
    /// [`Error::Ocsp`] where it is none about this certificate, is not signed rightly, is too old or too new.
    pub fn check(&self, response: &[u8], now: u64) -> Result<OcspAnswer, Error> {
        if response.len() > MAX_RESPONSE_LEN {
            return Err(refused(format!("it has more than {MAX_RESPONSE_LEN} bytes")));
        }
        let mut whole = Reader::new(response);
        let mut fields = Reader::new(read(whole.expect(der::SEQUENCE))?);
        match read(fields.expect(ENUMERATED))? {
            [0] => {}
            [status] => return Err(refused(format!("the responder answers with status {status}"))),
            _ => return Err(malformed()),
        }
        let mut bytes = Reader::new(read(fields.expect(der::explicit(0)))?);
        let mut typed = Reader::new(read(bytes.expect(der::SEQUENCE))?);
        if read(typed.expect(der::OID))? != BASIC {
            return Err(refused("it is of a kind that is not known"));
        }
        let mut basic = Reader::new(read(typed.expect(der::OCTET_STRING))?);
        let mut basic = Reader::new(read(basic.expect(der::SEQUENCE))?);
        let data = read(basic.element(der::SEQUENCE))?;
        let algorithm = read(basic.element(der::SEQUENCE))?;
        let [0, signature @ ..] = read(basic.expect(der::BIT_STRING))? else { return Err(malformed()) };
        let certificates = basic.expect(der::explicit(0));
        self.check_signature((data, algorithm, signature), certificates, now)?;
        self.find(data, now)
    }

    fn check_signature(
        &self,
        (data, algorithm, signature): (&[u8], &[u8], &[u8]),
        certificates: Option<&[u8]>,
        now: u64,
    ) -> Result<(), Error> {
        let (_, identifier) = AlgorithmIdentifier::from_der(algorithm).map_err(|_| malformed())?;
        let algorithm = SignatureAlgorithm::of(&identifier)?;
        let holds = |signer: &Certificate| signer.verifies(algorithm, data, signature).unwrap_or(false);
        if let Some(signer) = &self.signer {
            signer.check_validity(now)?;
            let refusal = || refused("the authorized responder has not signed it");
            return holds(signer).then_some(()).ok_or_else(refusal);
        }
        if holds(&self.issuer) {
            return Ok(());
        }
        let mut listed = Reader::new(certificates.unwrap_or_default());
        let mut listed = Reader::new(listed.expect(der::SEQUENCE).unwrap_or_default());
        while let Some(certificate) = listed.element(der::SEQUENCE) {
            let Ok(delegate) = Certificate::parse_der(certificate) else { continue };
            let may_answer = delegate.check_issued_by(&self.issuer).is_ok()
                && delegate.check_validity(now).is_ok()
                && signs_answers(&delegate);
            if may_answer && holds(&delegate) {
                return Ok(());
            }
        }
        Err(refused("neither the issuer nor whom it lets answer has signed it"))
    }

    /// What is said about the certificate.
    fn find(&self, data: &[u8], now: u64) -> Result<OcspAnswer, Error> {
        let mut data = Reader::new(data);
        let mut data = Reader::new(read(data.expect(der::SEQUENCE))?);
        data.expect(der::explicit(0));
        // Who it is: by name or by key. The signature tells.
        if data.expect(der::explicit(1)).is_none() {
            read(data.expect(der::explicit(2)))?;
        }
        read(data.expect(der::GENERALIZED_TIME))?;
        let mut answers = Reader::new(read(data.expect(der::SEQUENCE))?);
        while let Some(answer) = answers.expect(der::SEQUENCE) {
            let mut answer = Reader::new(answer);
            if read(answer.element(der::SEQUENCE))? != self.id {
                continue;
            }
            let (status, _) = answer.any().ok_or_else(malformed)?;
            let revoked = match status {
                0x80 => false,
                0xa1 => true,
                _ => return Err(refused("the responder does not know the certificate")),
            };
            let this_update = time(read(answer.expect(der::GENERALIZED_TIME))?)?;
            let next_update = match answer.expect(der::explicit(0)) {
                Some(inner) => time(read(Reader::new(inner).expect(der::GENERALIZED_TIME))?)?,
                None => this_update.saturating_add(UNTOLD_SECS),
            };
            if this_update > now.saturating_add(SKEW_SECS) {
                return Err(refused("it is of a time to come"));
            }
            if next_update < now {
                return Err(refused("it is too old"));
            }
            return Ok(OcspAnswer { revoked, this_update, next_update });
        }
        Err(refused(format!("it says nothing about {}", self.certificate.id)))
    }
}

/// The address of the responder that a certificate names.
fn responder(certificate: &Certificate) -> Result<Option<String>, Error> {
    let unread = |error: &dyn ToString| Error::MalformedCertificate(error.to_string());
    let (_, parsed) = X509Certificate::from_der(certificate.der()).map_err(|error| unread(&error))?;
    let found = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().find_map(|description| match &description.access_location {
                GeneralName::URI(address) if description.access_method.to_id_string() == OCSP => {
                    Some((*address).to_owned())
                }
                _ => None,
            })
        }
        _ => None,
    });
    let is_http = |address: &String| address.starts_with("http://") || address.starts_with("https://");
    Ok(found.filter(is_http))
}

fn certificate_id(certificate: &Certificate, issuer: &Certificate) -> Result<Vec<u8>, Error> {
    let hash = |bytes: &[u8]| {
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        der::tlv(der::OCTET_STRING, hash.as_ref())
    };
    let mut serial = hex::decode(&certificate.serial).map_err(|_| malformed())?;
    if serial.first().is_none_or(|first| first & 0x80 != 0) {
        serial.insert(0, 0);
    }
    let algorithm = der::sequence(&[&der::tlv(der::OID, SHA1), &der::tlv(der::NULL, &[])]);
    Ok(der::sequence(&[
        &algorithm,
        &hash(certificate.issuer.der()),
        &hash(&issuer.public_key_bits()?),
        &der::tlv(der::INTEGER, &serial),
    ]))
}

/// Whether its extended key usage has OCSPSigning.
fn signs_answers(certificate: &Certificate) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.der()) else { return false };
    parsed.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.ocsp_signing)
}

/// `YYYYMMDDHHMMSSZ`.
fn time(text: &[u8]) -> Result<u64, Error> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_suffix('Z'));
    let civil = text.and_then(|text| DateTime::strptime("%Y%m%d%H%M%S", text).ok());
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC).ok());
    let seconds = zoned.map(|zoned| zoned.timestamp().as_second());
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(malformed)
}

fn read(element: Option<&[u8]>) -> Result<&[u8], Error> {
    element.ok_or_else(malformed)
}

fn malformed() -> Error {
    refused("it is no OCSP response (RFC 6960)")
}

fn refused(why: impl Into<String>) -> Error {
    Error::Ocsp(why.into())
}

#[cfg(test)]
mod tests;
