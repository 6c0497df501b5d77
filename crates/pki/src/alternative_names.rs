//! Subject and issuer alternative names, under the names AWS IoT policy variables use.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;

/// `iot:Certificate.{Subject,Issuer}.AlternativeName.*`, each in order of appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    /// `RFC822Name`: mail addresses.
    pub rfc822_names: Vec<String>,
    /// `DNSName`.
    pub dns_names: Vec<String>,
    /// `DirectoryName`, as text in the manner of RFC 4514.
    pub directory_names: Vec<String>,
    /// `UniformResourceIdentifier`.
    pub uris: Vec<String>,
    /// `IPAddress`.
    pub ip_addresses: Vec<IpAddr>,
}

impl AlternativeNames {
    /// Names of other forms, and those that cannot be read, are left out: no policy can ask for them.
    pub(crate) fn of(names: &[GeneralName<'_>]) -> Self {
        let mut found = Self::default();
        for name in names {
            match name {
                GeneralName::RFC822Name(text) => found.rfc822_names.push((*text).to_owned()),
                GeneralName::DNSName(text) => found.dns_names.push((*text).to_owned()),
                GeneralName::DirectoryName(name) => found.directory_names.push(name.to_string()),
                GeneralName::URI(text) => found.uris.push((*text).to_owned()),
                GeneralName::IPAddress(bytes) => found.ip_addresses.extend(address(bytes)),
                _ => {}
            }
        }
        found
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
