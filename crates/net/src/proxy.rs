//! The PROXY protocol, versions 1 and 2: a load balancer's word for whom it carries a connection
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The header is believed from [trusted](Trusted) addresses only, and demanded from them. Reading it is sans-io:
//! [`parse`] is given what has arrived and says how many bytes may be read next, so that not one byte of what follows the
//! header is taken.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included (section 2.1).
const LONGEST_LINE: usize = 107;
/// The shortest: `PROXY UNKNOWN\r\n`. Nothing shorter than this is a header of either version.
const SHORTEST: usize = 15;
/// Version 2 before its addresses.
const FIXED: usize = 16;
/// Bytes of addresses and TLVs that are read and skipped, at most. Known TLVs take a few hundred; client certificates are
/// never among them.
const LONGEST_REST: usize = 4096;

/// Why a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with neither version's signature: most likely the client was not sent by way of the balancer, or the
    /// balancer does not send the header.
    #[error("no PROXY protocol header")]
    Absent,
    /// A line of version 1 that is too long, not closed by CR LF, or not of the known form.
    #[error("a PROXY protocol line that cannot be read")]
    Line,
    /// Version 2 with an unknown version, command, family or length.
    #[error("a PROXY protocol header (version 2) that cannot be read")]
    Binary,
    /// More than 4 KiB of it.
    #[error("a PROXY protocol header of {0} bytes")]
    TooLong(usize),
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// The connection is carried for this client.
    Carried(SocketAddr),
    /// The balancer speaks for itself (LOCAL: a health check), or does not know for whom (UNKNOWN, or neither TCP over
    /// IPv4 nor IPv6): the connection's own address counts.
    Own,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many more bytes are certainly the header's.
    Need(usize),
    /// This was all of it.
    Done(Header),
}

/// Reads `bytes`, the beginning of a connection. Given again with as many more bytes as it needs, it ends within 4 KiB.
///
/// # Errors
/// As soon as it is certain that this is no header.
pub fn parse(bytes: &[u8]) -> Result<Step, Error> {
    if bytes.starts_with(&SIGNATURE) {
        return binary(bytes);
    }
    if bytes.starts_with(b"PROXY ") {
        return line(bytes);
    }
    let begins = |start: &[u8]| bytes.len() < start.len() && start.starts_with(bytes);
    match begins(&SIGNATURE) || begins(b"PROXY ") {
        true => Ok(Step::Need(SHORTEST.saturating_sub(bytes.len()))),
        false => Err(Error::Absent),
    }
}

/// Version 1: one line, such as `PROXY TCP4 192.0.2.7 198.51.100.1 50000 443`.
fn line(bytes: &[u8]) -> Result<Step, Error> {
    if bytes.len() < SHORTEST {
        return Ok(Step::Need(SHORTEST - bytes.len()));
    }
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        // One byte before the end of the line there is at least one to come, else two.
        let least = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let closed = bytes.contains(&b'\n') || bytes.len() + least > LONGEST_LINE;
        return if closed { Err(Error::Line) } else { Ok(Step::Need(least)) };
    };
    let text = std::str::from_utf8(text).map_err(|_| Error::Line)?;
    if text.contains(['\r', '\n']) {
        return Err(Error::Line);
    }
    let mut words = text.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(Step::Done(Header::Own));
    }
    let (source, target) = (words.next().ok_or(Error::Line)?, words.next().ok_or(Error::Line)?);
    let agree = match family {
        Some("TCP4") => source.parse::<Ipv4Addr>().is_ok() && target.parse::<Ipv4Addr>().is_ok(),
        Some("TCP6") => source.parse::<Ipv6Addr>().is_ok() && target.parse::<Ipv6Addr>().is_ok(),
        _ => false,
    };
    let source: IpAddr = source.parse().map_err(|_| Error::Line)?;
    let (port, _) = (port(words.next())?, port(words.next())?);
    match agree && words.next().is_none() {
        true => Ok(Step::Done(carried(source, port))),
        false => Err(Error::Line),
    }
}

/// A decimal number without sign or leading zeros.
fn port(word: Option<&str>) -> Result<u16, Error> {
    let word = word.ok_or(Error::Line)?;
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    plain.then(|| word.parse().ok()).flatten().ok_or(Error::Line)
}

/// Version 2: signature, version and command, family and protocol, length, addresses, TLVs.
fn binary(bytes: &[u8]) -> Result<Step, Error> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(Step::Need(FIXED - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) {
        return Err(Error::Binary);
    }
    if length > LONGEST_REST {
        return Err(Error::TooLong(length));
    }
    if rest.len() < length {
        return Ok(Step::Need(length - rest.len()));
    }
    if command == 0x20 {
        return Ok(Step::Done(Header::Own));
    }
    let header = match family {
        0x11 => rest.first_chunk::<12>().map(|addresses| {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            carried(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))
        }),
        0x21 => rest.first_chunk::<36>().and_then(|addresses| {
            let (source, others) = addresses.split_first_chunk::<16>()?;
            let (_, ports) = others.split_first_chunk::<16>()?;
            let (port, _) = ports.split_first_chunk::<2>()?;
            Some(carried(Ipv6Addr::from(*source).into(), u16::from_be_bytes(*port)))
        }),
        // UNSPEC, and what is not carried over TCP: UDP, UNIX sockets.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Some(Header::Own),
        _ => None,
    };
    header.map(Step::Done).ok_or(Error::Binary)
}

fn carried(source: IpAddr, port: u16) -> Header {
    Header::Carried(SocketAddr::new(source.to_canonical(), port))
}

/// Reads the header from `stream` and not a byte more. The caller bounds the time.
///
/// # Errors
/// Those of the stream; `InvalidData` for what is no header.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Header> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        match parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Step::Done(header) => return Ok(header),
            Step::Need(more) => {
                let have = bytes.len();
                bytes.resize(have + more, 0);
                if let Some(room) = bytes.get_mut(have..) {
                    stream.read_exact(room).await?;
                }
            }
        }
    }
}

/// A network: an address and a prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether `address` lies in it. IPv4 addresses in IPv6 form count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shifted = |bits: u32| bits.saturating_sub(u32::from(self.prefix));
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = u32::from(ours) ^ u32::from(theirs);
                differ.checked_shr(shifted(u32::BITS)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = u128::from(ours) ^ u128::from(theirs);
                differ.checked_shr(shifted(u128::BITS)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("'{text}' is not a network such as 10.0.0.0/8 or ::1/128");
        let (address, prefix) = text.split_once('/').ok_or_else(expected)?;
        let address: IpAddr = address.parse().map_err(|_| expected())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(expected)?;
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whose headers a listener believes.
#[derive(Debug, Clone, Default)]
pub struct Trusted(Vec<Network>);

impl Trusted {
    /// The balancers' networks; none: the listener does not speak the PROXY protocol.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// For whom a connection from `peer` is: itself, unless it is trusted; then what its header says, which it must send.
    ///
    /// # Errors
    /// Those of [`read`].
    pub async fn client<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        peer: SocketAddr,
    ) -> io::Result<SocketAddr> {
        if !self.0.iter().any(|network| network.contains(peer.ip())) {
            return Ok(peer);
        }
        match read(stream).await? {
            Header::Carried(client) => Ok(client),
            Header::Own => Ok(peer),
        }
    }
}

#[cfg(test)]
mod tests;
