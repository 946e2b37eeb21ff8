//! The text of a new export of one table.

use std::fmt::Write as _;

use super::visible::printable;
use crate::catalog::{FilterType, SqlDialect};
use crate::source::{Table, TableColumn};

/// The longest line of a select list. A longer list has one column per line.
const LINE_MAX: usize = 100;

/// The rows of a table that a caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowsFor<'a> {
    /// Those in which this column is the user of the link.
    User(&'a TableColumn),
    /// All.
    AllUsers,
}

/// Which names are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// Those that could be read as something else.
    IfNeeded,
    /// All. No list of keywords is complete.
    Always,
}

/// A new export of one table.
pub(super) struct NewExport<'a> {
    pub(super) name: &'a str,
    pub(super) table: &'a Table,
    /// The database, if it is not the default one.
    pub(super) database: Option<&'a str>,
    pub(super) dialect: SqlDialect,
    pub(super) rows: RowsFor<'a>,
    /// The columns that callers may filter by.
    pub(super) filters: Vec<&'a TableColumn>,
}

impl<'a> NewExport<'a> {
    /// Finds the columns of an export.
    ///
    /// # Errors
    /// Returns every column that the table lacks or that cannot be compared.
    pub(super) fn new(
        name: &'a str,
        table: &'a Table,
        dialect: SqlDialect,
        user_column: Option<&str>,
        filters: &[String],
    ) -> Result<NewExport<'a>, Vec<String>> {
        let mut errors = Vec::new();
        let mut find = |option: &str, column: &str| {
            let found = find_column(table, column);
            found
                .map_err(|error| errors.push(format!("{option}: {error}")))
                .ok()
        };
        let user = user_column.map(|column| find("--user-column", column));
        let mut found: Vec<&TableColumn> = Vec::new();
        for column in filters.iter().filter_map(|column| find("--filter", column)) {
            if !found.contains(&column) {
                found.push(column);
            }
        }
        if let Some(Some(column)) = user
            && !can_be_user(column)
        {
            let shown = shown(column);
            errors.push(format!(
                "--user-column: {shown} holds no user ids; expected a column of texts, whole numbers or UUIDs"
            ));
        }
        errors.extend(found.iter().filter_map(|column| filter_error(column)));
        let rows = match user {
            None => RowsFor::AllUsers,
            Some(Some(column)) => RowsFor::User(column),
            Some(None) => return Err(errors),
        };
        match errors.is_empty() {
            true => Ok(NewExport {
                name,
                table,
                database: None,
                dialect,
                rows,
                filters: found,
            }),
            false => Err(errors),
        }
    }

    /// Returns the text of its file.
    pub(super) fn text(&self, quoting: Quoting) -> String {
        let names = Names {
            dialect: self.dialect,
            quoting,
        };
        let filters: Vec<FilterText> = self.filters.iter().map(|it| names.filter(it)).collect();
        let mut conditions = Vec::new();
        if let RowsFor::User(column) = &self.rows {
            conditions.push(format!("{} = :user", names.write(&column.name)));
        }
        conditions.extend(filters.iter().flat_map(|it| it.conditions.clone()));
        let mut text = self.settings();
        filters.iter().for_each(|it| text.push_str(&it.settings));
        let columns = self.table.columns.iter();
        let columns: Vec<String> = columns.map(|it| names.write(&it.name)).collect();
        let _ = write!(
            text,
            "---*/\n{}\nfrom {}\n",
            select_list(&columns),
            names.table(self.table)
        );
        if !conditions.is_empty() {
            let _ = writeln!(text, "where {}", conditions.join("\n  and "));
        }
        let key = self.table.key().into_iter();
        let key: Vec<String> = key.map(|column| names.write(&column.name)).collect();
        if !key.is_empty() {
            let _ = writeln!(text, "order by {}", key.join(", "));
        }
        text
    }

    /// Returns the start of the settings. No name of a table or column is in a comment, which it could end.
    fn settings(&self) -> String {
        let mut text = format!("/*---\ntitle = \"{}\"\n", title(self.name));
        if let Some(database) = self.database {
            let _ = writeln!(text, "database = \"{database}\"");
        }
        text.push_str(match self.rows {
            RowsFor::User(_) => {
                "# `:user` is the user of the link: a caller gets only the rows of this user.\n"
            }
            RowsFor::AllUsers => {
                "# Every caller gets every row. For the caller's own rows only, remove this line, and add a condition below:\n\
                 # where COLUMN = :user\n\
                 unscoped = true\n"
            }
        });
        text.push_str("# Remove the columns below that callers must not get.\n");
        if self.table.key().is_empty() {
            text.push_str("# No primary key: add `order by`, or the order of the rows may differ between downloads.\n");
        }
        text
    }
}

