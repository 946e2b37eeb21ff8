//! Excel tables: ECMA-376 part 1, 18.5. A table is a part of its own, written after its sheet, when its range is known.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::totals::TotalCell;
use super::xml::{self, HEAD, MAIN, RELATIONSHIPS};
use crate::format::column_display::TotalFunction;

/// Longest name of a table's column, in UTF-16 code units: ECMA-376 part 1, 18.5.1.3, as Excel limits it.
const LABEL_UNITS_MAX: usize = 255;

/// The names of a workbook's tables. Two tables never have one name, which Excel compares without case.
#[derive(Debug, Default)]
pub(super) struct TableNames {
    /// In lower case.
    taken: HashSet<String>,
}

impl TableNames {
    /// Returns the name of the table of a statement's sheet, numbered from 1: `Table_orders`, `Table_orders_2`, ….
    ///
    /// The prefix keeps it from being the reference of a cell, such as `Q1`, which Excel would call damaged.
    pub(super) fn take(&mut self, statement: &str, number: usize) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let plain = |c: char| if is_plain(c) { c } else { '_' };
        let statement: String = statement.chars().map(plain).collect();
        let first = match number {
            1 => format!("Table_{statement}"),
            _ => format!("Table_{statement}_{number}"),
        };
        let others = (2..).map(|other| format!("{first}_{other}"));
        let mut names = std::iter::once(first.clone()).chain(others);
        let free = names.find(|name| self.taken.insert(name.to_lowercase()));
        free.expect("numbers do not end before names do")
    }
}

/// Makes labels the names of a table's columns: not empty, without control characters, unique without case.
pub(super) fn make_column_names<'l>(labels: impl Iterator<Item = &'l mut String>) {
    let mut taken = HashSet::new();
    for (index, label) in labels.enumerate() {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let name: String = label.chars().map(plain).collect();
        let name = match name.trim() {
            "" => format!("Column {}", index + 1),
            _ => name,
        };
        let others = (2..).map(|number| format!("{name} ({number})"));
        let mut names = std::iter::once(name.clone()).chain(others);
        let free = names.find(|name| taken.insert(name.to_lowercase()));
        *label = free.expect("numbers do not end before names do");
    }
}

/// Returns why a label cannot be the name of a table's column.
pub(super) fn check_column_name(label: &str) -> Option<String> {
    let units = label.encode_utf16().count();
    (units > LABEL_UNITS_MAX).then(|| {
        format!(
            "the label has {units} UTF-16 code units; a column of a table has at most {LABEL_UNITS_MAX}"
        )
    })
}

/// A table of a sheet.
pub(super) struct Table<'t> {
    /// The number among the tables of the workbook, from 1.
    pub(super) number: usize,
    pub(super) name: &'t str,
    /// The range of the header and the rows, as `A1:C9`.
    pub(super) filter: &'t str,
    /// The same with the totals row.
    pub(super) range: &'t str,
    pub(super) labels: &'t [&'t str],
    /// The cells of the totals row with the functions of their columns, if this sheet has it.
    pub(super) totals: Option<&'t [(TotalCell, Option<TotalFunction>)]>,
    /// Whether it has all rows that the totals add up.
    pub(super) is_only: bool,
}

impl Table<'_> {
    /// Returns its part.
    pub(super) fn part(&self) -> String {
        let (number, name, range, filter) = (self.number, self.name, self.range, self.filter);
        let mut columns = String::new();
        for (index, label) in self.labels.iter().enumerate() {
            let (id, label) = (index + 1, xml::escape_attribute(label));
            let total = self.totals.and_then(|totals| totals.get(index));
            let total = total.map(|(cell, function)| self.total(cell, *function));
            let total = total.unwrap_or_else(|| "/>".to_owned());
            let _ = write!(columns, "<tableColumn id=\"{id}\" name=\"{label}\"{total}");
        }
        let totals = match self.totals {
            Some(_) => "totalsRowCount=\"1\"",
            None => "totalsRowShown=\"0\"",
        };
        format!(
            "{HEAD}<table xmlns=\"{MAIN}\" id=\"{number}\" name=\"{name}\" displayName=\"{name}\" ref=\"{range}\" {totals}>\
             <autoFilter ref=\"{filter}\"/><tableColumns count=\"{count}\">{columns}</tableColumns>\
             <tableStyleInfo name=\"TableStyleMedium2\" showFirstColumn=\"0\" showLastColumn=\"0\" \
             showRowStripes=\"1\" showColumnStripes=\"0\"/></table>",
            count = self.labels.len(),
        )
    }

    /// Returns what the element of a column says of its total, with the end of the element. It agrees with the cell, or Excel
    /// would repair the table.
    fn total(&self, cell: &TotalCell, function: Option<TotalFunction>) -> String {
        match cell {
            TotalCell::Empty => "/>".to_owned(),
            TotalCell::Text(text) => {
                format!(" totalsRowLabel=\"{}\"/>", xml::escape_attribute(text))
            }
            TotalCell::Formula { formula, .. } => match function.filter(|_| self.is_only) {
                Some(function) => {
                    let name = match function {
                        TotalFunction::Sum => "sum",
                        TotalFunction::Count => "count",
                        TotalFunction::Min => "min",
                        TotalFunction::Max => "max",
                    };
                    format!(" totalsRowFunction=\"{name}\"/>")
                }
                // The rows of several sheets.
                None => format!(
                    " totalsRowFunction=\"custom\"><totalsRowFormula>{}</totalsRowFormula></tableColumn>",
                    xml::escape_text(formula)
                ),
            },
        }
    }
}

