//! Whatever the SQL, its variables are those that stand outside of strings and comments, and no value can
//! become part of it: an export that is accepted has a number for each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowlink::catalog::{Catalog, DEFAULT_DATABASE, Dialects, SqlDialect};

const HEAD: &str = "/*---\n[filters.a]\ntype = 'text'\n[filters.b]\ntype = 'integer'\nlist = true\n---*/\n";

fuzz_target!(|sql: &str| {
    let dialects = Dialects::from([(DEFAULT_DATABASE.to_owned(), SqlDialect::Postgres)]);
    let text = format!("{HEAD}{sql}");
    let catalog = Catalog::parse([("orders.sql", text.as_str())], &dialects);
    for export in catalog.iter() {
        let statement = &export.statement;
        for number in 1..=statement.variables.len() {
            assert!(statement.sql.contains(&format!("${number}")), "{statement:?}");
        }
    }
});
