//! Connects to the first suitable host, over TCP or a Unix socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::AbortOnDropHandle;

use super::intercept_state::InterceptState;
use super::row_interceptor::RowInterceptor;
use super::socket::Socket;
use super::tls::{self, InterceptingTls};
use super::url::{PostgresUrl, SessionAttributes};
use crate::source::errors::{SourceError, causes};
use crate::source::pool::Connect;

/// The default time limit for connecting to one address: libpq's minimum.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The default limit for unacknowledged data.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// The default interval between keepalive probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// The maximum wait until a cancelled query has ended.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const CANCEL_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum wait until the server has ended a session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Connects to the servers of one URL.
pub(super) struct Connector {
    url: PostgresUrl,
    tls: MakeRustlsConnect,
    runtime: Handle,
}

/// An authenticated connection. Dropping it closes the socket immediately.
pub(super) struct Connection {
    /// The first field, so that dropping a connection aborts the driver before the driver notices that it has no client.
    driver: AbortOnDropHandle<()>,
    pub(super) client: Client,
    /// Diverts the rows of a query.
    pub(super) intercept: InterceptState,
    /// The server's major version.
    pub(super) version: u32,
    endpoint: Endpoint,
}

/// A host of the URL. An address replaces the lookup of the name.
struct HostEntry {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

/// One address of one host.
#[derive(Debug, Clone)]
struct Endpoint {
    address: Address,
    /// The host name for the certificate check.
    name: String,
}

#[derive(Debug, Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Connector {
    /// Creates a connector without connecting.
    ///
    /// # Errors
    /// Returns a message if the root certificates cannot be read.
    pub(super) fn new(url: PostgresUrl, runtime: Handle) -> Result<Connector, String> {
        let tls = tls::client_config(url.certificate_check, url.root_certificates.as_deref())?;
        let tls = MakeRustlsConnect::new(tls);
        Ok(Connector { url, tls, runtime })
    }

    async fn send_cancel(&self, connection: &Connection) -> Option<()> {
        let endpoint = &connection.endpoint;
        let socket = self
            .open_socket(endpoint, InterceptState::default())
            .await
            .ok()?;
        let token = connection.client.cancel_token();
        token
            .cancel_query_raw(socket, self.tls_for(endpoint).ok()?)
            .await
            .ok()
    }

    fn hosts(&self) -> Vec<HostEntry> {
        let config = &self.url.config;
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        let host = |index: usize| HostEntry {
            host: hosts.get(index).cloned(),
            address: addresses.get(index).copied(),
            port: *ports.get(index).or(ports.first()).unwrap_or(&5432),
        };
        let count = hosts.len().max(addresses.len());
        let mut all: Vec<HostEntry> = (0..count).map(host).collect();
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            shuffle(&mut all);
        }
        all
    }

    async fn connect_to_host(
        &self,
        entry: &HostEntry,
        session: SessionAttributes,
    ) -> Result<Connection, String> {
        let port = entry.port;
        let (name, addresses) = match (&entry.host, entry.address) {
            (Some(Host::Unix(folder)), _) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                (path.display().to_string(), vec![Address::Unix(path)])
            }
            (host, Some(address)) => {
                let name = match host {
                    Some(Host::Tcp(name)) => name.clone(),
                    _ => address.to_string(),
                };
                (name, vec![Address::Tcp((address, port).into())])
            }
            (Some(Host::Tcp(name)), None) => {
                let lookup = tokio::net::lookup_host((name.as_str(), port));
                let found = timeout(self.connect_timeout(), lookup).await;
                let found = found.map_err(|_| format!("{name}: the address lookup timed out"))?;
                let found = found.map_err(|error| format!("{name}: {error}"))?;
                (name.clone(), found.map(Address::Tcp).collect())
            }
            (None, None) => return Err("host: expected a name or an address".into()),
        };
        let mut last_error = format!("{name}: no address found");
        for address in addresses {
            let name = name.clone();
            let endpoint = Endpoint { address, name };
            match self.connect_to(&endpoint, session).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last_error = format!("{}:{port}: {error}", endpoint.name),
            }
        }
        Err(last_error)
    }

    fn connect_timeout(&self) -> Duration {
        let timeout = self.url.config.get_connect_timeout();
        timeout.copied().unwrap_or(CONNECT_TIMEOUT)
    }

    async fn connect_to(
        &self,
        endpoint: &Endpoint,
        required: SessionAttributes,
    ) -> Result<Connection, String> {
        let connect = async {
            let connection = self.log_in(endpoint).await?;
            if required != SessionAttributes::Any {
                check_session(&connection.client, required).await?;
            }
            Ok(connection)
        };
        let connected = timeout(self.connect_timeout(), connect).await;
        connected.unwrap_or_else(|_| Err("the connection timed out".into()))
    }

    async fn log_in(&self, endpoint: &Endpoint) -> Result<Connection, String> {
        let intercept = InterceptState::default();
        let socket = self.open_socket(endpoint, intercept.clone()).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let tls = self.tls_for(endpoint)?;
        let config = self.config_for(endpoint);
        let (client, connection) = config
            .connect_raw(socket, tls)
            .await
            .map_err(|error| causes(&error))?;
        intercept.logged_in();
        let version = connection.parameter("server_version").unwrap_or_default();
        let version = version.split(|c: char| !c.is_ascii_digit()).next();
        let version = version.and_then(|major| major.parse().ok()).unwrap_or(0);
        // Its errors are reported by its requests.
        let driver = self.runtime.spawn(async move { drop(connection.await) });
        Ok(Connection {
            driver: AbortOnDropHandle::new(driver),
            client,
            intercept,
            version,
            endpoint: endpoint.clone(),
        })
    }

    async fn open_socket(
        &self,
        endpoint: &Endpoint,
        intercept: InterceptState,
    ) -> io::Result<RowInterceptor<Socket>> {
        let socket = match &endpoint.address {
            Address::Unix(path) => Socket::unix(
                UnixStream::connect(path).await?,
                intercept.readiness.clone(),
            ),
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                self.set_keepalive(&socket)?;
                Socket::tcp(socket, intercept.readiness.clone())
            }
        };
        Ok(RowInterceptor::new(socket, intercept))
    }

    /// Sets keepalive and the user time-out, so a lost host is detected within a minute, idle or not.
    fn set_keepalive(&self, socket: &TcpStream) -> io::Result<()> {
        let config = &self.url.config;
        let socket = SockRef::from(socket);
        #[cfg(target_os = "linux")]
        {
            let limit = config.get_tcp_user_timeout().copied();
            socket.set_tcp_user_timeout(Some(limit.unwrap_or(USER_TIMEOUT)))?;
        }
        if !config.get_keepalives() {
            return Ok(());
        }
        let interval = config.get_keepalives_interval();
        let keepalive = TcpKeepalive::new()
            .with_time(config.get_keepalives_idle())
            .with_interval(interval.unwrap_or(KEEPALIVE_INTERVAL))
            .with_retries(config.get_keepalives_retries().unwrap_or(KEEPALIVE_RETRIES));
        socket.set_tcp_keepalive(&keepalive)
    }

    /// Returns the driver's configuration; as in libpq, TLS is disabled on a Unix socket.
    fn config_for(&self, endpoint: &Endpoint) -> Config {
        let mut config = self.url.config.clone();
        if matches!(endpoint.address, Address::Unix(_)) {
            config.ssl_mode(SslMode::Disable);
        }
        config
    }

    fn tls_for(&self, endpoint: &Endpoint) -> Result<InterceptingTls, String> {
        let made = MakeTlsConnect::<RowInterceptor<Socket>>::make_tls_connect(
            &mut self.tls.clone(),
            &endpoint.name,
        );
        made.map(InterceptingTls).map_err(|error| causes(&error))
    }
}

