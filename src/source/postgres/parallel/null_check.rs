//! Checks the server's plan of the rows whose key is NULL.

use serde_json::Value;

use super::plan_check::{KeyColumn, inputs, is_table, node_type, root, text};
use crate::source::postgres::plan::quoted;

/// Checks the plan of the rows whose key is NULL: it must show that there are none. An outer join could add rows without a
/// key.
///
/// # Errors
/// Returns the reason why the statement cannot be read in ranges.
pub(super) fn check_null_plan(plan: &Value, key: &KeyColumn) -> Result<(), String> {
    match is_empty(root(plan)?, key) {
        true => Ok(()),
        false => Err("an outer join may return rows without it".to_owned()),
    }
}

/// Tells whether a node certainly returns no row: because the planner knows it, because it is a scan of the key's table for
/// rows without a key, or because of the inputs that it needs for a row.
fn is_empty(node: &Value, key: &KeyColumn) -> bool {
    let is_side_empty = |side: &str| {
        let mut inputs = inputs(node);
        let input = inputs.find(|input| text(input, "Parent Relationship") == side);
        input.is_some_and(|input| is_empty(input, key))
    };
    match node_type(node) {
        "Result" if text(node, "One-Time Filter") == "false" => true,
        "Result" | "Sort" | "Incremental Sort" | "Subquery Scan" | "Materialize" | "Memoize"
        | "Hash" | "Gather" | "Gather Merge" => inputs(node)
            .next()
            .is_some_and(|input| is_empty(input, key)),
        "Append" | "Merge Append" => {
            inputs(node).next().is_some() && inputs(node).all(|input| is_empty(input, key))
        }
        "Nested Loop" | "Hash Join" | "Merge Join" => match text(node, "Join Type") {
            "Inner" | "Semi" | "Right Semi" => is_side_empty("Outer") || is_side_empty("Inner"),
            "Left" | "Anti" => is_side_empty("Outer"),
            "Right" | "Right Anti" => is_side_empty("Inner"),
            _ => false,
        },
        "Seq Scan" | "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan" => {
            is_null_scan(node, key)
        }
        _ => false,
    }
}

/// Tells whether a scan is of the key's table, where no key is NULL, and requires that the key is.
fn is_null_scan(scan: &Value, key: &KeyColumn) -> bool {
    let alias = text(scan, "Alias");
    let is_null = |alias: &str| format!("({alias}.{} IS NULL)", key.attribute);
    let is_null = [is_null(alias), is_null(&quoted(alias))];
    let index = inputs(scan).find(|input| node_type(input) == "Bitmap Index Scan");
    let mut conditions = ["Index Cond", "Filter", "Recheck Cond"]
        .into_iter()
        .flat_map(|name| {
            [Some(scan), index]
                .into_iter()
                .flatten()
                .map(move |it| text(it, name))
        });
    is_table(scan, key) && conditions.any(|it| is_null.iter().any(|part| requires(it, part)))
}

/// Tells whether a condition in the spelling of the server is `part`, or `part` and others.
fn requires(condition: &str, part: &str) -> bool {
    let mut found = condition.match_indices(part);
    condition == part
        || found.any(|(start, _)| {
            let (before, after) = (&condition[..start], &condition[start + part.len()..]);
            let is_conjunct = before.ends_with(" AND ") || after.starts_with(" AND ");
            depth(before) == Some(1) && is_conjunct
        })
}

