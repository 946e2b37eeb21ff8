//! `heads URL REQUESTS CLIENTS` asks for the head of a file again and again, over connections that stay open, and
//! prints how many answers came a second. The load generators of Debian's packages wait for a body, which the answer to
//! a HEAD announces and does not bring.

use std::env::args;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    let [url, requests, clients] = arguments.as_slice() else {
        panic!("heads URL REQUESTS CLIENTS");
    };
    let (requests, clients): (usize, usize) = (number(requests), number(clients));
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let head = format!("HEAD /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    // A thread for each processor: one for each connection would measure how threads are switched.
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    let rounds = requests / clients;
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| ask(address, &head, clients / threads, rounds));
        }
    });
    let asked = clients / threads * threads * rounds;
    println!("{:.0}", asked as f64 / begun.elapsed().as_secs_f64());
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// In each round asks on every connection, and then reads every answer.
fn ask(address: &str, head: &str, clients: usize, rounds: usize) {
    let mut streams: Vec<TcpStream> = (0..clients).map(|_| connect(address)).collect();
    for _ in 0..rounds {
        for stream in &mut streams {
            stream.write_all(head.as_bytes()).expect("an open connection");
        }
        streams.iter_mut().for_each(read_answer);
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    stream
}

fn read_answer(stream: &mut TcpStream) {
    let (mut answer, mut length) = ([0; 4096], 0);
    while !answer[..length].ends_with(b"\r\n\r\n") {
        length += match stream.read(&mut answer[length..]).expect("an open connection") {
            0 => panic!("the connection was closed"),
            read => read,
        };
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
}
