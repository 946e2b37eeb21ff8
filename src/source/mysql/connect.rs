//! One connection: over TCP, with TLS or without, or over a Unix socket.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::thread;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::failure;
use super::url::{MysqlUrl, Tls};
use crate::source::pool::Connect;
use crate::source::{SourceError, SourceOptions};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle server is asked for a sign of life after this.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// How long a connection may take to say that it is alive, and to forget what it did.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a cancelled query is waited for: a connection to a server far away takes a while.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
const CANCEL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long a lock of another's `alter table` is waited for. Neither time-out of statements counts that.
const LOCK_WAIT_SECONDS: u64 = 10;
/// By what a server is known again.
const IDENTITY: &str = "select concat_ws('/', @@hostname, @@port, @@server_id)";
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

    async fn log_in(&self, address: Option<IpAddr>) -> Result<Connection, Error> {
        let mut conn = self.connect_to(address).await?;
        let server: Option<String> = conn.query_first(IDENTITY).await?;
        Ok(Connection {
            conn: Some(conn),
            server: server.unwrap_or_default(),
            is_busy: false,
        })
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
            // A connection forgets its statements after each query.
            .stmt_cache_size(0)
            .setup(session(&self.options));
        builder.into()
    }
}

/// A connection to be killed: its number, and how its server is reached and known again. Another server may have one by
/// the same number.
struct Target {
    id: u32,
    opts: Opts,
    server: String,
}

impl Target {
    fn of(connection: &Connection) -> Target {
        let opts = OptsBuilder::from_opts(connection.opts().clone());
        Target {
            id: connection.id(),
            opts: opts.setup(Vec::<String>::new()).into(),
            server: connection.server.clone(),
        }
    }

    /// Kills the connection, and not its query alone: between two statements that would be lost.
    async fn kill(&self) -> Result<(), Error> {
        let mut killer = Conn::new(self.opts.clone()).await?;
        let found: Option<String> = killer.query_first(IDENTITY).await?;
        if found.as_ref() == Some(&self.server) {
            killer.query_drop(format!("kill {}", self.id)).await?;
        }
        killer.disconnect().await
    }
}

/// A connection that is logged in.
pub(super) struct Connection {
    conn: Option<Conn>,
    /// The server behind its address.
    server: String,
    /// Whether a result may be on its way.
    pub(super) is_busy: bool,
}

impl Connection {
    /// Says good-bye, which servers count and log where it is left out.
    pub(super) async fn close(&mut self) {
        if let Some(conn) = self.conn.take() {
            let _ = timeout(RESET_TIMEOUT, conn.disconnect()).await;
        }
    }
}

impl Deref for Connection {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn
            .as_ref()
            .expect("it is not used once it is closed")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn
            .as_mut()
            .expect("it is not used once it is closed")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_busy {
            let conn = self.conn.take();
            // The driver would read what is left of the result. Where there is no runtime it closes the socket.
            let _ = thread::Builder::new().spawn(move || drop(conn));
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
            match timeout(CONNECT_TIMEOUT, self.log_in(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
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
        let pong = timeout(RESET_TIMEOUT, connection.ping()).await;
        pong.is_ok_and(|pong| pong.is_ok())
    }

    /// Ends the transaction with all else that the session remembers: variables, locks, prepared statements.
    async fn end(&self, connection: &mut Connection) -> bool {
        let reset = timeout(RESET_TIMEOUT, connection.reset()).await;
        let is_clean = matches!(reset, Ok(Ok(true)));
        connection.is_busy = !is_clean;
        is_clean
    }

    /// The socket is then closed without reading what is left in it: it stays busy.
    async fn cancel(&self, connection: &mut Connection) {
        let target = Target::of(connection);
        let cancel = async {
            // A server that is gone runs nothing.
            while target.kill().await.is_err() && !connection.is_disconnected() {
                sleep(CANCEL_AGAIN_AFTER).await;
            }
        };
        let _ = timeout(CANCEL_TIMEOUT, cancel).await;
    }
}

/// What a session is told, in one round trip. Comments with an `M` are read by MariaDB alone, those with a number by
/// MySQL from that version on: each has names of its own, and one time-out is in seconds, the other in milliseconds.
fn session(options: &SourceOptions) -> Vec<String> {
    let seconds = options.statement_timeout.as_secs().max(1);
    let milliseconds = options.statement_timeout.as_millis().max(1);
    let write_seconds = (options.statement_timeout + WRITE_TIMEOUT_MARGIN).as_secs();
    let isolation = "'REPEATABLE-READ'";
    // Without the names, texts would come in the character set that the server thinks best; the last two cut results,
    // or texts in them. All of that without a word.
    vec![format!(
        "set names utf8mb4, time_zone = '+00:00', net_write_timeout = {write_seconds}, \
         lock_wait_timeout = {LOCK_WAIT_SECONDS}, \
         sql_select_limit = 18446744073709551615, group_concat_max_len = {PACKET_BYTES_MAX} \
         /*M!100103 , tx_isolation = {isolation}, max_statement_time = {seconds} */ \
         /*!50720 , transaction_isolation = {isolation}, max_execution_time = {milliseconds} */"
    )]
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
            // The driver refuses all of them where it cannot read one.
            let mut store = RootCertStore::empty();
            let mut is_readable =
                |it: &CertificateDer<'_>| store.add(it.clone().into_owned()).is_ok();
            let native = rustls_native_certs::load_native_certs().certs;
            let native = native.into_iter().filter(|it| is_readable(it));
            native.map(|certificate| certificate.to_vec()).collect()
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
