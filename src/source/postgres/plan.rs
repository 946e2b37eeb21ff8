//! Types of a statement's parameters and columns, found when it is described: the server prepares the statement.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{Kind as TypeKind, Type};
use tokio_postgres::{Client, Error, Statement as Prepared};

use super::decode::Decoder;
use super::errors::parameter_index;
use crate::catalog::{Export, Filter, FilterType, Statement, Variable};
use crate::row::Column;
use crate::source::errors::{SourceError, query_error, unknown_column_error};
use crate::source::spelling::{Comparison, is_identity};

/// A statement whose parameters and columns have known types.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sql: String,
    /// The type of each parameter and the index of its variable.
    pub(super) parameters: Vec<(Type, usize)>,
    /// The columns of the statement with their decoders.
    pub(super) columns: Vec<(Column, Decoder)>,
    /// The column of a table that each of them is.
    pub(super) origins: Vec<Option<Origin>>,
}

/// A column of a table or a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The OID of the table.
    pub(super) table: u32,
    /// The number of the column in it.
    pub(super) attribute: i16,
}

impl Plan {
    /// Finds the types of the parameters and columns of one of an export's statements. The connection must be in a transaction.
    ///
    /// 1. The server infers the types from what each parameter is compared with: an enum, a `uuid`, an `integer`. It
    ///    infers one type per parameter, at its first use, so `:x is null or column = :x` fails.
    /// 2. Then each use gets its own parameter. A parameter whose type cannot be inferred gets the filter's type.
    /// 3. If the statement is still ambiguous, for example in the argument of an overloaded function, all parameters
    ///    get the filter's type.
    ///
    /// # Errors
    /// Returns the server's error for step 1.
    pub(super) async fn find(
        client: &Client,
        export: &Export,
        statement: &Statement,
    ) -> Result<Plan, Error> {
        let declared: Vec<Type> = statement
            .variables
            .iter()
            .map(|variable| declared_type(export, variable))
            .collect();
        let variables: Vec<usize> = (0..declared.len()).collect();
        let error = match prepare(client, &statement.sql, &[]).await {
            Ok(prepared) => {
                let plan = Plan::new(&statement.sql, &variables, &prepared);
                return Ok(plan.widened(client, &declared).await);
            }
            Err(error) => error,
        };
        if let Some(plan) = plan_per_use(client, statement, &declared).await {
            return Ok(plan.widened(client, &declared).await);
        }
        match prepare(client, &statement.sql, &declared).await {
            Ok(prepared) => Ok(Plan::new(&statement.sql, &variables, &prepared)),
            Err(_) => Err(error),
        }
    }

    /// Replaces inferred types that cannot hold all values of the filter, as in `integer_column > :decimal`, by the
    /// filter's type. Returns the plan unchanged if the statement does not allow that.
    async fn widened(self, client: &Client, declared: &[Type]) -> Plan {
        let widen = |(inferred, variable): &(Type, usize)| {
            let declared = &declared[*variable];
            if is_narrow(inferred, declared) {
                declared.clone()
            } else {
                inferred.clone()
            }
        };
        let types: Vec<Type> = self.parameters.iter().map(widen).collect();
        if types
            .iter()
            .eq(self.parameters.iter().map(|(kind, _)| kind))
        {
            return self;
        }
        let variables: Vec<usize> = self.parameters.iter().map(|(_, index)| *index).collect();
        match prepare(client, &self.sql, &types).await {
            Ok(prepared) => Plan::new(&self.sql, &variables, &prepared),
            Err(_) => self,
        }
    }

    fn new(sql: &str, variables: &[usize], prepared: &Prepared) -> Plan {
        let types = prepared.params().iter().cloned();
        let origins = prepared.columns().iter().map(|column| {
            let (table, attribute) = column.table_oid().zip(column.column_id())?;
            Some(Origin { table, attribute })
        });
        let columns = prepared.columns().iter().map(|column| {
            let decoder = Decoder::for_type(column.type_());
            let column = Column {
                name: column.name().to_owned(),
                kind: decoder.kind(column.type_(), column.type_modifier()),
            };
            (column, decoder)
        });
        Plan {
            sql: sql.to_owned(),
            parameters: types.zip(variables.iter().copied()).collect(),
            columns: columns.collect(),
            origins: origins.collect(),
        }
    }

