//! The totals row: a formula per column, with the value that a reader would compute.
//!
//! `SUBTOTAL` follows the filter of the sheet: ECMA-376 part 1, 18.17.7. It skips texts, so the total of numbers of which some
//! are text is a text, without a formula.

use super::columns::SheetColumn;
use super::extreme::Extreme;
use super::styles;
use super::sum::Sum;
use super::text::contains_escape;
use crate::format::column_display::TotalFunction;
use crate::row::{Cell, TimeZone};

/// Longest formula, in characters, and most ranges in a call: Excel's "Specifications and limits". A statement with more
/// sheets has totals without formulas.
const FORMULA_CHARS_MAX: usize = 8_192;
const RANGES_MAX: usize = 254;
/// XML bytes of one total, at most: a text of a cell, or a formula of which each character may be escaped.
const TOTAL_BYTES_MAX: u64 = 64 * 1024;

/// The totals of the rows of one statement.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// By the index of the column, in order.
    totals: Vec<(usize, Total)>,
    time_zone: TimeZone,
}

/// A cell of the totals row.
#[derive(Debug, PartialEq)]
pub(super) enum TotalCell {
    Empty,
    /// The label of the row, or a total without a formula.
    Text(String),
    Formula {
        formula: String,
        value: TotalValue,
    },
}

/// The value of a formula.
#[derive(Debug, PartialEq)]
pub(super) enum TotalValue {
    Number {
        text: String,
        style: TotalStyle,
    },
    /// `#NUM!`
    Error,
}

impl TotalValue {
    /// Returns a number in the number format of its column.
    pub(super) fn number(text: String) -> TotalValue {
        let style = TotalStyle::OfColumn(styles::DEFAULT);
        TotalValue::Number { text, style }
    }
}

/// How a number is shown.
#[derive(Debug, PartialEq)]
pub(super) enum TotalStyle {
    /// In this style.
    Fixed(u32),
    /// In the number format of its column, or in this style if it has none.
    OfColumn(u32),
}

/// What the formulas of a totals row refer to.
pub(super) struct TotalRanges<'r> {
    /// The name of the table, if it has all rows of the statement.
    pub(super) table: Option<&'r str>,
    /// The name of each earlier sheet, and its first and last row.
    pub(super) earlier: &'r [(String, (u32, u32))],
    /// The first and last row of this sheet.
    pub(super) rows: (u32, u32),
}

/// What the totals row needs to know of a column.
pub(super) struct TotalColumn<'c> {
    pub(super) label: &'c str,
    pub(super) letters: &'c str,
    pub(super) is_hidden: bool,
}

impl TotalColumn<'_> {
    pub(super) fn of(column: &SheetColumn) -> TotalColumn<'_> {
        TotalColumn {
            label: &column.label,
            letters: &column.letters,
            is_hidden: column.is_hidden,
        }
    }
}

impl Totals {
    /// Starts the totals of columns with these functions.
    pub(super) fn of(
        functions: impl Iterator<Item = Option<TotalFunction>>,
        time_zone: TimeZone,
    ) -> Totals {
        let total = |(index, function): (usize, Option<TotalFunction>)| {
            let total = match function? {
                TotalFunction::Sum => Total::Sum(Sum::default()),
                TotalFunction::Count => Total::Count(0),
                TotalFunction::Min => Total::Min(Extreme::smallest()),
                TotalFunction::Max => Total::Max(Extreme::largest()),
            };
            Some((index, total))
        };
        Totals {
            totals: functions.enumerate().filter_map(total).collect(),
            time_zone,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }

    /// Adds a row. Not inlined, to keep rows without totals fast.
    #[inline(never)]
    pub(super) fn add<'c>(&mut self, mut row: impl Iterator<Item = Cell<'c>>) {
        let mut passed = 0;
        for (index, total) in &mut self.totals {
            let Some(cell) = row.nth(*index - passed) else {
                return;
            };
            passed = *index + 1;
            match (total, cell) {
                (_, Cell::Null) => {}
                (Total::Count(count), _) => *count += 1,
                (Total::Sum(sum), cell) => sum.add(cell, self.time_zone),
                (Total::Min(extreme) | Total::Max(extreme), cell) => {
                    extreme.add(cell, self.time_zone);
                }
            }
        }
    }

