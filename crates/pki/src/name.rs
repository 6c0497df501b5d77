//! Subjects and issuers, with attributes under the names AWS IoT policy variables use.

use x509_parser::{
    asn1_rs::Tag,
    x509::{AttributeTypeAndValue, X509Name},
};

use crate::{Error, der};

/// A distinguished name: its exact DER, and the attributes policies may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    der: Vec<u8>,
    attributes: Vec<(Attribute, String)>,
}

/// The attributes of `iot:Certificate.Subject.*` and `iot:Certificate.Issuer.*`
/// ("X.509 Certificate AWS IoT Core policy variables").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are AWS's own and X.520's")]
pub enum Attribute {
    DistinguishedNameQualifier,
    Country,
    Organization,
    OrganizationalUnit,
    State,
    CommonName,
    SerialNumber,
    Title,
    Surname,
    GivenName,
    Initials,
    Pseudonym,
    GenerationQualifier,
}

impl Attribute {
    /// Every attribute, in the order of AWS's page.
    pub const ALL: [Self; 13] = [
        Self::DistinguishedNameQualifier,
        Self::Country,
        Self::Organization,
        Self::OrganizationalUnit,
        Self::State,
        Self::CommonName,
        Self::SerialNumber,
        Self::Title,
        Self::Surname,
        Self::GivenName,
        Self::Initials,
        Self::Pseudonym,
        Self::GenerationQualifier,
    ];

    /// The last word of the policy variable, e.g. `CommonName`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DistinguishedNameQualifier => "DistinguishedNameQualifier",
            Self::Country => "Country",
            Self::Organization => "Organization",
            Self::OrganizationalUnit => "OrganizationalUnit",
            Self::State => "State",
            Self::CommonName => "CommonName",
            Self::SerialNumber => "SerialNumber",
            Self::Title => "Title",
            Self::Surname => "Surname",
            Self::GivenName => "GivenName",
            Self::Initials => "Initials",
            Self::Pseudonym => "Pseudonym",
            Self::GenerationQualifier => "GenerationQualifier",
        }
    }

    /// The last arc of its OID, 2.5.4.x (X.520).
    const fn arc(self) -> u8 {
        match self {
            Self::DistinguishedNameQualifier => 46,
            Self::Country => 6,
            Self::Organization => 10,
            Self::OrganizationalUnit => 11,
            Self::State => 8,
            Self::CommonName => 3,
            Self::SerialNumber => 5,
            Self::Title => 12,
            Self::Surname => 4,
            Self::GivenName => 42,
            Self::Initials => 43,
            Self::Pseudonym => 65,
            Self::GenerationQualifier => 44,
        }
    }
}

impl Name {
    /// Builds a name of one attribute per level, in the order given.
    ///
    /// # Errors
    ///
    /// [`Error::Unissuable`] for an empty value, one above 64 characters (X.520's bound for most attributes),
    /// or a country that is not two letters.
    pub fn new(attributes: &[(Attribute, &str)]) -> Result<Self, Error> {
        let mut levels = Vec::new();
        for (attribute, value) in attributes {
            levels.extend(relative_name(*attribute, value)?);
        }
        Ok(Self {
            der: der::tlv(der::SEQUENCE, &levels),
            attributes: attributes
                .iter()
                .map(|(attribute, value)| (*attribute, (*value).to_owned()))
                .collect(),
        })
    }

    pub(crate) fn of(name: &X509Name<'_>) -> Self {
        let known = name.iter_attributes().filter_map(|pair| Some((attribute_of(pair)?, text_of(pair)?)));
        Self { der: name.as_raw().to_vec(), attributes: known.collect() }
    }

    /// The name's exact encoding: two names are the same when this is.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether the name has no attribute at all, known to us or not.
    pub fn is_empty(&self) -> bool {
        self.der == [der::SEQUENCE, 0]
    }

    /// The values of an attribute, in the order they stand in the certificate.
    pub fn values(&self, attribute: Attribute) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter(move |(a, _)| *a == attribute).map(|(_, value)| value.as_str())
    }

    /// The first common name.
    pub fn common_name(&self) -> Option<&str> {
        self.values(Attribute::CommonName).next()
    }
}

fn relative_name(attribute: Attribute, value: &str) -> Result<Vec<u8>, Error> {
    let country = attribute == Attribute::Country;
    let fits = if country {
        value.len() == 2 && value.bytes().all(|b| b.is_ascii_alphabetic())
    } else {
        (1..=64).contains(&value.chars().count())
    };
    if !fits {
        return Err(Error::Unissuable(format!("{} '{value}' does not fit a name", attribute.name())));
    }
    let kind = if country { der::PRINTABLE_STRING } else { der::UTF8_STRING };
    let oid = der::tlv(der::OID, &[0x55, 0x04, attribute.arc()]);
    let pair = der::sequence(&[&oid, &der::tlv(kind, value.as_bytes())]);
    Ok(der::tlv(der::SET, &pair))
}

fn attribute_of(pair: &AttributeTypeAndValue<'_>) -> Option<Attribute> {
    let oid = pair.attr_type().as_bytes();
    Attribute::ALL.into_iter().find(|attribute| oid == [0x55, 0x04, attribute.arc()])
}

/// The value as text; `None` for what is not a string.
fn text_of(pair: &AttributeTypeAndValue<'_>) -> Option<String> {
    let bytes = pair.attr_value().data;
    match pair.attr_value().tag() {
        Tag::BmpString => {
            let units =
                bytes.chunks_exact(2).filter_map(|unit| Some(u16::from_be_bytes(unit.try_into().ok()?)));
            String::from_utf16(&units.collect::<Vec<_>>()).ok()
        }
        Tag::UniversalString => {
            let unit = |unit: &[u8]| char::from_u32(u32::from_be_bytes(unit.try_into().ok()?));
            bytes.chunks_exact(4).map(unit).collect()
        }
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        _ => pair.as_str().ok().map(str::to_owned),
    }
}
