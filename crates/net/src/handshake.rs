//! The server's side of a TLS handshake, from the first byte until the client may speak.
//!
//! It writes what the client waits for, and nothing else: in TLS 1.3 the session ticket that follows the client's last flight stays
//! in the [`ServerConnection`], to leave with the first answer. That spares a system call and, at the client, a wake-up.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::server::{Accepted, Acceptor, ClientHello};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Does the handshake under the configuration that `choose` picks for the client's hello; what it told besides is returned.
///
/// # Errors
/// When the stream fails or the handshake does; the client then has the alert, unless its window was full.
pub async fn accept<S, T>(
    stream: &mut S,
    choose: impl FnOnce(&ClientHello<'_>) -> (Arc<ServerConfig>, T),
) -> io::Result<(ServerConnection, T)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut acceptor = Acceptor::default();
    let accepted = poll_fn(|cx| poll_hello(&mut Polled { stream, cx }, &mut acceptor)).await?;
    let (config, chosen) = choose(&accepted.client_hello());
    let mut tls = match accepted.into_connection(config) {
        Ok(tls) => tls,
        Err((error, mut alert)) => {
            let _ = poll_fn(|cx| Poll::Ready(alert.write_all(&mut Polled { stream, cx }))).await;
            return Err(invalid(error));
        }
    };
    poll_fn(|cx| poll_handshake(&mut Polled { stream, cx }, &mut tls)).await?;
    Ok((tls, chosen))
}

fn poll_hello(
    polled: &mut Polled<'_, '_, impl AsyncRead + AsyncWrite + Unpin>,
    acceptor: &mut Acceptor,
) -> Poll<io::Result<Accepted>> {
    loop {
        if std::task::ready!(pending(acceptor.read_tls(polled)))? == 0 {
            return Poll::Ready(Err(eof()));
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Poll::Ready(Ok(accepted)),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let _ = alert.write_all(polled);
                return Poll::Ready(Err(invalid(error)));
            }
        }
    }
}

fn poll_handshake(
    polled: &mut Polled<'_, '_, impl AsyncRead + AsyncWrite + Unpin>,
    tls: &mut ServerConnection,
) -> Poll<io::Result<()>> {
    loop {
        while tls.wants_write() && (tls.is_handshaking() || last_flight_is_ours(tls)) {
            std::task::ready!(pending(tls.write_tls(polled)))?;
        }
        if !tls.is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        if std::task::ready!(pending(tls.read_tls(polled)))? == 0 {
            return Poll::Ready(Err(eof()));
        }
        if let Err(error) = tls.process_new_packets() {
            // The alert.
            let _ = tls.write_tls(polled);
            return Poll::Ready(Err(invalid(error)));
        }
    }
}

/// Whether what is left to write at the end of the handshake belongs to it: the client waits for it.
fn last_flight_is_ours(tls: &ServerConnection) -> bool {
    tls.protocol_version() != Some(ProtocolVersion::TLSv1_3)
}

/// `WouldBlock` becomes `Pending`: the waker is registered.
fn pending(done: io::Result<usize>) -> Poll<io::Result<usize>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        done => Poll::Ready(done),
    }
}

fn eof() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the client went during the handshake")
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A stream as `Read` and `Write` that, in place of waiting, registers a waker and says `WouldBlock`.
pub struct Polled<'a, 'b, S> {
    /// The stream.
    pub stream: &'a mut S,
    /// Who is woken.
    pub cx: &'a mut Context<'b>,
}

impl<S: AsyncRead + Unpin> Read for Polled<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Polled<'_, '_, S> {
    fn done(written: Poll<io::Result<usize>>) -> io::Result<usize> {
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Polled<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.stream).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        Self::done(Pin::new(&mut *self.stream).poll_write_vectored(self.cx, pieces))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
