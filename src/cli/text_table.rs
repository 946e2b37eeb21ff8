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
    fn numbers_are_grouped_by_thousands() {
        let shown = [0, 999, 1000, 1_234_567].map(with_commas);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
