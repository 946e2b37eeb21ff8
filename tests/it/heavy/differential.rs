//! A million random links, checked by both implementations: `make fuzz`.

use std::collections::BTreeMap;
use std::thread;

use crate::differential::compare;

#[test]
#[ignore = "takes minutes: make fuzz"]
fn two_implementations_agree_on_a_million_links() {
    let halves = [2, 3].map(|half| {
        thread::spawn(move || {
            let mut total: BTreeMap<&str, usize> = BTreeMap::new();
            for part in 0..50 {
                for (outcome, count) in compare(10_000, half * 50 + part) {
                    *total.entry(outcome).or_default() += count;
                }
            }
            total
        })
    });
    for half in halves {
        println!("{:?}", half.join().unwrap());
    }
}
