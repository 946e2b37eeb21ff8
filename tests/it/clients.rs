//! The client packages against a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{TestServer, python, token, tool};

/// A server that sends this to whoever asks, and closes.
fn sends(query: &str, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/v1/exports/orders.csv?{query}");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(answer).unwrap();
    });
    url
}

#[test]
fn python_downloads_whole_files_and_leaves_nothing_of_broken_ones() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let short = sends(
        "",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nid,name\r\n",
    );
    let unended = sends(
        "",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nid\r\n\r\n",
    );
    let unproved = sends(
        "rl_end_line=true",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nid\r\n",
    );
    let arguments = [
        &server.origin,
        &token(server.now()),
        folder.path().to_str().unwrap(),
        &short,
        &unended,
        &unproved,
    ];
    let said = python("use_python_client.py", &arguments.map(AsRef::as_ref));
    let seen: Value = serde_json::from_str(&said).unwrap();
    let numbers = json!({"export": "numbers", "format": "csv", "filters": {"n": 300_000}});
    let length = server.download(numbers).body.len();
    assert_eq!(
        seen["whole"],
        json!(["numbers of März.csv", length, true, length])
    );
    assert_eq!(
        (&seen["workbook"], &seen["small"]),
        (&json!("PK"), &json!("id,"))
    );
    let (status, code) = (&seen["problem"][0], &seen["problem"][1]);
    assert_eq!((status, code), (&json!(422), &json!("invalid-values")));
    assert!(seen["problem"][2]["filters.from"].is_string() && seen["problem"][3] == true);
    assert_eq!(seen["tampered"], json!([403, "bad-signature"]));
    assert_eq!(
        (&seen["broken"], &seen["short"], &seen["unended"]),
        (&json!("cut"), &json!("cut"), &json!("cut"))
    );
    assert_eq!(seen["unproved"], "the");
    assert_eq!(seen["proved"], "9,,row 9 of alice");
    assert_eq!(seen["exact"], json!([true, 5_000, "count"]));
    assert_eq!(seen["kept"], "what was there before");
    assert_eq!(
        seen["files"],
        json!([
            "book.xlsx",
            "exact.csv",
            "kept.csv",
            "numbers of März.csv",
            "proved.csv",
            "small.csv"
        ])
    );
    assert!(
        seen["exports"]
            .as_array()
            .unwrap()
            .contains(&json!("orders"))
    );
    assert_eq!(seen["repr"], false, "the token can be printed");
}

#[test]
fn the_python_client_is_typed() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/python/src/rowlink");
    let run = Command::new(tool("venv").join("bin/mypy"))
        .args([
            "--strict",
            "--python-version",
            "3.10",
            "--cache-dir",
            "/dev/null",
        ])
        .arg(package)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stdout)
    );
}
