//! The names of sheets.

use std::collections::BTreeSet;

/// Longest sheet name in UTF-16 code units: ECMA-376 part 1, 18.2.19, and Excel's "Rename a worksheet".
const NAME_UNITS_MAX: usize = 31;

/// The names of a workbook's sheets. Two sheets never have one name, which Excel compares without case.
pub(super) struct SheetNames {
    /// The title of each statement, and the name of its first sheet.
    statements: Vec<(String, String)>,
    /// In lower case.
    taken: BTreeSet<String>,
}

impl SheetNames {
    /// Reserves a name for the first sheet of each statement.
    pub(super) fn of<'t>(titles: impl Iterator<Item = &'t str>) -> SheetNames {
        let mut names = SheetNames {
            statements: Vec::new(),
            taken: BTreeSet::new(),
        };
        // A title that needs no number has its own name, whatever the titles before it are.
        let titles: Vec<&str> = titles.collect();
        let mut first_names: Vec<Option<String>> = titles
            .iter()
            .map(|title| names.reserve(name_with(title, "")))
            .collect();
        for (title, first) in titles.iter().zip(&mut first_names) {
            let name = first.take().unwrap_or_else(|| names.numbered(title, 2));
            names.statements.push(((*title).to_owned(), name));
        }
        names
    }

    /// Returns the name of a statement's sheet, numbered from 1: `Orders`, `Orders (2)`, …. Takes each name only once.
    pub(super) fn take(&mut self, statement: usize, number: usize) -> String {
        let (title, first) = self.statements.get(statement).cloned().unwrap_or_default();
        match number {
            1 if !first.is_empty() => first,
            _ => self.numbered(&title, number),
        }
    }

    fn numbered(&mut self, title: &str, number: usize) -> String {
        // A title with such an end of its own could be the same.
        let ends = [format!(" ({number})"), format!(" (sheet {number})")];
        let more = (2..).map(|other| format!(" ({number}, {other})"));
        let mut names = ends.into_iter().chain(more);
        let free = names.find_map(|end| self.reserve(name_with(title, &end)));
        free.expect("numbers do not end before names do")
    }

    fn reserve(&mut self, name: String) -> Option<String> {
        self.taken.insert(name.to_lowercase()).then_some(name)
    }
}

fn name_with(title: &str, suffix: &str) -> String {
    let replace_forbidden = |c: char| {
        if "[]:*?/\\".contains(c) || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let mut units_left = NAME_UNITS_MAX - suffix.len();
    let mut name = String::new();
    for c in title.chars().map(replace_forbidden) {
        if c.len_utf16() > units_left {
            break;
        }
        units_left -= c.len_utf16();
        name.push(c);
    }
    // Excel rejects an apostrophe at either end. A name of only spaces would be invisible.
    let name = name.trim_matches(|c: char| c == '\'' || c.is_whitespace());
    // Excel reserves the name "History".
    let name = if name.is_empty() || name.eq_ignore_ascii_case("history") {
        "Export"
    } else {
        name
    };
    format!("{name}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the names of a statement's sheets.
    fn sheet_names(title: &str, numbers: &[usize]) -> Vec<String> {
        let mut names = SheetNames::of([title].into_iter());
        let numbers = numbers.iter();
        numbers.map(|number| names.take(0, *number)).collect()
    }

    #[test]
    fn sheet_names_follow_the_rules_of_excel() {
        for (title, number, expected) in [
            ("Orders", 1, "Orders"),
            ("Orders", 2, "Orders (2)"),
            ("'a/b [c]: d?*\\'", 1, "a_b _c__ d___"),
            ("  ", 3, "Export (3)"),
            ("History", 1, "Export"),
            (
                "A very long title of an export, longer than tabs",
                1,
                "A very long title of an export,",
            ),
            (
                "A very long title of an export, longer than tabs",
                12,
                "A very long title of an ex (12)",
            ),
            (
                "Orders of the last quarter (2)!",
                1,
                "Orders of the last quarter (2)!",
            ),
            (
                "Orders of the last quarters (2)",
                2,
                "Orders of the last qu (sheet 2)",
            ),
        ] {
            assert_eq!(sheet_names(title, &[number]), [expected]);
        }
    }

    #[test]
    fn statements_with_one_title_have_different_names() {
        let titles = ["Orders", "orders", "Orders (2)", "", "History"];
        let mut names = SheetNames::of(titles.into_iter());
        let first = [0, 1, 2, 3, 4].map(|statement| names.take(statement, 1));
        assert_eq!(
            first,
            [
                "Orders",
                "orders (sheet 2)",
                "Orders (2)",
                "Export",
                "Export (2)"
            ]
        );
        assert_eq!(names.take(0, 2), "Orders (2, 2)");
    }

    proptest! {
        #[test]
        fn every_title_gives_a_name_that_excel_accepts(title in "\\PC*", number in 1..5000_usize) {
            let name = &sheet_names(&title, &[number])[0];
            prop_assert!(!name.is_empty() && name.encode_utf16().count() <= 31);
            prop_assert!(!name.contains(['[', ']', ':', '*', '?', '/', '\\']));
            prop_assert!(!name.starts_with('\'') && !name.ends_with('\''));
        }

        #[test]
        fn two_sheets_never_have_one_name(
            titles in prop::collection::vec("[aA (]{20,40}( \\([0-9]{1,3}\\))?", 1..4),
            other in 4..999_usize,
        ) {
            let mut names = SheetNames::of(titles.iter().map(String::as_str));
            let mut taken = BTreeSet::new();
            for statement in 0..titles.len() {
                for number in [1, 2, 3, other] {
                    prop_assert!(taken.insert(names.take(statement, number).to_lowercase()));
                }
            }
        }
    }
}