    /// Returns the columns of the statement.
    pub(super) fn all_columns(&self) -> Vec<Column> {
        let columns = self.columns.iter();
        columns.map(|(column, _)| column.clone()).collect()
    }

    /// Returns how the server compares each user id and claim, with the index of its variable.
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if the user id is compared in a type whose values have several texts.
    pub(super) fn comparisons(
        &self,
        statement: &Statement,
    ) -> Result<Vec<(usize, Comparison)>, SourceError> {
        let uses = self.parameters.iter();
        let identities = uses.filter(|(_, variable)| is_identity(&statement.variables[*variable]));
        let compare = |(kind, variable): &(Type, usize)| match comparison(kind) {
            Some(comparison) => Ok((*variable, comparison)),
            None if statement.variables[*variable] == Variable::User => Err(query_error(format!(
                "`:user` is compared with the type `{kind}`, in which two users could be the same; \
                 compare the column as a text: `column::text = :user`"
            ))),
            None => Ok((*variable, Comparison::Text)),
        };
        identities.map(compare).collect()
    }

    /// Returns the columns with these names, in this order; all columns for `None`. Arrays are read as JSON or as text.
    ///
    /// # Errors
    /// Returns [`SourceError::Query`] if the statement has no such column now.
    pub(super) fn choose<'p>(
        &'p self,
        names: Option<&[String]>,
        arrays_as_json: bool,
    ) -> Result<Vec<(&'p Column, Decoder)>, SourceError> {
        let chosen: Vec<&(Column, Decoder)> = match names {
            None => self.columns.iter().collect(),
            Some(names) => {
                let find = |name: &String| {
                    let found = self.columns.iter().find(|(column, _)| column.name == *name);
                    found.ok_or_else(|| unknown_column_error(name))
                };
                names.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let with_decoder = |(column, decoder): &'p (Column, Decoder)| {
            (column, decoder.with_arrays_as_json(arrays_as_json))
        };
        Ok(chosen.into_iter().map(with_decoder).collect())
    }

    /// Returns the SQL that selects these columns, each cast to the type of its decoder. Types without a decoder become
    /// text in the server, and a column whose type changes later is still decoded correctly.
    ///
    /// The row order is kept: in PostgreSQL a subquery with `order by` has no partial paths, so no parallel plan above
    /// it can reorder rows.
    pub(super) fn select(&self, columns: &[(&Column, Decoder)]) -> String {
        let list: Vec<String> = columns
            .iter()
            .map(|(column, decoder)| decoder.convert(&quoted(&column.name)))
            .collect();
        let list = list.join(", ");
        format!("select {list} from (\n{}\n) as rowlink", self.sql)
    }
}

/// Returns a name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a plan with one parameter per use of a variable; `None` if types remain ambiguous.
async fn plan_per_use(client: &Client, statement: &Statement, declared: &[Type]) -> Option<Plan> {
    let (sql, arguments) = statement.expand_parameters(None, |number, _, _| format!("${number}"));
    let variables: Vec<usize> = arguments.iter().map(|it| it.variable).collect();
    let mut types = vec![Type::UNKNOWN; variables.len()];
    loop {
        let error = match prepare(client, &sql, &types).await {
            Ok(prepared) => return Some(Plan::new(&sql, &variables, &prepared)),
            Err(error) => error,
        };
        let error = error.as_db_error()?;
        if *error.code() != SqlState::INDETERMINATE_DATATYPE {
            return None;
        }
        let index = parameter_index(error.message())?;
        let unknown = types
            .get_mut(index)
            .filter(|kind| **kind == Type::UNKNOWN)?;
        *unknown = declared[variables[index]].clone();
    }
}

/// Prepares a statement within a savepoint, so a failure does not abort the transaction.
async fn prepare(client: &Client, sql: &str, types: &[Type]) -> Result<Prepared, Error> {
    // Pipelined: one round trip.
    let (saved, prepared) = tokio::join!(
        client.batch_execute("savepoint attempt"),
        client.prepare_typed(sql, types)
    );
    saved?;
    if prepared.is_err() {
        client.batch_execute("rollback to attempt").await?;
    }
    prepared
}

