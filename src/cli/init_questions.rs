//! What `rowlink init` must know about the first export: from its options, or asked on a terminal.

use std::io::{self, BufRead, IsTerminal as _, Write};

use super::errors::{ErrorLines, error_line};
use super::export_text::can_be_user;
use super::new::{RowsArgs, find_table};
use super::visible::printable;
use crate::source::Table;
use rowlink_link::UserId;

/// The user of an API key for exports whose rows are the same for every user.
const ANY_USER: &str = "first";
/// How many tables an error names.
const TABLES_SHOWN: usize = 20;

/// The first export, and the user of its API key.
pub(super) struct FirstExport<'t> {
    pub(super) table: &'t Table,
    pub(super) rows: RowsArgs,
    pub(super) user: String,
}

/// Takes what the options say, and asks for the rest on a terminal.
///
/// # Errors
/// Returns what is missing without a terminal, or that there is no such table.
pub(super) fn choose<'t>(
    tables: &'t [Table],
    from: Option<String>,
    rows: RowsArgs,
    user: Option<UserId>,
) -> Result<FirstExport<'t>, ErrorLines> {
    if tables.is_empty() {
        return Err(error_line(
            "--database: has no table that the login may read",
        ));
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        ensure_complete(tables, from.as_deref(), &rows, user.as_ref())?;
    }
    let mut terminal = Terminal {
        input: io::stdin().lock(),
        output: io::stderr(),
    };
    terminal.choose(tables, from, rows, user)
}

/// Returns every option that is missing.
fn ensure_complete(
    tables: &[Table],
    from: Option<&str>,
    rows: &RowsArgs,
    user: Option<&UserId>,
) -> Result<(), ErrorLines> {
    let mut errors = Vec::new();
    if from.is_none() {
        let names: Vec<String> = tables.iter().map(Table::full_name).collect();
        let shown = printable(&names[..names.len().min(TABLES_SHOWN)].join(", "));
        errors.push(format!(
            "--from: is required without a terminal; name a table, such as {shown}"
        ));
    }
    if rows.user_column.is_none() && !rows.for_all_users {
        errors.push(
            "--user-column: is required without a terminal; name the column with the user ids, or add \
             --for-all-users, and every caller gets every row"
                .to_owned(),
        );
    }
    if user.is_none() && !rows.for_all_users {
        errors.push(
            "--user: is required without a terminal; name the user whose rows the API key reads"
                .to_owned(),
        );
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors),
    }
}

/// Where questions are asked.
struct Terminal<I, O> {
    input: I,
    output: O,
}

