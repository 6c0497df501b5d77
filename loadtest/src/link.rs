//! One non-blocking socket to the broker, plain or TLS.

use std::io::{self, BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use mio::net::TcpStream;
use rustls::{ClientConnection, HandshakeKind};
use socket2::{Domain, Protocol, Socket, Type};

use crate::target::Target;

/// What a read left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remains {
    /// There may be more to read.
    Maybe,
    /// Nothing until the socket is readable again.
    Nothing,
    /// The broker closed.
    Closed,
}

/// A connection, possibly still connecting.
pub(crate) struct Link {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Starts to connect; `number` chooses source address and certificate.
    pub(crate) fn open(target: &Target, number: usize) -> anyhow::Result<Self> {
        let stream = connect(target, number)?;
        let tls = match target.tls(number) {
            Some((config, name)) => Some(Box::new(ClientConnection::new(config, name)?)),
            None => None,
        };
        Ok(Self { stream, tls })
    }

    /// The socket, to be registered.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Whether the TLS handshake is done and resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Reads once from the socket and appends what it says to `inbox`. A TLS link may have something to write
    /// afterwards.
    pub(crate) fn read(&mut self, scratch: &mut [u8], inbox: &mut BytesMut) -> io::Result<Remains> {
        let read = match self.stream.read(scratch) {
            Ok(0) => return Ok(Remains::Closed),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Remains::Nothing),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Remains::Maybe),
            Err(error) => return Err(error),
        };
        let wire = scratch.get(..read).unwrap_or_default();
        match &mut self.tls {
            None => inbox.extend_from_slice(wire),
            Some(tls) => decrypt(tls, wire, inbox)?,
        }
        // A read that did not fill the buffer emptied the socket; the next bytes make a new edge.
        Ok(if read == scratch.len() { Remains::Maybe } else { Remains::Nothing })
    }

    /// Writes as much of `out` as the socket takes; the rest stays in it.
    pub(crate) fn write(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let Self { stream, tls } = self;
        match tls {
            None => write_plain(stream, out),
            Some(tls) => write_tls(stream, tls, out),
        }
    }

    /// Whether [`Self::write`] has something to do even with nothing in `out`.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}

fn connect(target: &Target, number: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = target.source(number) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.address.into()) {
        Ok(()) => {}
        // EINPROGRESS has no kind of its own in std.
        Err(error) if error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(115) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn decrypt(tls: &mut ClientConnection, mut wire: &[u8], inbox: &mut BytesMut) -> io::Result<()> {
    while !wire.is_empty() {
        tls.read_tls(&mut wire)?;
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            let mut reader = tls.reader();
            let plain = match reader.fill_buf() {
                Ok(plain) => plain,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if plain.is_empty() {
                break;
            }
            let len = plain.len();
            inbox.extend_from_slice(plain);
            reader.consume(len);
        }
    }
    Ok(())
}

fn write_plain(stream: &mut TcpStream, out: &mut BytesMut) -> io::Result<()> {
    while !out.is_empty() {
        match stream.write(out) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => out.advance(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_tls(stream: &mut TcpStream, tls: &mut ClientConnection, out: &mut BytesMut) -> io::Result<()> {
    loop {
        while tls.wants_write() {
            match tls.write_tls(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Rustls takes a bounded amount at a time, and none once that much waits for the handshake.
        let taken = if out.is_empty() { 0 } else { tls.writer().write(out)? };
        if taken == 0 {
            return Ok(());
        }
        out.advance(taken);
    }
}