/// Writes names as SQL.
#[derive(Clone, Copy)]
struct Names {
    dialect: SqlDialect,
    quoting: Quoting,
}

/// A filter's settings and its conditions.
struct FilterText {
    settings: String,
    conditions: Vec<String>,
}

impl Names {
    fn write(self, name: &str) -> String {
        match self.quoting {
            Quoting::IfNeeded => self.dialect.write_name(name),
            Quoting::Always => self.dialect.quote(name),
        }
    }

    fn table(self, table: &Table) -> String {
        let name = self.write(&table.name);
        match table.is_in_default_schema {
            true => name,
            false => format!("{}.{name}", self.write(&table.schema)),
        }
    }

    /// Returns the filter of a column: two for a time, by days, and else one for its value.
    fn filter(self, column: &TableColumn) -> FilterText {
        let sql = self.write(&column.name);
        let column_name = &column.name;
        let kind = column.filter_type.unwrap_or(FilterType::Text);
        if !is_time(kind) {
            return FilterText {
                settings: format!(
                    "\n[filters.{column_name}]\ntype = \"{}\"\n",
                    type_name(kind)
                ),
                conditions: vec![format!(
                    "(:{column_name} is null or {sql} = :{column_name})"
                )],
            };
        }
        let (from, to) = (format!("{column_name}_from"), format!("{column_name}_to"));
        // The comparisons of docs/exports.md, "Days and instants".
        let until = match (kind, self.dialect) {
            (FilterType::Date, _) => format!("{sql} <= :{to}"),
            (_, SqlDialect::Sqlite) => format!("{sql} < date(:{to}, '+1 day')"),
            (_, SqlDialect::Postgres) => format!("{sql} < :{to}::date + 1"),
            (_, SqlDialect::Mysql) => format!("{sql} < date_add(:{to}, interval 1 day)"),
        };
        let day = |name: &str, description: &str| {
            format!("\n[filters.{name}]\ntype = \"date\"\ndescription = \"{description}\"\n")
        };
        FilterText {
            settings: day(&from, "The first day.") + &day(&to, "The last day, included."),
            conditions: vec![
                format!("(:{from} is null or {sql} >= :{from})"),
                format!("(:{to} is null or {until})"),
            ],
        }
    }
}

fn is_time(kind: FilterType) -> bool {
    matches!(kind, FilterType::Date | FilterType::Timestamp)
}

/// Returns the name of a type in settings.
fn type_name(kind: FilterType) -> &'static str {
    match kind {
        FilterType::Text => "text",
        FilterType::Integer => "integer",
        FilterType::Decimal => "decimal",
        FilterType::Boolean => "boolean",
        FilterType::Date => "date",
        FilterType::Timestamp => "timestamp",
        FilterType::Uuid => "uuid",
    }
}

fn select_list(columns: &[String]) -> String {
    let list = format!("select {}", columns.join(", "));
    match list.chars().count() <= LINE_MAX {
        true => list,
        false => format!("select\n  {}", columns.join(",\n  ")),
    }
}

/// Returns the title of an export that has none: its name in words.
fn title(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn find_column<'t>(table: &'t Table, name: &str) -> Result<&'t TableColumn, String> {
    let mut columns = table.columns.iter();
    columns.find(|column| column.name == name).ok_or_else(|| {
        let known: Vec<&str> = table.columns.iter().map(|it| it.name.as_str()).collect();
        printable(&format!(
            "unknown column `{name}` of `{}`; expected one of {}",
            table.full_name(),
            known.join(", ")
        ))
    })
}

/// Tells whether the values of a column can be user ids.
pub(super) fn can_be_user(column: &TableColumn) -> bool {
    matches!(
        column.filter_type,
        Some(FilterType::Text | FilterType::Integer | FilterType::Uuid)
    )
}

/// Returns why a column can have no filter that this command writes.
fn filter_error(column: &TableColumn) -> Option<String> {
    let shown = shown(column);
    let Some(kind) = column.filter_type else {
        return Some(format!(
            "--filter: {shown} cannot be compared with a value; leave it out"
        ));
    };
    let longest = match is_time(kind) {
        true => format!("{}_from", column.name),
        false => column.name.clone(),
    };
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_name = longest.len() <= 64
        && longest.starts_with(is_letter)
        && longest.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && !longest.starts_with(rowlink_link::RESERVED_PREFIX)
        && !["user", "claim"].contains(&longest.as_str());
    (!is_name).then(|| {
        format!("--filter: {shown}: no filter can have this name; write one with another name into the file")
    })
}

