//! `rowlink ready`: checks the readiness of the local server, for images without another HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::errors::{ErrorLines, error_line};
use crate::config::Config;
use crate::http_client::build_agent;

/// A little longer than the server's own time-out for its databases.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Requests `/readyz` from the server that runs with the same variables.
pub(super) fn check(config: &Config) -> Result<(), ErrorLines> {
    let bind = match config.metrics_bind {
        Some(bind) => bind,
        None if config.tls.is_none() => config.bind,
        // The server's certificate is not valid for a loopback address.
        None => {
            return Err(vec![
                "ROWLINK_METRICS_BIND: is required with TLS".to_owned(),
            ]);
        }
    };
    let url = format!("http://{}/readyz", connect_address(bind));
    let response = build_agent(TIMEOUT).get(&url).call().map_err(error_line)?;
    if response.status() == 200 {
        Ok(())
    } else {
        Err(vec![format!(
            "not ready: status {}",
            response.status().as_u16()
        )])
    }
}

/// Replaces an unspecified listen address, such as `0.0.0.0`, with the loopback address.
fn connect_address(bind: SocketAddr) -> SocketAddr {
    let address = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(address, bind.port())
}
