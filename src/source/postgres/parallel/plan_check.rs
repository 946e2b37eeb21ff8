//! Checks the server's plan of a range: the range condition reaches an index, each row of the table is at most one row of
//! the result, and no node chooses rows by what it has seen before, as a row limit does, which could choose others for
//! each range.
//!
//! Only plans of known nodes are accepted. What the statement does is in every plan of it; which index a later plan uses is
//! only a matter of speed.

use serde_json::Value;

/// The column in whose ranges a statement is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyColumn {
    /// Its tables, with their schemas: the table itself, or its partitions.
    pub(super) tables: Vec<(String, String)>,
    /// Its name in the tables, quoted as the server does where necessary.
    pub(super) attribute: String,
}

/// Nodes that return each row of their input or not by its values, or combine rows, whatever their order.
const NODES: [&str; 22] = [
    "Seq Scan",
    "Index Scan",
    "Index Only Scan",
    "Bitmap Heap Scan",
    "Bitmap Index Scan",
    "BitmapAnd",
    "BitmapOr",
    "Nested Loop",
    "Hash Join",
    "Merge Join",
    "Hash",
    "Sort",
    "Incremental Sort",
    "Materialize",
    "Memoize",
    "Subquery Scan",
    "Append",
    "Merge Append",
    "Result",
    "Gather",
    "Gather Merge",
    "Values Scan",
];
/// Joins that return a row of their outer input at most once if the inner one is unique.
const JOINS: [&str; 4] = ["Inner", "Left", "Semi", "Anti"];

/// Checks the plan of a range between two parameters. `parameters` is the number of those before them.
///
/// # Errors
/// Returns the reason why the statement cannot be read in ranges.
pub(super) fn check_range_plan(
    plan: &Value,
    key: &KeyColumn,
    parameters: usize,
) -> Result<(), String> {
    let plan = root(plan)?;
    check_nodes(plan, false)?;
    let bounds = [
        format!(" >= ${})", parameters + 1),
        format!(" < ${})", parameters + 2),
    ];
    let mut scanned = Vec::new();
    check_path(plan, key, &bounds, &mut scanned)?;
    match scanned.is_empty() {
        true => Err("its plan reads no table".to_owned()),
        false => Ok(()),
    }
}

/// Returns all texts of a plan, which include its expressions in the server's own spelling.
pub(super) fn expressions(plan: &Value) -> Vec<&str> {
    match plan {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(expressions).collect(),
        Value::Object(fields) => fields.values().flat_map(expressions).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Returns the root of a plan in JSON.
pub(super) fn root(plan: &Value) -> Result<&Value, String> {
    let root = plan.get(0).and_then(|statement| statement.get("Plan"));
    root.ok_or_else(|| "the server's plan is unknown".to_owned())
}

/// Checks that each node is known. An aggregate may be in a subquery of one row, and nowhere else.
fn check_nodes(node: &Value, in_subplan: bool) -> Result<(), String> {
    let kind = node_type(node);
    let in_subplan = in_subplan || text(node, "Parent Relationship") == "SubPlan";
    let is_known = NODES.contains(&kind) || (in_subplan && kind == "Aggregate");
    if !is_known {
        return Err(format!("its plan has the step `{kind}`"));
    }
    children(node).try_for_each(|child| check_nodes(child, in_subplan))
}

/// Follows the nodes whose rows are the result, down to the scans of the key.
fn check_path<'p>(
    node: &'p Value,
    key: &KeyColumn,
    bounds: &[String; 2],
    scanned: &mut Vec<(&'p str, &'p str)>,
) -> Result<(), String> {
    let kind = node_type(node);
    match kind {
        "Sort" | "Incremental Sort" | "Subquery Scan" | "Result" | "Materialize" | "Gather"
        | "Gather Merge" => {
            let mut inputs = inputs(node);
            let input = inputs.next().ok_or("its plan reads no table")?;
            check_path(input, key, bounds, scanned)
        }
        // Partitions: each is scanned once.
        "Append" | "Merge Append" => {
            inputs(node).try_for_each(|input| check_path(input, key, bounds, scanned))
        }
        "Nested Loop" | "Hash Join" | "Merge Join" => {
            let join = text(node, "Join Type");
            let is_unique = node.get("Inner Unique") == Some(&Value::Bool(true));
            let is_half = matches!(join, "Semi" | "Anti");
            if !JOINS.contains(&join) || !(is_unique || is_half) {
                return Err("a join may return several rows with one value of it".to_owned());
            }
            let mut inputs = inputs(node);
            let outer = inputs.find(|input| text(input, "Parent Relationship") == "Outer");
            check_path(outer.ok_or("its plan is unknown")?, key, bounds, scanned)
        }
        "Index Scan" | "Index Only Scan" => check_scan(node, node, key, bounds, scanned),
        "Bitmap Heap Scan" => {
            let mut inputs = inputs(node);
            let index = inputs.find(|input| node_type(input) == "Bitmap Index Scan");
            let index = index.ok_or_else(no_index)?;
            check_scan(node, index, key, bounds, scanned)
        }
        _ => Err(no_index()),
    }
}

/// Checks that a scan is of the key's table, by an index with the condition of the range, and the only one.
fn check_scan<'p>(
    scan: &'p Value,
    index: &Value,
    key: &KeyColumn,
    bounds: &[String; 2],
    scanned: &mut Vec<(&'p str, &'p str)>,
) -> Result<(), String> {
    let condition = text(index, "Index Cond");
    if !is_table(scan, key) || !bounds.iter().all(|bound| condition.contains(bound)) {
        return Err(no_index());
    }
    let table = (text(scan, "Schema"), text(scan, "Relation Name"));
    if scanned.contains(&table) {
        return Err("its plan reads the table twice".to_owned());
    }
    scanned.push(table);
    Ok(())
}

