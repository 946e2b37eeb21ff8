//! Transaction settings: the user's claims, the role and the time limits.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Kind, ToSql, Type};
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use super::connect::{Connection, Connector};
use super::errors::prepare_error;
use super::parallel::{self, RangePlan, check_snapshot, parallel_key};
use super::parameter::AsText;
use super::plan::Plan;
use crate::catalog::{BoundQuery, Export, Parameter, SESSION_CLAIMS, Sheet, Statement, Variable};
use crate::row::TimeZone;
use crate::source::api::{DescribeError, SourceOptions};
use crate::source::errors::{SourceError, query_error};
use crate::source::pool::{ConnectionGuard, Connections};

/// One snapshot for the whole file; no writes.
pub(super) const BEGIN: &str = "begin isolation level repeatable read read only";
/// Statements follow each other without a pause, so an idle transaction is an error.
const IDLE_TIMEOUT_MILLISECONDS: &str = "30000";
/// The interval at which the server checks its client connection, so the query of a killed replica ends.
const CLIENT_CHECK_MILLISECONDS: &str = "2000";
/// The first major version with `client_connection_check_interval`.
const CLIENT_CHECK_SINCE_VERSION: u32 = 14;

/// The setting with the claims of a link.
pub(super) const CLAIMS_SETTING: &str = "request.jwt.claims";

