//! Answers of January 2026, made by another implementation (pyca/cryptography), about a certificate whose serial begins with a high bit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const CHAIN: &str = "-----BEGIN CERTIFICATE-----
MIIBRjCB7aADAgECAgQAgP8BMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmNhMB4X
DTI2MDEwMTAwMDAwMFoXDTI3MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJYS5leGFt
cGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGFKKg70LDxWMyB19Jiq9/epD
Sy/VFvEpODrERmcuYkNXkwQZYnyN6ouj+U+ZC/xIUm+JPeL/CKd9JZJMjX71VKM0
MDIwMAYIKwYBBQUHAQEEJDAiMCAGCCsGAQUFBzABhhRodHRwOi8vb2NzcC5leGFt
cGxlLzAKBggqhkjOPQQDAgNIADBFAiBBdnanVDPmhsJSEUBxwBkdE2x1o8Wb6YKH
WORx+eLnXQIhAPUvopkcPYq9PF8NQtVJ4u33PT6/zscL8lwWW5uycpx6
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
MIIBGzCBwqADAgECAgQAgP8BMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmNhMB4X
DTI2MDEwMTAwMDAwMFoXDTI3MDEwMTAwMDAwMFowDTELMAkGA1UEAwwCY2EwWTAT
BgcqhkjOPQIBBggqhkjOPQMBBwNCAATw9Jq217aPfkcoLzeKJscJTHS/xo9hYXpj
USbDu9IPh5YLvAABkwiae3IK7U7yP9ptbQva//zrKyFTvxRw3DTsoxAwDjAMBgNV
HRMEBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIHmdKCVMo6M0aopeqnNsRbe0R1XA
N8DvIWGFmKiV3xfiAiEA5avPCqXG9m7d9gEmz8/kELtZfYi4m9eKgh+xGjUtTHc=
-----END CERTIFICATE-----";
const REQUEST: &str =
    "MEUwQzBBMD8wPTAJBgUrDgMCGgUABBQRBIzSDLNZIwfQGf0IiVYrYtNkkgQUgSyy+RtndQ7i2fW9dmc4A1gbiM4CBACA/wE=";
