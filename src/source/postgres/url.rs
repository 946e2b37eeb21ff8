//! Parses `postgres://…` URLs as libpq does.
//!
//! The driver parses most options. Those that it does not support are parsed here: `sslmode` beyond `require`,
//! `sslrootcert`, and all six values of `target_session_attrs`.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::source::errors::causes;

/// Detects a lost host within a minute; libpq's default is two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// The address and the credentials of a PostgreSQL server. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) certificate_check: CertificateCheck,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) session: SessionAttributes,
}

/// The check of the server's certificate that `sslmode` requires: "SSL Support" in libpq's manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateCheck {
    /// `disable`, `prefer`, `require`: no check.
    None,
    /// `verify-ca`: a trusted authority signed it.
    Authority,
    /// `verify-full`: a trusted authority signed it for this host name.
    Hostname,
}

/// The servers to accept: `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    /// A standby, or any server if there is none.
    PreferStandby,
}

impl PostgresUrl {
    /// Tells whether it holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// Parses `postgres://user:password@host1:5432,host2:5433/database?sslmode=verify-full`.
    ///
    /// # Errors
    /// Returns what was expected. The message never quotes the URL's value, which holds a password.
    pub fn parse(text: &str) -> Result<PostgresUrl, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = PostgresUrl {
            config: Config::new(),
            certificate_check: CertificateCheck::None,
            root_certificates: None,
            session: SessionAttributes::Any,
        };
        let mut ssl_mode = "prefer".to_owned();
        let mut driver_options = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| format!("{name}: expected UTF-8"))?;
            match name {
                "sslmode" => ssl_mode = value.into_owned(),
                "sslrootcert" => url.root_certificates = Some(value.as_ref().into()),
                "target_session_attrs" => url.session = SessionAttributes::parse(&value)?,
                _ => driver_options.push(pair),
            }
        }
        let driver_url = format!("{base}?{}", driver_options.join("&"));
        // The driver's errors name the option, not its value.
        url.config = driver_url.parse().map_err(|error| causes(&error))?;
        if url.config.get_hosts().is_empty() && url.config.get_hostaddrs().is_empty() {
            return Err("host: expected one, as in postgres://user@host/database".into());
        }
        url.apply_ssl_mode(&ssl_mode)?;
        if !driver_url.contains("keepalives_idle=") {
            url.config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if url.config.get_application_name().is_none() {
            url.config.application_name("rowlink");
        }
        Ok(url)
    }

    fn apply_ssl_mode(&mut self, ssl_mode: &str) -> Result<(), String> {
        let (mode, check) = match ssl_mode {
            "disable" => (SslMode::Disable, CertificateCheck::None),
            "prefer" => (SslMode::Prefer, CertificateCheck::None),
            // As in libpq, `sslrootcert` implies a check of the authority.
            "require" if self.root_certificates.is_some() => {
                (SslMode::Require, CertificateCheck::Authority)
            }
            "require" => (SslMode::Require, CertificateCheck::None),
            "verify-ca" => (SslMode::Require, CertificateCheck::Authority),
            "verify-full" => (SslMode::Require, CertificateCheck::Hostname),
            _ => {
                let modes = "disable, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode: expected {modes}"));
            }
        };
        self.config.ssl_mode(mode);
        self.certificate_check = check;
        Ok(())
    }
}

impl SessionAttributes {
    fn parse(text: &str) -> Result<SessionAttributes, String> {
        Ok(match text {
            "any" => SessionAttributes::Any,
            "read-write" => SessionAttributes::ReadWrite,
            "read-only" => SessionAttributes::ReadOnly,
            "primary" => SessionAttributes::Primary,
            "standby" => SessionAttributes::Standby,
            "prefer-standby" => SessionAttributes::PreferStandby,
            _ => {
                let known = "any, read-write, read-only, primary, standby or prefer-standby";
                return Err(format!("target_session_attrs: expected {known}"));
            }
        })
    }

    /// Returns whether to accept a server that is, or is not, a standby and read-only.
    pub(super) fn accept(self, standby: bool, read_only: bool) -> bool {
        match self {
            SessionAttributes::Any => true,
            SessionAttributes::ReadWrite => !read_only,
            SessionAttributes::ReadOnly => read_only,
            SessionAttributes::Primary => !standby,
            SessionAttributes::Standby | SessionAttributes::PreferStandby => standby,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_postgres::config::Host;

    #[test]
    fn hosts_options_and_tls_are_parsed_as_in_libpq() {
        let url = PostgresUrl::parse(
            "postgresql://u:p%40ss@a.example:5432,b.example:5433/shop?sslmode=verify-full\
             &sslrootcert=%2Fetc%2Fca.pem&target_session_attrs=prefer-standby&connect_timeout=5",
        )
        .expect("a URL");
        let hosts = ["a.example", "b.example"].map(|host| Host::Tcp(host.into()));
        assert_eq!(url.config.get_hosts(), hosts);
        assert_eq!(url.config.get_ports(), [5432, 5433]);
        assert_eq!(url.config.get_password(), Some(b"p@ss".as_slice()));
        assert_eq!(
            url.config.get_connect_timeout(),
            Some(&Duration::from_secs(5))
        );
        assert_eq!(url.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(url.certificate_check, CertificateCheck::Hostname);
        assert_eq!(url.root_certificates, Some("/etc/ca.pem".into()));
        assert_eq!(url.session, SessionAttributes::PreferStandby);
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn a_socket_folder_is_a_host() {
        for text in [
            "postgres:///shop?host=/var/run/postgresql",
            "postgres://%2Fvar%2Frun%2Fpostgresql/shop",
        ] {
            let url = PostgresUrl::parse(text).expect("a URL");
            assert_eq!(
                url.config.get_hosts(),
                [Host::Unix("/var/run/postgresql".into())]
            );
        }
    }

    #[test]
    fn a_root_certificate_enables_the_authority_check() {
        let check = |text: &str| {
            let url = PostgresUrl::parse(text).expect("a URL");
            url.certificate_check
        };
        assert_eq!(check("postgres://h/d"), CertificateCheck::None);
        assert_eq!(
            check("postgres://h/d?sslmode=require"),
            CertificateCheck::None
        );
        assert_eq!(
            check("postgres://h/d?sslmode=require&sslrootcert=x"),
            CertificateCheck::Authority
        );
        assert_eq!(
            check("postgres://h/d?sslmode=verify-ca"),
            CertificateCheck::Authority
        );
    }

    #[test]
    fn errors_name_the_option_and_hide_the_password() {
        for (text, named) in [
            ("postgres://u:secret@h/d?sslmode=yes", "sslmode"),
            ("postgres://u:secret@h/d?sslcert=x", "sslcert"),
            ("postgres://u:secret@h:port/d", "port"),
            ("postgres://u:secret@h/d?target_session_attrs=x", "standby"),
            ("postgres:///d", "host"),
        ] {
            let message = PostgresUrl::parse(text).expect_err("refused");
            assert!(message.contains(named), "{text}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
