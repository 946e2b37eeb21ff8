//! No export file makes the catalog panic, and every error names an existing line of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowlink::catalog::{Catalog, DEFAULT_DATABASE, Dialects, SqlDialect};

fuzz_target!(|text: &str| {
    for dialect in [SqlDialect::Sqlite, SqlDialect::Postgres] {
        let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), dialect)]);
        let catalog = Catalog::parse([("orders.sql", text)], &dialects);
        let lines = 1 + text.matches('\n').count();
        for found in catalog.errors() {
            assert!((1..=lines).contains(&found.error.line), "{found}");
        }
    }
});
