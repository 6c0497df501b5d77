use std::io;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{ConnectionError, VarInt};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tls::ALPN_MQTT;

mod scene;

use scene::{
    AllBut, Client, Counting, LOCALHOST, Scene, alert, certificate, is_refusal, read, scene, scene_at,
    server_tls, within,
};

const NO_APPLICATION_PROTOCOL: u64 = 120;
const CERTIFICATE_REQUIRED: u64 = 116;
const CERTIFICATE_REVOKED: u64 = 44;

#[tokio::test]
async fn bytes_pass_both_ways_and_the_certificate_is_known() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    assert_eq!(incoming.peer, client.endpoint.local_addr().unwrap());
    assert_eq!(incoming.stream.peer(), incoming.peer);
    assert_eq!(incoming.client_certificates.first(), Some(scene.device.cert.der()));
    assert_eq!(incoming.server_name.as_deref(), Some("localhost"));

    incoming.stream.write_all(b"CONNACK").await.unwrap();
    incoming.stream.flush().await.unwrap();
    assert_eq!(&read::<7>(&mut link.receive).await, b"CONNACK");
    link.send.finish().unwrap();
    assert_eq!(within(incoming.stream.read(&mut [0; 9])).await.unwrap(), 0);
}

#[tokio::test]
async fn more_than_the_windows_passes() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    let payload: Vec<u8> = (0..1_000_000_u32).map(|index| (index % 253) as u8).collect();
    let echo = async {
        let mut buffer = vec![0; 10_000];
        loop {
            match incoming.stream.read(&mut buffer).await.unwrap() {
                0 => break incoming.stream.shutdown().await.unwrap(),
                count => incoming.stream.write_all(&buffer[..count]).await.unwrap(),
            }
        }
    };
    let sending = async {
        link.send.write_all(&payload).await.unwrap();
        link.send.finish().unwrap();
    };
    let receiving = link.receive.read_to_end(2_000_000);
    let (_, _, received) = within(async { tokio::join!(echo, sending, receiving) }).await;
    assert!(received.unwrap() == payload);
}

#[tokio::test]
async fn shutdown_delivers_everything_then_closes_with_code_0() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    incoming.stream.write_all(&[7; 100_000]).await.unwrap();
    let leaving = tokio::spawn(async move { incoming.stream.shutdown().await });
    let received = within(link.receive.read_to_end(200_000)).await.unwrap();
    assert_eq!(received.len(), 100_000);
    within(leaving).await.unwrap().unwrap();
    let ConnectionError::ApplicationClosed(close) = within(link.connection.closed()).await else {
        panic!("closed otherwise");
    };
    assert_eq!(close.error_code, VarInt::from_u32(0));
}

#[tokio::test]
async fn a_client_that_closes_has_ended_the_stream() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (link, mut incoming) = scene.connected(&client).await;
    link.connection.close(VarInt::from_u32(3), b"tired");
    assert_eq!(within(incoming.stream.read(&mut [0; 9])).await.unwrap(), 0);
    within(incoming.stream.shutdown()).await.unwrap();
    within(incoming.stream.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let mut scene = scene(Settings::default());
    let client = Client::new(scene.config(None, ALPN_MQTT), scene.endpoint.local_addr().unwrap());
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(CERTIFICATE_REQUIRED));
    assert!(matches!(refusal, Err(handshake::Error::Connection { .. })));
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let mut scene = scene(Settings::default());
    let config = scene.config(Some(&scene.device), b"h3");
    let client = Client::new(config, scene.endpoint.local_addr().unwrap());
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(NO_APPLICATION_PROTOCOL));
    assert!(refusal.is_err());
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_with_its_alert() {
    let device = certificate("device");
    let gate = Arc::new(AllBut(Some(device.cert.der().to_vec())));
    let mut scene = Scene { device, ..scene_at(LOCALHOST, Settings::default(), gate) };
    let client = scene.device();
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert_eq!(alert(&ending), Some(CERTIFICATE_REVOKED));
    assert!(refusal.is_err());
}

#[tokio::test]
async fn a_resumed_session_still_shows_the_certificate() {
    let gate = Arc::new(Counting::default());
    let mut scene = scene_at(LOCALHOST, Settings::default(), gate.clone());
    let client = scene.device();
    for _ in 0..2 {
        // The second time, the client's configuration holds a ticket.
        let (mut link, mut incoming) = scene.connected(&client).await;
        let shown = incoming.client_certificates.first().map(CertificateDer::as_ref);
        assert_eq!(shown, Some(scene.device.cert.der().as_ref()));
        incoming.stream.write_all(b"CONNACK").await.unwrap();
        read::<7>(&mut link.receive).await;
    }
    assert_eq!(gate.0.load(Ordering::Relaxed), 1, "a resumption asks no verifier");
}

