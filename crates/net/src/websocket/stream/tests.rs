use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::*;

const LIMITS: Limits = Limits { max_frame: 1000, max_message: 1500 };

type Client = WebSocketStream<DuplexStream>;

async fn pair(capacity: usize) -> (Client, MqttStream<DuplexStream>) {
    let (client, server) = duplex(capacity);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (client, MqttStream::new(server, Bytes::new(), LIMITS).await)
}

fn binary(bytes: &[u8]) -> Message {
    Message::Binary(Bytes::copy_from_slice(bytes))
}

async fn close_code(client: &mut Client) -> Option<CloseCode> {
    loop {
        match client.next().await {
            Some(Ok(Message::Close(close))) => return close.map(|close| close.code),
            Some(Ok(_)) => {}
            other => panic!("no Close frame, but {other:?}"),
        }
    }
}

/// Sends `message` and gives the error of reading and the code the client is told.
async fn refused(message: Message) -> (io::Error, Option<CloseCode>) {
    let (mut client, mut server) = pair(64 << 10).await;
    client.send(message).await.unwrap();
    let error = server.read(&mut [0; 100]).await.unwrap_err();
    assert!(!server.closed_by_peer());
    assert_eq!(server.read(&mut [0; 100]).await.unwrap(), 0, "after the error the stream has ended");
    (error, close_code(&mut client).await)
}

/// Runs with a deadline on tokio's paused clock: a lost wake-up fails at once instead of hanging.
fn run<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.expect("stuck") })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_arrive_in_order_however_they_are_framed(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
        read_at_once in 1..400_usize,
        capacity in 1..600_usize,
    ) {
        let sent = frames.concat();
        let received = run(async {
            let (mut client, mut server) = pair(capacity).await;
            let sending = async {
                for frame in &frames {
                    client.send(binary(frame)).await.unwrap();
                }
                client.close(None).await.unwrap();
                while client.next().await.is_some() {}
            };
            let reading = async {
                let (mut received, mut buffer) = (Vec::new(), vec![0; read_at_once]);
                loop {
                    match server.read(&mut buffer).await.unwrap() {
                        0 => break,
                        count => received.extend_from_slice(&buffer[..count]),
                    }
                }
                assert!(server.closed_by_peer());
                server.shutdown().await.unwrap();
                received
            };
            tokio::join!(sending, reading).1
        });
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn writes_arrive_in_order_whatever_their_size(
        writes in prop::collection::vec(0..40_000_usize, 0..6),
        capacity in 1..30_000_usize,
    ) {
        let sent: Vec<u8> = (0..writes.iter().sum()).map(|index| (index % 251) as u8).collect();
        let received = run(async {
            let (mut client, mut server) = pair(capacity).await;
            let writing = async {
                let mut rest = &sent[..];
                for count in &writes {
                    let (write, after) = rest.split_at(*count);
                    server.write_all(write).await.unwrap();
                    server.flush().await.unwrap();
                    rest = after;
                }
                server.shutdown().await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                while let Some(Ok(Message::Binary(bytes))) = client.next().await {
                    received.extend_from_slice(&bytes);
                }
                received
            };
            tokio::join!(writing, reading).1
        });
        prop_assert_eq!(received, sent);
    }
}

#[tokio::test]
async fn one_flush_is_one_frame() {
    let (mut client, mut server) = pair(64 << 10).await;
    server.write_all(b"PUBLISH").await.unwrap();
    server.write_all(b"PUBACK").await.unwrap();
    assert!(client.next().now_or_never().is_none(), "nothing leaves before the flush");
    server.flush().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), binary(b"PUBLISHPUBACK"));
}

#[tokio::test]
async fn bytes_read_with_the_upgrade_come_first() {
    let (mut ahead, mut outlet) = duplex(1000);
    let mut framed = WebSocketStream::from_raw_socket(&mut ahead, Role::Client, None).await;
    framed.send(binary(b"CONNECT")).await.unwrap();
    let mut early = vec![0; 1000];
    let count = outlet.read(&mut early).await.unwrap();
    early.truncate(count);

    // The HTTP server got hold of a part of the first frame only.
    let rest = early.split_off(5);
    let (mut client, server) = duplex(1000);
    client.write_all(&rest).await.unwrap();
    let mut server = MqttStream::new(server, early.into(), LIMITS).await;
    let mut read = [0; 7];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"CONNECT");
}

