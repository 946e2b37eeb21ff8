//! `mysql://…`, with the options of MySQL's own clients.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

const PORT: u16 = 3306;

/// Where a MySQL or MariaDB server is, and how to log in. Its `Debug` shows no password.
#[derive(Clone)]
pub struct MysqlUrl {
    pub(super) host: String,
    pub(super) port: u16,
    /// The Unix socket to use instead.
    pub(super) socket: Option<String>,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    pub(super) tls: Tls,
    pub(super) root_certificates: Option<PathBuf>,
}

/// Whether to use TLS, as `--ssl-mode` of MySQL's clients says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    /// `disabled`.
    Never,
    /// `preferred`: where the server can, whoever it is.
    Preferred,
    /// `required`: always, whoever it is.
    Required,
    /// `verify_identity`: always, with a certificate for this host that a trusted authority signed.
    Verified,
}

impl MysqlUrl {
    /// Reads `mysql://user:password@host:3306/database?ssl-mode=verify_identity&ssl-ca=/etc/ca.pem`.
    ///
    /// # Errors
    /// What was expected; never a part of the URL, which holds a password.
    pub fn parse(text: &str) -> Result<MysqlUrl, String> {
        // What the parser says of its own schemes does not hold for this one: none of them is named so.
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_| "it is not UTF-8")
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
                        "unknown option `{name}`; the options are socket, ssl-mode, ssl-ca"
                    ));
                }
            }
        }
        let has_place = !parsed.host.is_empty() || parsed.socket.is_some();
        if !has_place || parsed.database.is_empty() || parsed.database.contains('/') {
            return Err("expected a host and a database: mysql://user@host/database".into());
        }
        if parsed.root_certificates.is_some() && parsed.tls != Tls::Verified {
            return Err("ssl-ca: is used with ssl-mode=verify_identity alone".into());
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
    fn host_login_database_and_tls_are_read() {
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
    fn what_does_not_fit_is_named_without_the_password() {
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
