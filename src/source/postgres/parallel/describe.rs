//! Finds out, when an export is described, whether its statement can be read in ranges of a column.

use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage};

use super::RangePlan;
use super::null_check::check_null_plan;
use super::plan_check::{KeyColumn, check_range_plan};
use super::ranges::{Histogram, Range};
use super::references::Found;
use crate::catalog::{Export, ParallelKey, Statement};
use crate::source::api::SourceOptions;
use crate::source::errors::{SourceError, query_error};
use crate::source::postgres::connect::Connection;
use crate::source::postgres::decode::Decoder;
use crate::source::postgres::errors::prepare_error;
use crate::source::postgres::plan::{Origin, Plan, quoted};

/// The first major version that shows the plan of a statement without its values.
const GENERIC_PLAN_SINCE_VERSION: u32 = 12;

/// What the catalogs of the server say about a column. `oid` and `attnum` are parameters.
const COLUMN: &str = "select c.relkind::text, n.nspname::text, c.relname::text, a.attname::text, \
     pg_catalog.quote_ident(a.attname), a.attnotnull, c.relhassubclass, \
     exists (select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid \
       and i.indpred is null and i.indexprs is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum), \
     (select s.histogram_bounds::text from pg_catalog.pg_stats s where s.schemaname = n.nspname \
       and s.tablename = c.relname and s.attname = a.attname order by s.inherited desc limit 1) \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     join pg_catalog.pg_attribute a on a.attrelid = c.oid where c.oid = $1 and a.attnum = $2";

/// The tables whose rows are those of a table: itself, and its partitions.
const TABLES: &str = "with recursive tables(oid) as (select $1::oid \
       union all select i.inhrelid from pg_catalog.pg_inherits i join tables t on i.inhparent = t.oid) \
     select n.nspname::text, c.relname::text from tables t join pg_catalog.pg_class c on c.oid = t.oid \
     join pg_catalog.pg_namespace n on n.oid = c.relnamespace";

/// Settings of the check: the plan must not depend on values, or on how small the tables are now, and must show all
/// partitions. Policies read claims.
const CHECK_SETTINGS: &str = "rollback to sheet; set local plan_cache_mode = force_generic_plan; \
     set local enable_seqscan = off; set local enable_partition_pruning = off; select pg_catalog.set_config('request.jwt.claims', '{}', true)";

/// Exports a snapshot as a download would, before a savepoint, within which that is impossible.
///
/// # Errors
/// Returns the reason. Then the transaction is aborted.
pub(in crate::source::postgres) async fn check_snapshot(client: &Client) -> Result<(), NoRanges> {
    let exported = client.batch_execute("select pg_catalog.pg_export_snapshot()");
    let exported = exported.await;
    exported.map_err(|error| NoRanges::of(&error, "the server exports no snapshot"))
}

/// Tells whether an export is to be read over several connections.
pub(in crate::source::postgres) fn parallel_key<'e>(
    export: &'e Export,
    options: &SourceOptions,
) -> Option<&'e ParallelKey> {
    let is_on = options.parallel_connections.min(options.connections) > 1;
    export.parallel.as_ref().filter(|_| is_on)
}

/// Checks whether a statement can be read in ranges. The connection is in the transaction that described the statement,
/// with the savepoint `sheet`.
///
/// # Errors
/// Returns the reason why it cannot, or why that is not known.
pub(in crate::source::postgres) async fn describe(
    connection: &Connection,
    key: &ParallelKey,
    statement: &Statement,
    plan: &Plan,
) -> Result<RangePlan, NoRanges> {
    if let Some(obstacle) = statement.range_obstacle(&key.column) {
        return Err(NoRanges::Obstacle(obstacle));
    }
    if connection.version < GENERIC_PLAN_SINCE_VERSION {
        return Err(NoRanges::Obstacle(format!(
            "the server is older than PostgreSQL {GENERIC_PLAN_SINCE_VERSION}"
        )));
    }
    let client = &connection.client;
    let origin = integer_column(plan, key)?;
    // The statistics of a table with policies are hidden from roles that these restrict.
    client
        .batch_execute("rollback to sheet; set local role none")
        .await?;
    let column = column(client, origin, key).await?;
    let mut found = Found::default();
    found.check_statement(client, &statement.sql).await?;
    client.batch_execute(CHECK_SETTINGS).await?;
    check_plans(client, key, plan, &column.key, &mut found).await?;
    found.check_sources(connection).await?;
    Ok(RangePlan {
        column: quoted(&key.column),
        schema: column.schema,
        table: column.table,
        attribute: column.attribute,
        probe: column.probe,
        settings: found.into_settings(),
    })
}

