//! A certificate as policies see it: the values of `iot:Certificate.*` (AWS page "X.509 Certificate AWS IoT Core policy
//! variables").

use fleethaven_policy::{AlternativeName, CertificateAttributes, CertificateField, NameAttribute};

use crate::{Attribute, Certificate, Name};

impl From<&Certificate> for CertificateAttributes {
    /// The fields of the certificate that have values.
    fn from(certificate: &Certificate) -> Self {
        let mut attributes = Self::new();
        insert_name(&mut attributes, &certificate.subject, CertificateField::Subject);
        insert_name(&mut attributes, &certificate.issuer, CertificateField::Issuer);
        let alternatives = [
            (&certificate.subject_alternative_names, CertificateField::SubjectAlternativeName as fn(_) -> _),
            (&certificate.issuer_alternative_names, CertificateField::IssuerAlternativeName),
        ];
        for (names, field) in alternatives {
            let addresses: Vec<String> = names.ip_addresses.iter().map(ToString::to_string).collect();
            for (form, values) in [
                (AlternativeName::RFC822Name, &names.rfc822_names),
                (AlternativeName::DNSName, &names.dns_names),
                (AlternativeName::DirectoryName, &names.directory_names),
                (AlternativeName::UniformResourceIdentifier, &names.uris),
                (AlternativeName::IPAddress, &addresses),
            ] {
                values.iter().for_each(|value| attributes.insert(field(form), value));
            }
        }
        attributes.insert(CertificateField::SerialNumber, &certificate.serial);
        attributes
    }
}

fn insert_name(
    attributes: &mut CertificateAttributes,
    name: &Name,
    field: fn(NameAttribute) -> CertificateField,
) {
    for attribute in Attribute::ALL {
        let same = NameAttribute::ALL.iter().find(|word| word.as_str() == attribute.name());
        if let Some(same) = same {
            name.values(attribute).for_each(|value| attributes.insert(field(*same), value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_of_a_name_has_its_variable() {
        for attribute in Attribute::ALL {
            assert!(NameAttribute::ALL.iter().any(|word| word.as_str() == attribute.name()), "{attribute:?}");
        }
    }
}
