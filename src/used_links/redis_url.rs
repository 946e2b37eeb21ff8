//! The URL of Redis.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The port if a host has none.
const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

const EXPECTED: &str = "expected redis://USER:PASSWORD@HOST:PORT/DATABASE, redis-cluster://HOST:PORT,HOST:PORT or \
                        redis-sentinel://HOST:PORT,HOST:PORT/MASTER; with TLS rediss, rediss-cluster or rediss-sentinel";
const ENCODE: &str =
    "percent-encode the password: `/` as %2F, `?` as %3F, `#` as %23, `@` as %40, `%` as %25";

/// The URL of a Redis server, of a cluster, or of the sentinels that know the primary.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    pub(super) topology: Topology,
    pub(super) has_tls: bool,
    /// At least one.
    pub(super) hosts: Vec<Host>,
    pub(super) login: Option<Login>,
    pub(super) database: i64,
    /// A PEM file; `None` for the system's root certificates.
    pub(super) root_certificates: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Topology {
    Single,
    Cluster,
    Sentinel {
        /// The name under which the sentinels know the primary.
        primary: String,
        sentinel_password: Option<Zeroizing<String>>,
    },
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// `None` for the default user.
    pub(super) username: Option<Zeroizing<String>>,
    pub(super) password: Zeroizing<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

/// What follows the hosts.
#[derive(Default)]
struct Options {
    root_certificates: Option<PathBuf>,
    sentinel_password: Option<Zeroizing<String>>,
}

impl RedisUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// Returns what was expected, never a part of the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<RedisUrl, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let (kind, has_tls) = match scheme.strip_prefix("rediss") {
            Some(kind) => (kind, true),
            None => (scheme.strip_prefix("redis").ok_or(EXPECTED)?, false),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if rest.contains('@') {
            return Err(ENCODE);
        }
        if rest.contains('#') {
            return Err("expected no fragment");
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let options = Options::parse(query)?;
        if options.root_certificates.is_some() && !has_tls {
            return Err("`sslrootcert` has no effect without TLS: expected rediss");
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let login = login.map(Login::parse).transpose()?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let (topology, database, default_port) = match kind {
            "" => (Topology::Single, path, DEFAULT_PORT),
            "-cluster" => (Topology::Cluster, path, DEFAULT_PORT),
            "-sentinel" => {
                let (primary, database) = path.split_once('/').unwrap_or((path, ""));
                if primary.is_empty() {
                    return Err("expected the name of the primary after the hosts: /mymaster");
                }
                let topology = Topology::Sentinel {
                    primary: primary.to_owned(),
                    sentinel_password: options.sentinel_password.clone(),
                };
                (topology, database, DEFAULT_SENTINEL_PORT)
            }
            _ => return Err(EXPECTED),
        };
        if options.sentinel_password.is_some() && !matches!(topology, Topology::Sentinel { .. }) {
            return Err("`sentinel_password` has no effect without sentinels");
        }
        let hosts = hosts.split(',').map(|host| Host::parse(host, default_port));
        let hosts: Vec<Host> = hosts.collect::<Option<_>>().ok_or(EXPECTED)?;
        if topology == Topology::Single && hosts.len() > 1 {
            return Err("expected one host; for more use redis-cluster or redis-sentinel");
        }
        Ok(RedisUrl {
            database: parse_database(database, &topology)?,
            topology,
            has_tls,
            hosts,
            login,
            root_certificates: options.root_certificates,
        })
    }
}

impl Options {
    fn parse(query: &str) -> Result<Options, &'static str> {
        let mut options = Options::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslrootcert", path)) => {
                    options.root_certificates = Some(decode(path)?.as_str().into());
                }
                Some(("sentinel_password", password)) => {
                    options.sentinel_password = Some(decode(password)?);
                }
                _ => return Err("unknown option; the options are sslrootcert, sentinel_password"),
            }
        }
        Ok(options)
    }
}

impl Host {
    fn parse(text: &str, default_port: u16) -> Option<Host> {
        let (name, port) = match text.strip_prefix('[') {
            Some(address) => {
                let (address, port) = address.split_once(']')?;
                let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
                (Some(address).filter(|_| is_address)?, port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let is_of_name = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
                let is_name = !name.is_empty() && name.chars().all(is_of_name);
                (Some(name).filter(|_| is_name)?, port)
            }
        };
        let port = match port {
            "" => default_port,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Host {
            name: name.to_owned(),
            port,
        })
    }
}

impl Login {
    /// Parses `USER:PASSWORD` or `:PASSWORD`.
    fn parse(text: &str) -> Result<Login, &'static str> {
        let expected = "expected USER:PASSWORD@ or :PASSWORD@ before the host";
        let (username, password) = text.split_once(':').ok_or(expected)?;
        let username = decode(username)?;
        Ok(Login {
            username: Some(username).filter(|username| !username.is_empty()),
            password: decode(password)?,
        })
    }
}