/// Why no ranges of a statement were found.
pub(in crate::source::postgres) enum NoRanges {
    /// Why it cannot be read in ranges, which is so until it is described again.
    Obstacle(String),
    /// The check has not ended, because of the connection or the load of the server. Another one may find ranges.
    Unchecked(SourceError),
}

impl NoRanges {
    /// Returns the reason why a statement cannot be read in ranges.
    ///
    /// # Errors
    /// Returns the error of a check that has not ended.
    pub(in crate::source::postgres) fn obstacle(self) -> Result<String, SourceError> {
        match self {
            NoRanges::Obstacle(reason) => Ok(reason),
            NoRanges::Unchecked(error) => Err(error),
        }
    }

    fn of(error: &Error, what: &str) -> NoRanges {
        let message = format!("{what} ({})", reason(error));
        let is_conflict = |code: &SqlState| {
            // A lock that is not free in time, a deadlock, and other conflicts of transactions.
            *code == SqlState::LOCK_NOT_AVAILABLE || code.code().starts_with("40")
        };
        match prepare_error(error, "") {
            passing @ (SourceError::Unavailable(_) | SourceError::TooSlow) => {
                NoRanges::Unchecked(passing)
            }
            _ if error.code().is_some_and(is_conflict) => {
                NoRanges::Unchecked(query_error(format!("`parallel`: {message}")))
            }
            _ => NoRanges::Obstacle(message),
        }
    }
}

impl From<String> for NoRanges {
    fn from(reason: String) -> NoRanges {
        NoRanges::Obstacle(reason)
    }
}

impl From<Error> for NoRanges {
    fn from(error: Error) -> NoRanges {
        NoRanges::of(&error, "the check failed")
    }
}

/// Returns the message of an error of the check, which has no values.
fn reason(error: &Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db_error| db_error.message().to_owned(),
    )
}

/// Returns the table's column that a column of the result is.
fn integer_column(plan: &Plan, key: &ParallelKey) -> Result<Origin, String> {
    let name = &key.column;
    let mut columns = plan.columns.iter();
    let position = columns.position(|(column, _)| column.name == *name);
    // An export without the column has an error of its own.
    let position = position.ok_or_else(|| format!("the query has no column `{name}`"))?;
    let (_, decoder) = &plan.columns[position];
    if !matches!(decoder, Decoder::Int2 | Decoder::Int4 | Decoder::Int8) {
        return Err(format!(
            "`{name}` is not of the type smallint, integer or bigint"
        ));
    }
    let origin = plan.origins.get(position).copied().flatten();
    origin.ok_or_else(|| format!("`{name}` is an expression, not the column of a table"))
}

/// A column of a table that can have ranges.
struct Column {
    schema: String,
    table: String,
    attribute: String,
    probe: Range,
    key: KeyColumn,
}

