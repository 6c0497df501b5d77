//! The bytes below MQTT: plain TCP, TLS over TCP, or any other stream (WebSocket, QUIC).

use std::io::{self, IoSlice, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fleethaven_net::handshake::Polled;
use fleethaven_session::Output;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// Bytes read from a socket at a time.
const READ_CHUNK: usize = 16 << 10;
/// Room made for the rest of an incomplete packet, at least; as much again as has come of it otherwise.
const LEAST_ROOM: usize = 512;
/// Pieces written with one system call.
const MAX_PIECES: usize = 64;
/// Reads of input that nobody wants any more.
const DISCARDED_READS: usize = 64;

/// A stream that is neither TCP nor TLS over TCP: WebSocket, QUIC.
pub trait ByteStream: AsyncRead + AsyncWrite + Send {
    /// Whether the peer ended it in order, by a Close frame, rather than by going away.
    fn is_closed_in_order(&self) -> bool {
        false
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for fleethaven_net::websocket::MqttStream<S> {
    fn is_closed_in_order(&self) -> bool {
        self.closed_by_peer()
    }
}

impl ByteStream for fleethaven_net::quic::MqttStream {}

/// One connection's byte stream. Reading and waiting happen in the connection's own task; writing also at the end of a
/// turn, without a task switch, where the transport can tell at once whether it takes bytes.
pub(crate) enum Transport {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(TcpStream, Box<ServerConnection>),
    /// Anything else.
    Stream(Pin<Box<dyn ByteStream>>),
    /// Nothing more comes or goes.
    Closed,
}

/// The outcome of reading.
pub(crate) enum Received {
    /// Bytes were appended.
    Bytes,
    /// The peer has closed.
    End,
}

impl Transport {
    /// Reads what is there, at most one chunk.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        arena: &mut BytesMut,
        into: &mut BytesMut,
    ) -> Poll<io::Result<Received>> {
        match self {
            Self::Plain(tcp) => poll_read(Pin::new(tcp), cx, arena, into),
            Self::Stream(stream) => poll_read(stream.as_mut(), cx, arena, into),
            Self::Tls(tcp, tls) => poll_read_tls(tcp, tls, cx, arena, into),
            Self::Closed => Poll::Ready(Ok(Received::End)),
        }
    }

    /// Writes as much of `output` as the transport takes now. `false`: it is full, or cannot tell outside its own task;
    /// the connection's task goes on with [`Transport::poll_send`].
    pub(crate) fn try_send(&mut self, output: &mut Output) -> io::Result<bool> {
        match self {
            Self::Plain(tcp) => done(write_plain(tcp, output)),
            Self::Tls(tcp, tls) => done(write_tls(tcp, tls, output)),
            Self::Stream(_) => Ok(output.is_empty()),
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Writes all of `output`, waiting as needed.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        loop {
            if let Self::Stream(stream) = self {
                return poll_write(stream.as_mut(), cx, output);
            }
            if self.try_send(output)? {
                return Poll::Ready(Ok(()));
            }
            let (Self::Plain(tcp) | Self::Tls(tcp, _)) = self else { continue };
            std::task::ready!(tcp.poll_write_ready(cx))?;
        }
    }

    /// This side's address; `None` for a stream, which does not know it.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(tcp) | Self::Tls(tcp, _) => tcp.local_addr().ok(),
            Self::Stream(_) | Self::Closed => None,
        }
    }

    /// Whether the stream ended by the peer's orderly Close.
    pub(crate) fn is_closed_in_order(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.is_closed_in_order())
    }

    /// Closes; TLS sends close_notify. What the peer has still to be told takes a while and is returned: a stream says
    /// goodbye by itself (a WebSocket's Close frame, what QUIC still has to deliver), and a TCP peer that `lingers` is yet to
    /// read what was written last.
    pub(crate) fn close(&mut self, lingers: bool) -> Option<Farewell> {
        let tcp = match std::mem::replace(self, Self::Closed) {
            Self::Tls(tcp, mut tls) => {
                tls.send_close_notify();
                // The peer may have gone, or its window may be full; the socket is closed either way.
                let _ = flush_tls(&tcp, &mut tls);
                tcp
            }
            Self::Plain(tcp) => tcp,
            Self::Stream(stream) => return Some(Farewell::Stream(stream)),
            Self::Closed => return None,
        };
        lingers.then_some(Farewell::Tcp(tcp))
    }
}

/// A closed connection whose peer is yet to learn of it.
pub(crate) enum Farewell {
    /// Says goodbye by itself.
    Stream(Pin<Box<dyn ByteStream>>),
    /// Was written to the end. Closed with input unread, TCP would reset the connection, and the peer would lose what it had
    /// not read yet; so the rest of the input is thrown away until the peer closes.
    Tcp(TcpStream),
}