const GOOD: &str = "MIIBBwoBAKCCAQAwgf0GCSsGAQUFBzABAQSB7zCB7DCBkqIWBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzhgPMjAyNjExMjgxOTAwMzZaMGcwZTA9MAkGBSsOAwIaBQAEFBEEjNIMs1kjB9AZ/QiJViti02SSBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzgIEAID/AYAAGA8yMDI2MDEwMjAwMDAwMFqgERgPMjAyNjAxMDMwMDAwMDBaMAoGCCqGSM49BAMCA0kAMEYCIQDMcWdgY0m03mHpDRISZlH4G0iNW4HtfWCGrLOgYmkDcAIhAJIFaPA2isCoSFN7XGWZjiEiimQucFksMbwHtUXR9nZi";
const REVOKED: &str = "MIIBFwoBAKCCARAwggEMBgkrBgEFBQcwAQEEgf4wgfswgaOiFgQUgSyy+RtndQ7i2fW9dmc4A1gbiM4YDzIwMjYxMTI4MTkwMDM2WjB4MHYwPTAJBgUrDgMCGgUABBQRBIzSDLNZIwfQGf0IiVYrYtNkkgQUgSyy+RtndQ7i2fW9dmc4A1gbiM4CBACA/wGhERgPMjAyNjAxMDEwMDAwMDBaGA8yMDI2MDEwMjAwMDAwMFqgERgPMjAyNjAxMDMwMDAwMDBaMAoGCCqGSM49BAMCA0cAMEQCIHVeYc4tjwe5WXhICCH5Sbvat0Nk/T0WaefFaOfpjzVoAiAzVG0M7lRShzAZWHKj5KfUPEchJAxRoYHjJ1phRTWcHw==";
const UNKNOWN: &str = "MIIBBwoBAKCCAQAwgf0GCSsGAQUFBzABAQSB7zCB7DCBkqIWBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzhgPMjAyNjExMjgxOTAwMzZaMGcwZTA9MAkGBSsOAwIaBQAEFBEEjNIMs1kjB9AZ/QiJViti02SSBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzgIEAID/AYIAGA8yMDI2MDEwMjAwMDAwMFqgERgPMjAyNjAxMDMwMDAwMDBaMAoGCCqGSM49BAMCA0kAMEYCIQDUbSaAi1ar5UI41tRBhJNnk19P8MpW2CGo8gWiAz5yxgIhAM2dDvlNJwnuiA+Fy8/dXKcpxFvhFToXM1sG9yt0MFXW";
const DELEGATED: &str = "MIICPQoBAKCCAjYwggIyBgkrBgEFBQcwAQEEggIjMIICHzCBkqIWBBRh6yC/hiUVBZpwx/vrjaQR1bu8ahgPMjAyNjExMjgxOTAwMzZaMGcwZTA9MAkGBSsOAwIaBQAEFBEEjNIMs1kjB9AZ/QiJViti02SSBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzgIEAID/AYAAGA8yMDI2MDEwMjAwMDAwMFqgERgPMjAyNjAxMDMwMDAwMDBaMAoGCCqGSM49BAMCA0gAMEUCIQDlZloMtQocHfD4U67aWQgq5GWhhp1Xq2+EmMc7IhMB1AIgM+vhd8Jnmb6F1ZtzMkvvyG8t6z+Ipadu8LfjC1sKhSSgggEwMIIBLDCCASgwgc+gAwIBAgIEAID/ATAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0yNjAxMDEwMDAwMDBaFw0yNzAxMDEwMDAwMDBaMBMxETAPBgNVBAMMCGRlbGVnYXRlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbD2KUt5FcnAgbJDOyiER4kvrOYDwBMPkzopg+LSl401T6wQod0Xg/xPLkmsy16nyjyxLp7E5T4NCXoonDiFK3KMXMBUwEwYDVR0lBAwwCgYIKwYBBQUHAwkwCgYIKoZIzj0EAwIDSAAwRQIgEgQX6sxAZVEdgw0GCSWpZyxa67r8tc0sIpuTTzO7eNECIQD+z+mCKKLziemI/61cCu/05f2aGsiJuxpZ3Use1K41/A==";
const STRANGER: &str = "MIICIQoBAKCCAhowggIWBgkrBgEFBQcwAQEEggIHMIICAzCBkqIWBBQMHI5YsGNYE15dG6dejpN9m7XrrhgPMjAyNjExMjgxOTAwMzZaMGcwZTA9MAkGBSsOAwIaBQAEFBEEjNIMs1kjB9AZ/QiJViti02SSBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzgIEAID/AYAAGA8yMDI2MDEwMjAwMDAwMFqgERgPMjAyNjAxMDMwMDAwMDBaMAoGCCqGSM49BAMCA0gAMEUCIQDwwXHN5H7rVIKdNl7DN87zxYSbjg8/jd7LXfNPwcd96AIgIttRtQ/jIpKZe3peogtiL9QfCPbgDIWmbKzcKsmxdvegggEUMIIBEDCCAQwwgbOgAwIBAgIEAID/ATAKBggqhkjOPQQDAjANMQswCQYDVQQDDAJjYTAeFw0yNjAxMDEwMDAwMDBaFw0yNzAxMDEwMDAwMDBaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEK8ZiphAVypjloi8rhX8mbI0mvB2oVwkha9LgZTHzzCs2ncijqrsOVXrLQY7UP4teavCb2BcOUVTCSyolHdrsRTAKBggqhkjOPQQDAgNIADBFAiEA5y8fx0JbZVwjRpKVnWncTqv0GkoCwCbe8pN5y6w9e9cCIDaRMF28FRA/dPN+Bp2do16WwxgC6cUAAvQeJF5diAdK";
const OTHERS: &str = "MIIBAgoBAKCB/DCB+QYJKwYBBQUHMAEBBIHrMIHoMIGPohYEFIEssvkbZ3UO4tn1vXZnOANYG4jOGA8yMDI2MTEyODE5MDAzNlowZDBiMDowCQYFKw4DAhoFAAQUEQSM0gyzWSMH0Bn9CIlWK2LTZJIEFIEssvkbZ3UO4tn1vXZnOANYG4jOAgEHgAAYDzIwMjYwMTAyMDAwMDAwWqARGA8yMDI2MDEwMzAwMDAwMFowCgYIKoZIzj0EAwIDSAAwRQIgEggHjLGtOIvz8TwmZ3i0Ucq9IsODUrJQExeTceR4nUkCIQCnk11NXDkkOV4zJbMCaoCM8EyqpJph1w/Plzw7+hTUww==";
const UNTOLD: &str = "MIHwCgEAoIHqMIHnBgkrBgEFBQcwAQEEgdkwgdYwf6IWBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzhgPMjAyNjExMjgxOTAwMzZaMFQwUjA9MAkGBSsOAwIaBQAEFBEEjNIMs1kjB9AZ/QiJViti02SSBBSBLLL5G2d1DuLZ9b12ZzgDWBuIzgIEAID/AYAAGA8yMDI2MDEwMjAwMDAwMFowCgYIKoZIzj0EAwIDRwAwRAIgNrVVOvw6rtQ/JxLQnnZZ1KBl7Tbor3JynQAJWMVUzDwCICsfDFUZ6E4mbEJ8UQN+mT1A0n/PgXaC+bPblxHYdikj";
const TRY_LATER: &str = "MAMKAQM=";
/// When the answers were made, and when they are over.
const MADE: u64 = 1767312000;
const OVER: u64 = 1767398400;

