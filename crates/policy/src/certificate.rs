//! The parts of an X.509 certificate that policies may ask for (AWS page "X.509 Certificate AWS IoT Core
//! policy variables").

use std::collections::BTreeMap;
use std::fmt;

/// Values kept of one field; AWS ignores further ones.
const MAX_VALUES: usize = 5;
/// Longest value that is substituted for a variable, in characters.
const MAX_SUBSTITUTED: usize = 1024;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident: $($variant:ident)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the variants are the X.509 names themselves")]
        pub enum $name { $($variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as variables write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            fn read(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str().eq_ignore_ascii_case(text))
            }
        }
    };
}

words! {
    /// An attribute of a distinguished name.
    NameAttribute:
    DistinguishedNameQualifier Country Organization OrganizationalUnit State CommonName SerialNumber Title
    Surname GivenName Initials Pseudonym GenerationQualifier
}

words! {
    /// A form of an alternative name.
    AlternativeName: RFC822Name DNSName DirectoryName UniformResourceIdentifier IPAddress
}

/// One field of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateField {
    /// `iot:Certificate.Subject.X`
    Subject(NameAttribute),
    /// `iot:Certificate.Issuer.X`
    Issuer(NameAttribute),
    /// `iot:Certificate.Subject.AlternativeName.Y`
    SubjectAlternativeName(AlternativeName),
    /// `iot:Certificate.Issuer.AlternativeName.Y`
    IssuerAlternativeName(AlternativeName),
    /// `iot:Certificate.SerialNumber`, in hexadecimal.
    SerialNumber,
}

impl CertificateField {
    /// Reads what follows `iot:Certificate.`, such as `Subject.CommonName`; letter case does not matter.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let words = text.split('.').collect::<Vec<_>>();
        let is = |word: &str, expected: &str| word.eq_ignore_ascii_case(expected);
        match *words.as_slice() {
            [number] if is(number, "SerialNumber") => Some(Self::SerialNumber),
            [part, name] if is(part, "Subject") => NameAttribute::read(name).map(Self::Subject),
            [part, name] if is(part, "Issuer") => NameAttribute::read(name).map(Self::Issuer),
            [part, middle, form] if is(middle, "AlternativeName") => {
                let form = AlternativeName::read(form)?;
                match part {
                    _ if is(part, "Subject") => Some(Self::SubjectAlternativeName(form)),
                    _ if is(part, "Issuer") => Some(Self::IssuerAlternativeName(form)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

impl fmt::Display for CertificateField {
    /// The full name of the variable.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("iot:Certificate.")?;
        match self {
            Self::Subject(name) => write!(formatter, "Subject.{}", name.as_str()),
            Self::Issuer(name) => write!(formatter, "Issuer.{}", name.as_str()),
            Self::SubjectAlternativeName(form) => {
                write!(formatter, "Subject.AlternativeName.{}", form.as_str())
            }
            Self::IssuerAlternativeName(form) => {
                write!(formatter, "Issuer.AlternativeName.{}", form.as_str())
            }
            Self::SerialNumber => formatter.write_str("SerialNumber"),
        }
    }
}

/// A value as policies compare it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateValue {
    /// With `, " \ + = < > ;` preceded by a backslash.
    pub(crate) escaped: Box<str>,
    /// Whether it may stand in for a variable: at most 1024 characters and none of `* $ + ? #`.
    pub(crate) substitutable: bool,
}

/// The fields of one certificate that have values, built once for a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateAttributes {
    fields: BTreeMap<CertificateField, Vec<CertificateValue>>,
}

impl CertificateAttributes {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, as it stands in the certificate and unescaped, after those the field has. A sixth is
    /// ignored, as is an empty one.
    pub fn insert(&mut self, field: CertificateField, value: &str) {
        if value.is_empty() {
            return;
        }
        let values = self.fields.entry(field).or_default();
        if values.len() < MAX_VALUES {
            values.push(CertificateValue { escaped: escape(value), substitutable: may_substitute(value) });
        }
    }

    pub(crate) fn values(&self, field: CertificateField) -> &[CertificateValue] {
        self.fields.get(&field).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn available(&self) -> impl Iterator<Item = CertificateField> + '_ {
        self.fields.keys().copied()
    }
}

fn escape(value: &str) -> Box<str> {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, ',' | '"' | '\\' | '+' | '=' | '<' | '>' | ';') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped.into_boxed_str()
}

fn may_substitute(value: &str) -> bool {
    value.chars().count() <= MAX_SUBSTITUTED && !value.contains(['*', '$', '+', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        let mut fields = vec![CertificateField::SerialNumber];
        for name in NameAttribute::ALL {
            fields.extend([CertificateField::Subject(*name), CertificateField::Issuer(*name)]);
        }
        for form in AlternativeName::ALL {
            fields.push(CertificateField::SubjectAlternativeName(*form));
            fields.push(CertificateField::IssuerAlternativeName(*form));
        }
        for field in fields {
            let name = field.to_string();
            assert_eq!(CertificateField::read(name.strip_prefix("iot:Certificate.").unwrap()), Some(field));
        }
        assert_eq!(CertificateField::read("Subject.Colour"), None);
        assert_eq!(CertificateField::read("Owner.AlternativeName.DNSName"), None);
    }

    #[test]
    fn values_are_escaped_and_bounded() {
        let field = CertificateField::Subject(NameAttribute::Organization);
        let mut attributes = CertificateAttributes::new();
        attributes.insert(field, "a=b, \"c\" <d>;\\");
        for value in ["2", "3", "4", "5", "6"] {
            attributes.insert(field, value);
        }
        let values = attributes.values(field);
        assert_eq!(values.len(), 5);
        assert_eq!(&*values[0].escaped, r#"a\=b\, \"c\" \<d\>\;\\"#);
    }

    #[test]
    fn what_may_be_substituted() {
        assert!(may_substitute("a=b"));
        assert!(may_substitute(&"é".repeat(1024)));
        assert!(!may_substitute(&"e".repeat(1025)));
        for wild in ["*", "a$b", "a+", "?", "x#"] {
            assert!(!may_substitute(wild), "{wild}");
        }
    }
}
