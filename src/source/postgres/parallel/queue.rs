//! Hands out ranges to connections, in order, and tells the reader which connection has the next one.

use tokio::sync::{Mutex, mpsc};

use super::ranges::{Range, Ranges};
use crate::source::sink::ReaderDropped;

/// How many ranges may be handed out beyond the one that is read. Each connection also stops when its
/// channel is full; this bounds ranges without rows.
const TURNS_IN_FLIGHT: usize = 64;

/// What the reader reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next range, from the connection with this index.
    Part(usize),
    /// No other range: the pass has ended.
    EndOfPass,
}

/// The ranges that no connection has yet.
pub(super) struct RangeQueue {
    ranges: Ranges,
    passes: usize,
    next: Mutex<Next>,
}

struct Next {
    pass: usize,
    index: u64,
    /// In the order of the ranges.
    turns: mpsc::Sender<Turn>,
}

impl RangeQueue {
    /// Returns a queue of all ranges, once per pass, and the order in which their rows must be read.
    pub(super) fn new(ranges: Ranges, passes: usize) -> (RangeQueue, mpsc::Receiver<Turn>) {
        let (turns, receiver) = mpsc::channel(TURNS_IN_FLIGHT);
        let queue = RangeQueue {
            ranges,
            passes,
            next: Mutex::new(Next {
                pass: 0,
                index: 0,
                turns,
            }),
        };
        (queue, receiver)
    }

    /// Takes the next range for a connection, which must then send its rows; `None` after the last one.
    ///
    /// A connection takes a range only when it has sent the one before it. So the range that is read next is always one
    /// whose connection waits for nothing but its reader.
    ///
    /// # Errors
    /// Returns [`ReaderDropped`] if the rows are not read any more.
    pub(super) async fn take(&self, connection: usize) -> Result<Option<Range>, ReaderDropped> {
        let mut next = self.next.lock().await;
        while next.pass < self.passes {
            if next.index == self.ranges.len() {
                (next.pass, next.index) = (next.pass + 1, 0);
                next.send(Turn::EndOfPass).await?;
                continue;
            }
            let range = self.ranges.get(next.index);
            next.index += 1;
            if let Some(range) = range {
                next.send(Turn::Part(connection)).await?;
                return Ok(Some(range));
            }
        }
        Ok(None)
    }
}

impl Next {
    async fn send(&self, turn: Turn) -> Result<(), ReaderDropped> {
        self.turns.send(turn).await.map_err(|_| ReaderDropped)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranges::Histogram;
    use super::*;

    fn queue(passes: usize) -> (RangeQueue, mpsc::Receiver<Turn>) {
        let histogram = Histogram::parse("{0,10,20}").expect("a histogram");
        RangeQueue::new(Ranges::new(histogram, 2), passes)
    }

    #[tokio::test]
    async fn each_range_is_handed_out_once_per_pass_in_the_order_in_which_it_is_read() {
        let (queue, mut turns) = queue(2);
        let all = [Range::Below(10), Range::From(10), Range::Null];
        let mut expected = Vec::new();
        for _ in 0..2 {
            for (connection, range) in all.into_iter().enumerate() {
                let taken = queue.take(connection).await.expect("a reader");
                assert_eq!(taken, Some(range));
                expected.push(Turn::Part(connection));
            }
            expected.push(Turn::EndOfPass);
        }
        for connection in 0..2 {
            assert_eq!(queue.take(connection).await.expect("a reader"), None);
        }
        drop(queue);
        let mut read = Vec::new();
        while let Some(turn) = turns.recv().await {
            read.push(turn);
        }
        assert_eq!(read, expected);
    }

    #[tokio::test]
    async fn without_a_reader_no_range_is_handed_out() {
        let (queue, turns) = queue(1);
        drop(turns);
        queue.take(0).await.expect_err("no reader");
    }
}
