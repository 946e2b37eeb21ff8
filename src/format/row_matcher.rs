//! Finds the matches of deflate in rows of cells: a cell resembles the one above it.
//!
//! Each cell is compared with the last one of its column, byte by byte from the start: its tags are the same, and so are the
//! first digits of its row and, often, of its value. There is no search, so this is faster than a general compressor, and the
//! matches are close.

use super::deflate_block::{DISTANCE_MAX, DeflateBlock};

/// Shorter matches cost more than literals.
const MATCH_BYTES_USEFUL: usize = 4;

/// Where the value of a cell ends in a block. What follows belongs to the next cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub column: u32,
    pub end: u32,
}

/// Adds content to a block. `marks` are those of its cells, in order.
pub fn add_rows(content: &[u8], marks: &[Mark], block: &mut DeflateBlock) {
    let columns = marks.iter().map(|mark| mark.column as usize + 1).max();
    // The last cell of each column.
    let mut above: Vec<Option<(usize, usize)>> = vec![None; columns.unwrap_or(0)];
    let mut start = 0;
    for mark in marks {
        let end = mark.end as usize;
        let last = above[mark.column as usize].replace((start, end));
        match last.filter(|(above, _)| start - above <= DISTANCE_MAX) {
            Some(above) => add_cell(content, (start, end), above, block),
            None => block.literals(&content[start..end]),
        }
        start = end;
    }
    block.literals(&content[start..]);
}

/// Adds a cell, which is compared with another one. Both are a start and an end.
fn add_cell(
    content: &[u8],
    (mut start, end): (usize, usize),
    (mut above, above_end): (usize, usize),
    block: &mut DeflateBlock,
) {
    let distance = start - above;
    while start < end {
        let most = (end - start).min(above_end.saturating_sub(above));
        let equal = common_prefix(&content[start..start + most], &content[above..above + most]);
        match equal >= MATCH_BYTES_USEFUL {
            true => block.copy(content, start, equal, distance),
            false => block.literals(&content[start..start + equal]),
        }
        start += equal;
        above += equal;
        if start < end && above < above_end {
            block.literal(content[start]);
            start += 1;
            above += 1;
        } else if start < end {
            block.literals(&content[start..end]);
            return;
        }
    }
}

/// Returns the number of equal bytes at the start of two slices of the same length.
#[inline]
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let mut equal = 0;
    for (one, other) in words {
        let one = u64::from_le_bytes(one.try_into().expect("eight bytes"));
        let other = u64::from_le_bytes(other.try_into().expect("eight bytes"));
        if one != other {
            return equal + ((one ^ other).trailing_zeros() / 8) as usize;
        }
        equal += 8;
    }
    let rest = one[equal..].iter().zip(&other[equal..]);
    equal + rest.take_while(|(one, other)| one == other).count()
}
