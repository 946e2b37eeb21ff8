//! `heads URL CLIENTS` sends HEAD requests over persistent connections and prints the responses per second. The load
//! generators in Debian wait for the announced body, which a HEAD response does not have.

use std::env::args;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_secs(1);

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    let [url, clients] = arguments.as_slice() else {
        panic!("heads URL CLIENTS");
    };
    let clients: usize = clients.parse().expect("a number");
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let head = format!("HEAD /{path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    // One thread per processor: one per connection would measure thread switches.
    let threads = thread::available_parallelism().map_or(1, |count| count.get()).min(clients);
    let begin = Instant::now() + WARM_UP;
    let answers: usize = thread::scope(|scope| {
        let ask = || ask(address, &head, clients / threads, begin);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("every response is a 200")).sum()
    });
    println!("{:.0}", answers as f64 / MEASURED.as_secs_f64());
}

/// Sends one request per connection in each round, then reads the responses. Returns the number within `MEASURED`.
fn ask(address: &str, head: &str, clients: usize, begin: Instant) -> usize {
    let mut streams: Vec<TcpStream> = (0..clients).map(|_| connect(address)).collect();
    let mut answers = 0;
    loop {
        for stream in &mut streams {
            stream.write_all(head.as_bytes()).expect("an open connection");
        }
        for stream in &mut streams {
            read_answer(stream);
            let elapsed = begin.elapsed();
            if elapsed > MEASURED {
                return answers;
            }
            answers += usize::from(!elapsed.is_zero());
        }
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
