use rcgen::{BasicConstraints, CertificateParams, IsCa};

use super::*;
use crate::{DeviceKey, KeyKind, PublicKey};

const NOW: u64 = 1_800_000_000;
const TEN_YEARS: Validity = Validity { not_before: NOW - 60, not_after: NOW + 315_360_000 };
const TWO_UNITS: &str = include_str!("../../tests/data/two_units.csr");

fn serial(byte: u8) -> Serial {
    Serial([byte; 16])
}

fn authority() -> Authority {
    let subject =
        Name::new(&[(Attribute::Country, "US"), (Attribute::CommonName, "Fleethaven test CA")]).unwrap();
    Authority::create(&subject, serial(0xff), TEN_YEARS).unwrap()
}

#[test]
fn a_created_ca_may_issue_and_can_be_loaded_again() {
    let ca = authority();
    let certificate = ca.certificate();
    assert_eq!(crate::check_ca(certificate, NOW), Ok(()));
    assert_eq!(certificate.check_issued_by(certificate), Ok(()));
    assert_eq!(certificate.serial, format!("7f{}", "ff".repeat(15)));
    let loaded = Authority::from_pem(&certificate.pem(), ca.private_key_pem()).unwrap();
    assert_eq!(loaded.certificate(), certificate);
    assert_eq!(loaded.private_key_pem(), ca.private_key_pem());
}

#[test]
fn loads_foreign_cas_and_issues_with_their_keys() {
    let algorithms = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ECDSA_P521_SHA512,
        &rcgen::PKCS_RSA_SHA256,
    ];
    let csr = SigningRequest::parse_pem(TWO_UNITS).unwrap();
    for algorithm in algorithms {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let ca = Authority::from_pem(&certificate.pem(), &key.serialize_pem()).unwrap();
        let device = ca.issue_device(&csr, serial(1), NOW).unwrap();
        assert_eq!(device.check_issued_by(ca.certificate()), Ok(()), "{algorithm:?}");
    }
}

#[test]
fn refuses_what_is_no_ca() {
    let (ca, other) = (authority(), authority());
    let mismatch = Authority::from_pem(&ca.certificate().pem(), other.private_key_pem());
    assert!(matches!(mismatch, Err(Error::KeyMismatch(id)) if id == ca.certificate().id));
    let names = [ServerName::Dns("a".into())];
    let server = ca.issue_server(&names, EndEntityUse::Server, serial(2), TEN_YEARS).unwrap();
    let no_ca = Authority::from_pem(&server.certificate.pem(), &server.private_key_pem);
    assert!(matches!(no_ca, Err(Error::NotCa(_))));
    let no_key = Authority::from_pem(&ca.certificate().pem(), &pem::encode("PRIVATE KEY", b"no key"));
    assert!(matches!(no_key, Err(Error::MalformedKey(_))));
    let edwards = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let foreign = Authority::from_pem(&ca.certificate().pem(), &edwards.serialize_pem());
    assert!(matches!(foreign, Err(Error::MalformedKey(_))));
    assert!(Authority::create(&Name::new(&[]).unwrap(), serial(0), TEN_YEARS).is_err());
}

