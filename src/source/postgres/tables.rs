//! The tables and views of a database.

use tokio_postgres::{Client, Error, Row};

use super::connect::Connector;
use super::errors::prepare_error;
use super::session::BEGIN;
use crate::catalog::FilterType;
use crate::source::api::DESCRIBE_TIMEOUT;
use crate::source::errors::SourceError;
use crate::source::pool::Connections;
use crate::source::tables::{Table, TableColumn, add_column};

/// The columns that the login may read, of tables, views, materialized views and foreign tables. A partition is a part of its
/// table. A table that was never analyzed has -1 rows, before PostgreSQL 14 none on no pages. A domain has the type below it.
const COLUMNS: &str = "select n.nspname::text, pg_catalog.pg_table_is_visible(c.oid), c.relname::text, \
     c.relkind in ('v', 'm'), \
     case when c.reltuples > 0 or c.relpages > 0 then c.reltuples::int8 end, \
     a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), \
     coalesce(b.typname, t.typname)::text, coalesce(b.typtype, t.typtype)::text, \
     pg_catalog.array_position(i.indkey::int2[], a.attnum) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_attribute a on a.attrelid = c.oid \
     join pg_catalog.pg_type t on t.oid = a.atttypid \
     left join pg_catalog.pg_type b on t.typtype = 'd' and b.oid = t.typbasetype \
     left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary \
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition \
     and a.attnum > 0 and not a.attisdropped \
     and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' \
     and pg_catalog.has_schema_privilege(n.oid, 'usage') \
     and pg_catalog.has_column_privilege(c.oid, a.attnum, 'select') \
     order by not pg_catalog.pg_table_is_visible(c.oid), n.nspname, c.relname, a.attnum";

/// Returns the tables and views.
///
/// # Errors
/// Returns [`SourceError::Unavailable`] if the connection fails, and the server's error otherwise.
pub(super) async fn tables(
    connections: &Connections<Connector>,
) -> Result<Vec<Table>, SourceError> {
    let guard = connections.acquire().await?;
    let rows = query(&guard.client).await;
    let rows = rows.map_err(|error| prepare_error(&error, ""))?;
    connections.release(guard).await;
    let mut tables = Vec::new();
    for row in &rows {
        let (table, column) = read(row).map_err(|error| prepare_error(&error, ""))?;
        add_column(&mut tables, table, column);
    }
    Ok(tables)
}

async fn query(client: &Client) -> Result<Vec<Row>, Error> {
    let milliseconds = DESCRIBE_TIMEOUT.as_millis();
    let begin = format!("{BEGIN}; set local statement_timeout = {milliseconds}");
    client.batch_execute(&begin).await?;
    client.query_typed(COLUMNS, &[]).await
}

fn read(row: &Row) -> Result<(Table, TableColumn), Error> {
    let rows: Option<i64> = row.try_get(4)?;
    let (base, kind): (String, String) = (row.try_get(7)?, row.try_get(8)?);
    let key_position: Option<i32> = row.try_get(9)?;
    let table = Table {
        schema: row.try_get(0)?,
        is_in_default_schema: row.try_get(1)?,
        name: row.try_get(2)?,
        is_view: row.try_get(3)?,
        rows: rows.and_then(|rows| u64::try_from(rows).ok()),
        columns: Vec::new(),
    };
    let column = TableColumn {
        name: row.try_get(5)?,
        type_name: row.try_get(6)?,
        filter_type: filter_type(&base, &kind),
        // The server counts from 0.
        key_position: key_position.and_then(|position| u32::try_from(position + 1).ok()),
    };
    Ok((table, column))
}

/// Returns the type of a filter for a type, by its name in the server's catalog. Enums (`e`) are compared with texts.
fn filter_type(name: &str, kind: &str) -> Option<FilterType> {
    match name {
        _ if kind == "e" => Some(FilterType::Text),
        "int2" | "int4" | "int8" => Some(FilterType::Integer),
        "numeric" | "float4" | "float8" => Some(FilterType::Decimal),
        "bool" => Some(FilterType::Boolean),
        "date" => Some(FilterType::Date),
        "timestamp" | "timestamptz" => Some(FilterType::Timestamp),
        "uuid" => Some(FilterType::Uuid),
        "text" | "varchar" | "bpchar" | "citext" | "name" => Some(FilterType::Text),
        _ => None,
    }
}
