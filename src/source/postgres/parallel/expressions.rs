//! Reads the expressions of a plan in the server's own spelling.

use serde_json::Value;

/// What the server writes for the time of the transaction.
const CLOCK_WORDS: [&str; 5] = [
    "CURRENT_DATE",
    "CURRENT_TIMESTAMP",
    "CURRENT_TIME",
    "LOCALTIMESTAMP",
    "LOCALTIME",
];
const CLOCK_FUNCTIONS: [&str; 4] = ["now", "age", "transaction_timestamp", "statement_timestamp"];

/// Returns all texts of a plan, which include its expressions.
pub(super) fn expressions(plan: &Value) -> Vec<&str> {
    match plan {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        Value::Object(fields) => fields.values().flat_map(expressions).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Returns the name of a time of the transaction in an expression. A text that has such a word counts, too.
pub(super) fn clock_in(expression: &str) -> Option<String> {
    let word = CLOCK_WORDS.into_iter().find(|it| expression.contains(it));
    let called = || called_names(expression).find(|name| CLOCK_FUNCTIONS.contains(&&**name));
    word.map(str::to_owned).or_else(called)
}

/// Iterates over the names before a parenthesis, without their schemas.
pub(super) fn called_names(expression: &str) -> impl Iterator<Item = String> {
    let before = expression
        .match_indices('(')
        .map(|(index, _)| &expression[..index]);
    before.filter_map(|before| {
        if let Some(before) = before.strip_suffix('"') {
            return before.rsplit('"').next().map(str::to_owned);
        }
        let is_end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
        let name = before.rsplit(is_end).next().unwrap_or_default();
        (!name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn called_functions_are_found_with_and_without_schema_and_quotes() {
        let names = called_names(r#"(lower((a.b)::text) = app."My f"(x)) AND (public.g(1) > 2)"#);
        assert_eq!(names.collect::<Vec<_>>(), ["lower", "My f", "g"]);
    }

    #[test]
    fn times_of_the_transaction_are_found_anywhere_in_a_plan() {
        let plan = |filter: &str| json!([{"Plan": {"Plans": [{"Filter": filter, "Width": 4}]}}]);
        let clock = |filter: &str| {
            let plan = plan(filter);
            expressions(&plan).into_iter().find_map(clock_in)
        };
        assert_eq!(clock("(d.expires_at > now())").as_deref(), Some("now"));
        assert_eq!(
            clock("(d.day > CURRENT_DATE)").as_deref(),
            Some("CURRENT_DATE")
        );
        assert_eq!(clock("(d.known_at > d.known(1))"), None);
    }
}
