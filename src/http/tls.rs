//! TLS by rustls, for deployments without a proxy. Only HTTP/1.1: see ARCHITECTURE.md.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// The certificate of new connections. Open connections keep theirs.
#[derive(Debug, Default)]
pub(super) struct Certificate(ArcSwapOption<CertifiedKey>);

impl Certificate {
    /// Replaces the certificate of new connections.
    ///
    /// # Errors
    /// Returns a message if the texts are not a certificate chain and its key.
    pub(super) fn set(&self, certificate: &str, key: &str) -> Result<(), String> {
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
        let chain = chain.map_err(|error| format!("certificate: {error}"))?;
        if chain.is_empty() {
            return Err("expected a certificate in PEM".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let key = key.map_err(|_| "expected a private key in PEM")?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        let certified = certified.map_err(|error| error.to_string())?;
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// Returns an acceptor of TLS 1.2 and 1.3, with the current certificate.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the cipher suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Arc::new(config).into()
}
