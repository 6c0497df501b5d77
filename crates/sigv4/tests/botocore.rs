//! Requests signed by botocore for the IoT services must verify, and must not once anything in them changes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's fixture is under our control")]

use fleethaven_sigv4::{Error, PayloadHash, Policy, RequestParts, date, parse, verify};
use serde_json::Value;

const SERVICES: &[&str] = &["iot", "iotdata", "iotdevicegateway", "iot-jobs-data"];

struct Case {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    token: Option<String>,
    now: u64,
}

impl Case {
    fn of(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        let headers = value["headers"].as_array().unwrap().iter();
        Self {
            name: text("name"),
            method: text("method"),
            path: text("path"),
            query: text("query"),
            headers: headers
                .map(|h| (h[0].as_str().unwrap().to_owned(), h[1].as_str().unwrap().to_owned()))
                .collect(),
            body: hex::decode(text("body")).unwrap(),
            token: value["session_token"].as_str().map(str::to_owned),
            now: date::parse(&text("now")).unwrap(),
        }
    }

    fn check(&self, secret: &str, body: &[u8]) -> Result<(), Error> {
        let request = RequestParts {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: self.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect(),
        };
        let presented = parse(&request)?;
        assert_eq!(presented.access_key_id, "AKIDEXAMPLE");
        assert_eq!(presented.session_token, self.token, "{}", self.name);
        let policy = Policy { region: Some("eu-west-1"), ..Policy::new(SERVICES) };
        verify(&presented, &request, secret, PayloadHash::of(body), self.now + 5, &policy)
    }
}

fn fixture() -> (String, Vec<Case>) {
    let fixture: Value = serde_json::from_str(include_str!("signed_requests.json")).unwrap();
    let cases: Vec<Case> = fixture["requests"].as_array().unwrap().iter().map(Case::of).collect();
    assert!(cases.len() > 20);
    (fixture["secret_access_key"].as_str().unwrap().to_owned(), cases)
}

#[test]
fn every_request_verifies() {
    let (secret, cases) = fixture();
    for case in cases {
        assert_eq!(case.check(&secret, &case.body), Ok(()), "{} {}?{}", case.name, case.path, case.query);
    }
}

#[test]
fn no_request_survives_a_change() {
    let (secret, cases) = fixture();
    let refused = Err(Error::SignatureDoesNotMatch);
    for mut case in cases {
        assert_eq!(case.check("another secret", &case.body), refused, "{} secret", case.name);
        assert_eq!(case.check(&secret, b"another body"), refused, "{} body", case.name);
        case.query.push_str("&added=1");
        assert_eq!(case.check(&secret, &case.body), refused, "{} query", case.name);
        case.query.truncate(case.query.len() - "&added=1".len());
        case.path.push('x');
        assert_eq!(case.check(&secret, &case.body), refused, "{} path", case.name);
        case.path.pop();
        case.method = "PATCHED".into();
        assert_eq!(case.check(&secret, &case.body), refused, "{} method", case.name);
    }
}
