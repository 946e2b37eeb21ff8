//! `rowlink demo`: a sample database, a key, tokens and a page, created at each start.

mod page;

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::auth::{Authenticator, JwtKey, JwtRules, JwtVerifier, NewApiKey};
use crate::catalog::{Catalog, DEFAULT_DATABASE};
use crate::http::{AppState, Clock, HttpConfig, StaticContent, StaticFile};
use crate::service::{ExportService, Policy};
use crate::source::{SourceOptions, Sources, SqliteSource, dialects};
use crate::spool::Spool;
use crate::store::{Store, StoreUrl};
use crate::used_links::UsedLinks;
use rowlink_link::Keyring;

/// The number of orders in `orders.sql`.
pub const ORDERS: u32 = 500_000;
const USERS: [&str; 2] = ["alice", "bob"];
/// The initial date of the page's form, within the range of the sample orders.
const FIRST_DAY: &str = "2026-01-01";
const TOKEN_SECONDS: u64 = 24 * 3600;

const EXPORTS: [(&str, &str); 2] = [
    ("customers.sql", include_str!("../../exports/customers.sql")),
    ("orders.sql", include_str!("../../exports/orders.sql")),
];

/// The settings of the demo's store, which the sample exports do not need elsewhere.
const STORE: &str = "[store]\nmode = \"auto\"\n---*/";
/// Space for the files that visitors of the page prepare, in bytes.
const SPOOL_BYTES: u64 = 1 << 30;

/// A demo, ready to serve.
pub struct Demo {
    /// The state of the HTTP server.
    pub state: AppState,
    /// The text to print at start.
    pub welcome: String,
    /// The folder of the database; deleted when this value is dropped.
    pub folder: TempDir,
}

impl Demo {
    /// Creates the database, a signing key and a token per demo user. Pages of these `origins` may send
    /// cross-origin requests.
    ///
    /// # Errors
    /// Returns an error if the database cannot be written, the operating system provides no random bytes,
    /// or the service does not start.
    pub async fn build(
        address: SocketAddr,
        origins: Vec<String>,
        clock: Clock,
    ) -> Result<Demo, Vec<String>> {
        let demo_error = |error: &dyn Error| vec![format!("demo: {error}")];
        let folder = tempfile::Builder::new()
            .prefix("rowlink-demo-")
            .tempdir()
            .map_err(|error| demo_error(&error))?;
        let path = folder.path().join("orders.db");
        create_database(&path).map_err(|error| demo_error(&error))?;

        let key = rowlink_link::generate("demo").map_err(|error| demo_error(&error))?;
        let keyring = Keyring::parse(&key).expect("a generated key is valid");
        let secret = NewApiKey::generate()
            .map_err(|error| demo_error(&error))?
            .token;
        let policy = Policy {
            // Enough to count all rows, so that the page shows the same number on every machine and in every build.
            estimate_max: Duration::from_secs(60),
            ..Policy::with_defaults(format!("http://{address}"))
        };
        let source = Arc::new(SqliteSource::new(&path, SourceOptions::default()));
        let sources = Sources::from([(DEFAULT_DATABASE.to_owned(), source as _)]);
        let exports = EXPORTS.map(|(name, text)| (name, text.replacen("---*/", STORE, 1)));
        let exports = exports.iter().map(|(name, text)| (*name, text.as_str()));
        let catalog = Catalog::parse(exports, &dialects(&sources));
        let (spool, store) =
            storage(folder.path()).map_err(|error| vec![format!("demo: {error}")])?;
        let used_links = UsedLinks::new(None, Some(store.clone()));
        let used_links = used_links.map_err(|error| vec![format!("demo: {error}")])?;
        let service = ExportService::new(sources, keyring, policy)
            .with_store(Some(store))
            .with_used_links(used_links);
        let service = service.start(&catalog);
        let service = service
            .await
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;

        let expires = clock() + TOKEN_SECONDS;
        let tokens = USERS.map(|user| (user, sign_token(user, expires, secret.as_bytes())));
        let issuer = JwtVerifier::new(
            JwtKey::Secret(secret.as_bytes().to_vec().into()),
            JwtRules::default(),
        );
        let issuer = issuer.expect("a generated key is long enough");
        let authenticator = Authenticator::new(vec![issuer], None);
        let http_config = HttpConfig {
            cors_origins: origins,
            return_url: Some(format!("http://{address}/")),
            ..HttpConfig::default()
        };
        Ok(Demo {
            state: AppState::new(service, authenticator, clock, http_config)
                .with_spool(Some(spool))
                .with_files(page_files(&tokens)),
            welcome: welcome_text(address, &tokens),
            folder,
        })
    }
}

