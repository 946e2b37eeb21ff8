use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::message::encode;
use super::*;

const ROW_BYTES_MAX: usize = 2 << 20;

/// Sends messages in pieces of a size. Returns what the driver gets and what is diverted.
async fn split(messages: &[Vec<u8>], piece: usize, responses_before: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut backend, socket) = tokio::io::duplex(50_000);
    let intercept = InterceptState::default();
    intercept.logged_in();
    let mut rows = intercept.intercept(responses_before, Vec::new(), ROW_BYTES_MAX);
    let mut interceptor = RowInterceptor::new(socket, intercept);
    let sent = messages.concat();
    let send = async move {
        for piece in sent.chunks(piece) {
            backend.write_all(piece).await.expect("a reader");
        }
    };
    let mut driver = Vec::new();
    let read = async {
        interceptor
            .read_to_end(&mut driver)
            .await
            .expect("all of it");
        drop(interceptor);
    };
    let mut diverted = Vec::new();
    let divert = async {
        while let Some(chunk) = rows.recv().await {
            diverted.extend(chunk.expect("rows of an allowed size"));
        }
    };
    tokio::join!(send, read, divert);
    (driver, diverted)
}

fn without_rows(messages: &[Vec<u8>]) -> Vec<u8> {
    let others = messages.iter().filter(|message| message[0] != DATA_ROW);
    others.flatten().copied().collect()
}

fn rows_of(messages: &[Vec<u8>]) -> Vec<u8> {
    let rows = messages.iter().filter(|message| message[0] == DATA_ROW);
    rows.flatten().copied().collect()
}

#[tokio::test(start_paused = true)]
async fn rows_of_any_size_are_diverted_whole_and_in_order() {
    let row = |length: usize| encode(DATA_ROW, &vec![length as u8; length]);
    let mut messages = vec![encode(b'T', b"columns")];
    let lengths = [
        0,
        1,
        100,
        READ_BUF_BYTES - 5,
        READ_BUF_BYTES,
        READ_BUF_BYTES + 1,
        1 << 20,
    ];
    messages.extend(lengths.iter().cycle().take(50).map(|length| row(*length)));
    messages.extend([encode(b'C', b"SELECT 50"), encode(READY_FOR_QUERY, b"T")]);
    for piece in [7_919, 8_192, 50_000] {
        let (driver, diverted) = split(&messages, piece, 0).await;
        assert!(driver == without_rows(&messages), "pieces of {piece}");
        assert!(diverted == rows_of(&messages), "pieces of {piece}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_of_other_responses_go_to_the_driver() {
    let response = |name: &[u8]| [encode(DATA_ROW, name), encode(READY_FOR_QUERY, b"T")];
    let messages = [
        response(b"before"),
        response(b"selected"),
        response(b"after"),
    ]
    .concat();
    let (driver, diverted) = split(&messages, 3, 1).await;
    assert_eq!(diverted, encode(DATA_ROW, b"selected"));
    assert_eq!(driver.len(), messages.concat().len() - diverted.len());
}

#[tokio::test(start_paused = true)]
async fn rows_without_a_receiver_are_discarded() {
    let (mut backend, socket) = tokio::io::duplex(50_000);
    let intercept = InterceptState::default();
    intercept.logged_in();
    drop(intercept.intercept(0, Vec::new(), ROW_BYTES_MAX));
    let mut interceptor = RowInterceptor::new(socket, intercept);
    let end = encode(READY_FOR_QUERY, b"T");
    let sent = [encode(DATA_ROW, b"row").repeat(1000), end.clone()].concat();
    backend.write_all(&sent).await.expect("a reader");
    drop(backend);
    let mut driver = Vec::new();
    interceptor
        .read_to_end(&mut driver)
        .await
        .expect("all of it");
    assert_eq!(driver, end);
}

#[tokio::test(start_paused = true)]
async fn a_response_starts_without_delay_also_after_a_long_one() {
    let (mut backend, socket) = tokio::io::duplex(1 << 20);
    let intercept = InterceptState::default();
    intercept.logged_in();
    let mut interceptor = RowInterceptor::new(socket, intercept);
    let mut long = encode(b'd', &vec![0; 3 * COALESCE_AFTER_BYTES]);
    backend.write_all(&long).await.expect("a reader");
    interceptor.read_exact(&mut long).await.expect("all of it");

    interceptor.write_all(b"request").await.expect("a backend");
    let response = encode(READY_FOR_QUERY, b"T");
    backend.write_all(&response).await.expect("a reader");
    let start = Instant::now();
    interceptor
        .read_exact(&mut long[..response.len()])
        .await
        .expect("a response");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn an_invalid_message_ends_the_connection() {
    let (mut backend, socket) = tokio::io::duplex(100);
    let intercept = InterceptState::default();
    intercept.logged_in();
    let mut interceptor = RowInterceptor::new(socket, intercept);
    backend
        .write_all(b"D\0\0\0\x03more")
        .await
        .expect("a reader");
    let error = interceptor.read_u8().await.expect_err("refused");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn messages_are_split_whatever_pieces_they_come_in(
        bodies in prop::collection::vec((prop::sample::select(vec![b'D', b'N', b'T']), 0..2000_usize), 0..60),
        piece in 1..5000_usize,
    ) {
        let mut messages: Vec<Vec<u8>> =
            bodies.iter().map(|(tag, length)| encode(*tag, &vec![*tag; *length])).collect();
        messages.push(encode(READY_FOR_QUERY, b"T"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let (driver, diverted) = runtime.expect("a runtime").block_on(split(&messages, piece, 0));
        prop_assert_eq!(driver, without_rows(&messages));
        prop_assert_eq!(diverted, rows_of(&messages));
    }
}
