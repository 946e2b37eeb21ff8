//! How many connections there may be, in all and per client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv6Net};

/// Limits of open connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The largest number of connections.
    pub total: usize,
    /// The largest number of connections from one address, or from one IPv6 network of 64 bits. Trusted
    /// proxies are exempt.
    pub per_client: usize,
}

impl ConnectionLimits {
    /// The limits of the operators' port.
    pub(in crate::http) const OPERATORS: ConnectionLimits = ConnectionLimits {
        total: 64,
        per_client: 64,
    };
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            total: 4096,
            per_client: 512,
        }
    }
}

/// The open connections.
#[derive(Debug)]
pub(in crate::http) struct Connections {
    limits: ConnectionLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// The limit that a refused connection would have exceeded, as the metric names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Limit {
    Total,
    PerClient,
}

impl Limit {
    pub(in crate::http) fn name(self) -> &'static str {
        match self {
            Limit::Total => "total",
            Limit::PerClient => "per_client",
        }
    }
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub(in crate::http) struct Admission {
    connections: Arc<Connections>,
    /// `None` for a trusted proxy.
    client: Option<IpAddr>,
}

impl Connections {
    pub(in crate::http) fn new(limits: ConnectionLimits) -> Connections {
        Connections {
            limits,
            open: Mutex::default(),
        }
    }

    /// Counts a connection from an address.
    ///
    /// # Errors
    /// Returns the limit that it would exceed.
    pub(in crate::http) fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        trusted_proxies: &[IpNet],
    ) -> Result<Admission, Limit> {
        let address = address.to_canonical();
        let is_proxy = trusted_proxies
            .iter()
            .any(|proxies| proxies.contains(&address));
        let client = (!is_proxy).then(|| network_of(address));
        let mut open = self.lock();
        if open.total >= self.limits.total {
            return Err(Limit::Total);
        }
        if let Some(client) = client {
            let of_client = open.by_client.entry(client).or_default();
            if *of_client >= self.limits.per_client {
                return Err(Limit::PerClient);
            }
            *of_client += 1;
        }
        open.total += 1;
        Ok(Admission {
            connections: self.clone(),
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        open.total -= 1;
        let Some(client) = self.client else { return };
        if let Some(of_client) = open.by_client.get_mut(&client) {
            *of_client -= 1;
            if *of_client == 0 {
                open.by_client.remove(&client);
            }
        }
    }
}

/// Returns what one client can choose addresses from: its IPv4 address, or its IPv6 network of 64 bits
/// (RFC 6177, section 2).
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Net::new_assert(v6, 64).network().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        total: 3,
        per_client: 2,
    };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_its_limit_and_all_together_theirs() {
        let connections = Arc::new(Connections::new(LIMITS));
        let admit = |text| connections.admit(address(text), &[]);
        let first = admit("192.0.2.1").expect("the first");
        let _second = admit("::ffff:192.0.2.1").expect("the second");
        assert_eq!(admit("192.0.2.1").expect_err("refused"), Limit::PerClient);
        let _other = admit("192.0.2.2").expect("of another client");
        assert_eq!(admit("192.0.2.3").expect_err("refused"), Limit::Total);
        drop(first);
        let _again = admit("192.0.2.1").expect("the first has ended");
        assert_eq!(connections.lock().total, 3);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let connections = Arc::new(Connections::new(LIMITS));
        let admit = |text| connections.admit(address(text), &[]);
        let _open = [admit("2001:db8::1"), admit("2001:db8::2:0:0:1")];
        assert_eq!(admit("2001:db8::3").expect_err("refused"), Limit::PerClient);
        assert!(admit("2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn a_trusted_proxy_has_the_common_limit_only() {
        let connections = Arc::new(Connections::new(LIMITS));
        let proxies = ["10.0.0.0/8".parse().expect("a network")];
        let admit = |text| connections.admit(address(text), &proxies);
        let _open = [admit("10.0.0.1"), admit("10.0.0.1"), admit("10.0.0.1")];
        assert_eq!(admit("10.0.0.1").expect_err("refused"), Limit::Total);
        drop(_open);
        assert_eq!(connections.lock().total, 0);
    }
}
