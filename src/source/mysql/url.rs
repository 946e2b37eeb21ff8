//! Parses `mysql://…` URLs with the options of MySQL's own clients.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

const PORT: u16 = 3306;

/// The address and the credentials of a MySQL or MariaDB server. Its `Debug` shows no password.
#[derive(Clone)]
pub struct MysqlUrl {
    pub(super) host: String,
    pub(super) port: u16,
    /// The Unix socket to use instead of host and port.
    pub(super) socket: Option<String>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) tls: Tls,
    pub(super) root_certificates: Option<PathBuf>,
}

/// TLS use and certificate check: `--ssl-mode` of MySQL's clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// `disabled`.
    Never,
    /// `preferred`: TLS if the server supports it; no certificate check.
    Preferred,
    /// `required`: always TLS; no certificate check.
    Required,
    /// `verify_identity`: always TLS, with a certificate that a trusted authority signed for this host name.
    Verified,
}

impl MysqlUrl {
    /// Tells whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Parses `mysql://user:password@host:3306/database?ssl-mode=verify_identity&ssl-ca=/etc/ca.pem`.
    ///
    /// # Errors
    /// Returns what was expected. The message never quotes the URL's value, which holds a password.
    pub fn parse(text: &str) -> Result<MysqlUrl, String> {
        // The parser's messages quote no part of the URL.
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded
                .map(String::from)
                .map_err(|_| "expected percent-encoded UTF-8")
        };
        let database = decode(url.path().trim_start_matches('/'))?;
        let mut parsed = MysqlUrl {
            host: url
                .host_str()
                .unwrap_or_default()
                .trim_matches(['[', ']'])
                .to_owned(),
            port: url.port().unwrap_or(PORT),
            socket: None,
            user: decode(url.username())?,
            password: url.password().map(decode).transpose()?,
            database,
            tls: Tls::Preferred,
            root_certificates: None,
        };
        for (name, value) in url.query_pairs() {
            match name.as_ref() {
                "socket" => parsed.socket = Some(value.into_owned()),
                "ssl-mode" => parsed.tls = Tls::parse(&value)?,
                "ssl-ca" => parsed.root_certificates = Some(value.as_ref().into()),
                _ => {
                    return Err(format!(
                        "unknown option `{name}`; expected socket, ssl-mode or ssl-ca"
                    ));
                }
            }
        }
        let has_address = !parsed.host.is_empty() || parsed.socket.is_some();
        if !has_address || parsed.database.is_empty() || parsed.database.contains('/') {
            return Err("expected a host and a database, as in mysql://user@host/database".into());
        }
        if parsed.root_certificates.is_some() && parsed.tls != Tls::Verified {
            return Err(
                "ssl-ca: unsupported with this ssl-mode; set ssl-mode=verify_identity".into(),
            );
        }
        Ok(parsed)
    }
}

impl Tls {
    fn parse(text: &str) -> Result<Tls, String> {
        Ok(match text.to_ascii_lowercase().replace('-', "_").as_str() {
            "disabled" => Tls::Never,
            "preferred" => Tls::Preferred,
            "required" => Tls::Required,
            "verify_identity" => Tls::Verified,
            _ => {
                let modes = "disabled, preferred, required or verify_identity";
                return Err(format!("ssl-mode: expected {modes}"));
            }
        })
    }
}

impl std::fmt::Debug for MysqlUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MysqlUrl {
            host,
            port,
            database,
            tls,
            ..
        } = self;
        f.debug_struct("MysqlUrl")
            .field("host", host)
            .field("port", port)
            .field("database", database)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_login_database_and_tls_are_parsed() {
        let text =
            "mysql://u%40x:p%3Ass@[::1]:3307/shop?ssl-mode=VERIFY_IDENTITY&ssl-ca=%2Fetc%2Fca.pem";
        let url = MysqlUrl::parse(text).expect("a URL");
        assert_eq!((url.host.as_str(), url.port), ("::1", 3307));
        assert_eq!(
            (url.user.as_str(), url.password.as_deref()),
            ("u@x", Some("p:ss"))
        );
        assert_eq!((url.database.as_str(), url.tls), ("shop", Tls::Verified));
        assert_eq!(url.root_certificates, Some("/etc/ca.pem".into()));
        assert!(!format!("{url:?}").contains("p:ss"));

        let url = MysqlUrl::parse("mariadb://u@db.example/shop").expect("a URL");
        assert_eq!((url.host.as_str(), url.port), ("db.example", 3306));
        assert_eq!((url.tls, url.password), (Tls::Preferred, None));
    }

    #[test]
    fn a_socket_needs_no_host() {
        let url = MysqlUrl::parse("mysql:///shop?socket=/run/mysqld/mysqld.sock").expect("a URL");
        assert_eq!(url.socket.as_deref(), Some("/run/mysqld/mysqld.sock"));
    }

    #[test]
    fn errors_name_the_option_and_hide_the_password() {
        for (text, named) in [
            ("mysql://u:secret@h/d?ssl-mode=yes", "ssl-mode"),
            ("mysql://u:secret@h/d?ssl-mode=verify_ca", "verify_identity"),
            ("mysql://u:secret@h/d?ssl-ca=/x", "verify_identity"),
            ("mysql://u:secret@h/d?charset=latin1", "charset"),
            ("mysql://u:secret@h:port/d", "port"),
            ("mysql://u:secret@h", "database"),
            ("mysql:///d", "host"),
        ] {
            let message = MysqlUrl::parse(text).expect_err("refused");
            assert!(message.contains(named), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