#[tokio::test]
async fn silence_ends_the_connection() {
    let idle_timeout = Duration::from_millis(200);
    let mut scene = scene(Settings { idle_timeout, ..Settings::default() });
    let client = scene.device();
    let (link, mut incoming) = scene.connected(&client).await;
    let error = within(incoming.stream.read(&mut [0; 9])).await.unwrap_err();
    assert!(matches!(
        error.get_ref().and_then(|source| source.downcast_ref()),
        Some(ConnectionError::TimedOut)
    ));
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(within(link.connection.closed()).await, ConnectionError::TimedOut);
}

#[tokio::test]
async fn a_client_that_opens_no_stream_is_timed_out() {
    let handshake_timeout = Duration::from_millis(300);
    let mut scene = scene(Settings { handshake_timeout, ..Settings::default() });
    let client = scene.device();
    let (ending, refusal) = tokio::join!(client.ending(), scene.next());
    assert!(matches!(refusal, Err(handshake::Error::TimedOut { .. })));
    assert!(matches!(ending, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn a_client_may_open_one_stream_only() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    incoming.stream.write_all(b"CONNACK").await.unwrap();
    read::<7>(&mut link.receive).await;
    assert!(futures_util::FutureExt::now_or_never(link.connection.open_bi()).is_none());
    assert!(futures_util::FutureExt::now_or_never(link.connection.open_uni()).is_none());
    assert_eq!(link.connection.max_datagram_size(), None);
}

#[tokio::test]
async fn under_load_an_address_is_proved_first() {
    let mut scene = scene(Settings { retry_above: 0, ..Settings::default() });
    // A first datagram, taken from a client that meant somebody else, and sent from an address that will not
    // answer.
    let spoofed = tokio::net::UdpSocket::bind(LOCALHOST).await.unwrap();
    let lost = Client::new(scene.config(Some(&scene.device), ALPN_MQTT), spoofed.local_addr().unwrap());
    let mut datagram = [0; 1500];
    let count = tokio::select! {
        received = spoofed.recv(&mut datagram) => received.unwrap(),
        _ = lost.connect() => panic!("nobody answers"),
    };
    let server = scene.endpoint.local_addr().unwrap();
    spoofed.send_to(&datagram[..count], server).await.unwrap();
    let answer = async {
        while spoofed.recv_from(&mut datagram).await.unwrap().1 != server {}
        datagram[0] >> 4
    };
    let answer = tokio::select! {
        answer = within(answer) => answer,
        _ = scene.endpoint.accept() => panic!("nobody has connected"),
    };
    assert_eq!(answer, 0b1111, "a Retry packet (RFC 9000 section 17.2.5)");
    // Who answers the Retry is served.
    let client = scene.device();
    scene.connected(&client).await;
}

#[tokio::test]
async fn a_client_may_change_its_address() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    let moved = UdpSocket::bind(LOCALHOST).unwrap();
    client.endpoint.rebind(moved).unwrap();
    link.send.write_all(b"PINGREQ").await.unwrap();
    assert_eq!(&read::<7>(&mut incoming.stream).await, b"PINGREQ");
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    assert_ne!(incoming.stream.peer(), incoming.peer);
    assert_eq!(incoming.stream.peer(), client.endpoint.local_addr().unwrap());
}

#[tokio::test]
async fn an_ipv4_client_of_an_ipv6_socket_has_an_ipv4_address() {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let mut scene = scene_at(address, Settings::default(), Arc::new(AllBut(None)));
    let client = scene.device();
    let (_link, incoming) = scene.connected(&client).await;
    assert_eq!(incoming.peer, client.endpoint.local_addr().unwrap());
}

#[tokio::test]
async fn a_stopped_endpoint_refuses_and_ends_but_its_streams_live() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    scene.endpoint.stop();
    assert!(within(scene.endpoint.accept()).await.is_none());
    assert!(is_refusal(&client.connect().await.unwrap_err()));
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    within(scene.endpoint.close()).await;
    assert!(matches!(within(link.connection.closed()).await, ConnectionError::ApplicationClosed(_)));
}

#[tokio::test]
async fn streams_outlive_the_endpoint() {
    let mut scene = scene(Settings::default());
    let client = scene.device();
    let (mut link, mut incoming) = scene.connected(&client).await;
    drop(scene);
    incoming.stream.write_all(b"PINGRESP").await.unwrap();
    assert_eq!(&read::<8>(&mut link.receive).await, b"PINGRESP");
    within(incoming.stream.shutdown()).await.unwrap();
}

#[tokio::test]
async fn early_data_is_not_served() {
    let scene = scene(Settings::default());
    let tls = server_tls(&scene.server, Arc::new(AllBut(None)));
    let mut config = tls.quic().as_ref().clone();
    config.max_early_data_size = u32::MAX;
    assert!(matches!(
        listen(LOCALHOST, Arc::new(config), Settings::default()),
        Err(Error::EarlyData(u32::MAX))
    ));
}
