//! How a statement is sent: found once, at start-up, by letting the server prepare it.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error, Statement as Prepared};

use super::decode::Decoder;
use crate::catalog::{Export, Filter, FilterType, Statement, Variable};
use crate::row::Column;

/// A statement whose parameters and columns have known types.
#[derive(Debug)]
pub(super) struct Plan {
    sql: String,
    /// For each parameter, its type and the index of its variable.
    pub(super) parameters: Vec<(Type, usize)>,
    /// The columns of the statement, each with how it is read.
    pub(super) columns: Vec<(Column, Decoder)>,
}

impl Plan {
    /// Finds the types of an export's parameters and columns, in the transaction that is open.
    ///
    /// The server's own inference comes first, because it fits a parameter to what it is compared
    /// with: an enum, a `uuid`, an `integer`. It gives one parameter one type, in order of use, so
    /// `:x is null or column = :x` fails; then each use gets a parameter, and those that nothing
    /// is known of get the filter's type. What is ambiguous even so, such as the argument of an
    /// overloaded function, gets the filter's type everywhere.
    ///
    /// # Errors
    /// What the server said to the statement as it stands.
    pub(super) async fn find(client: &Client, export: &Export) -> Result<Plan, Error> {
        let statement = &export.statement;
        let declared: Vec<Type> = statement
            .variables
            .iter()
            .map(|it| declared(export, it))
            .collect();
        let in_order: Vec<usize> = (0..declared.len()).collect();
        let error = match prepare(client, &statement.sql, &[]).await {
            Ok(prepared) => {
                let plan = Plan::of(&statement.sql, &in_order, &prepared);
                return Ok(plan.widened(client, &declared).await);
            }
            Err(error) => error,
        };
        if let Some(plan) = by_use(client, statement, &declared).await {
            return Ok(plan.widened(client, &declared).await);
        }
        match prepare(client, &statement.sql, &declared).await {
            Ok(prepared) => Ok(Plan::of(&statement.sql, &in_order, &prepared)),
            Err(_) => Err(error),
        }
    }

    /// The plan with the filter's type where the inferred one could not hold all its values, and
    /// the statement allows it: `integer_column > :decimal`.
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
        let variables: Vec<usize> = self.parameters.iter().map(|(_, it)| *it).collect();
        match prepare(client, &self.sql, &types).await {
            Ok(prepared) => Plan::of(&self.sql, &variables, &prepared),
            Err(_) => self,
        }
    }

    fn of(sql: &str, variables: &[usize], prepared: &Prepared) -> Plan {
        let types = prepared.params().iter().cloned();
        let columns = prepared.columns().iter().map(|column| {
            let decoder = Decoder::of(column.type_());
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
        }
    }

    /// The columns of a query in the order it wants them, or the name that there is no longer.
    pub(super) fn choose(
        &self,
        names: Option<&[String]>,
    ) -> Result<Vec<&(Column, Decoder)>, String> {
        let Some(names) = names else {
            return Ok(self.columns.iter().collect());
        };
        let find = |name: &String| {
            let found = self.columns.iter().find(|(column, _)| column.name == *name);
            found.ok_or_else(|| name.clone())
        };
        names.iter().map(find).collect()
    }

    /// The SQL for some columns. Each is converted to the type it is read as: values without a
    /// decoder become text in the server, and a column whose type changes later is still read rightly.
    ///
    /// The order of the rows stays: a subquery with `order by` has no partial paths in PostgreSQL,
    /// so nothing above it can mix them.
    pub(super) fn select(&self, columns: &[&(Column, Decoder)]) -> String {
        let list: Vec<String> = columns
            .iter()
            .map(|(column, decoder)| {
                let name = column.name.replace('"', "\"\"");
                decoder.convert(&format!("\"{name}\""))
            })
            .collect();
        let list = list.join(", ");
        format!("select {list} from (\n{}\n) as rowlink", self.sql)
    }
}

/// A plan with a parameter for each use of a variable.
async fn by_use(client: &Client, statement: &Statement, declared: &[Type]) -> Option<Plan> {
    let (sql, variables) = statement.expand_parameters(|number, _| format!("${number}"));
    let mut types = vec![Type::UNKNOWN; variables.len()];
    loop {
        let error = match prepare(client, &sql, &types).await {
            Ok(prepared) => return Some(Plan::of(&sql, &variables, &prepared)),
            Err(error) => error,
        };
        let error = error.as_db_error()?;
        if *error.code() != SqlState::INDETERMINATE_DATATYPE {
            return None;
        }
        let index = parameter_in(error.message())?;
        let unknown = types.get_mut(index).filter(|it| **it == Type::UNKNOWN)?;
        *unknown = declared[variables[index]].clone();
    }
}

/// Prepares in the open transaction, which a failure does not end.
async fn prepare(client: &Client, sql: &str, types: &[Type]) -> Result<Prepared, Error> {
    client.batch_execute("savepoint attempt").await?;
    let prepared = client.prepare_typed(sql, types).await;
    if prepared.is_err() {
        client.batch_execute("rollback to attempt").await?;
    }
    prepared
}

/// The index of the parameter that a message names: `… parameter $2`, in any language.
pub(super) fn parameter_in(message: &str) -> Option<usize> {
    let (_, rest) = message.split_once('$')?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number: usize = rest[..end].parse().ok()?;
    number.checked_sub(1)
}

/// The type that a variable has by itself.
fn declared(export: &Export, variable: &Variable) -> Type {
    let filter: Option<&Filter> = match variable {
        Variable::Filter(name) => export.filters.iter().find(|filter| filter.name == *name),
        Variable::User | Variable::Claim(_) => None,
    };
    let Some(filter) = filter else {
        return Type::TEXT;
    };
    match (filter.kind, filter.list) {
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

/// Whether values of a filter's type may not fit the type that was inferred.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_parameter() {
        assert_eq!(
            parameter_in("could not determine data type of parameter $12"),
            Some(11)
        );
        assert_eq!(parameter_in("unnamed portal parameter $1 = 'x$3'"), Some(0));
        assert_eq!(parameter_in("no parameter"), None);
        assert_eq!(parameter_in("$0"), None);
    }

    #[test]
    fn columns_are_chosen_quoted_and_converted() {
        let column = |name: &str, decoder| (Column::text(name), decoder);
        let plan = Plan {
            sql: "select 1".into(),
            parameters: Vec::new(),
            columns: vec![
                column("id", Decoder::Int4),
                column("a \"b\"", Decoder::Text),
            ],
        };
        let names = ["a \"b\"".to_owned(), "id".to_owned()];
        let chosen = plan.choose(Some(&names)).expect("columns");
        assert_eq!(
            plan.select(&chosen),
            "select \"a \"\"b\"\"\"::text, \"id\"::int4 from (\nselect 1\n) as rowlink"
        );
        assert_eq!(
            plan.choose(Some(&["gone".to_owned()])).err(),
            Some("gone".into())
        );
    }
}
