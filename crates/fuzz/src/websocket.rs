//! WebSocket: the frames of a client, and the request that opens one.

use bytes::Bytes;
use fleethaven_net::websocket::{Limits, MqttStream, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Runtime;

use crate::{lines, selected};

const LIMITS: Limits = Limits { max_frame: 4096, max_message: 8192 };

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
}

/// `[cut][bytes after the upgrade]`: however they arrive, the same MQTT bytes are read, and the same error.
pub(crate) fn frames(data: &[u8]) {
    let (cut, stream) = selected(data);
    let whole = RUNTIME.with(|runtime| runtime.block_on(read(stream, stream.len().max(1))));
    let cut = usize::from(cut).max(1);
    let pieces = RUNTIME.with(|runtime| runtime.block_on(read(stream, cut)));
    assert_eq!(pieces, whole, "in pieces of {cut}");
    assert!(whole.0.len() <= stream.len(), "more was read than was sent");
}

/// The MQTT bytes inside a stream that arrives in pieces, and the kind of the error that ended it.
async fn read(stream: &[u8], piece: usize) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    // Large enough for the answers: a pong is never longer than its ping.
    let (mut client, server) = duplex(2 * stream.len() + 1024);
    let mut server = MqttStream::new(server, Bytes::new(), LIMITS).await;
    let sending = async {
        for piece in stream.chunks(piece) {
            client.write_all(piece).await.ok();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.ok();
        client
    };
    let reading = async {
        let (mut received, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            match server.read(&mut buffer).await {
                Ok(0) => return (received, None),
                Ok(count) => received.extend_from_slice(&buffer[..count]),
                Err(error) => return (received, Some(error.kind())),
            }
        }
    };
    tokio::join!(sending, reading).1
}

/// Lines: method and version, then headers.
pub(crate) fn upgrade(data: &[u8]) {
    let lines = lines(data, 24);
    let mut request = http::Request::builder().method(lines[0]);
    for line in &lines[1..] {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
        request = request.header(name, value.get(1..).unwrap_or_default());
    }
    let Ok(request) = request.body(()) else { return };
    match accept(&request) {
        Ok(response) => assert_eq!(response.status(), 101),
        Err(error) => assert!(error.response().status().is_client_error()),
    }
}