fn no_index() -> String {
    "no index leads to a range of it: the database would read the whole query for each range"
        .to_owned()
}

pub(super) fn is_table(node: &Value, key: &KeyColumn) -> bool {
    let (schema, table) = (text(node, "Schema"), text(node, "Relation Name"));
    let mut tables = key.tables.iter();
    tables.any(|(known_schema, known)| known_schema == schema && known == table)
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node.get("Plans")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Iterates over the children whose rows a node reads, without subqueries in expressions.
pub(super) fn inputs(node: &Value) -> impl Iterator<Item = &Value> {
    children(node)
        .filter(|child| !matches!(text(child, "Parent Relationship"), "SubPlan" | "InitPlan"))
}

pub(super) fn node_type(node: &Value) -> &str {
    text(node, "Node Type")
}

pub(super) fn text<'p>(node: &'p Value, name: &str) -> &'p str {
    node.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::source::postgres) fn key() -> KeyColumn {
        KeyColumn {
            tables: vec![("public".into(), "orders".into())],
            attribute: "id".into(),
        }
    }

    pub(in crate::source::postgres) fn scan() -> Value {
        json!({
            "Node Type": "Index Scan", "Schema": "public", "Relation Name": "orders", "Alias": "o",
            "Parent Relationship": "Outer", "Index Cond": "((o.id >= $2) AND (o.id < $3))",
        })
    }

    pub(in crate::source::postgres) fn other(relationship: &str) -> Value {
        json!({
            "Node Type": "Seq Scan", "Schema": "public", "Relation Name": "customers", "Alias": "c",
            "Parent Relationship": relationship,
        })
    }

    pub(in crate::source::postgres) fn over(kind: &str, input: Value) -> Value {
        json!({"Node Type": kind, "Plans": [input]})
    }

    pub(in crate::source::postgres) fn join(
        kind: &str,
        unique: bool,
        outer: Value,
        inner: Value,
    ) -> Value {
        let mut inner = inner;
        inner["Parent Relationship"] = json!("Inner");
        json!({
            "Node Type": "Hash Join", "Join Type": kind, "Inner Unique": unique, "Parent Relationship": "Outer",
            "Plans": [outer, inner],
        })
    }

    fn check(plan: Value) -> Result<(), String> {
        check_range_plan(&json!([{"Plan": plan}]), &key(), 1)
    }

    #[test]
    fn a_range_of_one_table_through_an_index_is_accepted() {
        let bitmap = json!({
            "Node Type": "Bitmap Heap Scan", "Schema": "public", "Relation Name": "orders",
            "Plans": [{"Node Type": "Bitmap Index Scan", "Parent Relationship": "Outer",
                       "Index Cond": "((o.user_id = $1) AND (o.id >= $2) AND (o.id < $3))"}],
        });
        let mut counted = scan();
        counted["Plans"] = json!([{
            "Node Type": "Aggregate", "Parent Relationship": "SubPlan", "Plans": [other("Outer")],
        }]);
        for plan in [
            scan(),
            over("Sort", over("Subquery Scan", scan())),
            over("Sort", bitmap),
            counted,
            join("Inner", true, scan(), over("Hash", other("Outer"))),
            join("Left", true, scan(), other("Inner")),
            join("Semi", false, scan(), other("Inner")),
        ] {
            assert_eq!(check(plan.clone()), Ok(()), "{plan}");
        }
    }

    #[test]
    fn a_plan_that_computes_more_than_the_range_is_refused() {
        let mut filtered = scan();
        filtered["Index Cond"] = json!("(o.user_id = $1)");
        let mut half = scan();
        half["Index Cond"] = json!("(o.id >= $2)");
        let mut similar = scan();
        similar["Index Cond"] = json!("((o.id >= $20) AND (o.id < $30))");
        let mut elsewhere = scan();
        elsewhere["Relation Name"] = json!("order_lines");
        let joined = over("Limit", other("Outer"));
        for (plan, expected) in [
            (other("Outer"), "no index"),
            (filtered, "no index"),
            (half, "no index"),
            (similar, "no index"),
            (elsewhere, "no index"),
            (over("Limit", scan()), "`Limit`"),
            (over("Aggregate", scan()), "`Aggregate`"),
            (over("WindowAgg", scan()), "`WindowAgg`"),
            (over("Unique", scan()), "`Unique`"),
            (over("SetOp", scan()), "`SetOp`"),
            (over("LockRows", scan()), "`LockRows`"),
            (over("A Later Node", scan()), "`A Later Node`"),
            (join("Inner", true, scan(), joined), "`Limit`"),
            (join("Inner", false, scan(), other("Inner")), "several rows"),
            (join("Full", true, scan(), other("Inner")), "several rows"),
            (join("Right", true, scan(), other("Inner")), "several rows"),
            (join("Inner", true, other("Outer"), scan()), "no index"),
            (
                json!({"Node Type": "Append", "Plans": [scan(), scan()]}),
                "twice",
            ),
            (json!({"Node Type": "Result"}), "no table"),
            (json!({"Node Type": "Append"}), "no table"),
        ] {
            let refused = check(plan.clone()).expect_err("refused");
            assert!(refused.contains(expected), "{plan}: {refused}");
        }
        let unknown = check_range_plan(&json!({}), &key(), 1).expect_err("refused");
        assert!(unknown.contains("unknown"), "{unknown}");
    }
}