/// Creates a spool, and a directory as the store of prepared files.
fn storage(folder: &Path) -> Result<(Spool, Arc<Store>), Box<dyn Error>> {
    let (spool, files) = (folder.join("spool"), folder.join("files"));
    fs::create_dir(&spool)?;
    fs::create_dir(&files)?;
    let url = Url::from_directory_path(&files).map_err(|()| "no absolute path")?;
    let store = StoreUrl::parse(url.as_str())?.connect([])?;
    Ok((Spool::new(spool, SPOOL_BYTES), Arc::new(store)))
}

fn create_database(path: &Path) -> Result<(), rusqlite::Error> {
    let connection = Connection::open(path)?;
    // Durability is not needed: each start creates the file again.
    connection.execute_batch("pragma journal_mode = off; pragma synchronous = off; begin;")?;
    connection.execute_batch(include_str!("orders.sql"))?;
    connection.execute_batch("commit;")
}

fn sign_token(user: &str, expires: u64, secret: &[u8]) -> String {
    let claims = json!({"sub": user, "exp": expires, "scope": "orders:read"});
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(secret),
    )
    .expect("HS256 signs any JSON with any secret")
}

/// Returns the files of the page with the Export button, which can sign in as each user.
fn page_files(tokens: &[(&str, String)]) -> Vec<StaticFile> {
    let users: Vec<_> = tokens
        .iter()
        .map(|(name, token)| json!({"name": name, "token": token}))
        .collect();
    let users = json!({"users": users, "export": "orders", "from": FIRST_DAY}).to_string();
    let file = |path, content_type, content: String| StaticFile {
        path,
        content_type,
        content: StaticContent::Constant(content.into()),
    };
    vec![
        StaticFile {
            path: "/",
            content_type: "text/html; charset=utf-8",
            content: StaticContent::ByLanguage(page::by_language()),
        },
        file(
            "/demo/page.css",
            "text/css; charset=utf-8",
            include_str!("page/page.css").into(),
        ),
        file(
            "/demo/page.js",
            "text/javascript; charset=utf-8",
            include_str!("page/page.js").into(),
        ),
        file("/demo/users.json", "application/json", users),
    ]
}

fn welcome_text(address: SocketAddr, tokens: &[(&str, String)]) -> String {
    let mut text = format!("\nRowlink serves {ORDERS} sample orders at http://{address}\n");
    for (user, token) in tokens {
        text.push_str(&format!(
            "\nToken of {user}, valid for 24 hours:\n{token}\n"
        ));
    }
    let token = &tokens[0].1;
    text.push_str(&format!(
        r#"
Open http://{address} in a browser and press Export. Or issue a link as alice:

  URL=$(curl -s http://{address}/v1/links \
    -H 'Authorization: Bearer {token}' \
    -d '{{"export": "orders", "format": "csv", "filters": {{"from": "2026-01-01", "status": ["paid"]}}}}' \
    | sed -E 's/.*"url":"([^"]+)".*/\1/'); echo "$URL"

Download the file within 60 seconds; no header is needed:

  curl -o orders.csv "$URL"

Stop with Ctrl-C.
"#
    ));
    text
}
