//! Tables of text on a terminal.

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Returns rows as lines of aligned cells, two spaces apart. The last column is not padded.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]], align: [Align; N]) -> String {
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let lines = rows.iter().map(|row| line(row, &widths, &align));
    lines.collect()
}

/// Returns one line of cells. A cell that is longer than its column is written whole.
pub(super) fn line<const N: usize>(
    cells: &[String; N],
    widths: &[usize; N],
    align: &[Align; N],
) -> String {
    let mut line = String::new();
    for (index, cell) in cells.iter().enumerate() {
        let padding = " ".repeat(widths[index].saturating_sub(length(cell)));
        match align[index] {
            Align::Left => line.extend([cell.as_str(), &padding]),
            Align::Right => line.extend([padding.as_str(), cell]),
        }
        line.push_str("  ");
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

/// Returns a text without characters that move the cursor, change colours or reorder a line: they are escaped.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() || is_format(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Tells whether a character is a separator of lines, or controls the direction of text: "Unicode Bidirectional Algorithm",
/// section 2.
fn is_format(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns a number with a comma between each three digits.
pub(super) fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_by_their_longest_one() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["TABLE", "ROWS", "KIND"]), row(["größe", "7", ""])];
        let text = aligned(&rows, [Align::Left, Align::Right, Align::Left]);
        assert_eq!(text, "TABLE  ROWS  KIND\ngröße     7\n");
    }

    #[test]
    fn nothing_that_controls_a_terminal_is_printed() {
        let text = "a\u{1b}[31mb\r\n\u{9b}2J\u{202e}é 日";
        let shown = "a\\u{1b}[31mb\\u{d}\\u{a}\\u{9b}2J\\u{202e}é 日";
        assert_eq!(printable(text), shown);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 999, 1000, 1_234_567].map(with_commas);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
