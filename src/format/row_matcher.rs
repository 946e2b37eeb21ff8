//! Finds the matches of deflate in rows of cells: a cell resembles the one above it.
//!
//! Each cell is compared with the last one of its column, byte by byte from the start: its tags are the same, and so are the
//! first digits of its row and, often, of its value. There is no search, so this is faster than a general compressor, and the
//! matches are close.

use std::ops::Range;

use super::deflate_block::{DISTANCE_MAX, DeflateBlock};

/// Shorter matches cost more than literals.
const MATCH_BYTES_USEFUL: usize = 4;

/// Where the value of a cell ends in a block. What follows belongs to the next cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub column: u32,
    pub end: u32,
}

/// Adds the matches of some content to a block. `marks` are those of its cells, in order.
pub fn match_rows(content: &[u8], marks: &[Mark], block: &mut DeflateBlock) {
    let columns = marks.iter().map(|mark| mark.column as usize + 1).max();
    // The last cell of each column.
    let mut above: Vec<Range<usize>> = vec![0..0; columns.unwrap_or(0)];
    let mut start = 0;
    for mark in marks {
        let cell = start..mark.end as usize;
        start = cell.end;
        let last = std::mem::replace(&mut above[mark.column as usize], cell.clone());
        if cell.start - last.start <= DISTANCE_MAX {
            match_cell(content, cell, last, block);
        }
    }
}

/// Compares a cell with the one above it, byte by byte.
#[inline]
fn match_cell(content: &[u8], cell: Range<usize>, above: Range<usize>, block: &mut DeflateBlock) {
    let distance = cell.start - above.start;
    let length = cell.len().min(above.len());
    let cell_bytes = &content[cell.start..cell.start + length];
    let above_bytes = &content[above.start..above.start + length];
    let mut index = 0;
    while index + MATCH_BYTES_USEFUL <= length {
        let equal = common_prefix(&cell_bytes[index..], &above_bytes[index..]);
        if equal >= MATCH_BYTES_USEFUL {
            block.push_match(cell.start + index, equal, distance);
        }
        index += equal + 1;
    }
}

/// Returns the number of equal bytes at the start of two slices of the same length.
#[inline]
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::deflate_block::tests::inflate;
    use proptest::prelude::*;

    /// Returns what two inflaters make of the block of some content, and the bytes that were in no match.
    fn written(content: &[u8], marks: &[Mark]) -> (Vec<u8>, usize) {
        let mut block = DeflateBlock::default();
        match_rows(content, marks, &mut block);
        let literals = content.len() - block.matched_bytes();
        let mut out = Vec::new();
        block.write(content, &mut out);
        (inflate(&out), literals)
    }

    /// Rows of cells, some of which are missing or long, and a rest that belongs to no cell.
    fn any_content() -> impl Strategy<Value = (Vec<u8>, Vec<Mark>)> {
        let value = prop_oneof![
            "[0-9]{1,9}",
            "[a-c]{0,3}",
            (0..40_000_usize).prop_map(|count| "x".repeat(count)),
        ];
        let cell = prop_oneof![4 => value.prop_map(Some), 1 => Just(None)];
        let rows = prop::collection::vec(prop::collection::vec(cell, 0..6), 0..40);
        (rows, ".{0,20}").prop_map(|(rows, rest)| {
            let (mut content, mut marks) = (Vec::new(), Vec::new());
            for row in rows {
                content.extend_from_slice(b"<row>");
                for (column, value) in row.iter().enumerate() {
                    let Some(value) = value else { continue };
                    content.extend(format!("<c r=\"{column}\"><v>{value}").bytes());
                    let (column, end) = (column as u32, content.len() as u32);
                    marks.push(Mark { column, end });
                    content.extend_from_slice(b"</v></c>");
                }
                content.extend_from_slice(b"</row>");
            }
            content.extend(rest.bytes());
            (content, marks)
        })
    }

    proptest! {
        #[test]
        fn two_libraries_decompress_any_rows((content, marks) in any_content()) {
            prop_assert!(written(&content, &marks).0 == content);
        }

        #[test]
        fn common_prefixes_are_as_long_as_equal_bytes_one_by_one(
            prefix in prop::collection::vec(any::<u8>(), 0..40),
            one in prop::collection::vec(0..2_u8, 20),
            other in prop::collection::vec(0..2_u8, 20),
        ) {
            let (one, other) = ([&prefix[..], &one].concat(), [&prefix[..], &other].concat());
            let expected = one.iter().zip(&other).take_while(|(one, other)| one == other);
            prop_assert_eq!(common_prefix(&one, &other), expected.count());
        }
    }

    #[test]
    fn only_what_differs_from_the_cell_above_is_literal() {
        let row = |number: u32| format!("<c r=\"A{number}\"><v>{}", number + 5000);
        let content = [row(1001), row(1002), row(1003)].concat();
        let end = content.len() as u32;
        let marks = [1, 2, 3].map(|row| Mark {
            column: 0,
            end: row * end / 3,
        });
        let (read, literals) = written(content.as_bytes(), &marks);
        assert_eq!(read, content.as_bytes());
        // The first row, and a digit of the number and one of the value in each row.
        assert_eq!(literals, content.len() / 3 + 2 * 2);
    }

    #[test]
    fn a_cell_that_is_too_far_above_is_not_referred_to() {
        let row = [b"<c><v>".to_vec(), vec![b'x'; DISTANCE_MAX]].concat();
        let content = row.repeat(2);
        let end = row.len() as u32;
        let marks = [end, 2 * end].map(|end| Mark { column: 0, end });
        let (read, literals) = written(&content, &marks);
        assert!(read == content);
        assert_eq!(literals, content.len());
    }
}