/// Returns the name of a table's part.
pub(super) fn part_name(number: usize) -> String {
    format!("xl/tables/table{number}.xml")
}

/// Returns the relationships of a sheet with a table: their part's name and content.
pub(super) fn relationships(sheet: usize, number: usize) -> (String, String) {
    let content = format!(
        "{HEAD}<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">\
         <Relationship Id=\"{RELATIONSHIP}\" Type=\"{RELATIONSHIPS}/table\" Target=\"../tables/table{number}.xml\"/>\
         </Relationships>"
    );
    (
        format!("xl/worksheets/_rels/sheet{sheet}.xml.rels"),
        content,
    )
}

/// The id of the relationship from a sheet to its table.
pub(super) const RELATIONSHIP: &str = "rId1";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::xlsx::totals::TotalValue;
    use proptest::prelude::*;

    fn column_names(labels: &[&str]) -> Vec<String> {
        let mut labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        make_column_names(labels.iter_mut());
        labels
    }

    #[test]
    fn tables_have_names_of_their_own() {
        let mut names = TableNames::default();
        let found = [
            ("q1", 1),
            ("q1", 2),
            ("Q1_2", 1),
            ("a-b", 1),
            ("a_b", 1),
            ("", 1),
        ]
        .map(|(statement, number)| names.take(statement, number));
        let expected = [
            "Table_q1",
            "Table_q1_2",
            "Table_Q1_2_2",
            "Table_a_b",
            "Table_a_b_2",
            "Table_",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn labels_become_names_that_a_table_may_have() {
        let found = column_names(&[
            "Total",
            "total",
            "",
            "TOTAL (2)",
            "two\nlines",
            "Column 3",
            " ",
        ]);
        let expected = [
            "Total",
            "total (2)",
            "Column 3",
            "TOTAL (2) (2)",
            "two lines",
            "Column 3 (2)",
            "Column 7",
        ];
        assert_eq!(found, expected);
        assert_eq!(check_column_name(&"x".repeat(255)), None);
        assert!(check_column_name(&"x".repeat(256)).is_some());
    }

    #[test]
    fn the_part_agrees_with_the_cells_of_the_totals_row() {
        let formula = |formula: &str| TotalCell::Formula {
            formula: formula.into(),
            value: TotalValue::Error,
        };
        let totals = [
            (TotalCell::Text("Total".into()), None),
            (
                formula("SUBTOTAL(109,Table_a[n])"),
                Some(TotalFunction::Sum),
            ),
            (
                TotalCell::Text("12345678901234567".into()),
                Some(TotalFunction::Sum),
            ),
        ];
        let part = |is_only, totals| {
            let table = Table {
                number: 3,
                name: "Table_a",
                filter: "A1:C9",
                range: "A1:C10",
                labels: &["a & b", "n", "long"],
                totals,
                is_only,
            };
            table.part()
        };
        let only = part(true, Some(&totals[..]));
        for expected in [
            "id=\"3\" name=\"Table_a\" displayName=\"Table_a\" ref=\"A1:C10\" totalsRowCount=\"1\">",
            "<autoFilter ref=\"A1:C9\"/><tableColumns count=\"3\">",
            "<tableColumn id=\"1\" name=\"a &amp; b\" totalsRowLabel=\"Total\"/>",
            "<tableColumn id=\"2\" name=\"n\" totalsRowFunction=\"sum\"/>",
            "<tableColumn id=\"3\" name=\"long\" totalsRowLabel=\"12345678901234567\"/>",
        ] {
            assert!(only.contains(expected), "{only}");
        }
        let last = part(false, Some(&totals[..]));
        let expected = "<tableColumn id=\"2\" name=\"n\" totalsRowFunction=\"custom\">\
                        <totalsRowFormula>SUBTOTAL(109,Table_a[n])</totalsRowFormula></tableColumn>";
        assert!(last.contains(expected), "{last}");
        assert!(part(true, None).contains("totalsRowShown=\"0\""));
    }

    proptest! {
        #[test]
        fn names_of_columns_are_unique_and_not_empty(
            labels in prop::collection::vec("([aA ]|\\n| \\([23]\\)|Column 3){0,3}", 0..20),
        ) {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let names = column_names(&labels);
            let lower: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
            prop_assert_eq!(lower.len(), labels.len());
            prop_assert!(names.iter().all(|name| !name.trim().is_empty()));
        }
    }
}
