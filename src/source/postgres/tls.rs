//! TLS with the certificate checks of `sslmode`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::row_interceptor::RowInterceptor;
use super::socket::Socket;
use super::url::CertificateCheck;

/// Returns the TLS configuration for a certificate check. `roots` is a PEM file; `None` or `system` selects the
/// machine's root certificates.
///
/// # Errors
/// Returns a message if the root certificates cannot be read or there are none.
pub(super) fn client_config(
    check: CertificateCheck,
    roots: Option<&Path>,
) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let relaxed = |authority| RelaxedVerifier {
        provider: provider.clone(),
        authority,
    };
    let verifier: Arc<dyn ServerCertVerifier> = match check {
        CertificateCheck::None => Arc::new(relaxed(None)),
        CertificateCheck::Authority => Arc::new(relaxed(Some(web_pki(roots, &provider)?))),
        CertificateCheck::Hostname => web_pki(roots, &provider)?,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn web_pki(
    roots: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut store = RootCertStore::empty();
    match roots.filter(|path| *path != Path::new("system")) {
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            let unreadable = |error: &dyn std::fmt::Display| {
                format!("sslrootcert: cannot read {}: {error}", path.display())
            };
            let pem = fs::read(path).map_err(|error| unreadable(&error))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                store.add(certificate).map_err(|error| unreadable(&error))?;
            }
        }
    }
    WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone())
        .build()
        .map_err(|_| "sslrootcert: expected at least one root certificate".to_owned())
}

/// Performs the TLS handshake, and moves the row interceptor from the encrypted stream to the decrypted one.
pub(super) struct InterceptingTls(pub(super) RustlsConnect);

type RustlsConnect = <MakeRustlsConnect as MakeTlsConnect<Plain>>::TlsConnect;
type Plain = RowInterceptor<Socket>;

impl TlsConnect<Plain> for InterceptingTls {
    type Stream = RowInterceptor<<RustlsConnect as TlsConnect<Plain>>::Stream>;
    type Error = <RustlsConnect as TlsConnect<Plain>>::Error;
    type Future = BoxFuture<'static, Result<Self::Stream, Self::Error>>;

    fn connect(self, mut stream: Plain) -> Self::Future {
        let intercept = stream.take_state();
        let connect = self.0.connect(stream);
        Box::pin(async move { Ok(RowInterceptor::new(connect.await?, intercept)) })
    }
}

/// Checks less than a browser. Without an authority it accepts any certificate, which prevents eavesdropping but not
/// impersonation. With an authority it accepts any host name.
#[derive(Debug)]
struct RelaxedVerifier {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for RelaxedVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else {
            return Ok(ServerCertVerified::assertion());
        };
        let checked = authority.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match checked {
            // The name is checked last, so everything else is valid.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
