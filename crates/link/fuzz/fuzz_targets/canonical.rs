//! The canonical form of a query parses to the same pairs, so it is its own canonical form. An independent
//! decoder reads the same pairs from the query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rowlink_link::{parse_query, percent_encode};

fuzz_target!(|query: &str| {
    let Ok(pairs) = parse_query(query) else {
        return;
    };
    let canonical = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect::<Vec<_>>()
        .join("&");
    let again = parse_query(&canonical).expect("a canonical query");
    assert_eq!(again, pairs);
    let independent: Vec<(String, String)> =
        serde_urlencoded::from_str(query).expect("`serde_urlencoded` reads what Rowlink reads");
    assert!(pairs.iter().eq(independent.iter().map(|(n, v)| (n.as_str().into(), v.as_str().into())).collect::<Vec<_>>().iter()));
});
