//! Rows between a source and an encoder: the one form that both sides know.

mod date_time;

use uuid::Uuid;

pub use date_time::{Date, Time, Timestamp};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name the query gives it.
    pub name: String,
}

/// One value. Types live on cells, not on columns: SQLite may store an integer in one row and a
/// text in the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A binary floating-point number.
    Float(f64),
    /// A decimal number, exact, as `-12.50`; or `NaN`, `Infinity`, `-Infinity`.
    Decimal(&'a str),
    /// Text.
    Text(&'a str),
    /// Bytes without a meaning of their own.
    Bytes(&'a [u8]),
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A date and time.
    Timestamp(Timestamp),
    /// A UUID.
    Uuid(Uuid),
    /// JSON, as its text.
    Json(&'a str),
}

/// Where a cell's value is: here, or in one of the arenas.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Decimal(Range),
    Text(Range),
    Bytes(Range),
    Date(Date),
    Time(Time),
    Timestamp(Timestamp),
    /// In the arena too: inside it would have no alignment, and slow every other kind down.
    Uuid(Range),
    Json(Range),
}

/// A part of an arena. No database has rows of 4 GiB, so 32 bits reach any place in a batch, and
/// keep a slot at 16 bytes.
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u32,
    end: u32,
}

impl Range {
    #[inline]
    fn new(start: usize, end: usize) -> Range {
        let end = u32::try_from(end).expect("no database has rows of 4 GiB");
        // Not behind the end, which fits.
        let start = start as u32;
        Range { start, end }
    }

    #[inline]
    fn bytes(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Some rows, filled by a source, read by an encoder, and reused: two arenas instead of one
/// allocation a cell.
#[derive(Debug, Default)]
pub struct RowBatch {
    width: usize,
    slots: Vec<Slot>,
    text: String,
    bytes: Vec<u8>,
}

impl RowBatch {
    /// Past this many bytes of text an arena gives its memory back when it is cleared, so that one
    /// huge cell does not stay in memory for the rest of the download.
    const ARENA_BYTES_KEPT: usize = 64 * 1024;

    /// Empties the batch for rows of `width` cells, keeping its memory.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.slots.clear();
        self.text.clear();
        self.text.shrink_to(Self::ARENA_BYTES_KEPT);
        self.bytes.clear();
        self.bytes.shrink_to(Self::ARENA_BYTES_KEPT);
    }

    /// Appends the next cell of the row, from left to right.
    #[inline(always)]
    pub fn push(&mut self, cell: Cell<'_>) {
        let slot = match cell {
            Cell::Null => Slot::Null,
            Cell::Boolean(value) => Slot::Boolean(value),
            Cell::Integer(value) => Slot::Integer(value),
            Cell::Float(value) => Slot::Float(value),
            Cell::Decimal(value) => Slot::Decimal(self.keep_text(value)),
            Cell::Text(value) => Slot::Text(self.keep_text(value)),
            Cell::Bytes(value) => Slot::Bytes(self.keep_bytes(value)),
            Cell::Date(value) => Slot::Date(value),
            Cell::Time(value) => Slot::Time(value),
            Cell::Timestamp(value) => Slot::Timestamp(value),
            Cell::Uuid(value) => Slot::Uuid(self.keep_bytes(value.as_bytes())),
            Cell::Json(value) => Slot::Json(self.keep_text(value)),
        };
        self.slots.push(slot);
    }

    #[inline]
    fn keep_text(&mut self, text: &str) -> Range {
        let start = self.text.len();
        self.text.push_str(text);
        Range::new(start, self.text.len())
    }

    #[inline]
    fn keep_bytes(&mut self, bytes: &[u8]) -> Range {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Range::new(start, self.bytes.len())
    }

    /// How many whole rows it holds.
    pub fn rows(&self) -> usize {
        self.slots.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether it holds no row.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many bytes its rows take in memory.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.text.len() + self.bytes.len()
    }

    /// The rows in order, each as its cells from left to right.
    pub fn iter(&self) -> impl Iterator<Item = impl Iterator<Item = Cell<'_>>> {
        self.slots
            .chunks_exact(self.width.max(1))
            .map(|row| row.iter().map(|slot| self.cell(*slot)))
    }

    #[inline(always)]
    fn cell(&self, slot: Slot) -> Cell<'_> {
        match slot {
            Slot::Null => Cell::Null,
            Slot::Boolean(value) => Cell::Boolean(value),
            Slot::Integer(value) => Cell::Integer(value),
            Slot::Float(value) => Cell::Float(value),
            Slot::Decimal(range) => Cell::Decimal(self.text(range)),
            Slot::Text(range) => Cell::Text(self.text(range)),
            Slot::Bytes(range) => Cell::Bytes(&self.bytes[range.bytes()]),
            Slot::Date(value) => Cell::Date(value),
            Slot::Time(value) => Cell::Time(value),
            Slot::Timestamp(value) => Cell::Timestamp(value),
            Slot::Uuid(range) => Cell::Uuid(self.uuid(range)),
            Slot::Json(range) => Cell::Json(self.text(range)),
        }
    }

    fn uuid(&self, range: Range) -> Uuid {
        let bytes = self.bytes[range.bytes()].try_into();
        Uuid::from_bytes(bytes.expect("as many bytes as a UUID has were kept there"))
    }

    #[inline]
    fn text(&self, range: Range) -> &str {
        &self.text[range.bytes()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_batch_gives_back_only_the_new_cells() {
        let mut batch = RowBatch::default();
        batch.reset(1);
        batch.push(Cell::Text("left from before"));
        batch.reset(2);
        let cells = [
            Cell::Text("ä"),
            Cell::Null,
            Cell::Bytes(b"\x00\xff"),
            Cell::Uuid(Uuid::max()),
        ];
        cells.iter().for_each(|cell| batch.push(*cell));

        let rows: Vec<Vec<Cell>> = batch.iter().map(Iterator::collect).collect();
        assert_eq!(rows, [cells[..2].to_vec(), cells[2..].to_vec()]);
        assert_eq!(batch.rows(), 2);
    }
}
