//! A statement whose `:name` placeholders are numbered driver parameters.

mod list_use;
mod names;
mod parser;
mod ranges;
mod select_list;
#[cfg(test)]
mod select_list_tests;
mod sort_key;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use ranges::{References, clock_word};
pub(super) use select_list::{check_expression, replace_column};

use super::Parameter;
use crate::toml_errors::LineError;

/// The value that a placeholder refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// `:user`, the user id of the link.
    User,
    /// `:claim.NAME`, a pinned claim of the link.
    Claim(String),
    /// A declared filter.
    Filter(String),
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::User => f.write_str(":user"),
            Variable::Claim(name) => write!(f, ":claim.{name}"),
            Variable::Filter(name) => write!(f, ":{name}"),
        }
    }
}

/// The SQL dialect of a database. Decides tokenization and parameter syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlDialect {
    /// SQLite; parameters are `?1`, `?2`, ….
    Sqlite,
    /// PostgreSQL; parameters are `$1`, `$2`, ….
    Postgres,
    /// MySQL and MariaDB; parameters are `?`, one per use.
    Mysql,
}

impl SqlDialect {
    fn parameter(self, number: usize) -> String {
        match self {
            SqlDialect::Sqlite => format!("?{number}"),
            SqlDialect::Postgres => format!("${number}"),
            SqlDialect::Mysql => "?".to_owned(),
        }
    }
}

/// One statement with numbered parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The SQL for the driver.
    pub sql: String,
    /// The variable of each parameter; the first is parameter 1.
    pub variables: Vec<Variable>,
    /// The line of each variable's first use.
    first_uses: Vec<usize>,
    uses: Vec<Use>,
    /// The line of the file on which the SQL starts, counted from 1.
    pub line: usize,
    dialect: SqlDialect,
}

/// A parameter in [`Statement::sql`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Use {
    span: Range<usize>,
    /// The index of its variable.
    variable: usize,
    /// Whether it stands for the elements of a list: `in (:status)`.
    is_elements: bool,
}

/// A parameter of an [expanded](Statement::expand_parameters) statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// The index of its variable.
    pub variable: usize,
    /// The index of the element, if it is one of a list.
    pub element: Option<usize>,
}

impl Argument {
    /// Returns its value among those of the variables.
    pub fn value<'p>(&self, parameters: &'p [Parameter]) -> Cow<'p, Parameter> {
        match (&parameters[self.variable], self.element) {
            (Parameter::List(values), Some(index)) => {
                Cow::Owned(Parameter::One(values[index].clone()))
            }
            (parameter, _) => Cow::Borrowed(parameter),
        }
    }
}

impl Statement {
    /// Parses the only statement of a file. `is_list` tells which filters are lists.
    ///
    /// # Errors
    /// Returns an error if the tokenizer rejects the text, it is not exactly one statement, it
    /// contains a driver placeholder such as `$1`, it compares a list with one value, or a placeholder is
    /// a sort key.
    pub fn parse(
        text: &str,
        dialect: SqlDialect,
        is_list: impl Fn(&str) -> bool,
    ) -> Result<Statement, LineError> {
        parser::parse(text, dialect, is_list)
    }

    /// Returns the line of the file for a byte offset in [`sql`](Self::sql). Replacing placeholders
    /// keeps line numbers: neither placeholders nor parameters contain a line break.
    pub fn line_at(&self, offset: usize) -> usize {
        let before = self.sql.as_bytes().iter().take(offset);
        self.line + before.filter(|byte| **byte == b'\n').count()
    }

    /// Returns a message of the database with each parameter, such as `$2`, by its name in the file.
    pub fn name_parameters(&self, message: &str) -> String {
        let mut named = String::new();
        let mut rest = message;
        while let Some((before, after)) = rest.split_once('$') {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let number: Option<usize> = after[..digits].parse().ok();
            let variable = number.and_then(|number| self.variables.get(number.checked_sub(1)?));
            named.push_str(before);
            match variable {
                Some(variable) => named.push_str(&format!("`{variable}`")),
                None => named.push_str(&rest[before.len()..before.len() + 1 + digits]),
            }
            rest = &after[digits..];
        }
        named + rest
    }

    /// Returns the line of the file on which a variable is first used.
    pub(super) fn line_of(&self, variable: &Variable) -> usize {
        let index = self.variables.iter().position(|other| other == variable);
        self.first_uses[index.expect("a variable of this statement")]
    }

    /// Returns the byte offset in [`sql`](Self::sql) of the first use of a variable, by its index.
    pub fn offset_of(&self, variable: usize) -> Option<usize> {
        let first = self.uses.iter().find(|it| it.variable == variable);
        first.map(|first| first.span.start)
    }

    /// Returns the SQL with a separate parameter per use of a variable, and per element of a list in
    /// `in (:list)`; and the argument of each. Needed where all uses of a parameter must have one type, a
    /// parameter has only one use, or the database has no lists. `parameters` are the values of the variables;
    /// without them each list has one element. `write` returns the SQL of a parameter for its number, its
    /// variable, and whether it is an element.
    pub fn expand_parameters(
        &self,
        parameters: Option<&[Parameter]>,
        write: impl Fn(usize, &Variable, bool) -> String,
    ) -> (String, Vec<Argument>) {
        let mut sql = String::new();
        let mut arguments: Vec<Argument> = Vec::new();
        let mut copied = 0;
        for Use {
            span,
            variable,
            is_elements,
        } in &self.uses
        {
            sql.push_str(&self.sql[copied..span.start]);
            copied = span.end;
            let count = match parameters.map(|parameters| &parameters[*variable]) {
                Some(Parameter::List(values)) if *is_elements => values.len(),
                Some(Parameter::Null) if *is_elements => 0,
                _ => 1,
            };
            if count == 0 {
                sql.push_str("null");
            }
            for element in 0..count {
                if element > 0 {
                    sql.push_str(", ");
                }
                arguments.push(Argument {
                    variable: *variable,
                    element: is_elements.then_some(element),
                });
                let variable = &self.variables[*variable];
                sql.push_str(&write(arguments.len(), variable, *is_elements));
            }
        }
        sql.push_str(&self.sql[copied..]);
        (sql, arguments)
    }

    fn push_parameter(&mut self, variable: Variable, line: usize, is_elements: bool) {
        let known = self.variables.iter().position(|other| *other == variable);
        let index = known.unwrap_or_else(|| {
            self.variables.push(variable);
            self.first_uses.push(line);
            self.variables.len() - 1
        });
        let start = self.sql.len();
        self.sql.push_str(&self.dialect.parameter(index + 1));
        self.uses.push(Use {
            span: start..self.sql.len(),
            variable: index,
            is_elements,
        });
    }
}