/// Returns the type that the export declares for a variable.
fn declared_type(export: &Export, variable: &Variable) -> Type {
    let filter: Option<&Filter> = match variable {
        Variable::Filter(name) => export.filters.iter().find(|filter| filter.name == *name),
        Variable::User | Variable::Claim(_) => None,
    };
    let Some(filter) = filter else {
        return Type::TEXT;
    };
    match (filter.bound_type(), filter.list) {
        (FilterType::Text, false) => Type::TEXT,
        (FilterType::Text, true) => Type::TEXT_ARRAY,
        (FilterType::Integer, false) => Type::INT8,
        (FilterType::Integer, true) => Type::INT8_ARRAY,
        (FilterType::Decimal, false) => Type::NUMERIC,
        (FilterType::Decimal, true) => Type::NUMERIC_ARRAY,
        (FilterType::Boolean, false) => Type::BOOL,
        (FilterType::Boolean, true) => Type::BOOL_ARRAY,
        (FilterType::Date, false) => Type::DATE,
        (FilterType::Date, true) => Type::DATE_ARRAY,
        (FilterType::Timestamp, false) => Type::TIMESTAMPTZ,
        (FilterType::Timestamp, true) => Type::TIMESTAMPTZ_ARRAY,
        (FilterType::Uuid, false) => Type::UUID,
        (FilterType::Uuid, true) => Type::UUID_ARRAY,
    }
}

/// Returns whether the inferred type cannot hold all values of the filter's type.
fn is_narrow(inferred: &Type, declared: &Type) -> bool {
    match *declared {
        Type::INT8 => matches!(*inferred, Type::INT2 | Type::INT4),
        Type::NUMERIC => matches!(*inferred, Type::INT2 | Type::INT4 | Type::INT8),
        Type::TIMESTAMPTZ => matches!(*inferred, Type::DATE | Type::TIME | Type::TIMETZ),
        Type::INT8_ARRAY => matches!(*inferred, Type::INT2_ARRAY | Type::INT4_ARRAY),
        Type::NUMERIC_ARRAY => matches!(
            *inferred,
            Type::INT2_ARRAY | Type::INT4_ARRAY | Type::INT8_ARRAY
        ),
        Type::TIMESTAMPTZ_ARRAY => matches!(*inferred, Type::DATE_ARRAY),
        _ => false,
    }
}

/// Returns how the server compares a value of a type; `None` if several texts are one value and no rule tells which.
/// `citext` is such a type.
fn comparison(kind: &Type) -> Option<Comparison> {
    match *kind {
        Type::TEXT | Type::VARCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            Some(Comparison::Text)
        }
        Type::BPCHAR | Type::CHAR => Some(Comparison::PaddedText),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::NUMERIC => {
            Some(Comparison::Number)
        }
        Type::UUID => Some(Comparison::Uuid),
        _ => match kind.kind() {
            TypeKind::Enum(_) => Some(Comparison::Text),
            TypeKind::Domain(base) => comparison(base),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_quoted_and_converted() {
        let column = |name: &str, decoder| (Column::text(name), decoder);
        let plan = Plan {
            sql: "select 1".into(),
            parameters: Vec::new(),
            columns: vec![
                column("id", Decoder::Int4),
                column("a \"b\"", Decoder::Text),
                column("tags", Decoder::Array),
            ],
            origins: vec![None; 3],
        };
        let names = ["a \"b\"".to_owned(), "id".to_owned()];
        let chosen = plan.choose(Some(&names), false).expect("columns");
        assert_eq!(
            plan.select(&chosen),
            "select \"a \"\"b\"\"\"::text, \"id\"::int4 from (\nselect 1\n) as rowlink"
        );
        let tags = ["tags".to_owned()];
        for (arrays_as_json, sql) in [
            (false, "\"tags\"::text"),
            (true, "pg_catalog.to_json(\"tags\")"),
        ] {
            let chosen = plan.choose(Some(&tags), arrays_as_json).expect("columns");
            let expected = format!("select {sql} from (\nselect 1\n) as rowlink");
            assert_eq!(plan.select(&chosen), expected);
        }
        let unknown = plan.choose(Some(&["removed".to_owned()]), false);
        assert!(matches!(unknown, Err(SourceError::Query { .. })));
    }
}
