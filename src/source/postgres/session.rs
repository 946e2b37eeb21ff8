//! What a transaction is told before its query: who asks, as whom, and how long.

use serde_json::{Map, Value};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::connect::Connection;
use super::failure;
use super::plan::Plan;
use crate::catalog::{BoundQuery, Export};
use crate::source::{SourceError, SourceOptions, refusal};

/// One snapshot for the whole file, and nothing is ever written.
const BEGIN: &str = "begin isolation level repeatable read read only";
/// Between two statements of a transaction there is never a pause.
const IDLE_TIMEOUT_MILLISECONDS: &str = "30000";
/// How often the server looks whether we are still there, where it can: a query of a replica that
/// was killed does not run on.
const CLIENT_CHECK_MILLISECONDS: &str = "2000";
const CLIENT_CHECK_SINCE_VERSION: u32 = 14;

/// Settings that end with the transaction: names and values.
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// Those of a query on behalf of its user. The claims stand where PostgREST puts them, so that
    /// policies written for it work unchanged.
    pub(super) fn of(query: &BoundQuery, version: u32, options: &SourceOptions) -> Settings {
        let mut claims = Map::new();
        claims.insert("sub".into(), query.user().into());
        if let Some(role) = &query.export().role {
            claims.insert("role".into(), role.as_str().into());
        }
        for (name, value) in query.claims() {
            claims.insert(name.clone(), value.as_str().into());
        }
        let mut settings = Settings::for_export(query.export(), version, options);
        let claims = Value::Object(claims).to_string();
        settings.0.push(("request.jwt.claims", claims));
        settings
    }

    fn for_export(export: &Export, version: u32, options: &SourceOptions) -> Settings {
        let timeout = options.statement_timeout.as_millis().to_string();
        let idle = IDLE_TIMEOUT_MILLISECONDS.to_owned();
        let mut settings = vec![
            ("application_name", format!("rowlink/{}", export.name)),
            ("statement_timeout", timeout),
            ("idle_in_transaction_session_timeout", idle),
        ];
        if version >= CLIENT_CHECK_SINCE_VERSION {
            let check = CLIENT_CHECK_MILLISECONDS.to_owned();
            settings.push(("client_connection_check_interval", check));
        }
        if let Some(role) = &export.role {
            settings.push(("role", role.clone()));
        }
        Settings(settings)
    }

    /// Begins the transaction and applies them.
    pub(super) async fn begin(&self, client: &Client) -> Result<(), Error> {
        let calls: Vec<String> = (0..self.0.len())
            .map(|index| format!("set_config(${}, ${}, true)", 2 * index + 1, 2 * index + 2))
            .collect();
        let sql = format!("select {}", calls.join(", "));
        let pairs = self.0.iter();
        let texts = pairs.flat_map(|(name, value)| [name as &(dyn ToSql + Sync), value]);
        let parameters: Vec<_> = texts.map(|text| (text, Type::TEXT)).collect();
        // Sent together: one round trip.
        let (begun, set) = tokio::join!(
            client.batch_execute(BEGIN),
            client.query_typed(&sql, &parameters)
        );
        begun?;
        set.map(drop)
    }
}

/// Finds the plan of an export, and checks what its settings promise.
///
/// # Errors
/// The statement is not one that can be exported, or no policy guards it that says so.
pub(super) async fn describe(
    connection: &Connection,
    export: &Export,
    options: &SourceOptions,
) -> Result<Plan, SourceError> {
    let client = &connection.client;
    let settings = Settings::for_export(export, connection.version, options);
    let begun = settings.begin(client).await;
    begun.map_err(|error| match error.code() {
        Some(&SqlState::INVALID_PARAMETER_VALUE | &SqlState::INSUFFICIENT_PRIVILEGE) => {
            refusal(format!("settings of the session: {}", failure_text(&error)))
        }
        _ => failure(error, ""),
    })?;
    let sql = &export.statement.sql;
    let plan = Plan::find(client, export).await;
    let plan = plan.map_err(|error| failure(error, sql))?;
    if plan.columns.is_empty() {
        return Err(refusal(
            "the statement must be a query that returns columns",
        ));
    }
    let types: Vec<Type> = plan
        .parameters
        .iter()
        .map(|(kind, _)| kind.clone())
        .collect();
    let all: Vec<_> = plan.columns.iter().collect();
    let select = plan.select(&all);
    if export.row_security {
        check_policies(client, &select, &types).await?;
    }
    // Statements that cannot stand in parentheses, and columns that have no text.
    let prepared = client.prepare_typed(&select, &types).await;
    prepared.map_err(|error| match failure(error, &select) {
        SourceError::Query { cause, .. } => SourceError::Query {
            offset: None,
            cause,
        },
        other => other,
    })?;
    Ok(plan)
}

/// With `row_security` off, PostgreSQL refuses a query that a policy would narrow. One that it does
/// not refuse is narrowed by none, and would give every caller every row.
async fn check_policies(client: &Client, sql: &str, types: &[Type]) -> Result<(), SourceError> {
    let begun = client
        .batch_execute("savepoint policies; set local row_security = off")
        .await;
    begun.map_err(|error| failure(error, ""))?;
    match client.prepare_typed(sql, types).await {
        Ok(_) => Err(refusal(
            "`row_security = true`, but no policy applies to this query for this role: enable row \
             level security on its tables, and set `role` where the login is their owner or a \
             superuser",
        )),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let back = client.batch_execute("rollback to policies").await;
            back.map_err(|error| failure(error, ""))
        }
        Err(error) => Err(failure(error, sql)),
    }
}

fn failure_text(error: &Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |said| said.message().to_owned())
}
