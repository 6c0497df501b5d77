use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::{Authority, Name, Serial, SigningRequest, Validity};

const NOW: u64 = 1_800_000_000;
const CODE: &str = "94c12a4b5c9d1e0f94c12a4b5c9d1e0f94c12a4b5c9d1e0f94c12a4b5c9d1e0f";

fn authority(name: &str) -> Authority {
    let validity = Validity { not_before: NOW - 1000, not_after: NOW + 1000 };
    let subject = Name::new(&[(Attribute::CommonName, name)]).unwrap();
    Authority::create(&subject, Serial([1; 16]), validity).unwrap()
}

/// A certificate with that common name, signed by `ca` from `since` on.
fn signed_by(ca: &Authority, common_name: &str, since: u64) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let request = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let request = SigningRequest::parse_der(request.der()).unwrap();
    ca.issue_device(&request, Serial([2; 16]), since).unwrap()
}

#[test]
fn the_holder_of_the_key_may_register() {
    let ca = authority("ca");
    let verification = signed_by(&ca, CODE, NOW);
    assert_eq!(verify_registration(ca.certificate(), &verification, CODE, NOW), Ok(()));
}

#[test]
fn others_may_not() {
    let (ca, namesake, stranger) = (authority("ca"), authority("ca"), authority("stranger"));
    let check = |verification: &Certificate, now| {
        verify_registration(ca.certificate(), verification, CODE, now).unwrap_err()
    };
    let by_namesake = signed_by(&namesake, CODE, NOW);
    assert_eq!(check(&by_namesake, NOW), Error::CertificateSignature(by_namesake.id));
    let by_stranger = signed_by(&stranger, CODE, NOW);
    assert_eq!(check(&by_stranger, NOW), Error::IssuerMismatch(by_stranger.id));
    for wrong in ["wrong", &CODE.to_uppercase(), &CODE[1..]] {
        let error = check(&signed_by(&ca, wrong, NOW), NOW);
        assert_eq!(
            (&error, error.aws_code()),
            (&Error::RegistrationCode, "RegistrationCodeValidationException")
        );
    }
    assert!(matches!(check(&signed_by(&ca, CODE, NOW + 129), NOW), Error::NotYetValid { .. }));
    let expired = check(&signed_by(&ca, CODE, NOW), NOW + 1001);
    assert!(matches!(expired, Error::Expired { id, .. } if id == ca.certificate().id));
    assert_eq!(expired.aws_code(), "CertificateValidationException");
}

#[test]
fn only_cas_may_be_registered() {
    let parse = |pem| Certificate::parse_pem(pem).unwrap();
    let v1 = parse(include_str!("../../tests/data/v1.pem"));
    assert_eq!(check_ca(&v1, NOW), Err(Error::CaVersion(1)));
    let leaf = parse(include_str!("../../tests/data/full.pem"));
    assert_eq!(check_ca(&leaf, NOW), Err(Error::NotCa(leaf.id)));
    let no_signing = parse(include_str!("../../tests/data/ca_without_key_cert_sign.pem"));
    assert_eq!(check_ca(&no_signing, NOW), Err(Error::CaKeyUsage(no_signing.id)));
}
