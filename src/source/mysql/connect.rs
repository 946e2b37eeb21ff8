//! One connection: over TCP, with TLS or without, or over a Unix socket.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::failure;
use super::url::{MysqlUrl, Tls};
use crate::source::pool::Connect;
use crate::source::{SourceError, SourceOptions};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle server is asked for a sign of life after this.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// How long a cancelled query is waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// The largest packet that a server may be told to send.
const PACKET_BYTES_MAX: usize = 1 << 30;
/// A reader may be as slow as its time allows, and a server that gave up on it before would break its file.
const WRITE_TIMEOUT_MARGIN: Duration = Duration::from_secs(60);

/// Makes connections to the server of one URL.
pub(super) struct Connector {
    url: MysqlUrl,
    tls: Option<SslOpts>,
    options: SourceOptions,
}

impl Connector {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// The root certificates cannot be read.
    pub(super) fn new(url: MysqlUrl, options: SourceOptions) -> Result<Connector, String> {
        let tls = tls(&url)?;
        Ok(Connector { url, tls, options })
    }

    async fn connect_to(&self, address: Option<IpAddr>) -> Result<Conn, Error> {
        let plain = self.opts(address, None);
        let Some(tls) = self.tls.clone() else {
            return Conn::new(plain).await;
        };
        match Conn::new(self.opts(address, Some(tls))).await {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer))
                if self.url.tls == Tls::Preferred =>
            {
                Conn::new(plain).await
            }
            connected => connected,
        }
    }

    fn opts(&self, address: Option<IpAddr>, tls: Option<SslOpts>) -> Opts {
        let url = &self.url;
        let builder = OptsBuilder::default()
            .ip_or_hostname(url.host.clone())
            .resolved_ips(address.map(|address| vec![address]))
            .tcp_port(url.port)
            .socket(url.socket.clone())
            .user(Some(url.user.clone()))
            .pass(url.password.clone())
            .db_name(Some(url.database.clone()))
            .ssl_opts(tls)
            .tcp_keepalive(Some(KEEPALIVE_IDLE))
            // What would cost a round trip to ask for, or a second connection.
            .prefer_socket(false)
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .wait_timeout(Some(usize::MAX >> 1))
            // A connection runs other statements each time.
            .stmt_cache_size(0)
            .setup(session(&self.options));
        builder.into()
    }

    async fn kill_query(&self, connection: &Connection) -> Option<()> {
        // By the same address: behind the name may be other servers.
        let mut killer = Conn::new(connection.opts().clone()).await.ok()?;
        let kill = format!("kill query {}", connection.id());
        killer.query_drop(kill).await.ok()
    }
}

/// A connection that is logged in.
pub(super) struct Connection {
    conn: Option<Conn>,
    /// Whether a result may be on its way.
    pub(super) is_busy: bool,
}

impl Deref for Connection {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
            .as_ref()
            .expect("it is taken only when it is dropped")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
            .as_mut()
            .expect("it is taken only when it is dropped")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_busy {
            let conn = self.conn.take();
            // The driver would read what is left of the result. Where there is no runtime it closes the socket.
            thread::spawn(move || drop(conn));
        }
    }
}

impl Connect for Connector {
    type Connection = Connection;

    /// Connects to the first of the host's addresses that answers.
    async fn connect(&self) -> Result<Connection, SourceError> {
        let host = &self.url.host;
        let mut addresses = vec![None];
        if self.url.socket.is_none() {
            let found = timeout(CONNECT_TIMEOUT, lookup_host((host.as_str(), self.url.port))).await;
            let found = found.map_err(|_| unavailable(host, "no address in time"))?;
            let found = found.map_err(|error| unavailable(host, &error.to_string()))?;
            addresses = found.map(|address| Some(address.ip())).collect();
        }
        let mut refusal = unavailable(host, "no address");
        for address in addresses {
            match timeout(CONNECT_TIMEOUT, self.connect_to(address)).await {
                Ok(Ok(conn)) => {
                    return Ok(Connection {
                        conn: Some(conn),
                        is_busy: false,
                    });
                }
                Ok(Err(error)) => refusal = failure(&error, ""),
                Err(_) => refusal = unavailable(host, "no answer in time"),
            }
        }
        // Whatever it was: without a connection there is no query that could be wrong.
        Err(match refusal {
            SourceError::Query { cause, .. } => SourceError::Unavailable(cause),
            refusal => refusal,
        })
    }

    async fn is_usable(&self, connection: &mut Connection) -> bool {
        let pong = timeout(CONNECT_TIMEOUT, connection.ping()).await;
        pong.is_ok_and(|pong| pong.is_ok())
    }

    async fn end(&self, connection: &mut Connection) -> bool {
        let is_ended = connection.query_drop("commit").await.is_ok();
        connection.is_busy = !is_ended;
        is_ended
    }

    async fn cancel(&self, connection: &mut Connection) {
        let cancel = async {
            loop {
                // Whether it was done or not: one that comes between two statements is lost.
                let _ = self.kill_query(connection).await;
                // The driver first reads what is left of the result, whose end is that of the query.
                let ended = connection.query_drop("rollback");
                if timeout(CANCEL_AGAIN_AFTER, ended).await.is_ok() {
                    break;
                }
            }
        };
        connection.is_busy = timeout(CANCEL_TIMEOUT, cancel).await.is_err();
    }
}

/// What a session is told, in one round trip. Comments with an `M` are read by MariaDB alone, those with a number by
/// MySQL from that version on: each has a time-out of its own, in seconds and milliseconds.
fn session(options: &SourceOptions) -> Vec<String> {
    let seconds = options.statement_timeout.as_secs().max(1);
    let milliseconds = options.statement_timeout.as_millis().max(1);
    let write_seconds = (options.statement_timeout + WRITE_TIMEOUT_MARGIN).as_secs();
    // The last two cut results, or texts in them, without saying so.
    let set = format!(
        "set session time_zone = '+00:00', net_write_timeout = {write_seconds}, \
         sql_select_limit = 18446744073709551615, group_concat_max_len = {PACKET_BYTES_MAX} \
         /*M!100103 , max_statement_time = {seconds} */ /*!50708 , max_execution_time = {milliseconds} */"
    );
    let isolation = "set session transaction isolation level repeatable read";
    vec![set, isolation.to_owned()]
}

/// What is needed to connect with TLS, if that may be.
fn tls(url: &MysqlUrl) -> Result<Option<SslOpts>, String> {
    if url.tls == Tls::Never || url.socket.is_some() {
        return Ok(None);
    }
    if url.tls != Tls::Verified {
        return Ok(Some(
            SslOpts::default().with_danger_accept_invalid_certs(true),
        ));
    }
    let roots = match &url.root_certificates {
        Some(path) => {
            let pem = std::fs::read(path);
            let pem =
                pem.map_err(|error| format!("ssl-ca: cannot read {}: {error}", path.display()))?;
            vec![pem]
        }
        None => {
            let native = rustls_native_certs::load_native_certs().certs;
            native
                .into_iter()
                .map(|certificate| certificate.to_vec())
                .collect()
        }
    };
    Ok(Some(
        SslOpts::default()
            .with_disable_built_in_roots(true)
            .with_root_certs(roots.into_iter().map(Into::into).collect()),
    ))
}

fn unavailable(host: &str, why: &str) -> SourceError {
    SourceError::Unavailable(format!("{host}: {why}").into())
}
