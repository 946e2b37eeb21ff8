//! Checks what a statement refers to that may differ between connections: functions, the time, and settings.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::describe::NoRanges;
use super::plan_check::expressions;
use crate::catalog::References;
use crate::source::postgres::connect::Connection;
use crate::source::postgres::session::CLAIMS_SETTING;

/// Names of a list that are those of a function which may return something else each time.
const VOLATILE: &str = "select distinct p.proname::text from pg_catalog.pg_proc p \
     where p.proname = any($1::text[]) and p.provolatile = 'v' order by 1";

/// The sources of functions by their names. Those in other languages cannot be read.
const SOURCES: &str = "select p.proname::text, p.prosrc from pg_catalog.pg_proc p \
     join pg_catalog.pg_language l on l.oid = p.prolang \
     where p.proname = any($1::text[]) and l.lanname in ('sql', 'plpgsql') order by 1, 2";
/// The same, also of functions whose source the server has parsed.
const SOURCES_OR_BODIES: &str = "select p.proname::text, \
     coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc) from pg_catalog.pg_proc p \
     join pg_catalog.pg_language l on l.oid = p.prolang \
     where p.proname = any($1::text[]) and l.lanname in ('sql', 'plpgsql') order by 1, 2";
/// The first major version with such functions.
const BODIES_SINCE_VERSION: u32 = 14;

/// What a statement, its plan and its functions refer to.
#[derive(Default)]
pub(super) struct Found {
    /// The names of functions, and others.
    called: BTreeSet<String>,
    /// The settings that are read, in lower case.
    settings: BTreeSet<String>,
}

impl Found {
    /// Checks the text of a statement, and adds what it refers to.
    ///
    /// # Errors
    /// Returns [`NoRanges`] if a function is volatile, or a setting has no certain name.
    pub(super) async fn check_statement(
        &mut self,
        client: &Client,
        sql: &str,
    ) -> Result<(), NoRanges> {
        let references = references(sql)?;
        check_volatile(client, &references.called).await?;
        self.add(references)
    }

    /// Checks all that a plan computes, and adds what it refers to. The text of the statement does not show policies, views
    /// and functions that the planner replaces by their body.
    ///
    /// # Errors
    /// Returns [`NoRanges`] as [`check_statement`](Found::check_statement) does, and if a time of the transaction is used.
    pub(super) async fn check_plan(
        &mut self,
        client: &Client,
        plan: &Value,
    ) -> Result<(), NoRanges> {
        let mut called = BTreeSet::new();
        for expression in expressions(plan) {
            let found = references(expression)?;
            if let Some(clock) = found.clock {
                return Err(NoRanges::Obstacle(format!(
                    "`{clock}` in a view, policy or function differs between connections"
                )));
            }
            called.extend(found.called.iter().cloned());
            self.add(found)?;
        }
        check_volatile(client, &called).await
    }

    /// Checks the sources of all functions that were found, and of those that these call. A plan does not show what a
    /// function does that is not replaced by its body, nor a time that the planner has computed.
    ///
    /// # Errors
    /// Returns [`NoRanges`] if a source uses a time of the transaction, or a setting has no certain name.
    pub(super) async fn check_sources(&mut self, connection: &Connection) -> Result<(), NoRanges> {
        let sql = match connection.version < BODIES_SINCE_VERSION {
            true => SOURCES,
            false => SOURCES_OR_BODIES,
        };
        let mut checked = BTreeSet::new();
        loop {
            let names: Vec<String> = self.called.difference(&checked).cloned().collect();
            if names.is_empty() {
                return Ok(());
            }
            let sources = connection
                .client
                .query_typed(sql, &[(&names, Type::TEXT_ARRAY)])
                .await?;
            for row in &sources {
                let (name, source): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
                let found = References::of(source).ok_or_else(|| {
                    format!("the source of the function `{name}` cannot be read with certainty")
                })?;
                if let Some(clock) = found.clock {
                    return Err(NoRanges::Obstacle(format!(
                        "`{clock}` in the function `{name}` differs between connections"
                    )));
                }
                self.add(found)?;
            }
            checked.extend(names);
        }
    }

    /// Returns the settings whose values a connection must share to read ranges. Each transaction sets the claims.
    pub(super) fn into_settings(mut self) -> Vec<String> {
        self.settings.remove(CLAIMS_SETTING);
        self.settings.into_iter().collect()
    }

    fn add(&mut self, references: References) -> Result<(), NoRanges> {
        let unknown = "`current_setting` reads a setting whose name is not a text in the query";
        let settings = references.settings.ok_or_else(|| unknown.to_owned())?;
        self.called.extend(references.called);
        self.settings.extend(settings);
        Ok(())
    }
}

fn references(sql: &str) -> Result<References, NoRanges> {
    let references = References::of(sql);
    Ok(references.ok_or_else(|| "its text cannot be read with certainty".to_owned())?)
}

async fn check_volatile(client: &Client, called: &BTreeSet<String>) -> Result<(), NoRanges> {
    let names: Vec<&String> = called.iter().collect();
    let volatile = client
        .query_typed(VOLATILE, &[(&names, Type::TEXT_ARRAY)])
        .await?;
    match volatile.first() {
        None => Ok(()),
        Some(first) => {
            let name: &str = first.try_get(0)?;
            let message = format!("the function `{name}` is volatile");
            Err(NoRanges::Obstacle(message))
        }
    }
}
