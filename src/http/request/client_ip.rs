//! The address of the client behind trusted proxies.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::forwarded::forwarded_for;
use crate::http::config::{HttpConfig, ProxyHeader};

/// Returns the address of the client behind trusted proxies, if it is known.
fn client_address(request: &HttpRequest, config: &HttpConfig) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    if config.trusted_proxies.is_empty() {
        return Some(peer.to_canonical());
    }
    let hops = hops(request.headers(), config.proxy_header);
    Some(client(peer, hops, &config.trusted_proxies))
}

/// Returns the client's address for access control. If the address is a trusted proxy's, the proxy did
/// not forward the client's, which is then unknown.
pub(in crate::http) fn verified_address(
    request: &HttpRequest,
    config: &HttpConfig,
) -> Option<IpAddr> {
    let is_proxy = |address: &IpAddr| is_in(&config.trusted_proxies, *address);
    client_address(request, config).filter(|address| !is_proxy(address))
}

/// Returns the client's address as text for the log; empty if it is unknown.
pub(in crate::http) fn client_text(request: &HttpRequest, config: &HttpConfig) -> String {
    let address = client_address(request, config);
    address.map_or_else(String::new, |address| address.to_string())
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Returns the last address that is not a trusted proxy's. Each proxy appends the address of its peer,
/// and only trusted proxies append the truth: so the hops are read from the end.
fn client(peer: IpAddr, hops: Vec<Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        if !is_in(trusted, client) {
            break;
        }
        match hop {
            Some(address) => client = address,
            None => break,
        }
    }
    client.to_canonical()
}

/// Returns the hops of a forwarding header, the client's first. A hidden address is `None`.
fn hops(headers: &HeaderMap, header: ProxyHeader) -> Vec<Option<IpAddr>> {
    let name = match header {
        ProxyHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ProxyHeader::Forwarded => FORWARDED,
    };
    // A client's invalid bytes must not hide what a proxy appends after them.
    let values = headers.get_all(name);
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let hops = |value: &str| match header {
        ProxyHeader::XForwardedFor => listed(value),
        ProxyHeader::Forwarded => forwarded(value),
    };
    values.flat_map(|value| hops(&value)).collect()
}

fn listed(value: &str) -> Vec<Option<IpAddr>> {
    let elements = value.split(',').map(str::trim);
    elements.filter(|it| !it.is_empty()).map(address).collect()
}

/// A malformed value is one hidden hop.
fn forwarded(value: &str) -> Vec<Option<IpAddr>> {
    match forwarded_for(value) {
        Some(nodes) => nodes.iter().map(|node| address(node.as_ref()?)).collect(),
        None => vec![None],
    }
}

/// Parses an address that may be in brackets and followed by a port.
fn address(node: &str) -> Option<IpAddr> {
    let without_brackets = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'));
    let with_port = || node.parse().ok().map(|address: SocketAddr| address.ip());
    without_brackets
        .unwrap_or(node)
        .parse()
        .ok()
        .or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_not_a_trusted_proxys() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .map(|network| network.parse().expect("a network"))
            .to_vec();
        let xff = "x-forwarded-for";
        for (peer, pairs, expected) in [
            ("192.0.2.1", vec![(xff, "198.51.100.9")], "192.0.2.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec![(xff, "198.51.100.9")], "198.51.100.9"),
            (
                "10.0.0.1",
                vec![(xff, "1.2.3.4, 198.51.100.9, 10.0.0.2")],
                "198.51.100.9",
            ),
            (
                "10.0.0.1",
                vec![(xff, "1.2.3.4"), (xff, "198.51.100.9:443")],
                "198.51.100.9",
            ),
            (
                "::ffff:10.0.0.1",
                vec![(xff, "198.51.100.9")],
                "198.51.100.9",
            ),
            (
                "fd00::1",
                vec![(
                    "forwarded",
                    "for=1.2.3.4, For=\"[2001:db8::7]:47\";proto=https",
                )],
                "2001:db8::7",
            ),
            ("10.0.0.1", vec![("forwarded", "for=_hidden")], "10.0.0.1"),
            (
                "10.0.0.1",
                vec![("forwarded", "for=198.51.100.9;host=\"x,for=203.0.113.9\"")],
                "198.51.100.9",
            ),
            (
                "10.0.0.1",
                vec![("forwarded", "for=198.51.100.9;host=\"x,for=203.0.113.9")],
                "10.0.0.1",
            ),
            (
                "10.0.0.1",
                vec![
                    ("forwarded", "for=\"1.2.3.4"),
                    ("forwarded", "for=198.51.100.9"),
                ],
                "198.51.100.9",
            ),
            ("10.0.0.1", vec![(xff, "nonsense")], "10.0.0.1"),
            ("10.0.0.1", vec![(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ] {
            let peer = peer.parse().expect("an address");
            let by_xff = pairs.iter().any(|(name, _)| *name == xff);
            let header = if by_xff {
                ProxyHeader::XForwardedFor
            } else {
                ProxyHeader::Forwarded
            };
            let found = client(peer, hops(&headers(&pairs), header), &trusted).to_string();
            assert_eq!(found, expected, "{peer} {pairs:?}");
        }
    }

    #[test]
    fn invalid_bytes_do_not_hide_what_a_proxy_appends() {
        let value = HeaderValue::from_bytes(b"\xff, 198.51.100.9").expect("a value");
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
        let hops = hops(&headers, ProxyHeader::XForwardedFor);
        assert_eq!(hops, [None, "198.51.100.9".parse().ok()]);
    }
}
