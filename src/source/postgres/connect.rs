//! One connection: the first host that answers and fits, over TCP or a Unix socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::row_interceptor::{InterceptState, RowInterceptor};
use super::socket::Socket;
use super::tls::{self, TappedTls};
use super::url::{PostgresUrl, SessionAttributes};
use crate::source::pool::Connect;
use crate::source::{SourceError, causes};

/// How long one address may take to answer, unless the URL says otherwise; libpq's shortest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What holds where the URL does not say otherwise: how long sent bytes may stay unacknowledged, and
/// how often an idle server is asked for a sign of life.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long a cancelled query is waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Makes connections to the servers of one URL.
pub(super) struct Connector {
    url: PostgresUrl,
    tls: MakeRustlsConnect,
    runtime: Handle,
}

/// A connection that is logged in. Dropping it closes the socket at once.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Where a query gets its rows.
    pub(super) intercept: InterceptState,
    /// The server's major version.
    pub(super) version: u32,
    endpoint: Endpoint,
    driver: AbortHandle,
}

/// A host of the URL: its name, or the address to use instead of looking the name up.
struct WantedHost {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

/// One address of one host.
#[derive(Debug, Clone)]
struct Endpoint {
    address: Address,
    /// What the certificate must be for.
    name: String,
}

#[derive(Debug, Clone)]
enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Connector {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The root certificates cannot be read.
    pub(super) fn new(url: PostgresUrl, runtime: Handle) -> Result<Connector, String> {
        let tls = tls::client(url.trust, url.root_certificates.as_deref())?;
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

    fn hosts(&self) -> Vec<WantedHost> {
        let config = &self.url.config;
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        let host = |index: usize| WantedHost {
            host: hosts.get(index).cloned(),
            address: addresses.get(index).copied(),
            port: *ports.get(index).or(ports.first()).unwrap_or(&5432),
        };
        let count = hosts.len().max(addresses.len());
        let mut all: Vec<WantedHost> = (0..count).map(host).collect();
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            shuffle(&mut all);
        }
        all
    }

    async fn connect_to_host(
        &self,
        wanted: &WantedHost,
        session: SessionAttributes,
    ) -> Result<Connection, String> {
        let port = wanted.port;
        let (name, addresses) = match (&wanted.host, wanted.address) {
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
                let found = found.map_err(|_| format!("{name}: no address in time"))?;
                let found = found.map_err(|error| format!("{name}: {error}"))?;
                (name.clone(), found.map(Address::Tcp).collect())
            }
            (None, None) => return Err("a host without a name or an address".into()),
        };
        let mut refusal = format!("{name}: no address");
        for address in addresses {
            let name = name.clone();
            let endpoint = Endpoint { address, name };
            match self.connect_to(&endpoint, session).await {
                Ok(connection) => return Ok(connection),
                Err(error) => refusal = format!("{}:{port}: {error}", endpoint.name),
            }
        }
        Err(refusal)
    }

    fn connect_timeout(&self) -> Duration {
        let timeout = self.url.config.get_connect_timeout();
        timeout.copied().unwrap_or(CONNECT_TIMEOUT)
    }

    async fn connect_to(
        &self,
        endpoint: &Endpoint,
        wanted: SessionAttributes,
    ) -> Result<Connection, String> {
        let connect = async {
            let connection = self.log_in(endpoint).await?;
            if wanted != SessionAttributes::Any {
                check_session(&connection.client, wanted).await?;
            }
            Ok(connection)
        };
        let connected = timeout(self.connect_timeout(), connect).await;
        connected.unwrap_or_else(|_| Err("no answer in time".into()))
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
        // How it ends is what its requests say.
        let driver = self.runtime.spawn(async move { drop(connection.await) });
        Ok(Connection {
            client,
            intercept,
            version,
            endpoint: endpoint.clone(),
            driver: driver.abort_handle(),
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
                intercept.unwatched.clone(),
            ),
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                self.keep_alive(&socket)?;
                Socket::tcp(socket, intercept.unwatched.clone())
            }
        };
        Ok(RowInterceptor::new(socket, intercept))
    }

    /// A host that vanishes is noticed within a minute, whether we wait for it or it for us.
    fn keep_alive(&self, socket: &TcpStream) -> io::Result<()> {
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

    /// As libpq has it, there is no TLS on a Unix socket.
    fn config_for(&self, endpoint: &Endpoint) -> Config {
        let mut config = self.url.config.clone();
        if matches!(endpoint.address, Address::Unix(_)) {
            config.ssl_mode(SslMode::Disable);
        }
        config
    }

    fn tls_for(&self, endpoint: &Endpoint) -> Result<TappedTls, String> {
        let made = MakeTlsConnect::<RowInterceptor<Socket>>::make_tls_connect(
            &mut self.tls.clone(),
            &endpoint.name,
        );
        made.map(TappedTls).map_err(|error| causes(&error))
    }
}

impl Connect for Connector {
    type Connection = Connection;

    /// Connects to the first server, in the URL's order, that answers and is wanted.
    async fn connect(&self) -> Result<Connection, SourceError> {
        let mut refusals = Vec::new();
        let wanted = self.url.session;
        // A standby is preferred by asking for one first, and for any server then.
        let any = (wanted == SessionAttributes::PreferStandby).then_some(SessionAttributes::Any);
        for wanted in [Some(wanted), any].into_iter().flatten() {
            for host in self.hosts() {
                match self.connect_to_host(&host, wanted).await {
                    Ok(connection) => return Ok(connection),
                    Err(refusal) => refusals.push(refusal),
                }
            }
        }
        Err(SourceError::Unavailable(refusals.join("; ").into()))
    }

    async fn is_usable(&self, connection: &mut Connection) -> bool {
        !connection.client.is_closed()
    }

    async fn end(&self, connection: &mut Connection) -> bool {
        connection.client.batch_execute("commit").await.is_ok()
    }

    async fn cancel(&self, connection: &mut Connection) {
        let cancel = async {
            // A pooler forgets whom to cancel when its client leaves, so the end is waited for.
            let ended = connection.client.batch_execute("rollback");
            tokio::pin!(ended);
            loop {
                // Whether it was sent or not: one that comes between two statements is lost.
                let _ = self.send_cancel(connection).await;
                if timeout(CANCEL_AGAIN_AFTER, &mut ended).await.is_ok() {
                    break;
                }
            }
        };
        // Whatever failed, the caller closes the socket, which is all that is left to do.
        let _ = timeout(CANCEL_TIMEOUT, cancel).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn check_session(client: &Client, wanted: SessionAttributes) -> Result<(), String> {
    let query = "select pg_is_in_recovery(), current_setting('transaction_read_only')";
    let answer = client.simple_query(query).await;
    let answer = answer.map_err(|error| causes(&error))?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let is = |index: usize, value: &str| row.and_then(|row| row.get(index)) == Some(value);
    if wanted.accept(is(0, "t"), is(1, "on")) {
        Ok(())
    } else {
        Err("the server is not one that target_session_attrs asks for".into())
    }
}

/// Fisher and Yates. Random, so that replicas do not all take the same server first.
fn shuffle<T>(items: &mut [T]) {
    for index in (1..items.len()).rev() {
        let random = getrandom::u32().unwrap_or_default() as usize;
        items.swap(index, random % (index + 1));
    }
}
