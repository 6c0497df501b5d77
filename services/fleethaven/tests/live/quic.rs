//! MQTT over QUIC, from a real QUIC client with a certificate of the account: connect, subscribe, publish, receive; and no way
//! in without an active certificate.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;

use crate::support::Broker;
use crate::support::device::{Device, call, device, roots, tls};
use bytes::BytesMut;
use fleethaven_mqtt::{
    Connect, ConnectProperties, DecodeLimits, Decoder, Packet, Publish, QoS, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, Version, encode,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, RecvStream, SendStream};
use tempfile::TempDir;

/// A QUIC connection with one stream of MQTT.
struct QuicClient {
    send: SendStream,
    receive: RecvStream,
    decoder: Decoder,
    buffer: BytesMut,
    endpoint: Endpoint,
}

impl QuicClient {
    async fn open(broker: &Broker, device: &Device) -> Result<Self, String> {
        Self::open_at(broker, device, "localhost").await
    }

    async fn open_at(broker: &Broker, device: &Device, server_name: &str) -> Result<Self, String> {
        let mut config = tls()
            .with_root_certificates(roots(broker))
            .with_client_auth_cert(vec![device.certificate.clone()], device.key.clone_key())
            .unwrap();
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(
            QuicClientConfig::try_from(config).unwrap(),
        )));
        let port = broker.ready("mqtt_quic").rsplit_once(':').unwrap().1.parse().unwrap();
        let connecting = endpoint.connect(SocketAddr::from(([127, 0, 0, 1], port)), server_name).unwrap();
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let (send, receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let decoder = Decoder::client(Version::V5, DecodeLimits::default());
        Ok(Self { send, receive, decoder, buffer: BytesMut::new(), endpoint })
    }

    async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        encode(packet, Version::V5, &mut bytes).unwrap();
        self.send.write_all(&bytes).await.unwrap();
    }

    /// The next packet; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Packet> {
        let next = async {
            loop {
                if let Some(packet) = self.decoder.decode(&mut self.buffer).unwrap() {
                    return Some(packet);
                }
                match self.receive.read_chunk(4096, true).await {
                    Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                    Ok(None) | Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(crate::support::DEADLINE, next).await.expect("an answer in time")
    }
}

fn connect() -> Packet {
    Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: "over-quic".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }))
}

#[tokio::test]
async fn a_device_publishes_and_receives_over_quic() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"");
    let device = device(&broker);
    let mut client = QuicClient::open(&broker, &device).await.unwrap();
    client.send(&connect()).await;
    let Some(Packet::Connack(connack)) = client.next().await else { panic!("no CONNACK") };
    assert_eq!(connack.reason, ReasonCode::Success);
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..SubscriptionOptions::default() };
    client
        .send(&Packet::Subscribe(Subscribe {
            packet_id: 1.try_into().unwrap(),
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![Subscription { filter: "quic/#".into(), options }],
        }))
        .await;
    assert!(matches!(client.next().await, Some(Packet::Suback(_))));
    // Larger than a datagram and than a stream's first window.
    let payload = vec![7; 600_000];
    client
        .send(&Packet::Publish(Publish {
            qos: QoS::AtLeastOnce,
            topic: "quic/a".into(),
            packet_id: Some(2.try_into().unwrap()),
            payload: payload.clone().into(),
            ..Publish::default()
        }))
        .await;
    let (mut received, mut acknowledged) = (false, false);
    while !(received && acknowledged) {
        match client.next().await {
            Some(Packet::Publish(publish)) => {
                assert_eq!((publish.topic.as_str(), publish.payload.len()), ("quic/a", payload.len()));
                received = true;
            }
            Some(Packet::Puback(ack)) => acknowledged = ack.reason == ReasonCode::Success,
            other => panic!("unexpected: {other:?}"),
        }
    }
    // Deactivated, the live connection is closed with a reason, and the next one gets nowhere.
    assert!(device.arn.ends_with(&device.id));
    call(&broker, "PUT", &format!("/certificates/{}", device.id), "newStatus=INACTIVE", "");
    let Some(Packet::Disconnect(disconnect)) = client.next().await else { panic!("no DISCONNECT") };
    assert_eq!(disconnect.reason, ReasonCode::AdministrativeAction);
    assert!(client.next().await.is_none());
    if let Ok(mut refused) = QuicClient::open(&broker, &device).await {
        let mut bytes = BytesMut::new();
        encode(&connect(), Version::V5, &mut bytes).unwrap();
        // The refusal may reach us before or after our CONNECT.
        let _ = refused.send.write_all(&bytes).await;
        assert!(refused.next().await.is_none(), "an inactive certificate gets no answer");
    }
    broker.terminate();
    assert!(broker.wait().success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains("Connection.AuthNError")).collect();
    assert_eq!(refusals.len(), 1, "one line for one refusal: {refusals:?}");
    assert!(refusals.iter().all(|line| line.contains(&device.id)), "{refusals:?}");
}

/// Whether a client that asks for this name is let in.
async fn is_let_in(broker: &Broker, device: &Device, server_name: &str) -> bool {
    let Ok(mut client) = QuicClient::open_at(broker, device, server_name).await else { return false };
    let mut bytes = BytesMut::new();
    encode(&connect(), Version::V5, &mut bytes).unwrap();
    // A refusal may reach us before.
    let _ = client.send.write_all(&bytes).await;
    matches!(client.next().await, Some(Packet::Connack(connack)) if connack.reason == ReasonCode::Success)
}

#[tokio::test]
async fn a_domain_whose_clients_speak_tls_1_2_takes_nobody_over_quic() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"\nsan = [\"quic.iot.example\"]");
    let device = device(&broker);
    let put = |method: &str, policy: &str, more: &str| {
        let body = format!(r#"{{"tlsConfig": {{"securityPolicy": "{policy}"}}{more}}}"#);
        call(&broker, method, "/domainConfigurations/quic", "", &body);
    };
    put("POST", "IoTSecurityPolicy_TLS13_1_2_2022_10", r#", "domainName": "quic.iot.example""#);
    assert!(is_let_in(&broker, &device, "quic.iot.example").await);
    put("PUT", "IoTSecurityPolicy_TLS12_1_2_2022_10", "");
    assert!(!is_let_in(&broker, &device, "quic.iot.example").await);
    assert!(is_let_in(&broker, &device, "localhost").await);
}

#[tokio::test]
async fn a_connection_goes_on_from_another_address() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "quic = \"127.0.0.1:0\"");
    let device = device(&broker);
    let mut client = QuicClient::open(&broker, &device).await.unwrap();
    client.send(&connect()).await;
    assert!(matches!(client.next().await, Some(Packet::Connack(_))));
    // As when a device's NAT forgets it, or it goes from one network to another.
    for _ in 0..3 {
        let before = client.endpoint.local_addr().unwrap();
        client.endpoint.rebind(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        assert_ne!(client.endpoint.local_addr().unwrap(), before);
        client.send(&Packet::Pingreq).await;
        assert!(matches!(client.next().await, Some(Packet::Pingresp)));
    }
    assert_eq!(broker.metric("fleethaven_mqtt_connect_total{result=\"success\""), 1.0, "the same connection");
}
