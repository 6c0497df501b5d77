//! Which addresses may be called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Says which addresses outbound calls may reach: public ones, and those that the operator allows.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    allowed: Vec<IpNet>,
}

/// Why an address may not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {kind}; an operator can allow it with --allow-outbound")]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What it is: `loopback`, `link-local`, …
    pub kind: &'static str,
}

impl AddressGuard {
    /// Public addresses and those in `allowed`.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether the operator has named the address.
    pub fn is_named(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Checks an address that a name stands for or that stands there itself.
    ///
    /// # Errors
    /// When it is no public one and the operator has not named it.
    pub fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let kind = match address.to_canonical() {
            IpAddr::V4(v4) => kind_v4(v4),
            IpAddr::V6(v6) => kind_v6(v6),
        };
        match kind {
            Some(kind) if !self.is_named(address) => Err(Refused { address, kind }),
            _ => Ok(()),
        }
    }
}

/// What is not public about an address (IANA's special-purpose registry).
fn kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    Some(match (a, b, c) {
        (0, ..) => "unspecified",
        (127, ..) => "loopback",
        (169, 254, _) => "link-local",
        (10, ..) | (192, 168, _) => "private",
        (172, 16..=31, _) => "private",
        (100, 64..=127, _) => "shared address space",
        (192, 0, 0 | 2) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => "reserved",
        (224..=239, ..) => "multicast",
        (240..=255, ..) => "reserved",
        _ => return None,
    })
}

fn kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        kind_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        (0, 0) if [c, d, e, f, g] == [0; 5] => Some(if h == 1 { "loopback" } else { "unspecified" }),
        // Translators reach IPv4 by these.
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => embedded(g, h),
        (0x64, 0xff9b) => Some("private"),
        (0x2002, _) => embedded(b, c),
        (0, 0) => Some("reserved"),
        (0x2001, 0) => Some("reserved"),
        (0x2001, 0xdb8) => Some("reserved"),
        (0xfe80..=0xfebf, _) => Some("link-local"),
        (0xfc00..=0xfdff, _) => Some("private"),
        (0xfec0..=0xfeff, _) => Some("private"),
        (0xff00..=0xffff, _) => Some("multicast"),
        (0x2000..=0x3fff, _) => None,
        _ => Some("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(guard: &AddressGuard, address: &str) -> Option<&'static str> {
        guard.check(address.parse().unwrap()).err().map(|refused| refused.kind)
    }

    #[test]
    fn public_addresses_may_be_called() {
        let guard = AddressGuard::default();
        for address in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "64:ff9b::808:808"]
        {
            assert_eq!(kind(&guard, address), None, "{address}");
        }
    }

    #[test]
    fn what_only_this_machine_or_network_reaches_may_not() {
        let guard = AddressGuard::default();
        for (address, expected) in [
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("0.0.0.0", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("10.96.0.1", "private"),
            ("172.16.0.1", "private"),
            ("192.168.1.1", "private"),
            ("100.64.0.1", "shared address space"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::1", "loopback"),
            ("::", "unspecified"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::127.0.0.1", "reserved"),
            ("64:ff9b::7f00:1", "loopback"),
            ("64:ff9b:1::7f00:1", "private"),
            ("2002:7f00:1::", "loopback"),
            ("2002:a9fe:a9fe::1", "link-local"),
            ("fe80::1", "link-local"),
            ("fd00::1", "private"),
            ("ff02::1", "multicast"),
            ("4000::1", "reserved"),
        ] {
            assert_eq!(kind(&guard, address), Some(expected), "{address}");
        }
    }

    #[test]
    fn an_operator_may_name_networks() {
        let guard = AddressGuard::new(vec!["127.0.0.0/8".parse().unwrap(), "fd00::/16".parse().unwrap()]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::5"] {
            assert_eq!(kind(&guard, address), None, "{address}");
            assert!(guard.is_named(address.parse().unwrap()));
        }
        assert_eq!(kind(&guard, "10.0.0.1"), Some("private"));
        assert!(!guard.is_named("8.8.8.8".parse().unwrap()));
    }
}
