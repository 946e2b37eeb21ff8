//! The setting `parallel`: which column's ranges several connections read.

use toml::Spanned;

use super::SqlDialect;
use super::file::Reader;

/// The column of `parallel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParallelKey {
    /// The name of the column in the result.
    pub column: String,
    /// The line of the setting in the file.
    pub line: usize,
}

impl Reader<'_> {
    /// Returns the column of `parallel`. Databases other than PostgreSQL cannot share a snapshot between connections.
    pub(super) fn parallel(
        &mut self,
        setting: Option<Spanned<String>>,
        dialect: SqlDialect,
    ) -> Option<ParallelKey> {
        let setting = setting?;
        if dialect != SqlDialect::Postgres {
            let message = "`parallel`: supported only by PostgreSQL; remove it";
            self.add_error(&setting, message.to_owned());
            return None;
        }
        if setting.get_ref().is_empty() {
            let message = "`parallel`: expected the name of a column";
            self.add_error(&setting, message.to_owned());
            return None;
        }
        Some(ParallelKey {
            line: self.line_at(setting.span().start),
            column: setting.into_inner(),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::{Catalog, DEFAULT_DATABASE, Dialects, SqlDialect};

    fn parse(dialect: SqlDialect, files: &[(&str, &str)]) -> Catalog {
        let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), dialect)]);
        Catalog::parse(files.iter().copied(), &dialects)
    }

    #[test]
    fn the_column_is_kept_with_its_line() {
        let text = "/*---\ntitle = 'T'\nparallel = 'id'\n---*/\nselect id from t where :user = ''";
        let catalog = parse(SqlDialect::Postgres, &[("it.sql", text)]);
        let export = catalog.get("it").expect("an export");
        let key = export.parallel.as_ref().expect("a column");
        assert_eq!((key.column.as_str(), key.line), ("id", 3));
    }

    #[test]
    fn what_cannot_be_parallel_is_an_error_that_names_the_field_and_its_line() {
        let sql = "select id from t where :user = ''";
        let single = |settings: &str| format!("/*---\n{settings}\n---*/\n{sql}");
        let parallel = single("parallel = 'id'");
        let empty = single("parallel = ''");
        let document =
            single("parallel = 'id'\nkind = 'files'\n[file]\nstore = 'docs'\nprefix = 'a/:user/'");
        for (dialect, files, expected) in [
            (
                SqlDialect::Sqlite,
                vec![("it.sql", parallel.as_str())],
                "it.sql:2: `parallel`: supported only by PostgreSQL",
            ),
            (
                SqlDialect::Mysql,
                vec![("it.sql", parallel.as_str())],
                "it.sql:2: `parallel`: supported only by PostgreSQL",
            ),
            (
                SqlDialect::Postgres,
                vec![("it.sql", empty.as_str())],
                "it.sql:2: `parallel`: expected the name",
            ),
            (
                SqlDialect::Postgres,
                vec![("it.sql", document.as_str())],
                "it.sql:2: `parallel`: unsupported for stored documents",
            ),
            (
                SqlDialect::Postgres,
                vec![("b/book.toml", "parallel = 'id'"), ("b/1_it.sql", sql)],
                "b/book.toml:1: `parallel`: unsupported for a book",
            ),
        ] {
            let catalog = parse(dialect, &files);
            let errors: Vec<String> = catalog.errors().iter().map(ToString::to_string).collect();
            let found = errors.iter().any(|error| error.starts_with(expected));
            assert!(found, "{expected}: {errors:?}");
        }
    }
}