/// Returns the number of parentheses that are open at the end of some SQL; `None` within a text or a quoted name.
fn depth(sql: &str) -> Option<i32> {
    let (mut depth, mut quote) = (0, None);
    for it in sql.chars() {
        match (quote, it) {
            // A doubled quote ends a text and begins the next one.
            (Some(open), _) if it == open => quote = None,
            (None, '\'' | '"') => quote = Some(it),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            _ => {}
        }
    }
    quote.is_none().then_some(depth)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan_check::tests::{join, key, other, over, scan};
    use super::*;

    fn null_scan(name: &str, condition: &str) -> Value {
        let mut scan = scan();
        scan["Index Cond"] = Value::Null;
        scan[name] = json!(condition);
        scan
    }

    fn never() -> Value {
        json!({"Node Type": "Result", "One-Time Filter": "false", "Parent Relationship": "Outer"})
    }

    fn check_null(plan: &Value) -> Result<(), String> {
        check_null_plan(&json!([{"Plan": plan}]), &key())
    }

    #[test]
    fn a_plan_that_returns_no_row_without_a_key_is_accepted() {
        let is_null = || null_scan("Index Cond", "(o.id IS NULL)");
        let mut bitmap = null_scan("Filter", "(o.user_id = $1)");
        bitmap["Node Type"] = json!("Bitmap Heap Scan");
        bitmap["Plans"] =
            json!([{"Node Type": "Bitmap Index Scan", "Index Cond": "(o.id IS NULL)"}]);
        let mut named = null_scan("Filter", "(\"Order\".id IS NULL)");
        named["Alias"] = json!("Order");
        let mut gated = over("Result", scan());
        gated["One-Time Filter"] = json!("false");
        for plan in [
            never(),
            over("Sort", never()),
            over(
                "Gather Merge",
                over("Sort", over("Subquery Scan", is_null())),
            ),
            gated,
            is_null(),
            bitmap,
            named,
            null_scan("Filter", "((o.id IS NULL) AND (o.user_id = $1))"),
            null_scan(
                "Filter",
                "(o.paid AND (o.name = ')'::text) AND (o.id IS NULL))",
            ),
            json!({"Node Type": "Append", "Plans": [is_null(), never()]}),
            join("Left", true, is_null(), other("Inner")),
            join("Anti", true, never(), other("Inner")),
            join("Right", true, other("Outer"), over("Hash", is_null())),
            join("Inner", true, other("Outer"), never()),
            join("Semi", false, other("Outer"), is_null()),
        ] {
            assert_eq!(check_null(&plan), Ok(()), "{plan}");
        }
    }

    #[test]
    fn a_plan_in_which_only_a_part_is_empty_may_return_rows_without_a_key() {
        let is_null = || null_scan("Index Cond", "(o.id IS NULL)");
        let as_subplan = |relationship: &str, mut empty: Value| {
            let mut outer = join("Anti", true, other("Outer"), scan());
            empty["Parent Relationship"] = json!(relationship);
            outer["Plans"].as_array_mut().expect("inputs").push(empty);
            outer
        };
        let mut filtered = join("Left", true, other("Outer"), scan());
        filtered["Filter"] = json!("(o.id IS NULL)");
        let mut elsewhere = is_null();
        elsewhere["Relation Name"] = json!("order_lines");
        for plan in [
            filtered,
            elsewhere,
            scan(),
            join("Left", true, other("Outer"), never()),
            join("Left", true, other("Outer"), is_null()),
            join("Right", true, never(), over("Hash", other("Outer"))),
            join("Anti", true, other("Outer"), scan()),
            join("Full", true, never(), other("Outer")),
            over("Sort", as_subplan("InitPlan", never())),
            as_subplan("SubPlan", is_null()),
            json!({"Node Type": "Append", "Plans": [is_null(), other("Outer")]}),
            json!({"Node Type": "Append"}),
            over("Aggregate", never()),
            null_scan("Filter", "((o.id IS NULL) OR (o.user_id = $1))"),
            null_scan("Filter", "(o.paid AND (NOT ((o.id IS NULL) AND o.sent)))"),
            null_scan(
                "Filter",
                "((o.name = ' AND (o.id IS NULL) AND '::text) AND o.paid)",
            ),
            null_scan("Filter", "((c.id IS NULL) AND o.paid)"),
        ] {
            check_null(&plan).expect_err(&plan.to_string());
        }
    }
}
