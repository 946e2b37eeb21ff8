//! Connects over TCP, with or without TLS, or over a Unix socket.

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

use super::errors::prepare_error;
use super::url::{MysqlUrl, Tls};
use crate::source::api::SourceOptions;
use crate::source::errors::SourceError;
use crate::source::pool::Connect;

/// The time limit for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The idle time before keepalive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The time limit for a ping, a reset and a clean disconnect.
const RESET_TIMEOUT: Duration = Duration::from_secs(2);
/// The time limit for cancelling a query, including the second connection, which is slow to a distant server.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
const CANCEL_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum wait for a metadata lock, such as that of `alter table`. The statement time limits do not include it.
const LOCK_WAIT_SECONDS: u64 = 10;
/// Identifies the server behind an address.
const IDENTITY: &str = "select concat_ws('/', @@hostname, @@port, @@server_id)";
/// The maximum of `group_concat_max_len` that all versions accept.
const GROUP_CONCAT_BYTES_MAX: usize = 1 << 30;
/// The maximum of `max_error_count`: how many warnings of a statement MariaDB keeps. MySQL allows only administrators to
/// set it.
const WARNINGS_MAX: usize = 65_535;
/// `net_write_timeout` exceeds the query's time limit by this margin, so the server does not abort a slow download.
const WRITE_TIMEOUT_MARGIN: Duration = Duration::from_secs(60);

/// Connects to the server of one URL.
pub(super) struct Connector {
    url: MysqlUrl,
    tls: Option<SslOpts>,
    options: SourceOptions,
}

impl Connector {
    /// Creates a connector without connecting.
    ///
    /// # Errors
    /// Returns a message if the root certificates cannot be read.
    pub(super) fn new(url: MysqlUrl, options: SourceOptions) -> Result<Connector, String> {
        let tls = ssl_opts(&url)?;
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
            // Explicit values save a round trip that queries them, and a reconnect over a socket.
            .prefer_socket(false)
            // Also the largest row: the driver reads the length of a packet before its content.
            .max_allowed_packet(Some(self.options.row_bytes_max))
            .wait_timeout(Some(usize::MAX >> 1))
            // Each query ends with a reset, which drops prepared statements.
            .stmt_cache_size(0)
            .setup(session_settings(&self.options));
        builder.into()
    }
}

/// A connection to kill. The address may lead to another server, where the same connection id belongs to another
/// client, so the server's identity is checked.
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

    /// Kills the connection. Killing only the query would have no effect between two statements.
    async fn kill(&self) -> Result<(), Error> {
        let mut killer = Conn::new(self.opts.clone()).await?;
        let found: Option<String> = killer.query_first(IDENTITY).await?;
        if found.as_ref() == Some(&self.server) {
            killer.query_drop(format!("kill {}", self.id)).await?;
        }
        killer.disconnect().await
    }
}

/// An authenticated connection.
pub(super) struct Connection {
    conn: Option<Conn>,
    /// The result of [`IDENTITY`].
    server: String,
    /// Whether the server may still send a result.
    pub(super) is_busy: bool,
}

impl Deref for Connection {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.conn.as_ref().expect("a closed connection is not used")
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a closed connection is not used")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_busy {
            let conn = self.conn.take();
            // On a runtime, the driver reads the rest of the result before it closes the socket.
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
            let found = found.map_err(|_| unavailable(host, "the address lookup timed out"))?;
            let found = found.map_err(|error| unavailable(host, &error.to_string()))?;
            addresses = found.map(|address| Some(address.ip())).collect();
        }
        let mut last_error = unavailable(host, "no address found");
        for address in addresses {
            match timeout(CONNECT_TIMEOUT, self.log_in(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last_error = prepare_error(&error, ""),
                Err(_) => last_error = unavailable(host, "the connection timed out"),
            }
        }
        // No query was sent, so any server error means that the database is unavailable.
        Err(match last_error {
            SourceError::Query { cause, .. } | SourceError::Unavailable(cause) => {
                let cause = cause.to_string();
                match cause.starts_with(host.as_str()) {
                    true => SourceError::Unavailable(cause.into()),
                    false => unavailable(&format!("{host}:{}", self.url.port), &cause),
                }
            }
            last_error => last_error,
        })
    }

    async fn is_usable(&self, connection: &mut Connection) -> bool {
        let pong = timeout(RESET_TIMEOUT, connection.ping()).await;
        pong.is_ok_and(|pong| pong.is_ok())
    }

    /// Resets the session: ends the transaction, and drops variables, locks and prepared statements.
    async fn end_transaction(&self, connection: &mut Connection) -> bool {
        let reset = timeout(RESET_TIMEOUT, connection.reset()).await;
        let is_clean = matches!(reset, Ok(Ok(true)));
        connection.is_busy = !is_clean;
        is_clean
    }

    /// Kills the connection. It stays busy, so its socket is closed without reading the rest of the result.
    async fn cancel(&self, connection: &mut Connection) {
        let target = Target::of(connection);
        let cancel = async {
            // Retried until it succeeds or the connection is closed.
            while target.kill().await.is_err() && !connection.is_disconnected() {
                sleep(CANCEL_RETRY_INTERVAL).await;
            }
        };
        let _ = timeout(CANCEL_TIMEOUT, cancel).await;
    }

    async fn close(&self, mut connection: Connection) {
        if let Some(conn) = connection.conn.take() {
            let _ = timeout(RESET_TIMEOUT, conn.disconnect()).await;
        }
    }
}

/// Returns the session settings as one statement: one round trip. Only MariaDB runs comments with an `M`; MySQL runs
/// those with a number from that version on. The time limit is in seconds in MariaDB, in milliseconds in MySQL.
fn session_settings(options: &SourceOptions) -> Vec<String> {
    let seconds = options.statement_timeout.as_secs().max(1);
    let milliseconds = options.statement_timeout.as_millis().max(1);
    let write_seconds = (options.statement_timeout + WRITE_TIMEOUT_MARGIN).as_secs();
    let isolation = "'REPEATABLE-READ'";
    // Server defaults would silently change results: another character set (`names`), fewer rows (`sql_select_limit`,
    // `sql_auto_is_null`), truncated texts (`group_concat_max_len`), padded ones (`sql_mode`), and too few warnings to find
    // truncated ones (`max_error_count`).
    vec![format!(
        "set names utf8mb4, time_zone = '+00:00', net_write_timeout = {write_seconds}, \
         lock_wait_timeout = {LOCK_WAIT_SECONDS}, \
         sql_select_limit = 18446744073709551615, group_concat_max_len = {GROUP_CONCAT_BYTES_MAX}, \
         sql_auto_is_null = 0, \
         sql_mode = replace(@@sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '') \
         /*M!100103 , max_error_count = {WARNINGS_MAX}, tx_isolation = {isolation}, max_statement_time = {seconds} */ \
         /*!50720 , transaction_isolation = {isolation}, max_execution_time = {milliseconds} */"
    )]
}

/// Returns the driver's TLS options; `None` without TLS.
fn ssl_opts(url: &MysqlUrl) -> Result<Option<SslOpts>, String> {
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
            // The driver rejects the whole list if one certificate is invalid.
            let mut store = RootCertStore::empty();
            let mut is_valid = |certificate: &CertificateDer<'_>| {
                store.add(certificate.clone().into_owned()).is_ok()
            };
            let native = rustls_native_certs::load_native_certs().certs;
            let native = native
                .into_iter()
                .filter(|certificate| is_valid(certificate));
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