#[tokio::test]
async fn a_text_frame_ends_with_1003() {
    let (error, code) = refused(Message::text("hello")).await;
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(code, Some(CloseCode::Unsupported));
}

#[tokio::test]
async fn a_text_frame_that_is_no_text_ends_with_1003() {
    let frame = Frame::message(vec![0xff], OpCode::Data(Data::Text), true);
    assert_eq!(refused(Message::Frame(frame)).await.1, Some(CloseCode::Unsupported));
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_with_1009() {
    let (error, code) = refused(binary(&[0; LIMITS.max_frame + 1])).await;
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(code, Some(CloseCode::Size));
}

#[tokio::test]
async fn a_fragmented_message_beyond_the_limit_ends_with_1009() {
    let (mut client, mut server) = pair(64 << 10).await;
    let fragment = |kind| Message::Frame(Frame::message(vec![0; 800], OpCode::Data(kind), false));
    client.send(fragment(Data::Binary)).await.unwrap();
    client.send(fragment(Data::Continue)).await.unwrap();
    server.read(&mut [0; 100]).await.unwrap_err();
    assert_eq!(close_code(&mut client).await, Some(CloseCode::Size));
}

#[tokio::test]
async fn a_violation_of_the_framing_ends_with_1002() {
    let unexpected = Frame::message(vec![0], OpCode::Data(Data::Continue), true);
    assert_eq!(refused(Message::Frame(unexpected)).await.1, Some(CloseCode::Protocol));
}

#[tokio::test]
async fn a_ping_is_answered_and_not_read() {
    let (mut client, mut server) = pair(64 << 10).await;
    client.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    client.send(binary(b"PINGREQ")).await.unwrap();
    let mut read = [0; 7];
    server.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"PINGREQ");
    assert!(server.read(&mut read).now_or_never().is_none());
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"there?")));
}

#[test]
fn a_flood_of_pings_to_a_peer_that_reads_nothing_is_bounded() {
    run(async {
        let (mut client, mut server) = pair(512).await;
        let pings = async {
            for _ in 0..2000 {
                client.send(Message::Ping(Bytes::from_static(&[7; 125]))).await.unwrap();
            }
            client.send(binary(b"PINGREQ")).await.unwrap();
            client
        };
        let mut read = [0; 7];
        let (mut client, _) = tokio::join!(pings, server.read_exact(&mut read));
        assert_eq!(&read, b"PINGREQ");
        // Data still passes once the peer reads.
        let writing = async {
            server.write_all(b"PINGRESP").await.unwrap();
            server.flush().await.unwrap();
        };
        let reading = async { while client.next().await.unwrap().unwrap() != binary(b"PINGRESP") {} };
        tokio::join!(writing, reading);
    });
}

#[tokio::test]
async fn the_peer_s_close_is_the_end_and_is_answered() {
    let (mut client, mut server) = pair(64 << 10).await;
    client.send(binary(b"last")).await.unwrap();
    client.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await.unwrap();
    let mut read = Vec::new();
    server.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"last");
    assert!(server.closed_by_peer());
    assert_eq!(close_code(&mut client).await, Some(CloseCode::Normal));
    assert_eq!(server.write(b"late").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_connection_that_just_ends_is_not_a_close() {
    let (client, mut server) = pair(64 << 10).await;
    drop(client);
    assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
    assert!(!server.closed_by_peer());
}

#[tokio::test]
async fn shutdown_sends_what_is_left_then_1000() {
    let (mut client, mut server) = pair(64 << 10).await;
    server.write_all(b"DISCONNECT").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), binary(b"DISCONNECT"));
    assert_eq!(close_code(&mut client).await, Some(CloseCode::Normal));
    assert!(server.write(b"late").await.is_err());
}

#[tokio::test]
async fn a_draining_server_says_1001() {
    let (mut client, mut server) = pair(64 << 10).await;
    server.going_away();
    server.shutdown().await.unwrap();
    assert_eq!(close_code(&mut client).await, Some(CloseCode::Away));
}
