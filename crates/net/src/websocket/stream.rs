//! WebSocket frames as a plain byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::Sink;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as FramingError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

/// Payload of the frames we send, at most. What a large output leaves allocated in the framing's buffer is
/// bounded by it.
const SEND_FRAME: usize = 16 << 10;
/// Bytes read at a time; allocated for every connection, idle ones too.
const READ_BUFFER: usize = 4 << 10;

/// What a peer may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload of one frame, bytes. Reserved when the frame's header has arrived, so keep it near the largest
    /// MQTT packet.
    pub max_frame: usize,
    /// Payload of one message, which may be fragmented over several frames, bytes.
    pub max_message: usize,
}

/// The MQTT bytes inside a WebSocket, server side. MQTT packets may span and share frames [MQTT-6.0.0-2].
///
/// - Binary messages are the bytes read. A text frame ends the stream with Close 1003 [MQTT-6.0.0-1], one
///   beyond the limits with 1009, a violation of RFC 6455 with 1002; reading then gives an error of kind
///   `InvalidData`.
/// - The end of the stream is a Close frame, then [`closed_by_peer`](Self::closed_by_peer) tells, or the end
///   of the connection below.
/// - What is written leaves as one binary frame per flush (more, when it is longer than 16 KiB).
/// - Pings are answered while reading.
/// - `poll_shutdown` sends Close 1000 and closes the writing side below; it does not wait for the peer's
///   Close. Dropping sends nothing.
pub struct MqttStream<S> {
    frames: WebSocketStream<S>,
    /// Received, not read yet.
    incoming: Bytes,
    /// Written, not framed yet; at most [`SEND_FRAME`].
    outgoing: BytesMut,
    close_code: CloseCode,
    peer: Peer,
    /// Our Close frame has been handed to the framing.
    close_sent: bool,
}

/// What the peer has done to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Open,
    /// It sent a Close frame.
    Closed,
    /// It went without one, or was cut off for a violation.
    Lost,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MqttStream<S> {
    /// The stream on a connection that was upgraded ([`accept`](super::accept)); `already_read` is what the
    /// HTTP server read beyond the request. Ready at once.
    pub async fn new(upgraded: S, already_read: Bytes, limits: Limits) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            // A frame of ours, and pongs for a peer that sends pings but reads nothing.
            .max_write_buffer_size(2 * SEND_FRAME)
            .max_frame_size(Some(limits.max_frame))
            .max_message_size(Some(limits.max_message));
        let part = already_read.into();
        let frames = WebSocketStream::from_partially_read(upgraded, part, Role::Server, Some(config)).await;
        Self {
            frames,
            incoming: Bytes::new(),
            outgoing: BytesMut::new(),
            close_code: CloseCode::Normal,
            peer: Peer::Open,
            close_sent: false,
        }
    }

    /// Whether the stream has ended with a Close frame of the peer: a DISCONNECT under
    /// `ws_close_is_disconnect`.
    pub fn closed_by_peer(&self) -> bool {
        self.peer == Peer::Closed
    }

    /// The server is draining: the Close frame of the shutdown says 1001 instead of 1000.
    pub fn going_away(&mut self) {
        self.close_code = CloseCode::Away;
    }

    /// Waits for MQTT bytes; `None` at the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        while self.peer == Peer::Open {
            match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
                // An empty one must not look like the end.
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(self.fail(cx, CloseCode::Unsupported, "text frame")));
                }
                Some(Ok(Message::Close(_))) => self.take_close(cx),
                // Pongs are queued by the framing and leave at its next turn.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(self.refuse(cx, error).map(|()| None)),
                None => self.peer = Peer::Lost,
            }
        }
        Poll::Ready(Ok(None))
    }

    /// The peer's Close frame: the framing has queued the answer, which leaves now or with the shutdown.
    fn take_close(&mut self, cx: &mut Context<'_>) {
        self.peer = Peer::Closed;
        let _ = Pin::new(&mut self.frames).poll_flush(cx);
        // The framing does not flush what lies below it after its last frame.
        let _ = Pin::new(self.frames.get_mut()).poll_flush(cx);
    }

    /// An error of the framing: the plain end of the connection, or something the peer is told.
    fn refuse(&mut self, cx: &mut Context<'_>, error: FramingError) -> io::Result<()> {
        let code = match &error {
            FramingError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                self.peer = Peer::Lost;
                return Ok(());
            }
            // TLS without close_notify: an ordinary end for a device.
            FramingError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.peer = Peer::Lost;
                return Ok(());
            }
            FramingError::Capacity(_) => CloseCode::Size,
            FramingError::Utf8(_) => CloseCode::Unsupported,
            FramingError::Protocol(_) => CloseCode::Protocol,
            _ => {
                self.peer = Peer::Lost;
                return Err(into_io(error));
            }
        };
        Err(self.fail(cx, code, error))
    }

    /// Ends the stream with `code`. The Close frame leaves if the connection takes it at once: whoever broke
    /// the protocol is not waited for.
    fn fail(
        &mut self,
        cx: &mut Context<'_>,
        code: CloseCode,
        reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> io::Error {
        self.peer = Peer::Lost;
        self.send_close(code);
        let _ = Pin::new(&mut self.frames).poll_flush(cx);
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }

    fn send_close(&mut self, code: CloseCode) {
        if !std::mem::replace(&mut self.close_sent, true) {
            let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
            // Fails only when the stream is closed already.
            let _ = Pin::new(&mut self.frames).start_send(close);
        }
    }

    /// Hands what was written to the framing as one frame. The framing is emptied first, so that its bounded
    /// buffer always has room.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.frames).poll_flush(cx)).map_err(into_io)?;
        let payload = std::mem::take(&mut self.outgoing).freeze();
        let sent = Pin::new(&mut self.frames).start_send(Message::Binary(payload));
        Poll::Ready(sent.map_err(into_io))
    }

    fn is_closed(&self) -> bool {
        self.close_sent || self.peer != Peer::Open
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for MqttStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.incoming.is_empty() {
            match ready!(this.poll_message(cx))? {
                Some(bytes) => this.incoming = bytes,
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = this.incoming.len().min(buffer.remaining());
        buffer.put_slice(&this.incoming.split_to(count));
        if !this.incoming.has_remaining() {
            // An idle connection holds no frame.
            this.incoming = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for MqttStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if this.outgoing.len() >= SEND_FRAME {
            ready!(this.poll_frame(cx))?;
        }
        let room = SEND_FRAME.saturating_sub(this.outgoing.len());
        let (taken, _) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        this.outgoing.extend_from_slice(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_closed() {
            // Nothing may follow a Close frame.
            this.outgoing = BytesMut::new();
        }
        ready!(this.poll_frame(cx))?;
        Pin::new(&mut this.frames).poll_flush(cx).map_err(into_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let this = self.get_mut();
        let code = this.close_code;
        this.send_close(code);
        ready!(Pin::new(&mut this.frames).poll_flush(cx)).map_err(into_io)?;
        Pin::new(this.frames.get_mut()).poll_shutdown(cx)
    }
}

fn into_io(error: FramingError) -> io::Error {
    match error {
        FramingError::Io(error) => error,
        FramingError::ConnectionClosed | FramingError::AlreadyClosed => {
            io::Error::new(io::ErrorKind::BrokenPipe, error)
        }
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests;
