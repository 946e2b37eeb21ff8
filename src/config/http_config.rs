//! Browser and proxy settings.

use std::net::IpAddr;

use url::{Host, Origin, Url};

use super::callers::list;
use super::errors::{ConfigErrors, read};
use super::{TlsPem, Variables};
use crate::http::{ConnectionLimits, HttpConfig, OidcClient, ProxyHeader};

pub(super) fn http_config(
    variables: &mut Variables,
    errors: &mut ConfigErrors,
    has_metrics_port: bool,
) -> HttpConfig {
    let cors_origins = cors_origins(variables, errors);
    let proxies = variables.trusted_proxies.take().unwrap_or_default();
    let proxies = list(&proxies).map(network).collect::<Result<_, _>>();
    let return_url = variables.return_url.take().map(|text| web_url(&text));
    let cookie = variables.jwt_cookie.take().map(token_name);
    let parameter = variables.jwt_query_param.take().map(parameter_name);
    let header = match variables.proxy_header.take().as_deref() {
        None | Some("x-forwarded-for") => Ok(ProxyHeader::XForwardedFor),
        Some("forwarded") => Ok(ProxyHeader::Forwarded),
        Some(_) => Err("expected x-forwarded-for or forwarded"),
    };
    let page = match variables.page.take().as_deref() {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(_) => Err("expected on or off"),
    };
    let has_exports_page = errors.check("PAGE", page).unwrap_or_default();
    let oidc_client = oidc_client(variables, errors, has_exports_page);
    let default = ConnectionLimits::default();
    let mut count = |variable: &str, text: Option<String>, default: usize| {
        errors.number(variable, text, default, 1..=1_000_000)
    };
    let connection_limits = ConnectionLimits {
        total: count(
            "MAX_CONNECTIONS",
            variables.max_connections.take(),
            default.total,
        ),
        per_client: count(
            "MAX_CONNECTIONS_PER_CLIENT",
            variables.max_connections_per_client.take(),
            default.per_client,
        ),
    };
    HttpConfig {
        cors_origins,
        trusted_proxies: errors.check("TRUSTED_PROXIES", proxies).unwrap_or_default(),
        proxy_header: errors.check("PROXY_HEADER", header).unwrap_or_default(),
        return_url: errors.check("RETURN_URL", return_url.transpose()).flatten(),
        jwt_cookie: errors.check("JWT_COOKIE", cookie.transpose()).flatten(),
        jwt_query_param: errors
            .check("JWT_QUERY_PARAM", parameter.transpose())
            .flatten(),
        connection_limits,
        has_exports_page,
        oidc_client,
        has_metrics_port,
    }
}

/// Reads the provider at which people sign in to the page, and the page's id there: both or none.
fn oidc_client(
    variables: &mut Variables,
    errors: &mut ConfigErrors,
    has_page: bool,
) -> Option<OidcClient> {
    let issuer = variables.page_oidc_issuer.take();
    let client_id = variables.page_oidc_client_id.take();
    match (issuer, client_id) {
        (None, None) => None,
        (Some(_), Some(_)) if !has_page => {
            errors.add("PAGE_OIDC_ISSUER", "has no effect without ROWLINK_PAGE=on");
            None
        }
        (Some(issuer), Some(client_id)) => {
            let issuer = errors.check("PAGE_OIDC_ISSUER", oidc_issuer(issuer))?;
            Some(OidcClient { issuer, client_id })
        }
        _ => {
            let message = "set this and ROWLINK_PAGE_OIDC_CLIENT_ID, or neither";
            errors.add("PAGE_OIDC_ISSUER", message);
            None
        }
    }
}

/// Checks the identifier of a provider: OpenID Connect Core 1.0, section 1.2. It is not normalised, because the provider's
/// metadata repeat it.
fn oidc_issuer(text: String) -> Result<String, &'static str> {
    let is_loopback = |url: &Url| match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    let is_issuer = |url: &Url| {
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
        is_safe && url.query().is_none() && url.fragment().is_none()
    };
    let url = Url::parse(&text).ok();
    let fits = url.as_ref().is_some_and(is_issuer);
    fits.then_some(text)
        .ok_or("expected an https:// URL without a query, or an http:// one on a loopback address")
}

/// Parses the origins of pages that may call Rowlink.
pub(super) fn cors_origins(variables: &mut Variables, errors: &mut ConfigErrors) -> Vec<String> {
    let origins = variables.cors_origins.take().unwrap_or_default();
    let origins = list(&origins).map(cors_origin).collect::<Result<_, _>>();
    errors.check("CORS_ORIGINS", origins).unwrap_or_default()
}

/// Reads the certificate and its key: both or none.
pub(super) fn tls(variables: &Variables, errors: &mut ConfigErrors) -> Option<TlsPem> {
    match (&variables.tls_cert_file, &variables.tls_key_file) {
        (Some(certificate), Some(key)) => {
            let certificate = errors.check("TLS_CERT_FILE", read(certificate));
            let key = errors.check("TLS_KEY_FILE", read(key));
            Some(TlsPem {
                certificate: certificate?,
                key: key?,
            })
        }
        (None, None) => None,
        _ => {
            errors.add(
                "TLS_KEY_FILE",
                "set this and ROWLINK_TLS_CERT_FILE, or neither",
            );
            None
        }
    }
}

/// Parses an origin as browsers serialize it (RFC 6454, section 6.1).
///
/// # Errors
/// Returns what was expected if the text is not an origin, or serialized differently.
pub fn cors_origin(text: &str) -> Result<String, &'static str> {
    let expected = "expected origins like https://shop.example.com, separated by commas";
    let url = Url::parse(text).map_err(|_| expected)?;
    let origin = url.origin();
    match origin {
        Origin::Tuple(..) if origin.ascii_serialization() == text => Ok(text.to_owned()),
        Origin::Opaque(_) if is_app_origin(&url, text) => Ok(text.to_owned()),
        _ => Err(expected),
    }
}

/// Whether this is the origin of an application with a scheme of its own, as its browser sends it:
/// `capacitor://localhost`, `tauri://localhost`, `chrome-extension://…`.
fn is_app_origin(url: &Url, text: &str) -> bool {
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    !host.is_empty() && url.scheme() != "file" && format!("{}://{host}{port}", url.scheme()) == text
}

fn network(text: &str) -> Result<ipnet::IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(ipnet::IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "expected addresses or networks like 10.0.0.0/8, separated by commas")
}

/// Parses the URL of a page or file.
///
/// # Errors
/// Returns what was expected, never the text.
pub fn web_url(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).ok();
    url.filter(|url| ["http", "https"].contains(&url.scheme()))
        .map(String::from)
        .ok_or("expected an http:// or https:// URL")
}

/// Checks the name of a cookie. RFC 6265, section 4.1.1: it is a token of RFC 9110.
fn token_name(name: String) -> Result<String, &'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    name.bytes()
        .all(is_token)
        .then_some(name)
        .ok_or("expected the name of a cookie")
}

fn parameter_name(name: String) -> Result<String, &'static str> {
    let fits = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    (fits && !name.starts_with("rl_"))
        .then_some(name)
        .ok_or("expected the name of a query parameter that does not start with rl_")
}
