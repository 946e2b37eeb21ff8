//! Token issuers with a public key or a key set, including malicious key set servers.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rowlink::auth::{AuthError, Authenticator, JwtKey, JwtRules, JwtVerifier};
use serde_json::{Value, json};

use crate::harness::tls::{create_certificates, openssl};
use crate::harness::{JWT_SECRET, hs256_issuer, token_for, wait};

const NOW: u64 = 1_769_853_600;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/jwt.json")).unwrap()
}

fn rules(algorithms: &[&str]) -> JwtRules {
    JwtRules {
        algorithms: algorithms.iter().map(|name| name.to_string()).collect(),
        ..JwtRules::default()
    }
}

/// A key pair made with OpenSSL, as PEM.
struct Pair {
    private: String,
    public: String,
}

struct Pairs {
    rsa: Pair,
    short_rsa: Pair,
    p256: Pair,
    p384: Pair,
    ed25519: Pair,
}

static PAIRS: LazyLock<Pairs> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let pair = |algorithm: &str| {
        openssl(
            folder.path(),
            &format!("genpkey -out key.pem -algorithm {algorithm}"),
        );
        openssl(folder.path(), "pkey -in key.pem -pubout -out pub.pem");
        Pair {
            private: read("key.pem"),
            public: read("pub.pem"),
        }
    };
    Pairs {
        rsa: pair("RSA -pkeyopt rsa_keygen_bits:2048"),
        short_rsa: pair("RSA -pkeyopt rsa_keygen_bits:1024"),
        p256: pair("EC -pkeyopt ec_paramgen_curve:P-256"),
        p384: pair("EC -pkeyopt ec_paramgen_curve:P-384"),
        ed25519: pair("ED25519"),
    }
});

fn encoding_key(algorithm: Algorithm) -> EncodingKey {
    let pem = |pair: &Pair| pair.private.clone().into_bytes();
    match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem(&PAIRS.p256)),
        Algorithm::ES384 => EncodingKey::from_ec_pem(&pem(&PAIRS.p384)),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem(&PAIRS.ed25519)),
        _ => EncodingKey::from_rsa_pem(&pem(&PAIRS.rsa)),
    }
    .unwrap()
}

fn public_pem(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::ES256 => &PAIRS.p256,
        Algorithm::ES384 => &PAIRS.p384,
        Algorithm::EdDSA => &PAIRS.ed25519,
        _ => &PAIRS.rsa,
    }
    .public
    .clone()
}

/// Returns a token of alice signed with this algorithm and key id.
fn token(algorithm: Algorithm, key_id: Option<&str>) -> String {
    let mut header = Header::new(algorithm);
    header.kid = key_id.map(str::to_owned);
    let claims = json!({"sub": "alice", "exp": NOW + 60});
    encode(&header, &claims, &encoding_key(algorithm)).unwrap()
}

fn jwk(algorithm: Algorithm, key_id: &str) -> Value {
    let jwk = Jwk::from_encoding_key(&encoding_key(algorithm), algorithm).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(key_id);
    jwk
}

