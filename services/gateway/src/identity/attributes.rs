//! A certificate's fields as policy variables see them.

use fleethaven_pki::{AlternativeNames, Attribute, Certificate, Name};
use fleethaven_policy::{AlternativeName, CertificateAttributes, CertificateField, NameAttribute};

/// The fields of `certificate` that have values.
pub(super) fn of(certificate: &Certificate) -> CertificateAttributes {
    let mut attributes = CertificateAttributes::new();
    insert_name(&mut attributes, &certificate.subject, CertificateField::Subject);
    insert_name(&mut attributes, &certificate.issuer, CertificateField::Issuer);
    let subject = &certificate.subject_alternative_names;
    insert_alternatives(&mut attributes, subject, CertificateField::SubjectAlternativeName);
    let issuer = &certificate.issuer_alternative_names;
    insert_alternatives(&mut attributes, issuer, CertificateField::IssuerAlternativeName);
    attributes.insert(CertificateField::SerialNumber, &certificate.serial);
    attributes
}

fn insert_name(
    attributes: &mut CertificateAttributes,
    name: &Name,
    field: fn(NameAttribute) -> CertificateField,
) {
    for variable in NameAttribute::ALL {
        let named = |attribute: &&Attribute| attribute.name() == variable.as_str();
        let Some(attribute) = Attribute::ALL.iter().find(named) else { continue };
        for value in name.values(*attribute) {
            attributes.insert(field(*variable), value);
        }
    }
}

fn insert_alternatives(
    attributes: &mut CertificateAttributes,
    names: &AlternativeNames,
    field: fn(AlternativeName) -> CertificateField,
) {
    let texts = [
        (AlternativeName::RFC822Name, &names.rfc822_names),
        (AlternativeName::DNSName, &names.dns_names),
        (AlternativeName::DirectoryName, &names.directory_names),
        (AlternativeName::UniformResourceIdentifier, &names.uris),
    ];
    for (form, values) in texts {
        for value in values {
            attributes.insert(field(form), value);
        }
    }
    for address in &names.ip_addresses {
        attributes.insert(field(AlternativeName::IPAddress), &address.to_string());
    }
}
