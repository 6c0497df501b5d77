//! The two halves of a QUIC stream as one byte stream.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, StoppedError, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::handshake::canonical;

/// The MQTT bytes of one QUIC connection; owns the connection.
///
/// - Reading ends when the client finishes its direction or closes the connection; the idle timeout is an
///   error of kind `TimedOut`.
/// - Writing waits while 256 KiB are not acknowledged. Bytes leave by themselves; flushing does nothing.
/// - `poll_shutdown` finishes our direction, waits until the client has acknowledged everything and closes
///   the connection with code 0. A client that has gone keeps it waiting until the idle timeout: put a
///   deadline on it.
/// - Dropping closes the connection at once; what was not acknowledged may be lost.
pub struct MqttStream {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    closing: Closing,
}

type Delivery = Pin<Box<dyn Future<Output = Result<Option<VarInt>, StoppedError>> + Send>>;

/// How far our shutdown has come.
enum Closing {
    Open,
    /// Our direction is finished; resolves when all of it is acknowledged.
    Delivering(Delivery),
    Closed,
}

impl MqttStream {
    pub(super) fn new(connection: Connection, send: SendStream, receive: RecvStream) -> Self {
        Self { connection, send, receive, closing: Closing::Open }
    }

    /// Where the client is now: it may have moved since it connected.
    pub fn peer(&self) -> SocketAddr {
        canonical(self.connection.remote_address())
    }
}

impl AsyncRead for MqttStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(match ready!(self.receive.poll_read_buf(cx, buffer)) {
            Ok(()) => Ok(()),
            Err(ReadError::ConnectionLost(error)) => unless_closed(error),
            Err(error) => Err(error.into()),
        })
    }
}

impl AsyncWrite for MqttStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::Open => {
                    // Fails when the client wants no more bytes: then there is nothing to deliver.
                    let _ = this.send.finish();
                    this.closing = Closing::Delivering(Box::pin(this.send.stopped()));
                }
                Closing::Delivering(delivery) => {
                    let delivered = ready!(delivery.as_mut().poll(cx));
                    this.closing = Closing::Closed;
                    this.connection.close(VarInt::from_u32(0), b"");
                    if let Err(StoppedError::ConnectionLost(error)) = delivered {
                        return Poll::Ready(unless_closed(error));
                    }
                }
                Closing::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// A connection that either side has closed on purpose has ended; any other end is an error.
fn unless_closed(error: ConnectionError) -> io::Result<()> {
    match error {
        ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed => Ok(()),
        error => Err(error.into()),
    }
}
