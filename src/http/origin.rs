//! Where a request comes from: the client behind trusted proxies, and the trace that it belongs to.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::HttpConfig;

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The client's address.
    pub client: String,
    /// The trace's id, or empty (W3C Trace Context, section 3.2.2.3).
    pub trace_id: String,
}

/// The address of the client behind trusted proxies, where it is known.
fn client_address(request: &HttpRequest, http_config: &HttpConfig) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    if http_config.trusted_proxies.is_empty() {
        return Some(peer.to_canonical());
    }
    let hops = hops(request.headers(), http_config.proxy_header);
    Some(client(peer, hops, &http_config.trusted_proxies))
}

/// The same, to allow or to refuse by: an address of a trusted proxy is nobody's, because the proxy did not say who
/// asked it.
pub(super) fn proven_address(request: &HttpRequest, http_config: &HttpConfig) -> Option<IpAddr> {
    let is_proxy = |address: &IpAddr| is_in(&http_config.trusted_proxies, *address);
    client_address(request, http_config).filter(|address| !is_proxy(address))
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

impl Origin {
    pub(super) fn of(request: &HttpRequest, http_config: &HttpConfig) -> Origin {
        let client = client_address(request, http_config);
        Origin {
            client: client.map_or_else(String::new, |address| address.to_string()),
            trace_id: trace_id(request.headers()).unwrap_or_default().to_owned(),
        }
    }
}

/// The last address that no trusted proxy has. Each proxy adds the address it was asked from at the
/// end, and only what trusted ones add is true: so the way goes from the end to the front.
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

/// The header in which proxies say who asked them. What clients send in the other is theirs alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses, separated by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// The hops that the proxies name, the client's first. One that hides its address is `None`.
fn hops(headers: &HeaderMap, header: ProxyHeader) -> Vec<Option<IpAddr>> {
    let name = match header {
        ProxyHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
        ProxyHeader::Forwarded => FORWARDED,
    };
    let node = |element: &str| match header {
        ProxyHeader::XForwardedFor => address(element),
        ProxyHeader::Forwarded => {
            let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let mut named = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
            address(named.next()?.1)
        }
    };
    // Bytes that are no text are a client's, and must not hide what a proxy adds after them.
    let values = headers.get_all(name);
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
    let list: Vec<_> = values.collect();
    let elements = list.iter().flat_map(|value| value.split(','));
    elements
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .map(node)
        .collect()
}

/// An address, perhaps quoted, in brackets, and with a port.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim().trim_matches('"');
    let without_brackets = node.trim_start_matches('[').trim_end_matches(']');
    let with_port = || node.parse().ok().map(|address: SocketAddr| address.ip());
    without_brackets.parse().ok().or_else(with_port)
}

/// The trace's id of a `traceparent` header that follows the grammar.
fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |text: &str, length: usize| {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == length && text.bytes().all(hex)
    };
    match parts.as_slice() {
        [version, trace, parent, flags, ..]
            if is_hex(version, 2)
                && *version != "ff"
                && (*version != "00" || parts.len() == 4)
                && is_hex(trace, 32)
                && is_hex(parent, 16)
                && is_hex(flags, 2)
                && trace.bytes().any(|byte| byte != b'0')
                && parent.bytes().any(|byte| byte != b'0') =>
        {
            Some(trace)
        }
        _ => None,
    }
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
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
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
    fn bytes_that_are_no_text_do_not_hide_what_a_proxy_adds() {
        let value = HeaderValue::from_bytes(b"\xff, 198.51.100.9").expect("a value");
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-forwarded-for"), value)]);
        let hops = hops(&headers, ProxyHeader::XForwardedFor);
        assert_eq!(hops, [None, "198.51.100.9".parse().ok()]);
    }

    #[test]
    fn a_trace_is_taken_from_a_traceparent_that_follows_the_grammar() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_id(&headers(&[("traceparent", good)])), Some(id));
        let future = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(trace_id(&headers(&[("traceparent", future)])), Some(id));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert_eq!(trace_id(&headers(&[("traceparent", bad)])), None, "{bad}");
        }
    }
}