const ALGORITHMS: [(Algorithm, &str); 9] = [
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::EdDSA, "EdDSA"),
];

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_public_key_verifies_only_the_configured_algorithms() {
    for (configured, name) in ALGORITHMS {
        let key = JwtKey::PublicPem(public_pem(configured));
        let issuer = JwtVerifier::new(key, rules(&[name])).unwrap();
        for (used, _) in ALGORITHMS {
            let result = wait(issuer.verify(&token(used, None), NOW));
            assert_eq!(result.is_ok(), used == configured, "{name}: {used:?}");
        }
        // A public key is no secret (RFC 8725, section 2.1).
        let claims = json!({"sub": "alice", "exp": NOW + 60});
        let secret = EncodingKey::from_secret(public_pem(configured).as_bytes());
        let confused = encode(&Header::default(), &claims, &secret).unwrap();
        assert!(wait(issuer.verify(&confused, NOW)).is_err());
    }
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_key_that_is_too_short_or_of_the_wrong_type_prevents_the_start() {
    let pem = |pair: &Pair| JwtKey::PublicPem(pair.public.clone());
    for (key, algorithms) in [
        (pem(&PAIRS.rsa), vec!["ES256"]),
        (pem(&PAIRS.rsa), vec!["RS256", "PS256"]),
        (pem(&PAIRS.rsa), vec!["HS256"]),
        (pem(&PAIRS.rsa), vec!["none"]),
        (pem(&PAIRS.p256), vec!["ES384"]),
        (pem(&PAIRS.p256), vec!["ES256", "ES384"]),
        (pem(&PAIRS.p256), vec![]),
        (pem(&PAIRS.ed25519), vec!["RS256"]),
        (pem(&PAIRS.short_rsa), vec!["RS256"]),
        (JwtKey::PublicPem("no key".into()), vec![]),
        (JwtKey::Secret(JWT_SECRET.to_vec().into()), vec!["RS256"]),
        (JwtKey::Secret(b"short".to_vec().into()), vec![]),
        (
            JwtKey::KeySetUrl("http://id.example.com/keys".into()),
            vec![],
        ),
        (JwtKey::KeySetUrl("file:///etc/passwd".into()), vec![]),
        (JwtKey::KeySetUrl("keys".into()), vec![]),
    ] {
        assert!(
            JwtVerifier::new(key, rules(&algorithms)).is_err(),
            "{algorithms:?}"
        );
    }
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_refused_token_gives_its_reason() {
    let rules = JwtRules {
        issuer: Some("https://id.example.com".into()),
        audience: Some("rowlink".into()),
        ..JwtRules::default()
    };
    let issuer = hs256_issuer(rules);
    let refused = |token: &str| wait(issuer.verify(token, NOW)).unwrap_err().to_string();
    let claims = |issuer: &str, audience: &str| {
        token_for(&json!({"sub": "alice", "exp": NOW + 60, "iss": issuer, "aud": audience}))
    };
    let good = claims("https://id.example.com", "rowlink");
    assert!(wait(issuer.verify(&good, NOW)).is_ok());
    for (token, why) in [
        ("no token".to_owned(), "expected a JSON Web Token"),
        (
            token(Algorithm::ES256, None),
            "unsupported algorithm (`alg`)",
        ),
        (
            claims("https://other.example.com", "rowlink"),
            "unknown issuer (`iss`)",
        ),
        (
            claims("https://id.example.com", "other"),
            "unknown audience (`aud`)",
        ),
        (
            token_for(&json!({"sub": "alice", "exp": NOW + 60, "aud": "rowlink"})),
            "missing claim `iss` or `aud`",
        ),
        (
            format!("{}A", &good[..good.len() - 1]),
            "the signature does not match the token",
        ),
    ] {
        assert_eq!(refused(&token), why);
    }
}

#[test]
fn a_secret_is_at_least_as_long_as_the_hash() {
    let issuer = |bytes: usize| {
        let secret = JwtKey::Secret(vec![b'x'; bytes].into());
        JwtVerifier::new(secret, JwtRules::default())
    };
    assert!(issuer(31).is_err());
    assert!(issuer(32).is_ok());
}

#[test]
fn the_signed_rfc_examples_are_accepted_and_the_unsecured_one_is_not() {
    let vectors = vectors();
    let expires = vectors["expires"].as_u64().unwrap();
    let by_iss = |algorithms: &[&str]| JwtRules {
        user_claim: "iss".into(),
        ..rules(algorithms)
    };
    let secret = vectors["HS256"]["secret"].as_str().unwrap();
    let secret = JwtKey::Secret(URL_SAFE_NO_PAD.decode(secret).unwrap().into());
    let published = |name: &str| {
        let set = json!({"keys": [vectors[name]["jwk"]]});
        let provider = Provider::start(move |_| json_answer(&set));
        let key = JwtKey::KeySetUrl(provider.url());
        (provider, key)
    };
    let (_rs, rs256) = published("RS256");
    let (_es, es256) = published("ES256");
    for (name, key) in [("HS256", secret), ("RS256", rs256), ("ES256", es256)] {
        let issuer = JwtVerifier::new(key, by_iss(&[name])).unwrap();
        let token = vectors[name]["token"].as_str().unwrap();
        let caller =
            wait(issuer.verify(token, expires)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(caller.user.unwrap().as_str(), "joe");
        assert!(
            wait(issuer.verify(token, expires + 30)).is_err(),
            "{name} does not expire"
        );
        let changed = format!("{}A", &token[..token.len() - 1]);
        assert!(wait(issuer.verify(&changed, expires)).is_err());
        for other in ["none", "ES512"] {
            let token = vectors[other]["token"].as_str().unwrap();
            assert!(wait(issuer.verify(token, expires)).is_err(), "{other}");
        }
    }
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn only_suitable_keys_of_a_key_set_are_used() {
    let signing = jwk(Algorithm::RS256, "a");
    let changed = |name: &str, value: Value| {
        let mut key = signing.clone();
        key[name] = value;
        key
    };
    let short = Jwk::from_encoding_key(
        &EncodingKey::from_rsa_pem(PAIRS.short_rsa.private.as_bytes()).unwrap(),
        Algorithm::RS256,
    );
    let short = serde_json::to_value(short.unwrap()).unwrap();
    let accepts = |keys: Value, key_id: Option<&str>| {
        let set = json!({"keys": keys});
        let provider = Provider::start(move |_| json_answer(&set));
        let issuer = provider.issuer("RS256");
        wait(issuer.verify(&token(Algorithm::RS256, key_id), NOW)).is_ok()
    };
    let rfc_7517 = vectors()["key_set"]["keys"].clone();
    assert!(accepts(json!([signing]), Some("a")));
    assert!(accepts(
        json!([rfc_7517[0], rfc_7517[1], {"kty": "new"}, 7, signing]),
        Some("a")
    ));
    assert!(
        accepts(json!([rfc_7517[0], signing]), None),
        "only one key is suitable"
    );
    assert!(
        !accepts(json!([rfc_7517[1], signing]), None),
        "two keys are suitable"
    );
    assert!(!accepts(json!([signing]), Some("b")));
    assert!(!accepts(json!([changed("use", json!("enc"))]), Some("a")));
    assert!(!accepts(
        json!([changed("key_ops", json!(["sign"]))]),
        Some("a")
    ));
    assert!(!accepts(json!([changed("alg", json!("RS512"))]), Some("a")));
    let by_short = {
        let key = EncodingKey::from_rsa_pem(PAIRS.short_rsa.private.as_bytes()).unwrap();
        let claims = json!({"sub": "alice", "exp": NOW + 60});
        encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    };
    let mut padded = short.clone();
    let modulus = URL_SAFE_NO_PAD
        .decode(short["n"].as_str().unwrap())
        .unwrap();
    padded["n"] = json!(URL_SAFE_NO_PAD.encode([vec![0; 128], modulus].concat()));
    for key in [short, padded] {
        let set = json!({"keys": [key]});
        let provider = Provider::start(move |_| json_answer(&set));
        let result = wait(provider.issuer("RS256").verify(&by_short, NOW));
        assert!(result.is_err(), "a key of 1024 bits");
    }
    let many: Vec<Value> = (0..60)
        .map(|n| changed("kid", json!(n.to_string())))
        .chain([signing.clone()])
        .collect();
    assert!(accepts(json!(many), Some("a")));
    assert!(!accepts(
        json!([{"kty": "oct", "k": "AAAA", "kid": "a"}]),
        Some("a")
    ));
    assert!(!accepts(json!([]), Some("a")));
    for (algorithm, name) in ALGORITHMS {
        let set = json!({"keys": [jwk(algorithm, "k")]});
        let provider = Provider::start(move |_| json_answer(&set));
        let issuer = provider.issuer(name);
        let token = token(algorithm, Some("k"));
        assert!(wait(issuer.verify(&token, NOW)).is_ok(), "{name}");
    }
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn an_invalid_jwks_response_only_makes_tokens_unverifiable() {
    let set = json!({"keys": [jwk(Algorithm::ES256, "a")]});
    let good = Provider::start(move |_| json_answer(&set));
    let elsewhere = good.url();
    let endless = vec![b' '; 10 << 20];
    let responses: Vec<(&str, Box<Respond>)> = vec![
        ("10 MiB", Box::new(move |_| answer("200 OK", "", &endless))),
        (
            "a redirect",
            Box::new(move |_| answer("302 Found", &format!("Location: {elsewhere}\r\n"), b"")),
        ),
        ("an error", Box::new(|_| answer("500 No", "", b"{}"))),
        ("no JSON", Box::new(|_| answer("200 OK", "", b"<html>"))),
        ("no set", Box::new(|_| answer("200 OK", "", b"[]"))),
        ("nothing", Box::new(|_| Vec::new())),
        (
            "half",
            Box::new(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"keys\":[".to_vec()),
        ),
    ];
    for (what, respond) in responses {
        let provider = Provider::start(respond);
        let issuer = provider.issuer("ES256");
        let result = wait(issuer.verify(&token(Algorithm::ES256, Some("a")), NOW));
        assert_eq!(result.err(), Some(AuthError::KeysUnavailable), "{what}");
        assert_eq!(provider.requests(), 1, "{what}");
    }
    assert_eq!(good.requests(), 0, "a redirect was followed");
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_slow_provider_times_out_after_three_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let slow_server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Each byte arrives in time, but the response takes too long.
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n";
        let mut sent = stream.write_all(head);
        while sent.is_ok() {
            thread::sleep(Duration::from_millis(50));
            sent = stream.write_all(b" ");
        }
    });
    let issuer = JwtVerifier::new(JwtKey::KeySetUrl(url), rules(&["ES256"])).unwrap();
    let result = wait(async {
        let token = token(Algorithm::ES256, Some("a"));
        tokio::time::timeout(Duration::from_secs(20), issuer.verify(&token, NOW)).await
    });
    assert_eq!(
        result.expect("the verifier times out").err(),
        Some(AuthError::KeysUnavailable)
    );
    slow_server.join().unwrap();
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_thousand_unknown_key_ids_cause_two_requests_per_minute() {
    let set = json!({"keys": [jwk(Algorithm::ES256, "a")]});
    let provider = Provider::start(move |_| json_answer(&set));
    let issuer = provider.issuer("ES256");
    let good = token(Algorithm::ES256, Some("a"));
    paused(async {
        for number in 0..1000 {
            let key_id = format!("unknown {number}");
            let result = issuer
                .verify(&token(Algorithm::ES256, Some(&key_id)), NOW)
                .await;
            assert!(matches!(result, Err(AuthError::Refused(_))));
            assert!(issuer.verify(&good, NOW).await.is_ok());
            tokio::time::advance(Duration::from_millis(59)).await;
        }
    });
    assert_eq!(provider.requests(), 2);
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn concurrent_tokens_cause_one_request() {
    let set = json!({"keys": [jwk(Algorithm::ES256, "a")]});
    let provider = Provider::start(move |_| {
        thread::sleep(Duration::from_millis(100));
        json_answer(&set)
    });
    let issuer = provider.issuer("ES256");
    let good = token(Algorithm::ES256, Some("a"));
    let results = wait(futures_util::future::join_all(
        (0..50).map(|_| issuer.verify(&good, NOW)),
    ));
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(provider.requests(), 1);
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_disconnected_client_does_not_cancel_the_key_set_request() {
    let set = json!({"keys": [jwk(Algorithm::ES256, "a")]});
    let provider = Provider::start(move |_| {
        thread::sleep(Duration::from_millis(300));
        json_answer(&set)
    });
    let issuer = provider.issuer("ES256");
    let good = token(Algorithm::ES256, Some("a"));
    wait(async {
        let short_timeout =
            tokio::time::timeout(Duration::from_millis(50), issuer.verify(&good, NOW));
        assert!(
            short_timeout.await.is_err(),
            "the provider was too fast for this test"
        );
        assert!(issuer.verify(&good, NOW).await.is_ok());
    });
    assert_eq!(provider.requests(), 1);
}

#[test]
fn an_issuer_can_be_limited_to_some_exports_and_names_the_credential() {
    let issuer = hs256_issuer(JwtRules {
        name: "jwt shop".into(),
        exports: Some(["orders".to_owned()].into()),
        ..JwtRules::default()
    });
    let claims = json!({"sub": "7", "exp": NOW + 60});
    let caller = wait(issuer.verify(&token_for(&claims), NOW)).unwrap();
    assert_eq!(caller.credential, "jwt shop");
    assert_eq!(caller.exports, Some(["orders".to_owned()].into()));
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn a_new_key_is_fetched_a_withdrawn_one_removed_and_an_outage_keeps_the_last_key_set() {
    let served = Arc::new(Mutex::new(json_answer(
        &json!({"keys": [jwk(Algorithm::ES256, "old")]}),
    )));
    let now_served = served.clone();
    let provider = Provider::start(move |_| now_served.lock().unwrap().clone());
    let issuer = provider.issuer("ES256");
    let [old, new] = ["old", "new"].map(|name| token(Algorithm::ES256, Some(name)));
    paused(async {
        let accepts = async |token: &str| issuer.verify(token, NOW).await.is_ok();
        assert!(accepts(&old).await);
        tokio::time::advance(Duration::from_secs(500)).await;
        assert!(accepts(&old).await);
        assert_eq!(provider.requests(), 1, "a known key was requested");
        let unknown = token(Algorithm::ES256, Some("other"));
        assert!(!accepts(&unknown).await);
        assert_eq!(provider.requests(), 2);
        *served.lock().unwrap() = json_answer(&json!({"keys": [jwk(Algorithm::ES256, "new")]}));
        assert!(
            !accepts(&new).await,
            "the key set was requested again within 30 seconds"
        );
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(accepts(&new).await);
        assert!(!accepts(&old).await, "a withdrawn key was accepted");
        *served.lock().unwrap() = answer("503 Down", "", b"");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(accepts(&new).await, "the last key set was dropped");
        *served.lock().unwrap() = json_answer(&json!({"keys": []}));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!accepts(&new).await, "a withdrawn key was accepted");
    });
}

#[test]
#[ignore = "needs OpenSSL: make test"]
fn each_of_several_issuers_has_its_own_key() {
    let named = |issuer: &str| JwtRules {
        issuer: Some(issuer.into()),
        ..JwtRules::default()
    };
    let rsa = JwtVerifier::new(
        JwtKey::PublicPem(public_pem(Algorithm::RS256)),
        JwtRules {
            algorithms: vec!["RS256".into()],
            ..named("https://a")
        },
    );
    let authenticator =
        Authenticator::new(vec![rsa.unwrap(), hs256_issuer(named("https://b"))], None);
    let admits = |token: &str| wait(authenticator.authenticate(token, NOW)).is_ok();
    let by_rsa = |issuer: &str| {
        let claims = json!({"sub": "u", "exp": NOW + 60, "iss": issuer});
        encode(
            &Header::new(Algorithm::RS256),
            &claims,
            &encoding_key(Algorithm::RS256),
        )
        .unwrap()
    };
    let by_secret = |issuer: Value| token_for(&json!({"sub": "u", "exp": NOW + 60, "iss": issuer}));
    assert!(admits(&by_rsa("https://a")));
    assert!(admits(&by_secret(json!("https://b"))));
    assert!(!admits(&by_rsa("https://b")));
    assert!(!admits(&by_secret(json!("https://a"))));
    assert!(!admits(&by_secret(json!("https://c"))));
    assert!(!admits(&by_secret(json!(null))));
    assert!(!admits(&by_secret(json!(["https://b"]))));
    assert!(!admits(&token(Algorithm::RS256, None)));
    assert!(!admits("nonsense"));
}

#[test]
fn scopes_come_from_three_claims_and_the_user_from_a_configurable_one() {
    let issuer = hs256_issuer(JwtRules {
        user_claim: "uid".into(),
        ..JwtRules::default()
    });
    let claims = json!({
        "uid": "7", "sub": "other", "exp": NOW + 60,
        "scope": "a b", "scp": ["c"], "permissions": ["d:e", "a"],
    });
    let caller = wait(issuer.verify(&token_for(&claims), NOW)).unwrap();
    assert_eq!(caller.user.unwrap().as_str(), "7");
    assert_eq!(
        caller.scopes.into_iter().collect::<Vec<_>>(),
        ["a", "b", "c", "d:e"]
    );
    for (number, text) in [
        (json!(7), "7"),
        (json!(-1), "-1"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let claims = json!({"uid": number, "exp": NOW + 60});
        let caller = wait(issuer.verify(&token_for(&claims), NOW)).unwrap();
        assert_eq!(caller.user.unwrap().as_str(), text);
    }
    for bad in [
        json!({"uid": 7.5}),
        json!({"uid": true}),
        json!({"uid": null, "sub": "7"}),
        json!({"sub": "7"}),
    ] {
        let mut claims = bad.clone();
        claims["exp"] = json!(NOW + 60);
        let result = wait(issuer.verify(&token_for(&claims), NOW));
        assert!(result.is_err(), "{bad} was accepted");
    }
}

#[test]
#[ignore = "needs OpenSSL and Python: make test"]
fn a_key_set_over_https_needs_a_system_root() {
    let folder = tempfile::tempdir().unwrap();
    create_certificates(folder.path());
    let set = json!({"keys": [jwk(Algorithm::ES256, "a")]}).to_string();
    std::fs::write(folder.path().join("keys"), set).unwrap();
    let mut provider = https_folder(folder.path());
    let mut port = String::new();
    BufReader::new(provider.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("https://localhost:{}/keys", port.trim());

    let configured = crate::harness::process::configured_folder(&crate::harness::exports());
    let check = |root: &str| {
        let mut command = crate::harness::process::command(configured.path());
        command.arg("check").env_remove("ROWLINK_JWT_HS256_SECRET");
        command
            .env("ROWLINK_JWT_JWKS_URL", &url)
            .env("ROWLINK_JWT_ALGORITHMS", "ES256");
        command.env("SSL_CERT_FILE", folder.path().join(root));
        command.output().unwrap()
    };
    let trusted = check("ca.pem");
    assert!(
        trusted.status.success(),
        "{}",
        String::from_utf8_lossy(&trusted.stderr)
    );
    let untrusted = check("other.pem");
    let said = String::from_utf8_lossy(&untrusted.stderr);
    assert!(
        !untrusted.status.success() && said.contains("its keys are unavailable"),
        "{said}"
    );
    provider.kill().unwrap();
    provider.wait().unwrap();
}

/// Serves a folder over TLS until it is killed; prints its port.
fn https_folder(folder: &Path) -> std::process::Child {
    let script = "import http.server, ssl\n\
        server = http.server.HTTPServer(('localhost', 0), http.server.SimpleHTTPRequestHandler)\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain('server.pem', 'server.key')\n\
        server.socket = context.wrap_socket(server.socket, server_side=True)\n\
        print(server.server_port, flush=True)\n\
        server.serve_forever()\n";
    Command::new("python3")
        .args(["-c", script])
        .current_dir(folder)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// Runs a future with a clock that only `tokio::time::advance` moves.
fn paused(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

type Respond = dyn Fn(usize) -> Vec<u8> + Send + Sync;

/// A key set server with a given response per request.
struct Provider {
    port: u16,
    requests: Arc<AtomicUsize>,
}

impl Provider {
    fn start(respond: impl Fn(usize) -> Vec<u8> + Send + Sync + 'static) -> Provider {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        // Runs until the test process ends.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                serve(stream.unwrap(), &respond(number));
            }
        });
        Provider { port, requests }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/keys", self.port)
    }

    fn issuer(&self, algorithm: &str) -> JwtVerifier {
        JwtVerifier::new(JwtKey::KeySetUrl(self.url()), rules(&[algorithm])).unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while request.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    // The client may close early.
    let _ = stream.write_all(answer);
}

fn json_answer(body: &Value) -> Vec<u8> {
    answer(
        "200 OK",
        "Content-Type: application/json\r\n",
        body.to_string().as_bytes(),
    )
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
