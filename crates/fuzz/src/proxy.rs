//! The header of the PROXY protocol.

use std::net::{IpAddr, SocketAddr};

use fleethaven_net::proxy::{Error, Header, Step, parse};

/// Version 2 with the longest rest that is read.
const LONGEST: usize = 16 + 4096;

/// Bytes: the beginning of a connection. However it arrives, the same header is read and nothing after it; what was read
/// can be written in both versions and read again.
pub(crate) fn header(data: &[u8]) {
    let asked = read(data, |need| need);
    let bytewise = read(data, |_| 1);
    match (asked, bytewise) {
        (Ok(None), _) => {}
        (Err(_), Err(_)) => {}
        (asked, bytewise) => assert_eq!(asked, bytewise),
    }
    assert!(bytewise.is_err() || asked.is_ok(), "wrong byte by byte only");
    let Ok(Some((Header::Carried(client), _))) = asked else { return };
    for written in [line(client), binary(client)] {
        assert_eq!(read(&written, |need| need), Ok(Some((Header::Carried(client), written.len()))));
    }
}

/// The header and its size; `None` when the stream ends before it does.
fn read(stream: &[u8], step: fn(usize) -> usize) -> Result<Option<(Header, usize)>, Error> {
    let mut taken = 0;
    loop {
        match parse(&stream[..taken])? {
            Step::Done(header) => return Ok(Some((header, taken))),
            Step::Need(more) => {
                assert!(more > 0, "it would ask for ever");
                assert!(taken + more <= LONGEST, "more than a header can have");
                taken += step(more);
            }
        }
        if taken > stream.len() {
            return Ok(None);
        }
    }
}

fn line(client: SocketAddr) -> Vec<u8> {
    let (family, target) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {target} {} 8883\r\n", client.ip(), client.port()).into_bytes()
}

fn binary(client: SocketAddr) -> Vec<u8> {
    let (family, addresses) = match client.ip() {
        IpAddr::V4(ip) => (0x11, [ip.octets(), [192, 0, 2, 1]].concat()),
        IpAddr::V6(ip) => (0x21, [ip.octets(), [0; 16]].concat()),
    };
    let rest = [&addresses[..], &client.port().to_be_bytes(), &8883_u16.to_be_bytes()].concat();
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, family][..], &length, &rest].concat()
}
