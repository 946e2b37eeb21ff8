//! The real server in the test process, on a free port, over a small SQLite file.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use jsonwebtoken::{EncodingKey, Header, encode};
use rowlink::auth::{ApiKeys, Authenticator, JwtKey, JwtRules, JwtVerifier};
use rowlink::catalog::{Catalog, DEFAULT_DATABASE, Dialects, SqlDialect};
use rowlink::config::DatabaseUrl;
use rowlink::http::{self, AppState, HttpConfig, Tls};
use rowlink::service::{ExportService, Policy, QuotaLimits};
use rowlink::source::{SourceOptions, Sources, dialects};
use rowlink::spool::Spool;
use rowlink::store::Store;
use rowlink::used_links::{RedisUrl, UsedLinks};
use rowlink_link::Keyring;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{Answer, Call};

pub const JWT_SECRET: &[u8] = b"a test secret of at least 32 bytes!";
pub const SIGNING_KEY: &str = "t1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub const API_KEY: &str = "rlk_test";
/// 2026-01-31T10:00:00Z.
const NOW: u64 = 1_769_853_600;

pub struct TestServer {
    pub origin: String,
    pub state: Arc<AppState>,
    clock: Arc<AtomicU64>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

/// Limits that no test reaches.
pub const UNLIMITED: QuotaLimits = QuotaLimits {
    downloads: 100_000,
    downloads_per_user: 100_000,
    downloads_per_link: 100_000,
    links_per_second: 100_000,
};

/// The configuration of a test server.
pub struct Deployment<'a> {
    pub databases: Vec<(&'a str, String)>,
    pub exports: Vec<(&'a str, &'a str)>,
    pub keys: &'a str,
    pub connections: usize,
    pub row_bytes_max: usize,
    pub sqlite_lock_max: Duration,
    pub download_max: Duration,
    pub query_max: Duration,
    pub spool: Option<Spool>,
    pub store: Option<Store>,
    pub document_stores: Vec<(&'a str, Store)>,
    pub redis: Option<RedisUrl>,
    pub heartbeat_after: Option<Duration>,
    pub stall_max: Duration,
    pub estimate_max: Duration,
    pub limits: QuotaLimits,
    pub http_config: HttpConfig,
    pub issuers: Vec<JwtVerifier>,
}

impl<'a> Deployment<'a> {
    /// Returns the default configuration for these exports over one database.
    pub fn over(url: String, exports: Vec<(&'a str, &'a str)>) -> Deployment<'a> {
        let policy = Policy::with_defaults(String::new());
        Deployment {
            databases: vec![(DEFAULT_DATABASE, url)],
            exports,
            keys: SIGNING_KEY,
            connections: 10,
            row_bytes_max: SourceOptions::default().row_bytes_max,
            sqlite_lock_max: SourceOptions::default().sqlite_lock_max,
            download_max: policy.download_max,
            query_max: policy.query_max,
            spool: None,
            store: None,
            document_stores: Vec::new(),
            redis: None,
            heartbeat_after: policy.heartbeat_after,
            stall_max: policy.stall_max,
            // Long enough for a busy machine.
            estimate_max: Duration::from_secs(30),
            limits: UNLIMITED,
            http_config: HttpConfig::default(),
            issuers: vec![hs256_issuer(JwtRules::default())],
        }
    }

    pub fn start(self) -> TestServer {
        self.try_start()
            .unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    /// Returns the errors that prevent the start.
    pub fn errors(self) -> Vec<String> {
        self.try_start()
            .err()
            .expect("errors that prevent the start")
    }

    fn try_start(self) -> Result<TestServer, Vec<String>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let policy = Policy {
            download_max: self.download_max,
            query_max: self.query_max,
            heartbeat_after: self.heartbeat_after,
            stall_max: self.stall_max,
            estimate_max: self.estimate_max,
            limits: self.limits,
            ..Policy::with_defaults(origin.clone())
        };
        let options = SourceOptions {
            connections: self.connections,
            statement_timeout: self.query_max.min(self.download_max),
            row_bytes_max: self.row_bytes_max,
            sqlite_lock_max: self.sqlite_lock_max,
            ..SourceOptions::default()
        };
        let urls: Vec<(String, DatabaseUrl)> = self
            .databases
            .iter()
            .map(|(name, url)| (name.to_string(), DatabaseUrl::parse(url).unwrap()))
            .collect();
        let files: Vec<(String, String)> = self
            .exports
            .iter()
            .map(|(name, text)| (name.to_string(), text.to_string()))
            .collect();
        let keyring = Keyring::parse(self.keys).unwrap();
        let (http_config, authenticator) = (self.http_config, authenticator(self.issuers));
        let (spool, store) = (self.spool, self.store.map(Arc::new));
        let document_stores = self.document_stores.into_iter();
        let document_stores = document_stores.map(|(name, store)| (name.into(), Arc::new(store)));
        let document_stores = document_stores.collect();
        let redis = self.redis;
        let clock = Arc::new(AtomicU64::new(NOW));
        let time = clock.clone();
        let (ready, started) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async move {
                let sources: Sources = urls
                    .into_iter()
                    .map(|(name, url)| (name, url.source(options).unwrap()))
                    .collect();
                let files = files
                    .iter()
                    .map(|(name, text)| (name.as_str(), text.as_str()));
                let catalog = Catalog::parse(files, &dialects(&sources));
                let service = ExportService::new(sources, keyring, policy)
                    .with_store(store.clone())
                    .with_document_stores(document_stores);
                let service = match service.start(&catalog).await {
                    Ok(service) => service,
                    Err(errors) => {
                        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                        return ready.send(Err(errors)).unwrap();
                    }
                };
                let used_links = UsedLinks::new(redis.as_ref(), store).unwrap();
                let service = service.with_used_links(used_links);
                let clock = Arc::new(move || time.load(Ordering::SeqCst));
                let state = AppState::new(service, authenticator, clock, http_config);
                let state = Arc::new(state.with_spool(spool));
                let shutdown_timeout = Duration::from_secs(30);
                let server =
                    http::server(listener, state.clone(), Tls::Elsewhere, shutdown_timeout)
                        .unwrap();
                ready.send(Ok((server.handle(), state.clone()))).unwrap();
                server.await.unwrap();
                state.service.close().await;
            });
        });
        let started = started.recv();
        let (handle, state) = started.expect("the server reports its start")?;
        Ok(TestServer {
            origin,
            state,
            clock,
            handle,
            thread: Some(thread),
            _folder: None,
        })
    }
}

