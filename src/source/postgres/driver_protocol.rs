//! Checks the messages of the pinned tokio-postgres version: `formats.rs` rewrites its `Bind`, and
//! `row_interceptor.rs` counts the responses to its requests.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Config, NoTls};

use super::formats::WireFormat;
use super::intercept_state::InterceptState;
use super::message::{
    BIND, DATA_ROW, HEADER_BYTES, QUERY, READY_FOR_QUERY, SYNC, encode, parse_header,
};
use super::row_interceptor::RowInterceptor;

const LAYOUT_CHANGED: &str = "the messages differ from those of tokio-postgres 0.7.18: check ALL_BINARY and FormatRewrite in \
                      formats.rs, and the order of requests and responses in stream.rs and intercept_state.rs";

const ROW_BYTES_MAX: usize = 1000;

/// Turns a missing message into a failure.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Connects the driver, through a row interceptor, to the returned server side.
async fn connect() -> (Client, InterceptState, DuplexStream) {
    let (socket, mut server) = tokio::io::duplex(64 * 1024);
    let intercept = InterceptState::default();
    let socket = RowInterceptor::new(socket, intercept.clone());
    let login = [encode(b'R', &[0; 4]), encode(READY_FOR_QUERY, b"I")].concat();
    server.write_all(&login).await.expect("an open socket");
    let mut config = Config::new();
    config.user("u").ssl_mode(SslMode::Disable);
    let connected = config.connect_raw(socket, NoTls).await;
    let (client, connection) = connected.expect("a connection");
    intercept.logged_in();
    tokio::spawn(connection);
    let length = server.read_u32().await.expect("a start-up message") as usize;
    let mut startup = vec![0; length - 4];
    server.read_exact(&mut startup).await.expect("its body");
    (client, intercept, server)
}

async fn read_message(server: &mut DuplexStream) -> Vec<u8> {
    let mut message = vec![0; HEADER_BYTES];
    server.read_exact(&mut message).await.expect(LAYOUT_CHANGED);
    let header = message.first_chunk().expect("a header");
    let (_, length) = parse_header(header).expect(LAYOUT_CHANGED);
    message.resize(length, 0);
    let body = &mut message[HEADER_BYTES..];
    server.read_exact(body).await.expect(LAYOUT_CHANGED);
    message
}

/// Runs `begin` and a query with one parameter, as `stream.rs` does. Returns the rows that reach the interceptor's
/// receiver, the number that the driver reports, and the requests that the server receives.
async fn run_query(formats: Option<Vec<WireFormat>>) -> (Vec<u8>, Option<u64>, Vec<Vec<u8>>) {
    let (client, intercept, mut server) = connect().await;
    let chunks = formats.map(|formats| intercept.intercept(1, formats, ROW_BYTES_MAX));
    let requests = async {
        let (begun, response) = tokio::join!(
            client.batch_execute("begin"),
            client.query_typed_raw("select $1", [("x", Type::TEXT)])
        );
        begun.expect(LAYOUT_CHANGED);
        let response = response.expect(LAYOUT_CHANGED);
        tokio::pin!(response);
        let mut rows = Vec::new();
        if let Some(mut chunks) = chunks {
            while let Some(chunk) = chunks.recv().await {
                rows.extend(chunk.expect("a small row"));
            }
        }
        while let Some(row) = response.next().await {
            assert!(rows.is_empty() && row.is_ok(), "{LAYOUT_CHANGED}");
        }
        (rows, response.rows_affected())
    };
    let responses = async {
        let mut received = Vec::new();
        for _ in 0..6 {
            received.push(read_message(&mut server).await);
        }
        let column = [b"c\0", &[0; 6][..], &[0, 0, 0, 25], &[0xff; 6], &[0; 2]].concat();
        let response = [
            encode(b'C', b"BEGIN\0"),
            encode(READY_FOR_QUERY, b"T"),
            encode(b'1', b""),
            encode(b'2', b""),
            encode(b't', &[0, 1, 0, 0, 0, 25]),
            encode(b'T', &[&[0, 1], &column[..]].concat()),
            row(),
            row(),
            encode(b'C', b"SELECT 2\0"),
            encode(READY_FOR_QUERY, b"T"),
        ];
        server
            .write_all(&response.concat())
            .await
            .expect("a client");
        received
    };
    let exchange = async { tokio::join!(requests, responses) };
    let exchange = tokio::time::timeout(TIME_LIMIT, exchange).await;
    let ((rows, count), received) = exchange.expect(LAYOUT_CHANGED);
    (rows, count, received)
}

fn row() -> Vec<u8> {
    encode(DATA_ROW, b"\0\x01\0\0\0\x01x")
}

/// The requests for `begin` and the query, with these result formats in `Bind`.
fn expected_requests(result_formats: &[u8]) -> Vec<Vec<u8>> {
    let bind = [
        b"\0\0",                   // unnamed portal and statement
        &[0, 1, 0, 1][..],         // one parameter format: binary, the driver's default
        &[0, 1, 0, 0, 0, 1, b'x'], // one parameter of one byte
        result_formats,
    ];
    vec![
        encode(QUERY, b"begin\0"),
        encode(b'P', b"\0select $1\0\0\x01\0\0\0\x19"),
        encode(BIND, &bind.concat()),
        encode(b'D', b"S\0"),
        encode(b'E', &[0; 5]),
        encode(SYNC, b""),
    ]
}

#[tokio::test]
async fn the_driver_requests_binary_for_all_columns_at_the_end_of_bind() {
    let (_, count, received) = run_query(None).await;
    assert_eq!(
        received,
        expected_requests(&[0, 1, 0, 1]),
        "{LAYOUT_CHANGED}"
    );
    assert_eq!(count, Some(2), "{LAYOUT_CHANGED}");
}

#[tokio::test]
async fn formats_are_rewritten_and_rows_diverted_with_the_real_driver() {
    let (rows, count, received) = run_query(Some(vec![WireFormat::Text])).await;
    assert_eq!(
        received,
        expected_requests(&[0, 1, 0, 0]),
        "{LAYOUT_CHANGED}"
    );
    assert_eq!(rows, row().repeat(2), "{LAYOUT_CHANGED}");
    assert_eq!(count, Some(2), "{LAYOUT_CHANGED}");
}