impl Connect for Connector {
    type Connection = Connection;

    /// Connects to the first server, in the URL's order, that answers and matches `target_session_attrs`.
    async fn connect(&self) -> Result<Connection, SourceError> {
        let mut errors = Vec::new();
        let required = self.url.session;
        // `prefer-standby` tries all hosts for a standby first, then for any server.
        let any = (required == SessionAttributes::PreferStandby).then_some(SessionAttributes::Any);
        for required in [Some(required), any].into_iter().flatten() {
            for host in self.hosts() {
                match self.connect_to_host(&host, required).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => errors.push(error),
                }
            }
        }
        Err(SourceError::Unavailable(errors.join("; ").into()))
    }

    async fn is_usable(&self, connection: &mut Connection) -> bool {
        !connection.client.is_closed()
    }

    async fn end_transaction(&self, connection: &mut Connection) -> bool {
        connection.client.batch_execute("commit").await.is_ok()
    }

    async fn cancel(&self, connection: &mut Connection) {
        let cancel = async {
            // A pooler drops the cancellation if its client disconnects first, so wait for the end.
            let query_ended = connection.client.batch_execute("rollback");
            tokio::pin!(query_ended);
            loop {
                // Resent until the query ends: a request that arrives between two statements has no effect.
                let _ = self.send_cancel(connection).await;
                if timeout(CANCEL_RETRY_INTERVAL, &mut query_ended)
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        };
        // After a failure the caller closes the socket.
        let _ = timeout(CANCEL_TIMEOUT, cancel).await;
    }

    async fn close(&self, connection: Connection) {
        let Connection { driver, client, .. } = connection;
        // Without a client the driver sends `Terminate`, and ends when the server has closed the socket.
        drop(client);
        let _ = timeout(CLOSE_TIMEOUT, driver).await;
    }
}

/// Checks a server against `target_session_attrs`.
async fn check_session(client: &Client, required: SessionAttributes) -> Result<(), String> {
    let query = "select pg_is_in_recovery(), current_setting('transaction_read_only')";
    let answer = client.simple_query(query).await;
    let answer = answer.map_err(|error| causes(&error))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let is = |index: usize, value: &str| row.and_then(|row| row.get(index)) == Some(value);
    if required.accept(is(0, "t"), is(1, "on")) {
        Ok(())
    } else {
        Err("the server does not match target_session_attrs".into())
    }
}

/// Shuffles hosts (Fisher–Yates), so replicas do not all try the same server first.
fn shuffle<T>(items: &mut [T]) {
    for index in (1..items.len()).rev() {
        let random = getrandom::u32().unwrap_or_default() as usize;
        items.swap(index, random % (index + 1));
    }
}
