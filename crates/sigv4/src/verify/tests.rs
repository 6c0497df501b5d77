use proptest::prelude::*;

use super::*;
use crate::{Credentials, PathEncoding, Target, TokenPlacement, parse, presign, sign};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: u64 = 1_440_938_160;
const DATE: &[u8] = b"20150830T123600Z";
const KEYS: Credentials<'_> =
    Credentials { access_key_id: "AKIDEXAMPLE", secret_access_key: SECRET, session_token: None };
const GATEWAY: Target<'_> =
    Target { region: "us-east-1", service: "iotdevicegateway", path_encoding: PathEncoding::Twice };
const DATA: &[&str] = crate::services::DATA;

fn check(request: &RequestParts<'_>, body: &[u8], now: u64, policy: &Policy<'_>) -> Result<(), Error> {
    verify(&parse(request)?, request, SECRET, PayloadHash::of(body), now, policy)
}

/// The published suite (`aws-sig-v4-test-suite`): method, path, query, further headers, body, signed,
/// signature.
type Published = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
);

#[test]
fn the_published_suite_verifies() {
    let cases: &[(Published, &str)] = &[
        (
            ("GET", "/", "", &[], "", "host;x-amz-date"),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            ("POST", "/", "", &[], "", "host;x-amz-date"),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            ("GET", "/", "Param2=value2&Param1=value1", &[], "", "host;x-amz-date"),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            ("GET", "/\u{1234}", "", &[], "", "host;x-amz-date"),
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            ("GET", "//example//", "", &[], "", "host;x-amz-date"),
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            ("GET", "/example space/", "", &[], "", "host;x-amz-date"),
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            ("GET", "/", "\u{1234}=bar", &[], "", "host;x-amz-date"),
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            (
                "GET",
                "/",
                "",
                &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
                "",
                "host;my-header1;x-amz-date",
            ),
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            (
                "GET",
                "/",
                "",
                &[("My-Header1", "  value1"), ("My-Header2", "  \"a   b   c\"")],
                "",
                "host;my-header1;my-header2;x-amz-date",
            ),
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            (
                "POST",
                "/",
                "",
                &[("Content-Type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "content-type;host;x-amz-date",
            ),
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    for ((method, path, query, further, body, signed), signature) in cases {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={signed}, Signature={signature}"
        );
        let mut headers = vec![
            ("Host", b"example.amazonaws.com".as_slice()),
            ("X-Amz-Date", DATE),
            ("Authorization", authorization.as_bytes()),
        ];
        headers.extend(further.iter().map(|(name, value)| (*name, value.as_bytes())));
        let request = RequestParts { method, path, query, headers };
        let policy = Policy::new(&["service"]);
        assert_eq!(check(&request, body.as_bytes(), NOW, &policy), Ok(()), "{method} {path}?{query}");
        assert_eq!(check(&request, b"x", NOW, &policy), Err(Error::SignatureDoesNotMatch));
    }
}

fn mqtt<'a>(url: &'a str, host: &'a str) -> RequestParts<'a> {
    let (path, query) = url.split_once('?').unwrap();
    RequestParts { method: "GET", path, query, headers: vec![("Host", host.as_bytes())] }
}

fn presigned(host: &str, token: Option<&str>, placement: TokenPlacement, expires: u64) -> String {
    let request =
        RequestParts { method: "GET", path: "/mqtt", query: "", headers: vec![("host", host.as_bytes())] };
    let keys = Credentials { session_token: token, ..KEYS };
    presign(&request, &keys, &GATEWAY, (PayloadHash::of(b""), placement), expires, NOW)
}

#[test]
fn presigned_tokens_may_stand_inside_or_outside_the_signature() {
    for placement in [TokenPlacement::Signed, TokenPlacement::Appended] {
        let url = presigned("h", Some("a/b+c="), placement, 60);
        let request = mqtt(&url, "h");
        assert_eq!(parse(&request).unwrap().session_token.as_deref(), Some("a/b+c="));
        assert_eq!(check(&request, b"", NOW, &Policy::new(DATA)), Ok(()), "{placement:?}");
    }
}

#[test]
fn the_default_port_may_stand_in_host_or_not() {
    for (signed, sent) in [("h", "h:443"), ("h:443", "h"), ("h:443", "h:443")] {
        let url = presigned(signed, None, TokenPlacement::Signed, 60);
        assert_eq!(check(&mqtt(&url, sent), b"", NOW, &Policy::new(DATA)), Ok(()), "{signed} {sent}");
    }
    let url = presigned("h", None, TokenPlacement::Signed, 60);
    let elsewhere = check(&mqtt(&url, "h:8443"), b"", NOW, &Policy::new(DATA));
    assert_eq!(elsewhere, Err(Error::SignatureDoesNotMatch));
}

#[test]
fn presigned_urls_end() {
    let url = presigned("h", None, TokenPlacement::Signed, 900);
    let at = |now| check(&mqtt(&url, "h"), b"", now, &Policy::new(DATA));
    assert_eq!(at(NOW + 900), Ok(()));
    assert_eq!(at(NOW + 901), Err(Error::Expired { signed_at: NOW, now: NOW + 901, window: 900 }));
    assert_eq!(at(NOW - 300), Ok(()));
    assert_eq!(at(NOW - 301), Err(Error::NotYetCurrent { signed_at: NOW, now: NOW - 301, window: 300 }));
    let long = presigned("h", None, TokenPlacement::Signed, 86_401);
    let too_long = Error::ExpiresTooLong { expires: 86_401, max: 86_400 };
    assert_eq!(check(&mqtt(&long, "h"), b"", NOW, &Policy::new(DATA)), Err(too_long));
}

#[test]
fn without_expires_five_minutes() {
    let scope = "20150830/us-east-1/iotdevicegateway/aws4_request";
    let query = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host",
        encoding::encode(format!("AKIDEXAMPLE/{scope}").as_bytes())
    );
    let reading = Canonical {
        method: "GET",
        uri: "/mqtt",
        query: &query,
        headers: b"host:h\n",
        signed_headers: "host",
        payload: &PayloadHash::of(b"").text(),
    };
    let key = SigningKey::derive(SECRET, "20150830", "us-east-1", "iotdevicegateway");
    let signature = key.sign(&reading.string_to_sign("20150830T123600Z", scope));
    let url = format!("/mqtt?{query}&X-Amz-Signature={signature}");
    assert_eq!(check(&mqtt(&url, "h"), b"", NOW + 300, &Policy::new(DATA)), Ok(()));
    assert!(matches!(
        check(&mqtt(&url, "h"), b"", NOW + 301, &Policy::new(DATA)),
        Err(Error::Expired { .. })
    ));
}

/// Signs a `POST` with these headers and checks it after `change` had its way.
fn signed_then(
    headers: &[(&str, &str)],
    body: &[u8],
    payload: PayloadHash,
    policy: &Policy<'_>,
    change: impl FnOnce(&mut Presented),
) -> Result<(), Error> {
    let mut request = RequestParts {
        method: "POST",
        path: "/topics/a",
        query: "qos=1",
        headers: headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect(),
    };
    let added = sign(&request, &KEYS, &GATEWAY, payload, NOW);
    request.headers.extend(added.iter().map(|(n, v)| (*n, v.as_bytes())));
    let mut presented = parse(&request)?;
    change(&mut presented);
    verify(&presented, &request, SECRET, PayloadHash::of(body), NOW, policy)
}

#[test]
fn the_scope_is_checked() {
    let policy = Policy { region: Some("us-east-1"), ..Policy::new(DATA) };
    let with = |change: fn(&mut Presented)| {
        signed_then(&[("host", "h")], b"b", PayloadHash::of(b"b"), &policy, change)
    };
    assert_eq!(with(|_| ()), Ok(()));
    assert_eq!(with(|p| p.terminator = "aws5".into()), Err(Error::Terminator("aws5".into())));
    assert_eq!(with(|p| p.region = "eu-1".into()), Err(Error::Region("eu-1".into())));
    assert!(matches!(with(|p| p.service = "s3".into()), Err(Error::Service { .. })));
    assert!(matches!(with(|p| p.scope_date = "20150831".into()), Err(Error::ScopeDate { .. })));
    assert!(matches!(with(|p| p.scope_date = "2015".into()), Err(Error::ScopeDate { .. })));
    assert_eq!(with(|p| drop(p.signed_headers.remove(0))), Err(Error::HostNotSigned));
    assert_eq!(with(|p| p.signed_headers.push("absent".into())), Err(Error::SignatureDoesNotMatch));
    assert_eq!(with(|p| p.signature.make_ascii_uppercase()), Err(Error::SignatureDoesNotMatch));
}

#[test]
fn declared_payloads_must_be_true() {
    let policy = Policy::new(DATA);
    let declared = |value: &str, body: &[u8], payload, policy: &Policy<'_>| {
        signed_then(&[("host", "h"), ("x-amz-content-sha256", value)], body, payload, policy, |_| ())
    };
    let hash = PayloadHash::of(b"body");
    assert_eq!(declared(&hash.text(), b"body", hash, &policy), Ok(()));
    assert_eq!(declared(&hash.text(), b"other", hash, &policy), Err(Error::PayloadMismatch));
    assert_eq!(declared(UNSIGNED_PAYLOAD, b"", PayloadHash::Unsigned, &policy), Ok(()));
    let refused = declared(UNSIGNED_PAYLOAD, b"body", PayloadHash::Unsigned, &policy);
    assert_eq!(refused, Err(Error::PayloadMismatch));
    let lenient = Policy { allow_unsigned_payload: true, ..policy };
    assert_eq!(declared(UNSIGNED_PAYLOAD, b"body", PayloadHash::Unsigned, &lenient), Ok(()));
}

#[test]
fn a_path_encoded_once_is_accepted() {
    for encoding in [PathEncoding::Once, PathEncoding::Twice] {
        let target = Target { path_encoding: encoding, ..GATEWAY };
        let mut request = RequestParts {
            method: "GET",
            path: "/topics/a//b%2fc%20d:e",
            query: "",
            headers: vec![("host", b"h".as_slice())],
        };
        let added = sign(&request, &KEYS, &target, PayloadHash::of(b""), NOW);
        request.headers.extend(added.iter().map(|(n, v)| (*n, v.as_bytes())));
        assert_eq!(check(&request, b"", NOW, &Policy::new(DATA)), Ok(()), "{encoding:?}");
    }
}

/// The same text with the letter or digit at (about) `at` replaced; `None` without one.
fn altered(text: &str, at: prop::sample::Index) -> Option<String> {
    let places: Vec<usize> =
        text.bytes().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()).map(|p| p.0).collect();
    let place = *places.get(at.index(places.len().max(1)))?;
    let mut bytes = text.as_bytes().to_vec();
    bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
    String::from_utf8(bytes).ok()
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_nothing_else(
        path in "/[a-z0-9:/$._~ -]{0,20}",
        query in "([a-z0-9]{1,4}=[a-z0-9%+ ]{0,4}&?){0,3}",
        value in "[ -~]{0,12}",
        body in prop::collection::vec(any::<u8>(), 0..20),
        at in any::<prop::sample::Index>(),
    ) {
        let mut request = RequestParts {
            method: "POST",
            path: &path,
            query: &query,
            headers: vec![("Host", b"h".as_slice()), ("X-Thing", value.as_bytes())],
        };
        let added = sign(&request, &KEYS, &GATEWAY, PayloadHash::of(&body), NOW);
        request.headers.extend(added.iter().map(|(n, v)| (*n, v.as_bytes())));
        let policy = Policy::new(DATA);
        prop_assert_eq!(check(&request, &body, NOW, &policy), Ok(()));

        let presented = parse(&request).unwrap();
        let refused = |request: &RequestParts<'_>, body: &[u8], secret: &str| {
            verify(&presented, request, secret, PayloadHash::of(body), NOW, &policy).is_err()
        };
        prop_assert!(refused(&request, &body, &altered(SECRET, at).unwrap()));
        let mut other_body = body.clone();
        other_body.push(0);
        prop_assert!(refused(&request, &other_body, SECRET));
        // A segment that `..` takes away again is not in the normalised path that is signed.
        let all_signed = !path.split('/').any(|segment| segment == "..");
        if let Some(path) = altered(&path, at).filter(|_| all_signed) {
            let changed = RequestParts { path: &path, ..request.clone() };
            prop_assert!(refused(&changed, &body, SECRET));
        }
        if let Some(value) = altered(&value, at) {
            let mut changed = request.clone();
            changed.headers[1].1 = value.as_bytes();
            prop_assert!(refused(&changed, &body, SECRET));
        }
        let mut forged = presented.clone();
        forged.signature = altered(&forged.signature, at).unwrap();
        prop_assert!(verify(&forged, &request, SECRET, PayloadHash::of(&body), NOW, &policy).is_err());
    }
}