impl<I: BufRead, O: Write> Terminal<I, O> {
    fn choose<'t>(
        &mut self,
        tables: &'t [Table],
        from: Option<String>,
        mut rows: RowsArgs,
        user: Option<UserId>,
    ) -> Result<FirstExport<'t>, ErrorLines> {
        let table = match from {
            Some(name) => find_table(tables, &name)?,
            None => {
                let names: Vec<String> = tables.iter().map(Table::full_name).collect();
                let question = "Which table is the first export's?";
                &tables[self.ask_number(question, 1, &names)? - 1]
            }
        };
        if rows.user_column.is_none() && !rows.for_all_users {
            let columns = table.columns.iter().filter(|column| can_be_user(column));
            let columns: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
            let mut choices = vec!["none: every caller gets every row".to_owned()];
            choices.extend(columns.iter().map(|name| (*name).to_owned()));
            let question =
                "Which column has the user ids, so that a caller gets only its own rows?";
            match self.ask_number(question, 0, &choices)? {
                0 => rows.for_all_users = true,
                chosen => rows.user_column = Some(columns[chosen - 1].to_owned()),
            }
        }
        let user = match user {
            Some(user) => user.as_str().to_owned(),
            None if rows.for_all_users => ANY_USER.to_owned(),
            None => self.ask("Whose rows does the API key read? The user id: ", |text| {
                UserId::parse(text.to_owned())
                    .map(|user| user.as_str().to_owned())
                    .map_err(|error| error.to_string())
            })?,
        };
        Ok(FirstExport { table, rows, user })
    }

    /// Asks for one of some choices; returns its number. They are counted from `first`.
    fn ask_number(
        &mut self,
        question: &str,
        first: usize,
        choices: &[String],
    ) -> Result<usize, ErrorLines> {
        let lines = choices.iter().enumerate();
        let lines = lines.map(|(index, it)| format!("{:5}  {}\n", first + index, printable(it)));
        let lines: String = lines.collect();
        let last = first + choices.len() - 1;
        let question = format!("{question}\n{lines}Number from {first} to {last}: ");
        self.ask(&question, |text| {
            let number = text.parse().ok();
            let number = number.filter(|number| (first..=last).contains(number));
            number.ok_or_else(|| format!("expected a number from {first} to {last}"))
        })
    }

    /// Asks until the answer is valid.
    fn ask<T>(
        &mut self,
        question: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ErrorLines> {
        write!(self.output, "{question}").map_err(error_line)?;
        loop {
            self.output.flush().map_err(error_line)?;
            let mut answer = String::new();
            if self.input.read_line(&mut answer).map_err(error_line)? == 0 {
                return Err(error_line("standard input: no answer; nothing is written"));
            }
            match parse(answer.trim()) {
                Ok(answer) => return Ok(answer),
                Err(error) => write!(self.output, "{error}: ").map_err(error_line)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::FilterType;
    use crate::source::TableColumn;

    fn table(name: &str) -> Table {
        let column = |name: &str, filter_type| TableColumn {
            name: name.to_owned(),
            type_name: String::new(),
            filter_type,
            key_position: None,
        };
        Table {
            schema: "main".to_owned(),
            is_in_default_schema: true,
            name: name.to_owned(),
            is_view: false,
            rows: None,
            columns: vec![
                column("created_at", Some(FilterType::Timestamp)),
                column("user_id", Some(FilterType::Text)),
            ],
        }
    }

    fn rows() -> RowsArgs {
        RowsArgs {
            user_column: None,
            for_all_users: false,
            filters: Vec::new(),
        }
    }

    /// The answers to all questions: table, column, for all users, user.
    type Answers = (String, Option<String>, bool, String);

    /// Returns the answers in some lines, and what was printed.
    fn answer(lines: &str) -> (Result<Answers, ErrorLines>, String) {
        let tables = [table("orders"), table("returns")];
        let mut output = Vec::new();
        let mut terminal = Terminal {
            input: lines.as_bytes(),
            output: &mut output,
        };
        let chosen = terminal.choose(&tables, None, rows(), None).map(|it| {
            let RowsArgs {
                user_column,
                for_all_users,
                ..
            } = it.rows;
            (it.table.name.clone(), user_column, for_all_users, it.user)
        });
        (chosen, String::from_utf8(output).expect("UTF-8"))
    }

    #[test]
    fn questions_are_repeated_until_their_answer_is_valid() {
        let (chosen, shown) = answer("0\nreturns\n2\n1\n\n42\n");
        let expected = (
            "returns".to_owned(),
            Some("user_id".to_owned()),
            false,
            "42".to_owned(),
        );
        assert_eq!(chosen.expect("answers"), expected, "{shown}");
        assert_eq!(
            shown.matches("expected a number from 1 to 2: ").count(),
            2,
            "{shown}"
        );
        assert!(
            !shown.contains("created_at"),
            "no column of user ids: {shown}"
        );
    }

    #[test]
    fn rows_for_all_users_are_a_choice_of_its_own_and_no_answer_is_an_error() {
        let (chosen, _) = answer("1\n0\n");
        let expected = ("orders".to_owned(), None, true, ANY_USER.to_owned());
        assert_eq!(chosen.expect("answers"), expected);
        let (chosen, _) = answer("1\n");
        assert_eq!(
            chosen.expect_err("no answer"),
            ["standard input: no answer; nothing is written"]
        );
    }

    #[test]
    fn everything_that_is_missing_without_a_terminal_is_named() {
        let tables = [table("orders")];
        let errors = ensure_complete(&tables, None, &rows(), None).expect_err("missing");
        let names: Vec<&str> = errors
            .iter()
            .filter_map(|it| it.split(':').next())
            .collect();
        assert_eq!(names, ["--from", "--user-column", "--user"]);
        let all = RowsArgs {
            for_all_users: true,
            ..rows()
        };
        assert!(ensure_complete(&tables, Some("orders"), &all, None).is_ok());
    }
}
