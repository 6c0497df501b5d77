//! Devices of the account: certificates made through the API, and TLS as they speak it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use rustls::{ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Broker;

/// The CA that clients trust.
pub(crate) fn roots(broker: &Broker) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(broker.ready("ca_file")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    roots
}

/// A client's TLS, either version.
pub(crate) fn tls() -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap()
}

/// One signed call of the control plane.
pub(crate) fn call(broker: &Broker, method: &str, path: &str, query: &str, body: &str) -> serde_json::Value {
    let host = broker.ready("iot_endpoint").strip_prefix("https://").unwrap();
    let request = RequestParts { method, path, query, headers: vec![("host", host.as_bytes())] };
    let credentials = Credentials {
        access_key_id: broker.ready("access_key_id"),
        secret_access_key: broker.ready("secret_access_key"),
        session_token: None,
    };
    let target =
        Target { region: broker.ready("region"), service: "iot", path_encoding: PathEncoding::Twice };
    let signed = sign(&request, &credentials, &target, PayloadHash::of(body.as_bytes()), unix_seconds());
    let headers: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let port: u16 = host.rsplit_once(':').unwrap().1.parse().unwrap();
    let config = tls().with_root_certificates(roots(broker)).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", port)).unwrap());
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    write!(
        stream,
        "{method} {uri} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = Vec::new();
    // Some servers end without close_notify; what was read stands.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {uri}: {answer}");
    serde_json::from_str(if body.is_empty() { "{}" } else { body }).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "requests are signed for the time of the broker's own clock")]
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A certificate of the account with a policy that allows everything.
pub(crate) struct Device {
    pub(crate) arn: String,
    pub(crate) id: String,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

pub(crate) fn device(broker: &Broker) -> Device {
    let made = call(broker, "POST", "/keys-and-certificate", "setAsActive=true", "");
    let text = |pointer: &str| made.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let document =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;
    let policy = serde_json::json!({ "policyDocument": document }).to_string();
    call(broker, "POST", "/policies/all", "", &policy);
    let target = serde_json::json!({ "target": text("/certificateArn") }).to_string();
    call(broker, "PUT", "/target-policies/all", "", &target);
    Device {
        arn: text("/certificateArn"),
        id: text("/certificateId"),
        certificate: CertificateDer::from_pem_slice(text("/certificatePem").as_bytes()).unwrap(),
        key: PrivateKeyDer::from_pem_slice(text("/keyPair/PrivateKey").as_bytes()).unwrap(),
    }
}