impl Farewell {
    /// How long to wait for the peer.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Stream(_) => 5,
            Self::Tcp(_) => 1,
        })
    }

    /// Done when the peer has closed, or sends too much. The socket is closed with this.
    pub(crate) async fn say(&mut self) -> io::Result<()> {
        let tcp = match self {
            Self::Stream(stream) => return stream.shutdown().await,
            Self::Tcp(tcp) => tcp,
        };
        tcp.shutdown().await?;
        for _ in 0..DISCARDED_READS {
            tcp.readable().await?;
            match tcp.try_read(&mut [0; 4096]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// `WouldBlock` is no error here.
fn done(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads into the core's arena, so that an idle connection holds no buffer; what is left of an incomplete packet is read on
/// in the connection's own buffer.
fn poll_read<S: AsyncRead + ?Sized>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    arena: &mut BytesMut,
    into: &mut BytesMut,
) -> Poll<io::Result<Received>> {
    let count = if into.is_empty() {
        make_room(arena);
        let count = std::task::ready!(poll_read_buf(stream, cx, arena))?;
        *into = arena.split();
        count
    } else {
        into.reserve(into.len().clamp(LEAST_ROOM, READ_CHUNK));
        std::task::ready!(poll_read_buf(stream, cx, into))?
    };
    Poll::Ready(Ok(if count == 0 { Received::End } else { Received::Bytes }))
}

fn make_room(arena: &mut BytesMut) {
    if arena.capacity() < READ_CHUNK / 4 {
        *arena = BytesMut::with_capacity(READ_CHUNK);
    }
}

/// A socket as `Write` that never waits.
struct Ready<'a>(&'a TcpStream);

impl Write for Ready<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn poll_read_tls(
    tcp: &mut TcpStream,
    tls: &mut ServerConnection,
    cx: &mut Context<'_>,
    arena: &mut BytesMut,
    into: &mut BytesMut,
) -> Poll<io::Result<Received>> {
    loop {
        let before = into.len();
        let end = if into.is_empty() {
            make_room(arena);
            let end = read_plaintext(tls, arena)?;
            *into = arena.split();
            end
        } else {
            read_plaintext(tls, into)?
        };
        if into.len() > before {
            return Poll::Ready(Ok(Received::Bytes));
        }
        if end {
            return Poll::Ready(Ok(Received::End));
        }
        match tls.read_tls(&mut Polled { stream: &mut *tcp, cx: &mut *cx }) {
            Ok(0) => return Poll::Ready(Ok(Received::End)),
            Ok(_) => {
                let processed = tls.process_new_packets();
                // Answers of TLS itself, and alerts, leave at once; those to a client that said something leave with the next output.
                if !matches!(&processed, Ok(state) if state.plaintext_bytes_to_read() > 0) {
                    let _ = flush_tls(tcp, tls);
                }
                processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
}

/// Moves decrypted bytes; `true` after the peer's close_notify.
fn read_plaintext(tls: &mut ServerConnection, into: &mut BytesMut) -> io::Result<bool> {
    let mut reader = tls.reader();
    loop {
        match std::io::BufRead::fill_buf(&mut reader) {
            Ok([]) => return Ok(true),
            Ok(chunk) => {
                let count = chunk.len();
                into.extend_from_slice(chunk);
                std::io::BufRead::consume(&mut reader, count);
                if into.len() >= READ_CHUNK {
                    return Ok(false);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // The peer went without close_notify: an ordinary end for a device.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn write_plain(tcp: &TcpStream, output: &mut Output) -> io::Result<()> {
    while !output.is_empty() {
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let count = output.chunks_vectored(&mut pieces);
        let written = match pieces.get(..count) {
            Some([piece]) => tcp.try_write(piece)?,
            Some(pieces) => tcp.try_write_vectored(pieces)?,
            None => 0,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        output.advance(written);
    }
    Ok(())
}

fn write_tls(tcp: &TcpStream, tls: &mut ServerConnection, output: &mut Output) -> io::Result<()> {
    loop {
        while output.has_remaining() {
            let taken = tls.writer().write(output.chunk())?;
            if taken == 0 {
                break;
            }
            output.advance(taken);
        }
        flush_tls(tcp, tls)?;
        if output.is_empty() {
            return Ok(());
        }
    }
}

fn flush_tls(tcp: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Ready(tcp))?;
    }
    Ok(())
}

fn poll_write<S: AsyncWrite + ?Sized>(
    mut stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    output: &mut Output,
) -> Poll<io::Result<()>> {
    while !output.is_empty() {
        let written = std::task::ready!(stream.as_mut().poll_write(cx, output.chunk()))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        output.advance(written);
    }
    stream.poll_flush(cx)
}