fn decode(text: &str) -> Result<Zeroizing<String>, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(Zeroizing::new(decoded.map_err(|_| ENCODE)?.into_owned()))
}

fn parse_database(text: &str, topology: &Topology) -> Result<i64, &'static str> {
    match (text, topology) {
        ("", _) => Ok(0),
        (_, Topology::Cluster) => Err("expected no database: a cluster has only one"),
        (number, _) => {
            let number = number.parse::<u16>().map(i64::from);
            number.map_err(|_| "expected the number of a database after the host: /0")
        }
    }
}

/// Shows no login.
impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl")
            .field("hosts", &self.hosts)
            .field("has_tls", &self.has_tls)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &RedisUrl) -> Vec<(&str, u16)> {
        let hosts = url.hosts.iter();
        hosts.map(|host| (host.name.as_str(), host.port)).collect()
    }

    #[test]
    fn a_url_names_one_server_a_cluster_or_the_sentinels_of_a_primary() {
        let url = RedisUrl::parse("redis://cache.example.com").expect("a URL");
        assert_eq!(hosts(&url), [("cache.example.com", 6379)]);
        assert!(url.topology == Topology::Single && !url.has_tls && url.database == 0);
        assert!(url.login.is_none());

        let url =
            RedisUrl::parse("rediss://rowlink:p%40ss%2F@[::1]:7000/3?sslrootcert=/etc/ca.pem");
        let url = url.expect("a URL");
        assert_eq!(hosts(&url), [("::1", 7000)]);
        assert!(url.has_tls && url.database == 3);
        let login = url.login.expect("a login");
        assert_eq!(login.username, Some("rowlink".to_owned().into()));
        assert_eq!(login.password.as_str(), "p@ss/");
        assert_eq!(url.root_certificates, Some("/etc/ca.pem".into()));

        let url = RedisUrl::parse("rediss-cluster://:p@a:7000,b,10.0.0.1:7002").expect("a URL");
        assert_eq!(hosts(&url), [("a", 7000), ("b", 6379), ("10.0.0.1", 7002)]);
        assert!(url.topology == Topology::Cluster && url.has_tls);
        assert!(url.login.is_some_and(|login| login.username.is_none()));

        let url = RedisUrl::parse("redis-sentinel://:p@a,b:27000/main/2?sentinel_password=s%26");
        let url = url.expect("a URL");
        assert_eq!(hosts(&url), [("a", 26_379), ("b", 27_000)]);
        let expected = Topology::Sentinel {
            primary: "main".to_owned(),
            sentinel_password: Some("s&".to_owned().into()),
        };
        assert!(url.topology == expected && url.database == 2);
    }

    #[test]
    fn an_error_and_the_debug_text_show_no_part_of_a_login() {
        for wrong in [
            "",
            "s3cret",
            "http://:s3cret@host",
            "redisx://:s3cret@host",
            "redis-none://:s3cret@host",
            "redis://s3cret@host",
            "redis://:s3cret@",
            "redis://:s3cret@host:port",
            "redis://:s3cret@host:6379:6379",
            "redis://:s3cret@[host]",
            "redis://:s3cret@a,b",
            "redis://:s3cret@host/x",
            "redis://:s3cret@host/-1",
            "redis://:s3/cret@host",
            "redis://:12?s3cret@host",
            "redis://:12#s3cret@host",
            "redis://:%ffs3cret@host",
            "redis://:s3cret@host#insecure",
            "redis://:s3cret@host?s3cret=1",
            "redis://:s3cret@host?sslrootcert=/ca.pem",
            "redis://:s3cret@host?sentinel_password=s3cret",
            "redis-cluster://:s3cret@a,b/1",
            "redis-cluster://:s3cret@a,,b",
            "redis-sentinel://:s3cret@a,b",
        ] {
            let error = RedisUrl::parse(wrong).expect_err(wrong);
            assert!(!error.contains("cret"), "{wrong}: {error}");
        }
        let url =
            RedisUrl::parse("redis-sentinel://us3r:s3cret@host/main?sentinel_password=s3cret");
        let shown = format!("{:?}", url.expect("a URL"));
        assert!(shown.contains("host"), "{shown}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("us3r"),
            "{shown}"
        );
    }
}