    /// Returns the XML bytes of the totals row, at most.
    pub(super) fn bytes_max(&self) -> u64 {
        TOTAL_BYTES_MAX * self.totals.len() as u64
    }

    /// Returns the cells of the totals row. The first column that is visible and has no total gets the label.
    pub(super) fn cells(
        &self,
        label: &str,
        columns: &[TotalColumn<'_>],
        ranges: &TotalRanges<'_>,
    ) -> Vec<TotalCell> {
        let mut cells: Vec<TotalCell> = columns.iter().map(|_| TotalCell::Empty).collect();
        for (index, total) in &self.totals {
            cells[*index] = total.cell(&columns[*index], ranges);
        }
        let is_free = |(column, cell): (&TotalColumn<'_>, &TotalCell)| {
            !column.is_hidden && *cell == TotalCell::Empty
        };
        if let Some(index) = columns.iter().zip(&cells).position(is_free) {
            cells[index] = TotalCell::Text(label.to_owned());
        }
        cells
    }
}

/// The total of one column.
#[derive(Debug)]
enum Total {
    Sum(Sum),
    /// The values that are not NULL.
    Count(u64),
    Min(Extreme),
    Max(Extreme),
}

impl Total {
    fn cell(&self, column: &TotalColumn<'_>, ranges: &TotalRanges<'_>) -> TotalCell {
        // COUNTA, MAX, MIN and SUM. From 101 on, functions skip rows that are hidden by hand, too.
        let (number, total) = match self {
            Total::Count(count) => {
                // A number of values is no amount.
                let style = TotalStyle::Fixed(styles::DEFAULT);
                let text = count.to_string();
                (103, Ok(TotalValue::Number { text, style }))
            }
            Total::Max(extreme) => (104, extreme.value()),
            Total::Min(extreme) => (105, extreme.value()),
            Total::Sum(sum) => (109, sum.value()),
        };
        match (total, ranges.formula(number, column)) {
            (Ok(value), Some(formula)) => TotalCell::Formula { formula, value },
            (Ok(TotalValue::Number { text, .. }), None) | (Err(text), _) => TotalCell::Text(text),
            (Ok(TotalValue::Error), None) => TotalCell::Text("#NUM!".to_owned()),
        }
    }
}

impl TotalRanges<'_> {
    /// Returns the formula of a column's total, if it is not too long and means the same to every reader: some decode
    /// `_xHHHH_` inside formulas, and some do not.
    fn formula(&self, number: u32, column: &TotalColumn<'_>) -> Option<String> {
        let ranges = match self.table {
            Some(table) => format!("{table}[{}]", escape_column(column.label)),
            None => self.ranges(column.letters)?,
        };
        let formula = format!("SUBTOTAL({number},{ranges})");
        let fits = formula.chars().count() <= FORMULA_CHARS_MAX;
        (fits && !contains_escape(&formula)).then_some(formula)
    }

    fn ranges(&self, letters: &str) -> Option<String> {
        let range = |(first, last): (u32, u32)| format!("{letters}{first}:{letters}{last}");
        let earlier = self.earlier.iter().map(|(name, rows)| {
            let name = name.replace('\'', "''");
            format!("'{name}'!{}", range(*rows))
        });
        let ranges: Vec<String> = earlier.chain([range(self.rows)]).collect();
        (ranges.len() <= RANGES_MAX).then(|| ranges.join(","))
    }
}

