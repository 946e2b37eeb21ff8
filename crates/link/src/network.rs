//! Client addresses, and the networks that links are bound to.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// An address, or a network in CIDR notation (RFC 4632, section 3.1; RFC 4291, section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Parses `192.0.2.7`, `192.0.2.0/24`, `2001:db8::/32`.
    ///
    /// # Errors
    /// Returns what was expected if the text is neither, or if bits after the prefix are set: the
    /// meaning would be unclear.
    pub fn parse(text: &str) -> Result<Network, &'static str> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: Option<IpAddr> = address.parse().ok();
        let network = address.and_then(|address| match prefix {
            Some(prefix) => IpNet::new(address, prefix_length(prefix)?).ok(),
            None => Some(address.into()),
        });
        // One spelling per IPv4 address: compared addresses are never IPv4 mapped into IPv6.
        let network = network.filter(|network| network.addr() == network.addr().to_canonical());
        let network = network.filter(|network| *network == network.trunc());
        let expected = "expected an address, or a network whose bits after the prefix are zero";
        network.map(Network).ok_or(expected)
    }

    /// Tells whether the network contains every address of its family, and so restricts nothing.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Tells whether the network contains the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Parses a prefix length without a sign or leading zeros, which other parsers read differently.
fn prefix_length(text: &str) -> Option<u8> {
    let length: u8 = text.parse().ok()?;
    (length.to_string() == text).then_some(length)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

/// The address of the client that follows a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAddr {
    /// A client at this address. `None` is an unknown address, which is in no network.
    At(Option<IpAddr>),
    /// No client: the link is only inspected, and its network is not checked.
    Unchecked,
}

impl ClientAddr {
    /// Tells whether a link bound to the network works for this client.
    #[must_use]
    pub fn is_in(&self, network: &Network) -> bool {
        match self {
            ClientAddr::At(address) => address.is_some_and(|address| network.contains(address)),
            ClientAddr::Unchecked => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_one_spelling() {
        for (text, written) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:DB8::/32", "2001:db8::/32"),
        ] {
            let network = Network::parse(text).expect("a network");
            assert_eq!(network.to_string(), written);
        }
        for bad in [
            "",
            "192.0.2.7/24",
            "192.0.2.0/33",
            "192.0.2.0/024",
            "192.0.2.0/+24",
            "192.0.2.00/24",
            "192.0.2.0/",
            "192.0.2",
            "host",
            "::1%eth0",
            "::ffff:192.0.2.7",
            "::ffff:192.0.2.0/120",
            "1.2.3.4:80",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let network = Network::parse("192.0.2.0/24").expect("a network");
        let at = |text: &str| ClientAddr::At(text.parse().ok());
        assert!(at("192.0.2.255").is_in(&network));
        assert!(at("::ffff:192.0.2.1").is_in(&network));
        assert!(!at("192.0.3.1").is_in(&network));
        assert!(!at("::1").is_in(&network));
        assert!(!ClientAddr::At(None).is_in(&network));
        assert!(ClientAddr::Unchecked.is_in(&network));
    }
}
