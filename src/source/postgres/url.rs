//! `postgres://…` as libpq understands it.
//!
//! The driver reads most of it. What it does not know is taken out first: `sslmode` beyond
//! `require`, `sslrootcert`, and all six `target_session_attrs`.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::source::causes;

/// A dead host is noticed within a minute, not after libpq's two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Where a PostgreSQL server is, and how to log in. Its `Debug` shows no password.
#[derive(Debug, Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) trust: Trust,
    pub(super) root_certificates: Option<PathBuf>,
    pub(super) session: SessionAttributes,
}

/// What must be known of the server's certificate, as `sslmode` says; see "SSL Support" in libpq's
/// manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// `disable`, `prefer`, `require`: nothing.
    Nothing,
    /// `verify-ca`: a trusted authority signed it.
    Authority,
    /// `verify-full`: that, and it is this host's.
    Host,
}

/// Which servers of several are wanted, as `target_session_attrs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionAttributes {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    /// A standby, or any server where there is none.
    PreferStandby,
}

impl PostgresUrl {
    /// Reads `postgres://user:password@host1:5432,host2:5433/database?sslmode=verify-full`.
    ///
    /// # Errors
    /// What was expected; never a part of the URL, which holds a password.
    pub fn parse(text: &str) -> Result<PostgresUrl, String> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = PostgresUrl {
            config: Config::new(),
            trust: Trust::Nothing,
            root_certificates: None,
            session: SessionAttributes::Any,
        };
        let mut ssl_mode = "prefer".to_owned();
        let mut for_driver = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| format!("`{name}` is not UTF-8"))?;
            match name {
                "sslmode" => ssl_mode = value.into_owned(),
                "sslrootcert" => url.root_certificates = Some(value.as_ref().into()),
                "target_session_attrs" => url.session = SessionAttributes::parse(&value)?,
                _ => for_driver.push(pair),
            }
        }
        let for_driver = format!("{base}?{}", for_driver.join("&"));
        // The driver's errors name the option, not its value.
        url.config = for_driver.parse().map_err(|error| causes(&error))?;
        if url.config.get_hosts().is_empty() && url.config.get_hostaddrs().is_empty() {
            return Err("expected a host: postgres://user@host/database".into());
        }
        url.apply_ssl_mode(&ssl_mode)?;
        if !for_driver.contains("keepalives_idle=") {
            url.config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if url.config.get_application_name().is_none() {
            url.config.application_name("rowlink");
        }
        Ok(url)
    }

    fn apply_ssl_mode(&mut self, ssl_mode: &str) -> Result<(), String> {
        let (mode, trust) = match ssl_mode {
            "disable" => (SslMode::Disable, Trust::Nothing),
            "prefer" => (SslMode::Prefer, Trust::Nothing),
            // As libpq has it: who names roots wants them used.
            "require" if self.root_certificates.is_some() => (SslMode::Require, Trust::Authority),
            "require" => (SslMode::Require, Trust::Nothing),
            "verify-ca" => (SslMode::Require, Trust::Authority),
            "verify-full" => (SslMode::Require, Trust::Host),
            _ => {
                let modes = "disable, prefer, require, verify-ca or verify-full";
                return Err(format!("sslmode: expected {modes}"));
            }
        };
        self.config.ssl_mode(mode);
        self.trust = trust;
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

    /// Whether a server fits that is, or is not, a standby and read-only.
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
    fn hosts_options_and_tls_are_read_as_libpq_has_them() {
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
        assert_eq!(url.trust, Trust::Host);
        assert_eq!(url.root_certificates, Some("/etc/ca.pem".into()));
        assert_eq!(url.session, SessionAttributes::PreferStandby);
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn a_socket_s_folder_is_a_host() {
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
    fn roots_that_are_named_are_used() {
        let trust = |text: &str| PostgresUrl::parse(text).expect("a URL").trust;
        assert_eq!(trust("postgres://h/d"), Trust::Nothing);
        assert_eq!(trust("postgres://h/d?sslmode=require"), Trust::Nothing);
        assert_eq!(
            trust("postgres://h/d?sslmode=require&sslrootcert=x"),
            Trust::Authority
        );
        assert_eq!(trust("postgres://h/d?sslmode=verify-ca"), Trust::Authority);
    }

    #[test]
    fn what_does_not_fit_is_named_without_the_password() {
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
