//! Browser and proxy settings.

use actix_web::web::Bytes;
use ipnet::IpNet;
use url::Url;

use super::connection::admission::ConnectionLimits;

/// Browser and proxy settings. The default allows no cross-origin request, no credential outside the
/// `Authorization` header, and trusts no proxy.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// The origins whose scripts may use `/v1/`.
    pub cors_origins: Vec<String>,
    /// The proxies whose forwarding header is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The forwarding header that they set.
    pub proxy_header: ProxyHeader,
    /// The target of the button on an error page.
    pub return_url: Option<String>,
    /// The cookie that may carry a token.
    pub jwt_cookie: Option<String>,
    /// The query parameter of an unsigned URL that may carry a token.
    pub jwt_query_param: Option<String>,
    /// The limits of open connections.
    pub connection_limits: ConnectionLimits,
    /// Whether people can download exports on a page of this server.
    pub has_exports_page: bool,
    /// The provider at which people sign in to that page.
    pub oidc_client: Option<OidcClient>,
    /// Whether metrics have a port of their own, and are not served here.
    pub has_metrics_port: bool,
}

/// The header in which proxies forward the client's address. The other one is ignored: clients could
/// set it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For`: addresses separated by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// A client of an OpenID Connect provider, without a secret.
#[derive(Debug, Clone)]
pub struct OidcClient {
    /// The provider's identifier, as in its metadata.
    pub issuer: String,
    /// The id under which the provider knows the page.
    pub client_id: String,
}

impl OidcClient {
    /// Returns the origin to which the page sends requests.
    pub(super) fn origin(&self) -> String {
        let url = Url::parse(&self.issuer);
        let origin = url.map(|url| url.origin().ascii_serialization());
        origin.unwrap_or_default()
    }
}

/// A file that is served as it is.
#[derive(Debug, Clone)]
pub struct StaticFile {
    /// The path that serves it.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content.
    pub content: StaticContent,
}

/// The content of a file that is served as it is.
#[derive(Debug, Clone)]
pub enum StaticContent {
    /// The same for every client.
    Constant(Bytes),
    /// By the BCP 47 tag of its language: one for each of the texts.
    ByLanguage(Vec<(&'static str, Bytes)>),
}
