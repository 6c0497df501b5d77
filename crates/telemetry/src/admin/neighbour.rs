//! Whose process is at the other end of a connection, where that end is on this machine (Linux).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;

/// The kernel's tables of TCP sockets in this network namespace.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Whether the socket `peer` that is connected to `own` belongs to the user of this process or to root. What cannot be
/// found out counts as no: a peer on another machine, another system.
pub(super) fn is_own_or_root(peer: SocketAddr, own: SocketAddr) -> bool {
    let Ok(process) = fs::metadata("/proc/self") else { return false };
    let tables = TABLES.iter().filter_map(|path| fs::read_to_string(path).ok());
    let mut owners = tables.filter_map(|table| owner(&table, (canonical(peer), canonical(own))));
    owners.next().is_some_and(|user| user == 0 || user == process.uid())
}

fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// The user that owns the socket between `local` and `remote`, by a table as the kernel writes it.
fn owner(table: &str, (local, remote): ((IpAddr, u16), (IpAddr, u16))) -> Option<u32> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        let ends = (columns.next()?, columns.next()?);
        let user = columns.nth(4)?.parse().ok()?;
        (address(ends.0)? == local && address(ends.1)? == remote).then_some(user)
    })
}

/// An address of the table: words of 32 bits in the machine's byte order, and the port, all in hexadecimal.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some((ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn an_end_in_this_process_is_its_own_users() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, peer) = listener.accept().unwrap();
            assert!(is_own_or_root(peer, server.local_addr().unwrap()));
            let elsewhere = SocketAddr::from(([192, 0, 2, 1], peer.port()));
            assert!(!is_own_or_root(elsewhere, server.local_addr().unwrap()));
            drop(client);
        }
    }

    #[test]
    fn rows_are_read_as_the_kernel_writes_them() {
        let word = |bytes: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(bytes));
        let loopback = word([127, 0, 0, 1]);
        let row = |user: u32| {
            format!("sl local rem st\n   0: {loopback}:A1B2 {loopback}:1F90 01 00:00 00:0 0 {user} 0 1\n")
        };
        let ends = |port| ((IpAddr::from([127, 0, 0, 1]), port), (IpAddr::from([127, 0, 0, 1]), 0x1f90));
        assert_eq!(owner(&row(1000), ends(0xa1b2)), Some(1000));
        assert_eq!(owner(&row(1000), ends(0xa1b3)), None);
        for broken in ["", "x\n1:", "x\n1: zz:1 zz:2 01 0 0 0 5", "x\n0: 01:1 01:1 01 0 0 0 5"] {
            assert_eq!(owner(broken, ends(0xa1b2)), None, "{broken}");
        }
        let mapped = format!("{}{}{}{loopback}:0050", word([0; 4]), word([0; 4]), word([0, 0, 255, 255]));
        assert_eq!(address(&mapped), Some((IpAddr::from([127, 0, 0, 1]), 80)));
    }
}
