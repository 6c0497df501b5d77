use proptest::prelude::*;

use super::*;
use crate::{Attribute, KeyKind, algorithm::Hash};

const FULL: &str = include_str!("../../tests/data/full.pem");

fn values(name: &Name, attribute: Attribute) -> Vec<&str> {
    name.values(attribute).collect()
}

#[test]
fn reads_every_attribute_of_a_rich_certificate() {
    let certificate = Certificate::parse_pem(FULL).unwrap();
    let expected: [(Attribute, &[&str]); 13] = [
        (Attribute::DistinguishedNameQualifier, &["dnq"]),
        (Attribute::Country, &["DE"]),
        (Attribute::Organization, &["Gerät AG"]),
        (Attribute::OrganizationalUnit, &["first", "second"]),
        (Attribute::State, &["Bayern"]),
        (Attribute::CommonName, &["device 7"]),
        (Attribute::SerialNumber, &["sn-1"]),
        (Attribute::Title, &["Dr"]),
        (Attribute::Surname, &["Sur"]),
        (Attribute::GivenName, &["Given"]),
        (Attribute::Initials, &["SG"]),
        (Attribute::Pseudonym, &["psi"]),
        (Attribute::GenerationQualifier, &["III"]),
    ];
    for (attribute, expected) in expected {
        assert_eq!(values(&certificate.subject, attribute), expected, "{}", attribute.name());
        assert_eq!(values(&certificate.issuer, attribute), expected);
    }
    let names = &certificate.subject_alternative_names;
    assert_eq!(names.dns_names, ["a.example", "b.example"]);
    assert_eq!(
        names.ip_addresses,
        ["10.0.0.1".parse::<std::net::IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]
    );
    assert_eq!(
        (names.uris.as_slice(), names.rfc822_names.as_slice()),
        (&["urn:x:1".into()][..], &["m@b.example".into()][..])
    );
    assert_eq!(names.directory_names, ["CN=inside"]);
    assert_eq!(certificate.issuer_alternative_names.dns_names, ["issuer.example"]);
    assert_eq!((certificate.serial.as_str(), certificate.version), ("a1b2c3", 3));
    assert_eq!(certificate.public_key, PublicKey { kind: KeyKind::P256, bits: 256 });
    assert_eq!((certificate.is_ca, certificate.key_cert_sign), (false, Some(false)));
    assert_eq!(certificate.id, CertificateId::of_der(certificate.der()));
    assert_eq!(Certificate::parse_pem(&certificate.pem()), Ok(certificate));
}

#[test]
fn verifies_what_it_can() {
    let cases = [
        (FULL, SignatureAlgorithm::Ecdsa(Hash::Sha256)),
        (include_str!("../../tests/data/pss.pem"), SignatureAlgorithm::RsaPss(Hash::Sha256)),
        (include_str!("../../tests/data/p521.pem"), SignatureAlgorithm::Ecdsa(Hash::Sha512)),
        (include_str!("../../tests/data/v1.pem"), SignatureAlgorithm::Ecdsa(Hash::Sha256)),
    ];
    for (pem, algorithm) in cases {
        let certificate = Certificate::parse_pem(pem).unwrap();
        assert_eq!(certificate.signature_algorithm, algorithm);
        assert_eq!(certificate.check_issued_by(&certificate), Ok(()));
    }
    let dsa = Certificate::parse_pem(include_str!("../../tests/data/dsa.pem")).unwrap();
    assert!(matches!(dsa.check_issued_by(&dsa), Err(Error::UnverifiableSignature { .. })));
    let full = Certificate::parse_pem(FULL).unwrap();
    assert_eq!(full.check_issued_by(&dsa), Err(Error::IssuerMismatch(full.id)));
}

#[test]
fn refuses_weak_digests() {
    for (pem, oid) in [
        (include_str!("../../tests/data/sha1.pem"), "1.2.840.113549.1.1.5"),
        (include_str!("../../tests/data/md5.pem"), "1.2.840.113549.1.1.4"),
    ] {
        assert_eq!(Certificate::parse_pem(pem), Err(Error::SignatureAlgorithm(oid.into())));
    }
}

#[test]
fn refuses_what_is_malformed() {
    let der = Certificate::parse_pem(FULL).unwrap().der().to_vec();
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("text", b"certificate".to_vec()),
        ("cut", der[..der.len() - 1].to_vec()),
        ("trailing", [der.as_slice(), &[0]].concat()),
        (
            "a request",
            pem::decode(include_str!("../../tests/data/p521.csr"), &["CERTIFICATE REQUEST"]).unwrap(),
        ),
    ];
    for (what, der) in cases {
        assert!(matches!(Certificate::parse_der(&der), Err(Error::MalformedCertificate(_))), "{what}");
    }
    let long = vec![0; pem::MAX_LEN + 1];
    assert_eq!(Certificate::parse_der(&long), Err(Error::TooLong(long.len())));
}

#[test]
fn validity_includes_its_ends() {
    let certificate = Certificate::parse_pem(FULL).unwrap();
    let (id, not_before, not_after) = (certificate.id, certificate.not_before, certificate.not_after);
    assert_eq!(certificate.check_validity(not_before), Ok(()));
    assert_eq!(certificate.check_validity(not_after), Ok(()));
    let early = Error::NotYetValid { id, not_before, now: not_before - 1 };
    assert_eq!(certificate.check_validity(not_before - 1), Err(early));
    let late = Error::Expired { id, not_after, now: not_after + 1 };
    assert_eq!(certificate.check_validity(not_after + 1), Err(late));
}

proptest! {
    #[test]
    fn never_panics_on_noise(der in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,200}") {
        let _ = Certificate::parse_der(&der);
        let _ = crate::SigningRequest::parse_der(&der);
        let _ = Certificate::parse_pem(&pem::encode("CERTIFICATE", &der));
        let _ = Certificate::parse_pem(&text);
        let _ = Certificate::parse_pem(&format!("-----BEGIN CERTIFICATE-----\n{text}"));
    }

    #[test]
    fn a_changed_certificate_neither_panics_nor_verifies(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let original = Certificate::parse_pem(FULL).unwrap();
        let mut der = original.der().to_vec();
        let at = at.index(der.len());
        der[at] ^= flip;
        if let Ok(changed) = Certificate::parse_der(&der) {
            prop_assert!(changed.check_issued_by(&original).is_err());
        }
    }

    #[test]
    fn a_changed_request_is_refused(at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let text = include_str!("../../tests/data/two_units.csr");
        let mut der = pem::decode(text, &["CERTIFICATE REQUEST"]).unwrap();
        let at = at.index(der.len());
        der[at] ^= flip;
        prop_assert!(crate::SigningRequest::parse_der(&der).is_err());
    }
}