fn der(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn question() -> OcspQuestion {
    OcspQuestion::of_chain(CHAIN).unwrap()
}

fn refused(text: &str, now: u64) -> String {
    question().check(&der(text), now).unwrap_err().to_string()
}

#[test]
fn an_authorized_responder_answers_alone() {
    let certificates: Vec<_> = CHAIN.split_inclusive("-----END CERTIFICATE-----").collect();
    let check = |answer: &str, signer: &str, now| {
        question().answered_by(signer).unwrap().check(&der(answer), now).map_err(|error| error.to_string())
    };
    let [own, issuer] = certificates[..] else { panic!("two certificates") };
    assert!(!check(GOOD, issuer, MADE).unwrap().revoked);
    for (answer, signer) in [(GOOD, own), (DELEGATED, issuer)] {
        assert!(check(answer, signer, MADE).unwrap_err().contains("authorized responder has not signed"));
    }
    assert!(question().answered_by("none").is_err());
}

#[test]
fn the_question_is_as_others_ask_it() {
    assert_eq!(question().request(), der(REQUEST));
    assert_eq!(question().responder().unwrap(), "http://ocsp.example/");
    let alone = CHAIN.split_inclusive("-----END CERTIFICATE-----").next().unwrap();
    let reason = OcspQuestion::of_chain(alone).unwrap_err().to_string();
    assert!(reason.contains("no certificate of the issuer"), "{reason}");
    let swapped: Vec<_> = CHAIN.split_inclusive("-----END CERTIFICATE-----").collect();
    assert!(OcspQuestion::of_chain(&format!("{}{}", swapped[1], swapped[0])).is_err());
    let own = format!("{}{}", swapped[1], swapped[1]);
    let own = OcspQuestion::of_chain(&own).unwrap();
    assert!(own.responder().unwrap_err().to_string().contains("no responder"));
}

#[test]
fn answers_that_hold() {
    let good = OcspAnswer { revoked: false, this_update: MADE, next_update: OVER };
    assert_eq!(question().check(&der(GOOD), MADE), Ok(good.clone()));
    assert_eq!(question().check(&der(DELEGATED), OVER), Ok(good.clone()));
    assert_eq!(
        question().check(&der(UNTOLD), MADE),
        Ok(OcspAnswer { next_update: MADE + UNTOLD_SECS, ..good })
    );
    assert_eq!(question().check(&der(REVOKED), MADE), Ok(OcspAnswer { revoked: true, ..good }));
}

#[test]
fn answers_that_do_not() {
    for (answer, now, part) in [
        (UNKNOWN, MADE, "does not know"),
        (OTHERS, MADE, "says nothing about"),
        (STRANGER, MADE, "neither the issuer"),
        (TRY_LATER, MADE, "status 3"),
        (GOOD, OVER + 1, "too old"),
        (GOOD, MADE - SKEW_SECS - 1, "to come"),
    ] {
        let reason = refused(answer, now);
        assert!(reason.contains(part), "{reason}");
    }
    assert!(
        question().check(&vec![0x30; MAX_RESPONSE_LEN + 1], MADE).unwrap_err().to_string().contains("bytes")
    );
}

#[test]
fn no_change_of_an_answer_holds_or_panics() {
    let whole = der(DELEGATED);
    for at in 0..whole.len() {
        assert!(question().check(&whole[..at], MADE).is_err(), "cut at {at}");
        let mut changed = whole.clone();
        changed[at] ^= 0x01;
        // What is not signed and says nothing may be another.
        if let Ok(answer) = question().check(&changed, MADE) {
            assert_eq!((answer.revoked, answer.next_update), (false, OVER), "changed at {at}");
        }
    }
}
