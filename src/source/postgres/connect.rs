//! One connection: the first host that answers and fits, over TCP or a Unix socket.

use std::io;
use std::net::SocketAddr;
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

use super::socket::Socket;
use super::tap::{Tap, Valve};
use super::tls::{self, TappedTls};
use super::url::{PostgresUrl, SessionAttributes};
use crate::source::{SourceError, causes};

/// How long one address may take to answer, unless the URL says otherwise; libpq's shortest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
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
    pub(super) valve: Valve,
    /// The server's major version.
    pub(super) version: u32,
    endpoint: Endpoint,
    driver: AbortHandle,
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

    /// Connects to the first server, in the URL's order, that answers and is wanted.
    ///
    /// # Errors
    /// What is wrong with each.
    pub(super) async fn connect(&self) -> Result<Connection, SourceError> {
        let mut refusals = Vec::new();
        let wanted = self.url.session;
        // A standby is preferred by asking for one first, and for any server then.
        let any = (wanted == SessionAttributes::PreferStandby).then_some(SessionAttributes::Any);
        for wanted in [Some(wanted), any].into_iter().flatten() {
            for (host, port) in self.hosts() {
                match self.connect_to_host(&host, port, wanted).await {
                    Ok(connection) => return Ok(connection),
                    Err(refusal) => refusals.push(refusal),
                }
            }
        }
        Err(SourceError::Unavailable(refusals.join("; ").into()))
    }

    /// Ends what a connection is doing, in the server: closing its socket would not end a query that
    /// sends nothing.
    pub(super) async fn cancel(&self, connection: &Connection) {
        let cancel = async {
            // A pooler forgets whom to cancel when its client leaves, so the end is waited for.
            let ended = connection.client.batch_execute("rollback");
            tokio::pin!(ended);
            loop {
                self.send_cancel(connection).await?;
                // One that comes between two statements is lost.
                if timeout(CANCEL_AGAIN_AFTER, &mut ended).await.is_ok() {
                    return Some(());
                }
            }
        };
        // Whatever failed, the caller closes the socket, which is all that is left to do.
        let _ = timeout(CANCEL_TIMEOUT, cancel).await;
    }

    async fn send_cancel(&self, connection: &Connection) -> Option<()> {
        let endpoint = &connection.endpoint;
        let socket = self.open_socket(endpoint, Valve::default()).await.ok()?;
        let token = connection.client.cancel_token();
        token
            .cancel_query_raw(socket, self.tls_for(endpoint).ok()?)
            .await
            .ok()
    }

    fn hosts(&self) -> Vec<(Host, u16)> {
        let config = &self.url.config;
        let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        let port = |index: usize| *ports.get(index).or(ports.first()).unwrap_or(&5432);
        let host = |index: usize| match (hosts.get(index), addresses.get(index)) {
            (Some(host), _) => host.clone(),
            (None, Some(address)) => Host::Tcp(address.to_string()),
            (None, None) => unreachable!("the index is that of one of them"),
        };
        let count = hosts.len().max(addresses.len());
        let mut all: Vec<(Host, u16)> = (0..count).map(|it| (host(it), port(it))).collect();
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            shuffle(&mut all);
        }
        all
    }

    async fn connect_to_host(
        &self,
        host: &Host,
        port: u16,
        wanted: SessionAttributes,
    ) -> Result<Connection, String> {
        let (name, addresses) = match host {
            Host::Unix(folder) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                (path.display().to_string(), vec![Address::Unix(path)])
            }
            Host::Tcp(name) => {
                let found = tokio::net::lookup_host((name.as_str(), port)).await;
                let found = found.map_err(|error| format!("{name}: {error}"))?;
                (name.clone(), found.map(Address::Tcp).collect())
            }
        };
        let mut refusal = format!("{name}: no address");
        for address in addresses {
            let name = name.clone();
            let endpoint = Endpoint { address, name };
            match self.connect_to(&endpoint, wanted).await {
                Ok(connection) => return Ok(connection),
                Err(error) => refusal = format!("{}:{port}: {error}", endpoint.name),
            }
        }
        Err(refusal)
    }

    async fn connect_to(
        &self,
        endpoint: &Endpoint,
        wanted: SessionAttributes,
    ) -> Result<Connection, String> {
        let limit = self.url.config.get_connect_timeout();
        let connect = async {
            let connection = self.log_in(endpoint).await?;
            if wanted != SessionAttributes::Any {
                check_session(&connection.client, wanted).await?;
            }
            Ok(connection)
        };
        let connected = timeout(*limit.unwrap_or(&CONNECT_TIMEOUT), connect).await;
        connected.unwrap_or_else(|_| Err("no answer in time".into()))
    }

    async fn log_in(&self, endpoint: &Endpoint) -> Result<Connection, String> {
        let valve = Valve::default();
        let socket = self.open_socket(endpoint, valve.clone()).await;
        let socket = socket.map_err(|error| error.to_string())?;
        let tls = self.tls_for(endpoint)?;
        let config = self.config_for(endpoint);
        let (client, connection) = config
            .connect_raw(socket, tls)
            .await
            .map_err(|error| causes(&error))?;
        valve.logged_in();
        let version = connection.parameter("server_version").unwrap_or_default();
        let version = version.split(|c: char| !c.is_ascii_digit()).next();
        let version = version.and_then(|major| major.parse().ok()).unwrap_or(0);
        // How it ends is what its requests say.
        let driver = self.runtime.spawn(async move { drop(connection.await) });
        Ok(Connection {
            client,
            valve,
            version,
            endpoint: endpoint.clone(),
            driver: driver.abort_handle(),
        })
    }

    async fn open_socket(&self, endpoint: &Endpoint, valve: Valve) -> io::Result<Tap<Socket>> {
        let socket = match &endpoint.address {
            Address::Unix(path) => {
                Socket::unix(UnixStream::connect(path).await?, valve.unwatched.clone())
            }
            Address::Tcp(address) => {
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                self.keep_alive(&socket)?;
                Socket::tcp(socket, valve.unwatched.clone())
            }
        };
        Ok(Tap::new(socket, valve))
    }

    fn keep_alive(&self, socket: &TcpStream) -> io::Result<()> {
        let config = &self.url.config;
        if !config.get_keepalives() {
            return Ok(());
        }
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        SockRef::from(socket).set_tcp_keepalive(&keepalive)
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
        let made =
            MakeTlsConnect::<Tap<Socket>>::make_tls_connect(&mut self.tls.clone(), &endpoint.name);
        made.map(TappedTls).map_err(|error| causes(&error))
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
