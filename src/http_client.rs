//! The HTTP client for outgoing requests: key sets, traces, `rowlink ready` and `rowlink get`.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, DefaultConnector, Transport};

/// Builds a client with a total `timeout` per request.
pub(crate) fn build_agent(timeout: Duration) -> Agent {
    builder().timeout_global(Some(timeout)).build().into()
}

/// Builds a client for downloads, whose connections `wrap` has: `idle_max` is the longest time without a byte.
pub(crate) fn build_download_agent(
    idle_max: Duration,
    wrap: impl Connector<Box<dyn Transport>>,
) -> Agent {
    let config = builder().timeout_per_read(Some(idle_max)).build();
    let connector = DefaultConnector::default().chain(wrap);
    Agent::with_parts(config, connector, DefaultResolver::default())
}

/// Returns a configuration that trusts the system's root certificates. It follows no redirects: a redirect could lead to a
/// host that an attacker controls.
fn builder() -> ConfigBuilder<AgentScope> {
    let roots = rustls_native_certs::load_native_certs().certs;
    let roots = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned());
    let tls = TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .build();
    Agent::config_builder()
        .max_redirects(0)
        .http_status_as_error(false)
        .tls_config(tls)
}
