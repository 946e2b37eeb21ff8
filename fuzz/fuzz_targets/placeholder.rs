//! In any SQL, only placeholders outside strings and comments are variables. No value becomes part of the SQL: each
//! variable of an accepted export has a numbered parameter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowlink::catalog::{Catalog, DEFAULT_DATABASE, Dialects, SqlDialect};

const HEAD: &str = "/*---\n[filters.a]\ntype = 'text'\n[filters.b]\ntype = 'integer'\nlist = true\n---*/\n";

fuzz_target!(|sql: &str| {
    let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), SqlDialect::Postgres)]);
    let text = format!("{HEAD}{sql}");
    let catalog = Catalog::parse([("orders.sql", text.as_str())], &dialects);
    for export in catalog.iter() {
        let statement = &export.sheets[0].statement;
        for number in 1..=statement.variables.len() {
            assert!(statement.sql.contains(&format!("${number}")), "{statement:?}");
        }
    }
});
