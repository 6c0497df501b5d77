//! What the function gets (security.md section 6.4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::attempt::{Attempt, Certificate, Connect, HttpRequest};

/// The event: JSON. What does not concern the connection is left out. TLS is there for every client, with whatever is known of
/// it, as functions may rely on it.
pub fn event(attempt: &Attempt, token: Option<&str>, signature_verified: bool) -> Bytes {
    let mut protocols = vec!["tls"];
    let mut data = Map::new();
    data.insert("tls".to_owned(), tls(attempt));
    if let Some(http) = &attempt.http {
        protocols.push("http");
        data.insert("http".to_owned(), http_part(http));
    }
    if let Some(connect) = &attempt.mqtt {
        protocols.push("mqtt");
        data.insert("mqtt".to_owned(), mqtt_part(connect));
    }
    let mut event = Map::new();
    event.extend(token.map(|token| ("token".to_owned(), Value::from(token))));
    event.insert("signatureVerified".to_owned(), signature_verified.into());
    event.insert("protocols".to_owned(), protocols.into());
    event.insert("protocolData".to_owned(), data.into());
    event.insert("connectionMetadata".to_owned(), json!({"id": attempt.connection_id}));
    Bytes::from(Value::Object(event).to_string())
}

fn tls(attempt: &Attempt) -> Value {
    let mut tls = Map::new();
    tls.extend(attempt.server_name.as_deref().map(|name| ("serverName".to_owned(), Value::from(name))));
    if let Some(Certificate { pem, certificate_id }) = &attempt.certificate {
        tls.insert("x509CertificatePem".to_owned(), pem.as_str().into());
        tls.insert("principalId".to_owned(), certificate_id.as_str().into());
    }
    tls.into()
}

fn http_part(http: &HttpRequest) -> Value {
    let headers: Map<String, Value> =
        http.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({"headers": headers, "queryString": format!("?{}", http.query)})
}

fn mqtt_part(connect: &Connect) -> Value {
    let text = |name: &str, value: Option<&str>| value.map(|value| (name.to_owned(), Value::from(value)));
    let mut mqtt = Map::new();
    mqtt.extend(text("username", connect.username.as_deref()));
    let password = connect.password.as_ref().map(|password| STANDARD.encode(password));
    mqtt.extend(text("password", password.as_deref()));
    mqtt.extend(text("clientId", connect.client_id.as_deref()));
    mqtt.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizers::tests::attempt;

    fn value(attempt: &Attempt, token: Option<&str>, verified: bool) -> Value {
        serde_json::from_slice(&event(attempt, token, verified)).unwrap()
    }

    #[test]
    fn what_a_mqtt_client_s_function_gets() {
        let connect = Connect {
            username: Some("me?token=t".into()),
            password: Some(Bytes::from_static(b"\xff\0")),
            client_id: Some("lamp".into()),
        };
        let attempt = Attempt { mqtt: Some(connect), ..attempt() };
        let expected = json!({
            "token": "t", "signatureVerified": true, "protocols": ["tls", "mqtt"],
            "protocolData": {
                "tls": {"serverName": "iot.example"},
                "mqtt": {"username": "me?token=t", "password": "/wA=", "clientId": "lamp"},
            },
            "connectionMetadata": {"id": "id"},
        });
        assert_eq!(value(&attempt, Some("t"), true), expected);
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let connect = Connect { username: None, password: None, client_id: None };
        let certificate = Certificate { pem: "PEM".to_owned(), certificate_id: "ab".to_owned() };
        let http =
            HttpRequest { headers: vec![("host".to_owned(), "h".to_owned())], query: "a=b".to_owned() };
        let attempt = Attempt {
            server_name: None,
            http: Some(http),
            mqtt: Some(connect),
            certificate: Some(certificate),
            ..attempt()
        };
        let expected = json!({
            "signatureVerified": false, "protocols": ["tls", "http", "mqtt"],
            "protocolData": {
                "tls": {"x509CertificatePem": "PEM", "principalId": "ab"},
                "http": {"headers": {"host": "h"}, "queryString": "?a=b"},
                "mqtt": {},
            },
            "connectionMetadata": {"id": "id"},
        });
        assert_eq!(value(&attempt, None, false), expected);
    }
}