/// Returns what the server knows of a column.
async fn column(client: &Client, origin: Origin, key: &ParallelKey) -> Result<Column, NoRanges> {
    let (table, attribute) = (origin.table, origin.attribute);
    let found = client
        .query_typed(COLUMN, &[(&table, Type::OID), (&attribute, Type::INT2)])
        .await?;
    let found = found
        .first()
        .ok_or_else(|| "its table is gone".to_owned())?;
    check_column(found, &key.column)?;
    let name: &str = found.try_get(3)?;
    let histogram: Option<&str> = found.try_get(8)?;
    let histogram = histogram.and_then(Histogram::parse).ok_or_else(|| {
        format!("the server has no statistics of `{name}`; run `analyze` and reload the exports")
    })?;
    let tables = client.query_typed(TABLES, &[(&table, Type::OID)]).await?;
    let tables = tables
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    Ok(Column {
        schema: found.try_get(1)?,
        table: found.try_get(2)?,
        attribute: name.to_owned(),
        probe: histogram.middle(),
        key: KeyColumn {
            tables: tables.collect::<Result<_, Error>>()?,
            attribute: found.try_get(4)?,
        },
    })
}

/// Checks that each value of the column is in one row of its table.
fn check_column(found: &Row, name: &str) -> Result<(), NoRanges> {
    let kind: &str = found.try_get(0)?;
    let (is_not_null, has_children): (bool, bool) = (found.try_get(5)?, found.try_get(6)?);
    let is_unique: bool = found.try_get(7)?;
    let reason = match kind {
        "r" | "m" | "p" if !is_not_null => format!("`{name}` may be NULL"),
        "r" | "m" if has_children => "other tables inherit from its table".to_owned(),
        "r" | "m" | "p" if !is_unique => format!("no unique index is on `{name}` only"),
        "r" | "m" | "p" => return Ok(()),
        _ => format!("`{name}` is not the column of a table"),
    };
    Err(NoRanges::Obstacle(reason))
}

/// Checks the plans of a range and of the rows without a key.
async fn check_plans(
    client: &Client,
    key: &ParallelKey,
    plan: &Plan,
    column: &KeyColumn,
    found: &mut Found,
) -> Result<(), NoRanges> {
    let count = plan.parameters.len();
    let chosen = plan.choose(None, false);
    let chosen = chosen.map_err(|_| "the query has other columns now".to_owned())?;
    let select = plan.select(&chosen);
    let mut types: Vec<u32> = plan.parameters.iter().map(|(kind, _)| kind.oid()).collect();
    types.extend([Type::INT8.oid(); 2]);
    let types = type_names(client, &types).await?;
    let name = quoted(&key.column);
    let between = Range::Between(0, 0).condition(&name, count);
    let between = format!("{select} where {between} order by {name}");
    let range_plan = generic_plan(client, &between, &types).await?;
    check_range_plan(&range_plan, column, count)?;
    found.check_plan(client, &range_plan).await?;
    let null = Range::Null.condition(&name, count);
    let null = format!("{select} where {null} order by {name}");
    let null_plan = generic_plan(client, &null, &types[..count]).await?;
    Ok(check_null_plan(&null_plan, column)?)
}

/// Returns how types are written in SQL.
async fn type_names(client: &Client, oids: &[u32]) -> Result<Vec<String>, Error> {
    let sql = "select pg_catalog.format_type(t.oid, null) from pg_catalog.unnest($1::oid[]) \
               with ordinality as t(oid, number) order by t.number";
    let rows = client.query_typed(sql, &[(&oids, Type::OID_ARRAY)]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Returns the plan of a statement without values for its parameters, in JSON.
async fn generic_plan(client: &Client, sql: &str, types: &[String]) -> Result<Value, NoRanges> {
    let (types, values) = match types {
        [] => (String::new(), String::new()),
        types => (
            format!("({})", types.join(", ")),
            format!("({})", vec!["null"; types.len()].join(", ")),
        ),
    };
    client
        .batch_execute(&format!("prepare rowlink_ranges {types} as {sql}"))
        .await?;
    let explain = format!("explain (format json, verbose) execute rowlink_ranges {values}");
    let answer = client.simple_query(&explain).await?;
    client.batch_execute("deallocate rowlink_ranges").await?;
    let texts = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let json: String = texts.collect();
    let plan = serde_json::from_str(&json);
    Ok(plan.map_err(|_| "the server's plan is unknown".to_owned())?)
}