/// Escapes the name of a column in a structured reference: ECMA-376 part 1, 18.17.2.
fn escape_column(name: &str) -> String {
    let mut escaped = String::new();
    for c in name.chars() {
        if "'#[]@".contains(c) {
            escaped.push('\'');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Date;

    fn columns<'c>(labels: &[&'c str]) -> Vec<TotalColumn<'c>> {
        let letters = ["A", "B", "C", "D"];
        let column = |(label, letters)| TotalColumn {
            label,
            letters,
            is_hidden: false,
        };
        labels.iter().copied().zip(letters).map(column).collect()
    }

    fn ranges<'r>(earlier: &'r [(String, (u32, u32))]) -> TotalRanges<'r> {
        TotalRanges {
            table: None,
            earlier,
            rows: (2, 9),
        }
    }

    fn cell(function: TotalFunction, values: &[Cell<'_>]) -> TotalCell {
        let mut totals = Totals::of([Some(function)].into_iter(), TimeZone::default());
        let values = values.iter();
        values.for_each(|cell| totals.add([*cell].into_iter()));
        totals
            .cells("Total", &columns(&["a"]), &ranges(&[]))
            .remove(0)
    }

    #[test]
    fn a_count_counts_every_value_but_null() {
        let values = [
            Cell::Text(""),
            Cell::Null,
            Cell::Boolean(false),
            Cell::Date(Date { days: 0 }),
        ];
        let expected = TotalCell::Formula {
            formula: "SUBTOTAL(103,A2:A9)".into(),
            value: TotalValue::Number {
                text: "3".into(),
                style: TotalStyle::Fixed(styles::DEFAULT),
            },
        };
        assert_eq!(cell(TotalFunction::Count, &values), expected);
    }

    #[test]
    fn the_first_visible_column_without_a_total_has_the_label() {
        let functions = [
            Some(TotalFunction::Sum),
            None,
            None,
            Some(TotalFunction::Count),
        ];
        let mut totals = Totals::of(functions.into_iter(), TimeZone::default());
        let row = [
            Cell::Integer(1),
            Cell::Integer(2),
            Cell::Integer(3),
            Cell::Integer(4),
        ];
        totals.add(row.into_iter());
        let mut columns = columns(&["a", "b", "c", "d"]);
        columns[1].is_hidden = true;
        let cells = totals.cells("Summe", &columns, &ranges(&[]));
        assert_eq!(cells[1], TotalCell::Empty);
        assert_eq!(cells[2], TotalCell::Text("Summe".into()));
        assert!(
            matches!(&cells[3], TotalCell::Formula { formula, .. } if formula == "SUBTOTAL(103,D2:D9)")
        );
    }

    #[test]
    fn formulas_refer_to_a_table_or_to_the_rows_of_every_sheet() {
        let column = &columns(&["Net [€] 'x' #1"])[0];
        let earlier = [("Bob's".to_owned(), (2, 5)), ("Two".to_owned(), (2, 5))];
        let formula = ranges(&earlier).formula(109, column);
        let expected = "SUBTOTAL(109,'Bob''s'!A2:A5,'Two'!A2:A5,A2:A9)";
        assert_eq!(formula.as_deref(), Some(expected));
        let table = TotalRanges {
            table: Some("Table_orders"),
            ..ranges(&[])
        };
        let expected = "SUBTOTAL(109,Table_orders[Net '[€'] ''x'' '#1])";
        assert_eq!(table.formula(109, column).as_deref(), Some(expected));
        let table = TotalRanges {
            table: Some("Table_orders"),
            ..ranges(&[])
        };
        assert_eq!(table.formula(109, &columns(&["_x0041_"])[0]), None);
        // More sheets than a call has ranges, or than a formula has room for.
        let many = vec![("S".to_owned(), (2, 5)); 254];
        assert_eq!(ranges(&many).formula(109, column), None);
        let long = vec![("x".repeat(31), (2, 1_048_576)); 200];
        assert_eq!(ranges(&long).formula(109, column), None);
    }
}
