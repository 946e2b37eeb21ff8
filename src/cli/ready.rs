//! `rowlink ready`: whether the server of this machine is, for images that have no other HTTP client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{ErrorLines, error_line};
use crate::config::Config;
use crate::http_client::agent;

/// As long as the server itself waits for its databases, and a bit.
const PATIENCE: Duration = Duration::from_secs(6);

/// Asks the server that runs with the same variables.
pub(super) fn ask(config: &Config) -> Result<(), ErrorLines> {
    let bind = match config.metrics_bind {
        Some(bind) => bind,
        None if config.tls.is_none() => config.bind,
        // The certificate is for another name than this machine has for itself.
        None => {
            return Err(vec![
                "ROWLINK_METRICS_BIND: is required with TLS".to_owned(),
            ]);
        }
    };
    let url = format!("http://{}/readyz", reachable(bind));
    let answer = agent(PATIENCE).get(&url).call().map_err(error_line)?;
    if answer.status() == 200 {
        Ok(())
    } else {
        Err(vec![format!(
            "not ready: status {}",
            answer.status().as_u16()
        )])
    }
}

/// An address to connect to, where all of the machine's are listened on.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let address = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(address, bind.port())
}
