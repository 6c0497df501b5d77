use proptest::prelude::*;

use super::*;

/// Feeds `stream` as a socket would, never more than was asked for; how much was taken.
fn run(stream: &[u8]) -> Result<(Option<Header>, usize), Error> {
    let mut taken = 0;
    loop {
        match parse(&stream[..taken])? {
            Step::Done(header) => return Ok((Some(header), taken)),
            Step::Need(more) => {
                assert!(more > 0, "it would ask for ever");
                if taken + more > stream.len() {
                    return Ok((None, taken));
                }
                taken += more;
            }
        }
    }
}

fn whole(bytes: &[u8]) -> Result<Header, Error> {
    let mut stream = bytes.to_vec();
    stream.extend_from_slice(b"\x16\x03\x01what follows");
    let (header, taken) = run(&stream)?;
    assert_eq!(taken, bytes.len(), "the header and nothing else");
    Ok(header.unwrap())
}

fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

fn carried(text: &str) -> Header {
    Header::Carried(text.parse().unwrap())
}

#[test]
fn lines() {
    for (line, header) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n", carried("192.0.2.7:50000")),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", carried("255.255.255.255:65535")),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 0 0\r\n", carried("1.1.1.1:0")),
        ("PROXY TCP6 2001:db8::7 ::1 50000 443\r\n", carried("[2001:db8::7]:50000")),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", carried("192.0.2.7:1")),
        ("PROXY UNKNOWN\r\n", Header::Own),
        ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header::Own),
    ] {
        assert_eq!(whole(line.as_bytes()), Ok(header), "{line}");
    }
}

#[test]
fn lines_that_are_none() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443 1\r\n",
        "PROXY TCP4 ::1 ::1 50000 443\r\n",
        "PROXY TCP6 192.0.2.7 192.0.2.8 50000 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 007 443\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\n\r\n",
        "PROXY TCP4 192.0.2.7\r198.51.100.1 1 443\r\n",
        "PROXY TCP4 \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\r\n",
    ] {
        assert_eq!(run(line.as_bytes()), Err(Error::Line), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
    assert_eq!(run(endless.as_bytes()), Err(Error::Line));
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello",
        b"PROXYTCP4",
        b"\r\n\r\nx",
    ] {
        let padded = [other, &[0; 20]].concat();
        assert_eq!(run(&padded), Err(Error::Absent));
    }
}

#[test]
fn binary_headers() {
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 1, 0xbb];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    v6[32..34].copy_from_slice(&[0xc3, 0x50]);
    let with_tlvs = [&v4[..], &[0x01, 0, 2, b'h', b'2', 0x04, 0, 3, 0, 0, 0]].concat();
    for (command, family, rest, header) in [
        (0x21, 0x11, &v4[..], carried("192.0.2.7:50000")),
        (0x21, 0x11, &with_tlvs, carried("192.0.2.7:50000")),
        (0x21, 0x21, &v6, carried("[2001:db8::7]:50000")),
        (0x20, 0x00, &[], Header::Own),
        (0x20, 0x11, &v4, Header::Own),
        (0x20, 0xff, &[1, 2, 3], Header::Own),
        (0x21, 0x00, &[], Header::Own),
        (0x21, 0x12, &v4, Header::Own),
        (0x21, 0x31, &[0; 216], Header::Own),
    ] {
        assert_eq!(whole(&version_2(command, family, rest)), Ok(header), "{command:x} {family:x}");
    }
}

#[test]
fn binary_headers_that_are_none() {
    for (command, family, rest) in
        [(0x11, 0x11, 12), (0x22, 0x11, 12), (0x21, 0x11, 11), (0x21, 0x21, 35), (0x21, 0x41, 12)]
    {
        assert_eq!(
            run(&version_2(command, family, &vec![0; rest])),
            Err(Error::Binary),
            "{command:x} {family:x}"
        );
    }
    assert_eq!(run(&version_2(0x21, 0x11, &[0; 4097])), Err(Error::TooLong(4097)));
}

#[tokio::test]
async fn only_the_trusted_are_asked() {
    let trusted = Trusted::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()]);
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\nrest";
    for (peer, client, left) in [
        ("10.1.2.3:1", "192.0.2.7:50000", 4),
        ("[::ffff:10.1.2.3]:1", "192.0.2.7:50000", 4),
        ("11.1.2.3:1", "11.1.2.3:1", header.len()),
    ] {
        let mut stream = &header[..];
        let found = trusted.client(&mut stream, peer.parse().unwrap()).await.unwrap();
        assert_eq!((found, stream.len()), (client.parse().unwrap(), left));
    }
    let peer = "10.0.0.1:1".parse().unwrap();
    let mut bare = &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello"[..];
    assert_eq!(trusted.client(&mut bare, peer).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    let mut short = &b"PROXY TCP4 192"[..];
    assert_eq!(trusted.client(&mut short, peer).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn networks() {
    let within =
        |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
    assert!(within("10.0.0.0/8", "10.255.0.1") && !within("10.0.0.0/8", "11.0.0.1"));
    assert!(within("0.0.0.0/0", "1.2.3.4") && !within("0.0.0.0/0", "::1"));
    assert!(within("192.0.2.7/32", "192.0.2.7") && !within("192.0.2.7/32", "192.0.2.6"));
    assert!(within("::/0", "2001:db8::1") && within("::1/128", "::1") && !within("::1/128", "::2"));
    for bad in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::/129"] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_client_is_told(source: SocketAddr, target: SocketAddr) {
        let (source, target) = match (source, target) {
            (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => (source, target),
            _ => (source, source),
        };
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {} {} {} {}\r\n", source.ip(), target.ip(), source.port(), target.port());
        let expected = Header::Carried(SocketAddr::new(source.ip().to_canonical(), source.port()));
        prop_assert_eq!(whole(line.as_bytes()), Ok(expected));
        let (family, addresses) = match (source.ip(), target.ip()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => (0x11, [source.octets(), target.octets()].concat()),
            (IpAddr::V6(source), IpAddr::V6(target)) => (0x21, [source.octets(), target.octets()].concat()),
            _ => unreachable!(),
        };
        let ports = [source.port().to_be_bytes(), target.port().to_be_bytes()].concat();
        prop_assert_eq!(whole(&version_2(0x21, family, &[addresses, ports].concat())), Ok(expected));
    }

    #[test]
    fn noise_ends_within_bounds(start in 0..3usize, noise in prop::collection::vec(any::<u8>(), 0..9000)) {
        let start = [&b""[..], b"PROXY ", &SIGNATURE][start];
        let stream = [start, &noise].concat();
        if let Ok((_, taken)) = run(&stream) {
            prop_assert!(taken <= FIXED + LONGEST_REST);
        }
    }
}
