//! Names as keys in Redis, or in a server with its commands.
//!
//! All servers share one connection, which is opened when it is needed. After any error the next command opens another one: a
//! primary that became a replica, a moved slot and a closed connection all end there.

use std::fs;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue,
    IntoConnectionInfo as _, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    TlsMode, cmd,
};
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use rustls::crypto::ring;
use tokio::time::{Instant, timeout, timeout_at};

use super::UseError;
use super::redis_url::{Host, Login, RedisUrl, Topology};

/// The start of each key.
const PREFIX: &str = "rowlink:used:";
/// The longest time of a command, with the time to connect. A download waits for it.
const COMMAND_MAX: Duration = Duration::from_secs(1);
/// The longest time to connect. Commands that wait for it give up earlier; a later one finds the connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How often a client of a cluster follows a redirect, or waits until the cluster has a primary again.
const CLUSTER_RETRIES: u32 = 3;

pub(super) struct RedisNames {
    url: RedisUrl,
    certificates: Option<TlsCertificates>,
    /// The connection, or the attempt to open it.
    opening: Mutex<Option<Opening>>,
}

type Opening = Shared<BoxFuture<'static, Result<Connection, String>>>;

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisNames {
    pub(super) fn new(url: &RedisUrl) -> Result<RedisNames, String> {
        let certificates = url.root_certificates.as_ref().map(|path| {
            let read = fs::read(path);
            let read = read.map_err(|error| format!("sslrootcert: {}: {error}", path.display()))?;
            Ok::<_, String>(TlsCertificates {
                client_tls: None,
                root_cert: Some(read),
            })
        });
        let names = RedisNames {
            url: url.clone(),
            certificates: certificates.transpose()?,
            opening: Mutex::default(),
        };
        let checked = Servers::of(&names.url, names.certificates.as_ref());
        checked.map_err(|error| error.to_string())?;
        Ok(names)
    }

    pub(super) async fn exists(&self, name: &str) -> Result<bool, UseError> {
        let mut command = cmd("EXISTS");
        self.run(command.arg(key(name))).await
    }

    pub(super) async fn take(
        &self,
        name: &str,
        taker: &str,
        lifetime: Duration,
    ) -> Result<bool, UseError> {
        let key = key(name);
        let mut set = cmd("SET");
        let set = set.arg(&key).arg(taker).arg("NX");
        let set = set.arg("EX").arg(lifetime.as_secs().max(1));
        // Nil, if there is a value.
        let is_set: Option<String> = self.run(set).await?;
        if is_set.is_some() {
            return Ok(true);
        }
        let first: Option<String> = self.run(cmd("GET").arg(&key)).await?;
        Ok(first.as_deref() == Some(taker))
    }

    /// Runs a command that may run twice: on a new connection if the first one has ended, as after its idle time.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, UseError> {
        let deadline = Instant::now() + COMMAND_MAX;
        match self.try_once(command, deadline).await {
            Err(UseError::Redis(_)) => self.try_once(command, deadline).await,
            answer => answer,
        }
    }

    async fn try_once<T: FromRedisValue>(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<T, UseError> {
        let opening = self.opening();
        let answer = async {
            let connection = opening.clone().await.map_err(UseError::Redis)?;
            let answer = match connection {
                Connection::Single(mut connection) => command.query_async(&mut connection).await,
                Connection::Cluster(mut connection) => command.query_async(&mut connection).await,
            };
            answer.map_err(|error: RedisError| UseError::Redis(error.to_string()))
        };
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.unwrap_or(Err(UseError::TimedOut));
        // One that is being opened may still succeed.
        if answer.is_err() && opening.peek().is_some() {
            self.forget(&opening);
        }
        answer
    }

    /// Returns the connection. Starts to open it if there is none.
    fn opening(&self) -> Opening {
        let mut current = self.lock();
        let opening = current.get_or_insert_with(|| {
            let opening = open(self.url.clone(), self.certificates.clone());
            let opening = opening.boxed().shared();
            // A command that gives up does not stop it.
            tokio::spawn(opening.clone());
            opening
        });
        opening.clone()
    }

    fn forget(&self, opening: &Opening) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|it| it.ptr_eq(opening)) {
            *current = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opening>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(name: &str) -> String {
    [PREFIX, name].concat()
}

async fn open(url: RedisUrl, certificates: Option<TlsCertificates>) -> Result<Connection, String> {
    let connection = async {
        let servers = Servers::of(&url, certificates.as_ref());
        servers?.connect().await
    };
    match timeout(CONNECT_MAX, connection).await {
        Ok(connection) => connection.map_err(|error| error.to_string()),
        Err(_) => Err("no connection in time".to_owned()),
    }
}

/// What opens a connection.
enum Servers {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
    Sentinel(Box<SentinelClient>),
}

impl Servers {
    fn of(url: &RedisUrl, certificates: Option<&TlsCertificates>) -> RedisResult<Servers> {
        install_tls_provider();
        let addresses = url.hosts.iter().map(|host| address(host, url.has_tls));
        match &url.topology {
            Topology::Single => {
                let info = addresses.map(|it| connection_info(it, url)).next();
                let info = info.expect("a URL has a host")?;
                let client = match certificates {
                    None => Client::open(info),
                    Some(certificates) => Client::build_with_tls(info, certificates.clone()),
                };
                Ok(Servers::Single(Box::new(client?)))
            }
            Topology::Cluster => {
                let nodes = addresses.map(|it| connection_info(it, url));
                let nodes: Vec<ConnectionInfo> = nodes.collect::<RedisResult<_>>()?;
                let mut builder = ClusterClient::builder(nodes)
                    .retries(CLUSTER_RETRIES)
                    .connection_timeout(COMMAND_MAX)
                    .response_timeout(COMMAND_MAX)
                    .tcp_settings(tcp_settings());
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates.clone());
                }
                Ok(Servers::Cluster(Box::new(builder.build()?)))
            }
            Topology::Sentinel {
                primary,
                sentinel_password,
            } => {
                let server_type = SentinelServerType::Master;
                let builder = SentinelClientBuilder::new(addresses, primary, server_type)?;
                let mut builder = builder
                    .set_client_to_redis_db(url.database)
                    .set_client_to_redis_tcp_settings(tcp_settings());
                if let Some(Login { username, password }) = &url.login {
                    builder = builder.set_client_to_redis_password(password.as_str());
                    if let Some(username) = username {
                        builder = builder.set_client_to_redis_username(username.as_str());
                    }
                }
                if let Some(password) = sentinel_password {
                    builder = builder.set_client_to_sentinel_password(password.as_str());
                }
                if url.has_tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                }
                if let Some(certificates) = certificates {
                    builder = builder
                        .set_client_to_redis_certificates(certificates.clone())
                        .set_client_to_sentinel_certificates(certificates.clone());
                }
                Ok(Servers::Sentinel(Box::new(builder.build()?)))
            }
        }
    }

    async fn connect(self) -> RedisResult<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            .set_response_timeout(Some(COMMAND_MAX));
        match self {
            Servers::Single(client) => {
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Ok(Connection::Single(connection.await?))
            }
            Servers::Cluster(client) => {
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            Servers::Sentinel(mut client) => {
                let connection = client.get_async_connection_with_config(&config);
                Ok(Connection::Single(connection.await?))
            }
        }
    }
}

/// Lets the driver's TLS use ring.
fn install_tls_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that there is a provider already.
        let _ = ring::default_provider().install_default();
    });
}

fn address(host: &Host, has_tls: bool) -> ConnectionAddr {
    let Host { name, port } = host.clone();
    match has_tls {
        false => ConnectionAddr::Tcp(name, port),
        true => ConnectionAddr::TcpTls {
            host: name,
            port,
            insecure: false,
            tls_params: None,
        },
    }
}

fn connection_info(address: ConnectionAddr, url: &RedisUrl) -> RedisResult<ConnectionInfo> {
    let mut settings = RedisConnectionInfo::default().set_db(url.database);
    if let Some(Login { username, password }) = &url.login {
        settings = settings.set_password(password.as_str());
        if let Some(username) = username {
            settings = settings.set_username(username.as_str());
        }
    }
    let info = address.into_connection_info()?;
    Ok(info
        .set_redis_settings(settings)
        .set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}