/// Returns a column with its type, for an error.
fn shown(column: &TableColumn) -> String {
    match column.type_name.as_str() {
        "" => printable(&format!("`{}`", column.name)),
        kind => printable(&format!("`{}` ({kind})", column.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, DEFAULT_DATABASE, Dialects};

    fn column(
        name: &str,
        filter_type: Option<FilterType>,
        key_position: Option<u32>,
    ) -> TableColumn {
        TableColumn {
            name: name.to_owned(),
            type_name: "t".to_owned(),
            filter_type,
            key_position,
        }
    }

    fn orders() -> Table {
        Table {
            schema: "sales".to_owned(),
            is_in_default_schema: false,
            name: "orders".to_owned(),
            is_view: false,
            rows: None,
            columns: vec![
                column("id", Some(FilterType::Integer), Some(2)),
                column("tenant", Some(FilterType::Text), Some(1)),
                column("user", Some(FilterType::Uuid), None),
                column("paid_at", Some(FilterType::Timestamp), None),
                column("day", Some(FilterType::Date), None),
                column("*/ ---*/ \"x\"", Some(FilterType::Text), None),
                column("blob", None, None),
            ],
        }
    }

    fn errors_of(text: &str, dialect: SqlDialect) -> Vec<String> {
        let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), dialect)]);
        let catalog = Catalog::parse([("orders.sql", text)], &dialects);
        catalog.errors().iter().map(ToString::to_string).collect()
    }

    fn plain(mut table: Table) -> Table {
        table.columns.retain(|column| !column.name.contains('*'));
        table
    }

    #[test]
    fn an_export_has_the_condition_of_its_user_and_filters_by_type_in_each_database() {
        let table = plain(orders());
        let filters = ["tenant", "paid_at", "day", "tenant"].map(str::to_owned);
        for (dialect, user, until) in [
            (
                SqlDialect::Postgres,
                "\"user\"",
                "paid_at < :paid_at_to::date + 1",
            ),
            (
                SqlDialect::Mysql,
                "`user`",
                "paid_at < date_add(:paid_at_to, interval 1 day)",
            ),
            (
                SqlDialect::Sqlite,
                "\"user\"",
                "paid_at < date(:paid_at_to, '+1 day')",
            ),
        ] {
            let export = NewExport::new("my-orders", &table, dialect, Some("user"), &filters);
            let export = export.expect("valid");
            let text = export.text(Quoting::IfNeeded);
            for expected in [
                "title = \"My orders\"\n",
                "\n[filters.tenant]\ntype = \"text\"\n",
                "\n[filters.paid_at_from]\ntype = \"date\"\n",
                &format!(
                    "\nfrom sales.orders\nwhere {user} = :user\n  and (:tenant is null or tenant = :tenant)\n"
                ),
                "and (:paid_at_from is null or paid_at >= :paid_at_from)\n",
                &format!("and (:paid_at_to is null or {until})\n"),
                "(:day_to is null or ",
                " <= :day_to)\norder by tenant, id\n",
            ] {
                assert!(text.contains(expected), "{expected} is not in {text}");
            }
            assert!(!text.contains("unscoped"), "{text}");
            assert_eq!(errors_of(&text, dialect), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_export_for_all_users_says_so_and_never_mentions_a_user_in_sql() {
        let table = plain(orders());
        let export =
            NewExport::new("orders", &table, SqlDialect::Sqlite, None, &[]).expect("valid");
        for quoting in [Quoting::IfNeeded, Quoting::Always] {
            let text = export.text(quoting);
            assert!(text.contains("\nunscoped = true\n"), "{text}");
            assert!(!text.contains("\nwhere "), "{text}");
            assert_eq!(errors_of(&text, SqlDialect::Sqlite), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_name_that_would_end_the_settings_makes_an_invalid_file() {
        let table = orders();
        let export =
            NewExport::new("orders", &table, SqlDialect::Sqlite, Some("user"), &[]).expect("valid");
        let errors = errors_of(&export.text(Quoting::IfNeeded), SqlDialect::Sqlite);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("misplaced settings"), "{errors:?}");
    }

    #[test]
    fn every_column_that_cannot_be_used_is_named() {
        let table = orders();
        let filters = ["blob", "nope", "user", "*/ ---*/ \"x\""].map(str::to_owned);
        let errors = NewExport::new(
            "orders",
            &table,
            SqlDialect::Sqlite,
            Some("paid_at"),
            &filters,
        )
        .err();
        let errors = errors.expect("errors");
        let expected = [
            "--filter: unknown column `nope` of `sales.orders`; expected one of id, tenant, user, paid_at,",
            "--user-column: `paid_at` (t) holds no user ids",
            "--filter: `blob` (t) cannot be compared",
            "--filter: `user` (t): no filter can have this name",
            "--filter: `*/ ---*/ \"x\"` (t): no filter can have this name",
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
