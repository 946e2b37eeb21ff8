//! One snapshot for several connections: exported by the first one, imported by the others.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::RangePlan;
use super::ranges::Histogram;
use crate::source::errors::{SourceError, query_error};
use crate::source::postgres::errors::execute_error;
use crate::source::postgres::session::BEGIN;

/// Which server has taken which snapshot, and the settings of the login that change rows or texts and that no transaction
/// sets. An identifier alone could be that of another snapshot on another server behind the same URL, so the start of the
/// server and the contents of the snapshot are compared. A database or a role may have got another `search_path` since the
/// first connection began, and so may the settings that the statement reads, whose names are the first parameter.
const IDENTITY: &str = "extract(epoch from pg_catalog.pg_postmaster_start_time())::text, \
     pg_catalog.txid_current_snapshot()::text, \
     pg_catalog.concat_ws(';', session_user, current_user, pg_catalog.current_setting('search_path'), \
       pg_catalog.current_setting('row_security'), pg_catalog.current_setting('transform_null_equals'), \
       pg_catalog.current_setting('array_nulls'), pg_catalog.current_setting('standard_conforming_strings'), \
       pg_catalog.current_setting('default_text_search_config'), pg_catalog.current_setting('lc_time'), \
       pg_catalog.current_setting('lc_numeric'), pg_catalog.current_setting('xmlbinary'), \
       pg_catalog.current_setting('xmloption')), \
     (select pg_catalog.array_agg(pg_catalog.current_setting(s.name, true) order by s.name)::text \
       from pg_catalog.unnest($1::text[]) s(name))";
/// The number of values of [`IDENTITY`]. The last one is NULL if the statement reads no setting.
const IDENTITY_VALUES: usize = 4;

/// A snapshot that other transactions can use until that of its connection ends. It has no `Debug`, because a setting may be
/// a secret.
pub(super) struct Snapshot {
    id: String,
    identity: [Option<String>; IDENTITY_VALUES],
}

impl Snapshot {
    /// Exports the snapshot of a transaction, in which no setting restricts the role yet; returns it with the current
    /// statistics of the key, if the server has any.
    ///
    /// # Errors
    /// Returns an error if the server cannot export it. Then the transaction is aborted.
    pub(super) async fn export(
        client: &Client,
        plan: &RangePlan,
    ) -> Result<(Snapshot, Option<Histogram>), SourceError> {
        let sql = format!(
            "select {IDENTITY}, pg_catalog.pg_export_snapshot(), \
             (select s.histogram_bounds::text from pg_catalog.pg_stats s where s.schemaname = $2 \
               and s.tablename = $3 and s.attname = $4 order by s.inherited desc limit 1)"
        );
        let names = [
            (&plan.settings as _, Type::TEXT_ARRAY),
            (&plan.schema as _, Type::TEXT),
            (&plan.table as _, Type::TEXT),
            (&plan.attribute as _, Type::TEXT),
        ];
        let rows = client.query_typed(&sql, &names).await;
        let rows = rows.map_err(|error| execute_error(&error))?;
        let row = rows.first().ok_or_else(unknown_answer)?;
        let id: Result<String, _> = row.try_get(IDENTITY_VALUES);
        let id = id.map_err(|error| execute_error(&error))?;
        let histogram: Result<Option<&str>, _> = row.try_get(IDENTITY_VALUES + 1);
        let histogram = histogram.map_err(|error| execute_error(&error))?;
        // It becomes a part of a statement, because a parameter cannot stand there.
        if !is_snapshot_id(&id) {
            return Err(unknown_answer());
        }
        let snapshot = Snapshot {
            id,
            identity: identity(row)?,
        };
        Ok((snapshot, histogram.and_then(Histogram::parse)))
    }

    /// Begins a transaction with the snapshot on another connection.
    ///
    /// # Errors
    /// Returns an error if the server cannot use it, or if it is another server.
    pub(super) async fn begin(&self, client: &Client, plan: &RangePlan) -> Result<(), SourceError> {
        let sql = format!("{BEGIN}; set transaction snapshot '{}'", self.id);
        let begun = client.batch_execute(&sql).await;
        begun.map_err(|error| execute_error(&error))?;
        let settings = [(&plan.settings as _, Type::TEXT_ARRAY)];
        let sql = format!("select {IDENTITY}");
        let rows = client.query_typed(&sql, &settings).await;
        let rows = rows.map_err(|error| execute_error(&error))?;
        let row = rows.first().ok_or_else(unknown_answer)?;
        match identity(row)? == self.identity {
            true => Ok(()),
            false => Err(query_error(
                "the connection is to another server, or has other settings",
            )),
        }
    }
}

/// Returns the values of [`IDENTITY`].
fn identity(row: &Row) -> Result<[Option<String>; IDENTITY_VALUES], SourceError> {
    let value = |index: usize| row.try_get(index).map_err(|error| execute_error(&error));
    Ok([value(0)?, value(1)?, value(2)?, value(3)?])
}

fn is_snapshot_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
}

fn unknown_answer() -> SourceError {
    query_error("the server exported no snapshot")
}

#[cfg(test)]
mod tests {
    use super::is_snapshot_id;

    #[test]
    fn nothing_but_the_identifier_of_a_snapshot_becomes_sql() {
        assert!(is_snapshot_id("00000003-0000001B-1"));
        for id in ["", "00000003'; select 1 --", "a b", "0000000x"] {
            assert!(!is_snapshot_id(id), "{id}");
        }
    }
}
