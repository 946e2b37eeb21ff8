//! `rowlink tables`: lists the tables and views of a database.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::{Value, json};

use super::database_args::DatabaseArgs;
use super::errors::{ErrorLines, error_line};
use super::text_table::{Align, aligned, with_commas};
use super::visible::{escape_json, printable};
use crate::source::{Table, TableColumn};

#[derive(Args)]
pub(super) struct TablesArgs {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Print a JSON array with the columns of each table
    #[arg(long)]
    json: bool,
}

/// Prints the tables.
///
/// # Errors
/// Returns every error of the configuration, or why the database cannot be read.
pub(super) async fn tables(args: &TablesArgs) -> Result<(), ErrorLines> {
    let tables = args.database.open()?.tables().await?;
    let text = match args.json {
        true => {
            let json = format!("{:#}\n", Value::from_iter(tables.iter().map(table_json)));
            escape_json(&json, |_| false)
        }
        false => table_text(&tables),
    };
    if tables.is_empty() {
        eprintln!("rowlink: no tables; the login may read none, or the database is empty");
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).map_err(error_line)
}

/// Returns the tables with a header; nothing if there are none.
pub(super) fn table_text(tables: &[Table]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let header = ["TABLE", "KIND", "COLUMNS", "ROWS"].map(str::to_owned);
    let rows = tables.iter().map(|table| {
        let rows = table.rows.map(|rows| format!("~{}", with_commas(rows)));
        [
            printable(&table.full_name()),
            kind(table).to_owned(),
            table.columns.len().to_string(),
            rows.unwrap_or_else(|| "-".to_owned()),
        ]
    });
    let rows: Vec<_> = [header].into_iter().chain(rows).collect();
    aligned(
        &rows,
        [Align::Left, Align::Left, Align::Right, Align::Right],
    )
}

fn kind(table: &Table) -> &'static str {
    match table.is_view {
        true => "view",
        false => "table",
    }
}

fn table_json(table: &Table) -> Value {
    json!({
        "name": table.full_name(),
        "schema": table.schema,
        "kind": kind(table),
        "estimated_rows": table.rows,
        "columns": Value::from_iter(table.columns.iter().map(column_json)),
    })
}

fn column_json(column: &TableColumn) -> Value {
    json!({
        "name": column.name,
        "type": column.type_name,
        "filter_type": column.filter_type,
        "primary_key": column.key_position,
    })
}
