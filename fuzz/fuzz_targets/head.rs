//! No request makes the server fail, and none without a signature or a credential gets a file. The requests go over a
//! connection to the real server, through its HTTP parser; it trusts `Forwarded` and cookies.
#![no_main]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rowlink::auth::{Authenticator, JwtKey, JwtRules, JwtVerifier};
use rowlink::catalog::{Catalog, DEFAULT_DATABASE};
use rowlink::http::{self, AppState, HttpConfig, ProxyHeader, Tls};
use rowlink::service::{ExportService, Policy};
use rowlink::source::{SourceOptions, Sources, SqliteSource, dialects};

/// Long enough for an answer; a head that is not complete gets none.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

static SERVER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let state = Arc::new(state().await);
            let server = http::server(listener, state, Tls::Elsewhere, Duration::ZERO);
            let server = server.expect("a server");
            ready.send(()).expect("the fuzzer");
            server.await
        })
    });
    started.recv().expect("the server");
    address
});

async fn state() -> AppState {
    // An empty file is a database without tables.
    let file = std::env::temp_dir().join(format!("rowlink-fuzz-{}.db", std::process::id()));
    std::fs::write(&file, "").expect("a writable folder");
    let source = Arc::new(SqliteSource::new(&file, SourceOptions::default()));
    let sources = Sources::from([(DEFAULT_DATABASE.to_owned(), source as _)]);
    let exports = [("orders.sql", "select 1 as id where :user = 'alice'")];
    let catalog = Catalog::parse(exports, &dialects(&sources));
    let key = rowlink_link::generate("fuzz").expect("randomness");
    let keyring = rowlink_link::Keyring::parse(&key).expect("a key");
    let policy = Policy::with_defaults("https://shop.example.com".to_owned());
    let service = ExportService::new(sources, keyring, policy).start(&catalog).await;
    let Ok(service) = service else {
        panic!("the service does not start")
    };
    let secret = rowlink_link::generate("secret").expect("randomness").as_bytes().to_vec();
    let issuer = JwtVerifier::new(JwtKey::Secret(secret.into()), JwtRules::default());
    let authenticator = Authenticator::new(vec![issuer.expect("an issuer")], None);
    let config = HttpConfig {
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        proxy_header: ProxyHeader::Forwarded,
        jwt_cookie: Some("session".to_owned()),
        ..HttpConfig::default()
    };
    AppState::new(service, authenticator, Arc::new(|| 1_800_000_000), config)
}

fuzz_target!(|head: &[u8]| {
    let mut stream = TcpStream::connect(*SERVER).expect("a server that accepts");
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("an open socket");
    // The server may have refused the head before its end.
    let _ = stream.write_all(&[head, b"\r\n\r\n"].concat());
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..count]);
        // Every answer here is shorter.
        if count < buffer.len() {
            break;
        }
    }
    if answer.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1."), "{text}");
    assert!(!text.contains(" 500 Internal Server Error"), "{text}");
    assert!(!text.to_ascii_lowercase().contains("content-disposition:"), "{text}");
});
