//! The part of a certificate that is signed (TBSCertificate, RFC 5280 section 4.1.2), and its extensions.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::{Error, Serial, ServerName, ServiceIdentity, Validity, der};

/// What goes into a certificate. Names and keys are DER, taken over byte for byte.
pub(crate) struct Tbs<'a> {
    pub(crate) serial: Serial,
    pub(crate) algorithm: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) validity: Validity,
    pub(crate) subject: &'a [u8],
    pub(crate) public_key: &'a [u8],
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl Tbs<'_> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let version_3 = der::tlv(der::explicit(0), &der::tlv(der::INTEGER, &[2]));
        let serial = der::tlv(der::INTEGER, &self.serial.positive());
        let extensions = der::tlv(der::SEQUENCE, &self.extensions.concat());
        Ok(der::sequence(&[
            &version_3,
            &serial,
            self.algorithm,
            self.issuer,
            &encode_validity(self.validity)?,
            self.subject,
            self.public_key,
            &der::tlv(der::explicit(3), &extensions),
        ]))
    }
}

fn encode_validity(validity: Validity) -> Result<Vec<u8>, Error> {
    let Validity { not_before, not_after } = validity;
    let ends = (der::time(not_before), der::time(not_after));
    let (Some(start), Some(end), true) = (ends.0, ends.1, not_before <= not_after) else {
        return Err(Error::Unissuable(format!("validity from {not_before} to {not_after}")));
    };
    Ok(der::sequence(&[&start, &end]))
}

/// The bits of the KeyUsage extension we set, counted from the most significant (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy)]
pub(crate) enum KeyUsage {
    /// digitalSignature.
    EndEntity,
    /// keyCertSign and cRLSign.
    Ca,
}

/// Extension 2.5.29.`arc`.
fn extension(arc: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let oid = der::tlv(der::OID, &[0x55, 0x1d, arc]);
    let critical = if critical { der::tlv(der::BOOLEAN, &[0xff]) } else { Vec::new() };
    der::sequence(&[&oid, &critical, &der::tlv(der::OCTET_STRING, value)])
}

pub(crate) fn basic_constraints(ca: bool) -> Vec<u8> {
    let flag = if ca { der::tlv(der::BOOLEAN, &[0xff]) } else { Vec::new() };
    extension(19, true, &der::sequence(&[&flag]))
}

pub(crate) fn key_usage(usage: KeyUsage) -> Vec<u8> {
    let (unused_bits, bits) = match usage {
        KeyUsage::EndEntity => (7, 0b1000_0000),
        KeyUsage::Ca => (1, 0b0000_0110),
    };
    extension(15, true, &der::tlv(der::BIT_STRING, &[unused_bits, bits]))
}

pub(crate) fn subject_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension(14, false, &der::tlv(der::OCTET_STRING, identifier))
}

pub(crate) fn authority_key_identifier(identifier: &[u8]) -> Vec<u8> {
    extension(35, false, &der::sequence(&[&der::tlv(der::implicit(0), identifier)]))
}

/// serverAuth, and clientAuth where the server also calls others.
pub(crate) fn extended_key_usage(client_too: bool) -> Vec<u8> {
    const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    let mut purposes = der::tlv(der::OID, SERVER_AUTH);
    if client_too {
        purposes.extend(der::tlv(der::OID, CLIENT_AUTH));
    }
    extension(37, false, &der::tlv(der::SEQUENCE, &purposes))
}

/// Critical, because the subject of our server certificates is empty (RFC 5280 section 4.2.1.6).
pub(crate) fn subject_alternative_name(names: &[ServerName], identity: Option<&ServiceIdentity>) -> Vec<u8> {
    let uri = identity.map(|identity| der::tlv(der::implicit(6), identity.to_string().as_bytes()));
    let names: Vec<u8> = names.iter().map(general_name).chain(uri).flatten().collect();
    extension(17, true, &der::tlv(der::SEQUENCE, &names))
}

fn general_name(name: &ServerName) -> Vec<u8> {
    match name {
        ServerName::Dns(name) => der::tlv(der::implicit(2), name.as_bytes()),
        ServerName::Ip(IpAddr::V4(address)) => der::tlv(der::implicit(7), &address.octets()),
        ServerName::Ip(IpAddr::V6(address)) => der::tlv(der::implicit(7), &address.octets()),
    }
}

/// The first 160 bits of the SHA-256 of a SubjectPublicKeyInfo (RFC 7093 section 2, in the manner of method
/// 4).
pub(crate) fn key_identifier(public_key: &[u8]) -> Vec<u8> {
    Sha256::digest(public_key).into_iter().take(20).collect()
}
