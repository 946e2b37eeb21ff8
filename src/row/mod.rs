//! Rows between a source and an encoder: the one form that both sides know.

mod date_time;
mod interval;
mod text;
mod time_zone;

use std::slice;

use indexmap::IndexMap;
use uuid::Uuid;

pub use date_time::{Date, Time, Timestamp};
pub use interval::Interval;
pub use text::with_float_text;
pub use time_zone::{TimeZone, UnknownTimeZone};

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The name the query gives it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds, as far as its database says so. Formats whose columns have types follow it; a cell may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// Whole numbers.
    Integer,
    /// Whole numbers above or at zero, up to 2⁶⁴ - 1.
    Unsigned,
    /// Floating-point numbers.
    Float,
    /// Decimals with so many digits, and so many of them behind the point.
    Decimal {
        /// The digits.
        precision: u8,
        /// Those behind the point.
        scale: u8,
    },
    /// Text; or anything, which can be written as text.
    Text,
    /// JSON.
    Json,
    /// Bytes.
    Bytes,
    /// Days.
    Date,
    /// Times of day.
    Time,
    /// Dates and times.
    Timestamp {
        /// Whether they are instants.
        utc: bool,
    },
    /// UUIDs.
    Uuid,
}

impl Column {
    /// A column of which nothing more is known.
    pub fn text(name: impl Into<String>) -> Column {
        Column {
            name: name.into(),
            kind: Kind::Text,
        }
    }

    /// What a header calls it: its label among these, by column name, or its name.
    pub fn label<'a>(&'a self, labels: &'a IndexMap<String, String>) -> &'a str {
        labels.get(&self.name).unwrap_or(&self.name)
    }
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
    /// A span of time.
    Interval(Interval),
    /// A UUID.
    Uuid(Uuid),
    /// JSON, as its text.
    Json(&'a str),
}

impl Cell<'_> {
    /// A number of single precision, as the double that reads like it: 0.1, not 0.10000000149011612.
    pub fn single(value: f32) -> Cell<'static> {
        if !value.is_finite() {
            return Cell::Float(f64::from(value));
        }
        let text = zmij::Buffer::new().format_finite(value).parse();
        Cell::Float(text.unwrap_or_else(|_| f64::from(value)))
    }
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
    /// These two are in the arena too: inside they would make the slot larger, or unaligned.
    Interval(Range),
    Uuid(Range),
    Json(Range),
}

impl Slot {
    /// Where its text is, if it is one.
    fn text(&self) -> Option<Range> {
        match self {
            Slot::Decimal(range) | Slot::Text(range) | Slot::Json(range) => Some(*range),
            _ => None,
        }
    }
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

/// Rows that a source collects: two arenas instead of one allocation a cell.
#[derive(Debug, Default)]
pub struct RowBuffer {
    width: usize,
    slots: Vec<Slot>,
    text: Vec<u8>,
    bytes: Vec<u8>,
}

/// A text that is not UTF-8: where it is in the rows that were collected, counted from 0.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUtf8 {
    /// The row.
    pub row: usize,
    /// The column.
    pub column: usize,
}

impl RowBuffer {
    /// Past this many bytes an arena gives its memory back when it is cleared, so that one huge cell
    /// does not stay in memory for the rest of the download.
    const ARENA_BYTES_KEPT: usize = 64 * 1024;

    /// Starts anew, with rows of `width` cells.
    pub fn reset(&mut self, width: usize) {
        self.width = width;
        self.slots.clear();
        for arena in [&mut self.text, &mut self.bytes] {
            arena.clear();
            arena.shrink_to(Self::ARENA_BYTES_KEPT);
        }
    }

    /// Appends the next cell of the row, from left to right.
    #[inline(always)]
    pub fn push(&mut self, cell: Cell<'_>) {
        let slot = match cell {
            Cell::Null => Slot::Null,
            Cell::Boolean(value) => Slot::Boolean(value),
            Cell::Integer(value) => Slot::Integer(value),
            Cell::Float(value) => Slot::Float(value),
            Cell::Decimal(value) => return self.push_decimal(value.as_bytes()),
            Cell::Text(value) => return self.push_text(value.as_bytes()),
            Cell::Bytes(value) => Slot::Bytes(keep(value, &mut self.bytes)),
            Cell::Date(value) => Slot::Date(value),
            Cell::Time(value) => Slot::Time(value),
            Cell::Timestamp(value) => Slot::Timestamp(value),
            Cell::Interval(value) => Slot::Interval(keep(&value.to_bytes(), &mut self.bytes)),
            Cell::Uuid(value) => Slot::Uuid(keep(value.as_bytes(), &mut self.bytes)),
            Cell::Json(value) => return self.push_json(value.as_bytes()),
        };
        self.slots.push(slot);
    }

    /// Appends a [`Cell::Text`] that is not known to be UTF-8 yet.
    #[inline(always)]
    pub fn push_text(&mut self, text: &[u8]) {
        self.slots.push(Slot::Text(keep(text, &mut self.text)));
    }

    /// Appends a [`Cell::Decimal`], which is not known to be UTF-8 yet.
    #[inline(always)]
    pub fn push_decimal(&mut self, text: &[u8]) {
        self.slots.push(Slot::Decimal(keep(text, &mut self.text)));
    }