#[test]
fn a_device_certificate_keeps_the_subject_and_none_of_the_wishes() {
    let ca = authority();
    let csr = SigningRequest::parse_pem(TWO_UNITS).unwrap();
    let device = ca.issue_device(&csr, serial(3), NOW).unwrap();
    assert_eq!(device.subject, csr.subject);
    assert_eq!(device.subject.values(Attribute::OrganizationalUnit).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!((device.is_ca, device.key_cert_sign), (false, Some(false)));
    assert_eq!((device.not_before, device.not_after), (NOW - 120, DEVICE_NOT_AFTER));
    assert_eq!(device.check_issued_by(ca.certificate()), Ok(()));
    let again = ca.issue_device(&csr, serial(4), NOW).unwrap();
    assert_ne!(again.id, device.id);
    assert!(matches!(ca.issue_device(&csr, serial(5), DEVICE_NOT_AFTER + 121), Err(Error::Unissuable(_))));
}

#[test]
fn an_unnamed_request_gets_the_name_aws_gives() {
    let csr = SigningRequest::parse_pem(include_str!("../../tests/data/unnamed.csr")).unwrap();
    let device = authority().issue_device(&csr, serial(0), NOW).unwrap();
    assert_eq!(device.subject.common_name(), Some("AWS IoT Certificate"));
    assert_eq!(device.public_key.bits, 2048);
}

#[test]
fn requests_need_a_strong_key_and_a_strong_signature() {
    let parse = SigningRequest::parse_pem;
    let weak = parse(include_str!("../../tests/data/rsa1024.csr"));
    assert_eq!(weak, Err(Error::WeakKey(PublicKey { kind: KeyKind::Rsa, bits: 1024 })));
    let curve = parse(include_str!("../../tests/data/secp256k1.csr"));
    let other = Error::WeakKey(PublicKey { kind: KeyKind::Other, bits: 0 });
    assert!(other.to_string().starts_with("a key of another kind or curve is not accepted"));
    assert_eq!(curve, Err(other));
    let digest = parse(include_str!("../../tests/data/sha1.csr"));
    assert_eq!(digest, Err(Error::SignatureAlgorithm("1.2.840.113549.1.1.5".into())));
    assert_eq!(parse(include_str!("../../tests/data/p521.csr")).unwrap().public_key.bits, 521);
    let text = include_str!("../../tests/data/p521.pem");
    assert!(matches!(parse(text), Err(Error::PemLabel { .. })));
}

#[test]
fn device_keys_come_in_the_forms_aws_returns() {
    let key = DeviceKey::generate().unwrap();
    assert!(key.private_key_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    assert!(key.public_key_pem.starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert!(!format!("{key:?}").contains("PRIVATE"));
    let device = authority().issue_device(key.signing_request(), serial(6), NOW).unwrap();
    assert_eq!((device.public_key.kind, device.public_key.bits), (KeyKind::Rsa, 2048));
    let pkcs1 = pem::decode(&key.private_key_pem, &["RSA PRIVATE KEY"]).unwrap();
    let pair = aws_lc_rs::rsa::KeyPair::from_der(&pkcs1).unwrap();
    let spki = pem::decode(&key.public_key_pem, &["PUBLIC KEY"]).unwrap();
    assert_eq!(device.public_key_der().unwrap(), spki);
    assert!(spki.ends_with(aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref()));
}

#[test]
fn server_certificates_carry_their_names() {
    let ca = authority();
    let names = [
        ServerName::Dns("*.iot.example".into()),
        ServerName::Ip("127.0.0.1".parse().unwrap()),
        ServerName::Ip("::1".parse().unwrap()),
    ];
    let issued = ca.issue_server(&names, EndEntityUse::Peer, serial(7), TEN_YEARS).unwrap();
    let found = &issued.certificate.subject_alternative_names;
    assert_eq!(found.dns_names, ["*.iot.example"]);
    assert_eq!(found.ip_addresses.len(), 2);
    assert_eq!(issued.certificate.check_issued_by(ca.certificate()), Ok(()));
    assert!(issued.private_key_pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(!format!("{issued:?}").contains("PRIVATE"));
}

#[test]
fn impossible_server_certificates_are_refused() {
    let ca = authority();
    let long = "a".repeat(64);
    for host in ["", "a..b", "-a", "a b", "a*.b", "é.example", &long] {
        let names = [ServerName::Dns(host.into())];
        let refused = ca.issue_server(&names, EndEntityUse::Server, serial(8), TEN_YEARS);
        assert!(matches!(refused, Err(Error::Unissuable(_))), "{host}");
    }
    assert!(ca.issue_server(&[], EndEntityUse::Server, serial(8), TEN_YEARS).is_err());
    let backwards = Validity { not_before: 2, not_after: 1 };
    let names = [ServerName::Dns("a".into())];
    assert!(ca.issue_server(&names, EndEntityUse::Server, serial(8), backwards).is_err());
}

#[test]
fn names_have_bounds() {
    for (attribute, value) in [
        (Attribute::Country, "Germany"),
        (Attribute::CommonName, ""),
        (Attribute::CommonName, &"é".repeat(65)),
    ] {
        assert!(matches!(Name::new(&[(attribute, value)]), Err(Error::Unissuable(_))), "{value}");
    }
}

#[test]
fn a_service_is_known_by_its_identity() {
    use crate::{ServiceIdentity, ServiceRole};
    let ca = authority();
    let identity = ServiceIdentity::new("prod", ServiceRole::RulesWorker).unwrap();
    let names = [ServerName::Dns("worker-0".into())];
    let issued = ca.issue_service(&identity, &names, serial(3), TEN_YEARS).unwrap();
    assert_eq!(ServiceIdentity::of(&issued.certificate), Ok(identity.clone()));
    assert_eq!(issued.certificate.subject_alternative_names.dns_names, ["worker-0"]);
    assert!(ca.issue_service(&identity, &[], serial(4), TEN_YEARS).is_ok());
    let server = ca.issue_server(&names, EndEntityUse::Peer, serial(5), TEN_YEARS).unwrap();
    assert!(ServiceIdentity::of(&server.certificate).is_err(), "a server's certificate is no service's");
}
