//! Values in texts.

/// Replaces each `{name}` of a text by its value. What a value contains is not replaced.
pub(crate) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let value_of = |name: &str| {
        let mut values = values.iter();
        values.find_map(|(known, value)| (*known == name).then_some(*value))
    };
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after.split_once('}');
        let found = named.and_then(|(name, after)| Some((value_of(name)?, after)));
        let (value, after) = found.unwrap_or(("{", after));
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_replaced_once() {
        let values = [("a", "{b}"), ("b", "2")];
        assert_eq!(fill("{a} and {b}, {a}.", &values), "{b} and 2, {b}.");
        assert_eq!(fill("no value", &values), "no value");
    }

    #[test]
    fn a_brace_that_names_no_value_stays() {
        for text in ["{c}", "{", "}", "{}", "{ {", "a {b"] {
            assert_eq!(fill(text, &[("b", "2")]), text);
        }
        assert_eq!(fill("{c} {b}", &[("b", "2")]), "{c} 2");
        assert_eq!(fill("{{b}}", &[("b", "2")]), "{2}");
    }
}