/// How the server writes and reads values in text form. A server, a database or a role may have other settings, and
/// the same link would give other rows or texts.
const TEXT_FORMS: [(&str, &str); 5] = [
    ("DateStyle", "ISO, YMD"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
];

/// Names and values of settings that end with the transaction.
pub(super) struct Settings(Vec<(&'static str, String)>);

impl Settings {
    /// Returns the settings of a query. The claims are in the setting that PostgREST uses, so policies written for it
    /// work unchanged. Those of the token never replace the user id and the role.
    pub(super) fn for_query(query: &BoundQuery, version: u32, options: &SourceOptions) -> Settings {
        let pinned = query.claims().iter();
        let pinned = pinned.filter(|(name, _)| !SESSION_CLAIMS.contains(&name.as_str()));
        let mut claims: Map<String, Value> = pinned
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        claims.insert("sub".into(), query.user().into());
        if let Some(role) = &query.export().role {
            claims.insert("role".into(), role.as_str().into());
        }
        let mut settings =
            Settings::for_export(query.export(), query.time_zone(), version, options);
        let claims = Value::Object(claims).to_string();
        settings.0.push((CLAIMS_SETTING, claims));
        settings
    }

    /// Returns the settings of an export without a user. In `time_zone` the server reads a date as a day, and casts
    /// instants to dates and texts.
    fn for_export(
        export: &Export,
        time_zone: TimeZone,
        version: u32,
        options: &SourceOptions,
    ) -> Settings {
        let timeout = options.statement_timeout.as_millis().to_string();
        let idle = match (export.sheets.len(), &export.parallel) {
            (1, None) => IDLE_TIMEOUT_MILLISECONDS.to_owned(),
            // Between two statements the transaction waits for the reader of the file, as a statement would.
            _ => timeout.clone(),
        };
        let mut settings = vec![
            ("application_name", format!("rowlink/{}", export.name)),
            ("statement_timeout", timeout),
            ("idle_in_transaction_session_timeout", idle),
            ("TimeZone", time_zone.name().to_owned()),
        ];
        let text_forms = TEXT_FORMS.into_iter();
        settings.extend(text_forms.map(|(name, value)| (name, value.to_owned())));
        if version >= CLIENT_CHECK_SINCE_VERSION {
            let check = CLIENT_CHECK_MILLISECONDS.to_owned();
            settings.push(("client_connection_check_interval", check));
        }
        if let Some(role) = &export.role {
            settings.push(("role", role.clone()));
        }
        Settings(settings)
    }

    /// Begins the transaction and applies the settings.
    ///
    /// # Errors
    /// Returns the server's error if `begin` or a setting fails.
    pub(super) async fn begin(&self, client: &Client) -> Result<(), Error> {
        // Pipelined: one round trip.
        let (begun, set) = tokio::join!(client.batch_execute(BEGIN), self.set(client));
        begun.and(set)
    }

    /// Applies the settings in a transaction.
    ///
    /// # Errors
    /// Returns the server's error if a setting fails.
    pub(super) async fn set(&self, client: &Client) -> Result<(), Error> {
        let calls: Vec<String> = (0..self.0.len())
            .map(|index| format!("set_config(${}, ${}, true)", 2 * index + 1, 2 * index + 2))
            .collect();
        let sql = format!("select {}", calls.join(", "));
        let pairs = self.0.iter();
        let texts = pairs.flat_map(|(name, value)| [name as &(dyn ToSql + Sync), value]);
        let parameters: Vec<_> = texts.map(|text| (text, Type::TEXT)).collect();
        client.query_typed(&sql, &parameters).await.map(drop)
    }
}

/// What was found when an export was described.
pub(super) struct DescribedStatements {
    /// The plan of each statement.
    pub(super) plans: Vec<Plan>,
    /// How the statement is read in ranges, or why it cannot be; `None` if it need not be.
    pub(super) ranges: Option<Result<RangePlan, String>>,
}

/// Finds the plan of each of an export's statements, and checks its settings. All is done in one transaction.
///
/// # Errors
/// Returns [`SourceError::Query`] if a statement cannot be exported, a setting is invalid, or `row_security` is set
/// and no policy applies. Returns [`SourceError::Unavailable`] if the connection fails.
pub(super) async fn describe(
    connections: &Connections<Connector>,
    export: &Export,
    options: &SourceOptions,
) -> Result<DescribedStatements, DescribeError> {
    let connection = begin_description(connections, export, options).await?;
    let described = describe_sheets(&connection, export, options).await;
    match clean_up(&connection.client).await {
        true => connections.release(connection).await,
        // The transaction is not ended: a pooler would pass the prepared statements on to another client.
        false => connections.close(connection).await,
    }
    described
}

/// Takes a connection, begins a transaction with the settings of an export, and sets the savepoint `sheet`. Takes another
/// connection if the server has closed an idle one.
async fn begin_description(
    connections: &Connections<Connector>,
    export: &Export,
    options: &SourceOptions,
) -> Result<ConnectionGuard<Connector>, SourceError> {
    loop {
        let connection = connections.acquire().await?;
        let client = &connection.client;
        let settings = Settings::for_export(export, export.time_zone, connection.version, options);
        // Pipelined: one round trip.
        let (begun, saved) = tokio::join!(
            settings.begin(client),
            client.batch_execute("savepoint sheet")
        );
        let Err(error) = begun.and(saved) else {
            return Ok(connection);
        };
        let was_idle = connection.was_idle();
        connections.close(connection).await;
        let error = begin_error(&error);
        if !was_idle || !matches!(error, SourceError::Unavailable(_)) {
            return Err(error);
        }
    }
}

fn begin_error(error: &Error) -> SourceError {
    match error.code() {
        Some(&SqlState::INVALID_PARAMETER_VALUE | &SqlState::INSUFFICIENT_PRIVILEGE) => {
            query_error(format!("session settings: {}", server_message(error)))
        }
        _ => prepare_error(error, ""),
    }
}

/// Undoes what a description has done in its transaction, also after an error; returns whether no prepared statement
/// remains, which would outlive the transaction. The driver closes a statement after its last use, but keeps its own, with
/// which it reads types that are not built in.
async fn clean_up(client: &Client) -> bool {
    let sql = "rollback to sheet; select name from pg_catalog.pg_prepared_statements";
    let answer = client.simple_query(sql).await;
    let is_row = |message: &SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(_));
    answer.is_ok_and(|answer| !answer.iter().any(is_row))
}

/// Finds the plan of each statement. The transaction has the savepoint `sheet`.
async fn describe_sheets(
    connection: &Connection,
    export: &Export,
    options: &SourceOptions,
) -> Result<DescribedStatements, DescribeError> {
    let client = &connection.client;
    let key = parallel_key(export, options);
    let obstacle = match key {
        Some(_) => snapshot_obstacle(connection, export, options).await?,
        None => None,
    };
    let mut plans = Vec::new();
    for (sheet, Sheet { statement, .. }) in export.sheets.iter().enumerate() {
        if sheet > 0 {
            // Describing a statement may abort the transaction.
            let undone = client.batch_execute("rollback to sheet").await;
            undone.map_err(|error| prepare_error(&error, ""))?;
        }
        let plan = describe_statement(client, export, statement).await;
        plans.push(plan.map_err(|error| DescribeError { sheet, error })?);
    }
    let ranges = match (key, obstacle) {
        (None, _) => None,
        (Some(_), Some(reason)) => Some(Err(reason)),
        (Some(key), None) => {
            let statement = &export.sheets[0].statement;
            match parallel::describe(connection, key, statement, &plans[0]).await {
                Ok(ranges) => Some(Ok(ranges)),
                Err(no_ranges) => Some(Err(no_ranges.obstacle()?)),
            }
        }
    };
    Ok(DescribedStatements { plans, ranges })
}

/// Returns why a download cannot export its snapshot, which is impossible within a savepoint. Afterwards the transaction has
/// its settings and the savepoint `sheet` again.
///
/// # Errors
/// Returns an error if that is not known, or the transaction cannot go on.
async fn snapshot_obstacle(
    connection: &Connection,
    export: &Export,
    options: &SourceOptions,
) -> Result<Option<String>, SourceError> {
    let client = &connection.client;
    let run = async |sql| {
        client
            .batch_execute(sql)
            .await
            .map_err(|error| begin_error(&error))
    };
    run("release sheet").await?;
    let obstacle = match check_snapshot(client).await {
        Ok(()) => None,
        Err(no_ranges) => Some(no_ranges.obstacle()?),
    };
    if obstacle.is_some() {
        run("rollback").await?;
        let settings = Settings::for_export(export, export.time_zone, connection.version, options);
        let begun = settings.begin(client).await;
        begun.map_err(|error| begin_error(&error))?;
    }
    run("savepoint sheet").await?;
    Ok(obstacle)
}

async fn describe_statement(
    client: &Client,
    export: &Export,
    statement: &Statement,
) -> Result<Plan, SourceError> {
    let sql = &statement.sql;
    let plan = Plan::find(client, export, statement).await;
    let plan = plan.map_err(|error| prepare_error(&error, sql))?;
    if plan.columns.is_empty() {
        return Err(query_error("expected a query that returns columns"));
    }
    let types: Vec<Type> = plan
        .parameters
        .iter()
        .map(|(kind, _)| kind.clone())
        .collect();
    plan.comparisons(statement)?;
    check_lists(export, statement, &plan)?;
    if has_duplicate_names(&plan) {
        // Reported by their names. As a subquery the server only says that one of them is ambiguous.
        return Ok(plan);
    }
    let arrays_as_json = export.formats.iter().any(|it| it.may_be_json());
    let select = plan.select(&plan.choose(None, arrays_as_json)?);
    if export.row_security {
        check_policies(client, &select, &types).await?;
    }
    // The first fails for statements that cannot be a subquery, and for types without a text form. The second may abort
    // the transaction; the driver needs no query of its own then, because it knows all types. Pipelined: one round trip.
    let (prepared, privileges) = tokio::join!(
        client.prepare_typed(&select, &types),
        check_privileges(client, &select, &types)
    );
    prepared.map_err(|error| without_offset(prepare_error(&error, &select)))?;
    privileges?;
    Ok(plan)
}

fn has_duplicate_names(plan: &Plan) -> bool {
    let names: BTreeSet<&String> = plan
        .columns
        .iter()
        .map(|(column, _)| &column.name)
        .collect();
    names.len() < plan.columns.len()
}

/// Checks the privileges, which the server does not do when it prepares a statement.
async fn check_privileges(
    client: &Client,
    select: &str,
    types: &[Type],
) -> Result<(), SourceError> {
    let null = AsText(&Parameter::Null);
    let nulls = types
        .iter()
        .map(|kind| (&null as &(dyn ToSql + Sync), kind.clone()));
    let nulls: Vec<_> = nulls.collect();
    let sql = format!("explain {select}");
    match client.query_typed(&sql, &nulls).await {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Err(without_offset(prepare_error(&error, "")))
        }
        // A statement may fail for NULL, and not for the values of a link.
        _ => Ok(()),
    }
}

/// Removes the offset in a statement that is not the export's.
fn without_offset(error: SourceError) -> SourceError {
    match error {
        SourceError::Query { cause, .. } => SourceError::Query {
            offset: None,
            cause,
        },
        other => other,
    }
}

/// Checks that every list is an array to the server, or JSON.
fn check_lists(export: &Export, statement: &Statement, plan: &Plan) -> Result<(), SourceError> {
    let is_list = |variable: &Variable| match variable {
        Variable::Filter(name) => export.filters.iter().any(|it| it.name == *name && it.list),
        Variable::User | Variable::Claim(_) => false,
    };
    let wrong = plan
        .parameters
        .iter()
        .find(|(kind, variable)| is_list(&statement.variables[*variable]) && !takes_list(kind));
    let Some((kind, index)) = wrong else {
        return Ok(());
    };
    let variable = &statement.variables[*index];
    let message = format!(
        "`{variable}` is a list, but is used as one value of type {kind}; write `in ({variable})`"
    );
    Err(SourceError::Query {
        offset: statement.offset_of(*index),
        cause: message.into(),
    })
}

fn takes_list(kind: &Type) -> bool {
    match kind.kind() {
        Kind::Array(_) => true,
        Kind::Domain(base) => takes_list(base),
        _ => [Type::JSON, Type::JSONB].contains(kind),
    }
}

/// Checks that a row policy applies to the query. With `row_security = off`, PostgreSQL rejects a query that a policy
/// would filter. If it accepts the query, no policy applies, and every caller would get every row.
async fn check_policies(client: &Client, sql: &str, types: &[Type]) -> Result<(), SourceError> {
    let begun = client
        .batch_execute("savepoint policies; set local row_security = off")
        .await;
    begun.map_err(|error| prepare_error(&error, ""))?;
    match client.prepare_typed(sql, types).await {
        Ok(_) => Err(query_error(
            "`row_security = true`: no policy applies to this query for this role; enable row level \
             security on its tables, and set `role` if the login owns them or is a superuser",
        )),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let back = client.batch_execute("rollback to policies").await;
            back.map_err(|error| prepare_error(&error, ""))
        }
        Err(error) => Err(prepare_error(&error, sql)),
    }
}

fn server_message(error: &Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db_error| db_error.message().to_owned(),
    )
}