/// Returns the URL of a SQLite file.
pub fn sqlite_url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

impl TestServer {
    /// Serves the sample exports over the sample rows.
    pub fn start() -> TestServer {
        TestServer::with_exports(exports())
    }

    /// Serves other exports over the sample rows.
    pub fn with_exports(exports: Vec<(&str, &str)>) -> TestServer {
        TestServer::with(|deployment| deployment.exports = exports)
    }

    /// Serves the sample exports over the sample rows with a changed configuration.
    pub fn with<'a>(change: impl FnOnce(&mut Deployment<'a>)) -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&sample_database(folder.path()));
        let mut deployment = Deployment::over(url, exports());
        change(&mut deployment);
        let mut server = deployment.start();
        server._folder = Some(folder);
        server
    }

    /// Serves exports over an existing SQLite file.
    pub fn over(database: &Path, exports: Vec<(&str, &str)>) -> TestServer {
        Deployment::over(sqlite_url(database), exports).start()
    }

    pub fn port(&self) -> u16 {
        let (_, port) = self.origin.rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    pub fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    pub fn set_clock(&self, now: u64) {
        self.clock.store(now, Ordering::SeqCst);
    }

    pub fn call(&self, method: &'static str, target: &str) -> Call {
        Call::new(method, format!("{}{target}", self.origin))
    }

    /// Requests a link as alice.
    pub fn issue(&self, request: Value) -> Answer {
        self.issue_with(&token(self.now()), request)
    }

    pub fn issue_with(&self, token: &str, request: Value) -> Answer {
        self.call("POST", "/v1/links")
            .bearer(token)
            .json(&request)
            .send()
    }

    /// Returns the URL of a link issued to alice.
    pub fn link(&self, request: Value) -> String {
        let answer = self.issue(request);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["url"].as_str().unwrap().to_owned()
    }

    /// Downloads a file as alice.
    pub fn download(&self, request: Value) -> Answer {
        let answer = Call::new("GET", self.link(request)).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // `stop` sends the command immediately. Its future is not needed: the thread is joined below.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server panicked");
        }
    }
}

fn authenticator(issuers: Vec<JwtVerifier>) -> Authenticator {
    let hash = hex::encode(Sha256::digest(API_KEY));
    let keys = format!(
        "[keys.backend]\nsha256 = '{hash}'\nact_for_others = true\nexports = ['orders', 'by_org']\n\
         scopes = ['orders:read']\nclaims = {{ org_id = '7' }}\n"
    );
    Authenticator::new(issuers, Some(ApiKeys::parse(&keys).unwrap()))
}

/// Returns the issuer of the tokens that [`token_for`] signs.
pub fn hs256_issuer(rules: JwtRules) -> JwtVerifier {
    JwtVerifier::new(JwtKey::Secret(JWT_SECRET.to_vec().into()), rules).unwrap()
}

/// Returns a token of alice that is valid for an hour.
pub fn token(now: u64) -> String {
    token_for(&json!({"sub": "alice", "exp": now + 3600, "scope": "orders:read other"}))
}

pub fn token_for(claims: &Value) -> String {
    encode(
        &Header::default(),
        claims,
        &EncodingKey::from_secret(JWT_SECRET),
    )
    .unwrap()
}

/// Returns exports that together use every feature of a catalog.
pub fn exports() -> Vec<(&'static str, &'static str)> {
    vec![
        ("orders.sql", include_str!("exports/orders.sql")),
        ("by_org.sql", include_str!("exports/by_org.sql")),
        ("numbers.sql", include_str!("exports/numbers.sql")),
        ("types.sql", include_str!("exports/types.sql")),
        ("echo.sql", include_str!("exports/echo.sql")),
    ]
}

/// Creates rows with NULLs, special characters and several owners.
pub fn sample_database(folder: &Path) -> PathBuf {
    let path = folder.join("sample.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(include_str!("exports/schema.sql"))
        .unwrap();
    path
}

/// Returns the dialects of a deployment with one SQLite database.
pub fn sqlite() -> Dialects {
    Dialects::from([(DEFAULT_DATABASE.to_owned(), SqlDialect::Sqlite)])
}