    /// Appends a [`Cell::Json`] that is not known to be UTF-8 yet.
    #[inline(always)]
    pub fn push_json(&mut self, text: &[u8]) {
        self.slots.push(Slot::Json(keep(text, &mut self.text)));
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

    /// The rows, to be read. Their texts are checked together, which takes a fraction of the time
    /// that it takes to check short texts one by one.
    ///
    /// # Errors
    /// The first text that is not UTF-8.
    pub fn finish(mut self) -> Result<RowBatch, NotUtf8> {
        let text = match String::from_utf8(self.text) {
            // The end of one text and the start of the next could make up a character.
            Ok(text) if text.is_ascii() || starts_are_whole(&self.slots, &text) => text,
            Ok(text) => return Err(first_not_utf8(&self.slots, self.width, text.as_bytes())),
            Err(error) => return Err(first_not_utf8(&self.slots, self.width, error.as_bytes())),
        };
        self.text = Vec::new();
        Ok(RowBatch { rows: self, text })
    }
}

#[inline(always)]
fn keep(value: &[u8], arena: &mut Vec<u8>) -> Range {
    let start = arena.len();
    arena.extend_from_slice(value);
    Range::new(start, arena.len())
}

fn starts_are_whole(slots: &[Slot], text: &str) -> bool {
    let mut texts = slots.iter().filter_map(Slot::text);
    texts.all(|range| text.is_char_boundary(range.bytes().start))
}

#[cold]
fn first_not_utf8(slots: &[Slot], width: usize, text: &[u8]) -> NotUtf8 {
    let is_bad = |slot: &Slot| {
        let range = slot.text();
        range.is_some_and(|range| std::str::from_utf8(&text[range.bytes()]).is_err())
    };
    let index = slots.iter().position(is_bad);
    let index = index.expect("texts that are all UTF-8 are so together, and start whole");
    NotUtf8 {
        row: index / width,
        column: index % width,
    }
}

/// Some rows on their way to an encoder.
#[derive(Debug, Default)]
pub struct RowBatch {
    /// All but their texts.
    rows: RowBuffer,
    text: String,
}

impl RowBatch {
    /// How many rows it holds.
    pub fn rows(&self) -> usize {
        self.rows.rows()
    }

    /// The rows in order, each as its cells from left to right.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        let rows = self.rows.slots.chunks_exact(self.rows.width.max(1));
        rows.map(|slots| Row {
            batch: self,
            slots: slots.iter(),
        })
    }

    /// A buffer that has its memory, to be [reset](RowBuffer::reset).
    pub fn into_buffer(self) -> RowBuffer {
        RowBuffer {
            text: self.text.into_bytes(),
            ..self.rows
        }
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
            Slot::Bytes(range) => Cell::Bytes(&self.rows.bytes[range.bytes()]),
            Slot::Date(value) => Cell::Date(value),
            Slot::Time(value) => Cell::Time(value),
            Slot::Timestamp(value) => Cell::Timestamp(value),
            Slot::Interval(range) => Cell::Interval(Interval::from_bytes(self.sixteen(range))),
            Slot::Uuid(range) => Cell::Uuid(Uuid::from_bytes(self.sixteen(range))),
            Slot::Json(range) => Cell::Json(self.text(range)),
        }
    }

    fn sixteen(&self, range: Range) -> [u8; 16] {
        let bytes = self.rows.bytes[range.bytes()].try_into();
        bytes.expect("so many bytes were kept there")
    }

    #[inline]
    fn text(&self, range: Range) -> &str {
        &self.text[range.bytes()]
    }
}

/// A row of a batch: its cells from left to right.
pub struct Row<'a> {
    batch: &'a RowBatch,
    slots: slice::Iter<'a, Slot>,
}

impl<'a> Iterator for Row<'a> {
    type Item = Cell<'a>;

    // So that a cell that an encoder takes apart at once never exists in memory. Left to itself the compiler
    // forgets that when unrelated code changes, and CSV takes a third longer.
    #[inline(always)]
    fn next(&mut self) -> Option<Cell<'a>> {
        self.slots.next().map(|slot| self.batch.cell(*slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_buffer_gives_only_the_new_cells() {
        let mut buffer = RowBuffer::default();
        buffer.reset(1);
        buffer.push(Cell::Text("left from before"));
        let mut buffer = buffer.finish().expect("UTF-8").into_buffer();
        buffer.reset(2);
        let cells = [
            Cell::Text("ä"),
            Cell::Null,
            Cell::Bytes(b"\x00\xff"),
            Cell::Uuid(Uuid::max()),
        ];
        cells.iter().for_each(|cell| buffer.push(*cell));

        let batch = buffer.finish().expect("UTF-8");
        let rows: Vec<Vec<Cell>> = batch.iter().map(Iterator::collect).collect();
        assert_eq!(rows, [cells[..2].to_vec(), cells[2..].to_vec()]);
        assert_eq!(batch.rows(), 2);
    }

    #[test]
    fn singles_are_written_as_they_are() {
        for (single, double) in [
            (0.1_f32, 0.1),
            (-3.4028235e38, -3.4028235e38),
            (1e-45, 1e-45),
            (f32::NEG_INFINITY, f64::NEG_INFINITY),
        ] {
            assert_eq!(Cell::single(single), Cell::Float(double));
        }
        assert!(matches!(Cell::single(f32::NAN), Cell::Float(value) if value.is_nan()));
    }

    #[test]
    fn a_text_that_is_not_utf_8_is_found_also_where_two_would_make_up_a_character() {
        let halves = "ä".as_bytes().split_at(1);
        for (texts, column) in [([halves.0, halves.1], 0), ([b"whole", b"\xff"], 1)] {
            let mut buffer = RowBuffer::default();
            buffer.reset(3);
            (0..3).for_each(|_| buffer.push(Cell::Text("ö")));
            buffer.push(Cell::Bytes(b"\xff"));
            texts.iter().for_each(|text| buffer.push_text(text));
            let column = column + 1;
            assert_eq!(buffer.finish().err(), Some(NotUtf8 { row: 1, column }));
        }
    }
}
