//! Splits all values of an integer column into ranges.

use crate::catalog::{Parameter, Value};

/// The most ranges of a file, so that their number fits any arithmetic.
const RANGES_MAX: u64 = 1 << 24;

/// A range of the column's values. Together those of [`Ranges`] hold every value once, also NULL and values that are
/// no integers, because each begins where the one before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// Less than a value.
    Below(i64),
    /// At least the first value, and less than the second one.
    Between(i64, i64),
    /// At least a value.
    From(i64),
    /// NULL, which is neither less nor more. The column is not null when an export is described, but may change.
    Null,
}

impl Range {
    /// Returns the condition for a column, whose name is quoted. Its parameters are numbered after `parameters` others.
    pub(super) fn condition(self, column: &str, parameters: usize) -> String {
        let (first, second) = (parameters + 1, parameters + 2);
        match self {
            Range::Below(_) => format!("{column} < ${first}"),
            Range::Between(..) => format!("{column} >= ${first} and {column} < ${second}"),
            Range::From(_) => format!("{column} >= ${first}"),
            Range::Null => format!("{column} is null"),
        }
    }

    /// Returns the values of these parameters, each an `int8`.
    pub(super) fn parameters(self) -> Vec<Parameter> {
        let value = |value| Parameter::One(Value::Integer(value));
        match self {
            Range::Below(end) => vec![value(end)],
            Range::Between(start, end) => vec![value(start), value(end)],
            Range::From(start) => vec![value(start)],
            Range::Null => Vec::new(),
        }
    }
}

/// The equally frequent values of a column: as many rows are between two neighbours as between any others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram(Vec<i64>);

impl Histogram {
    /// Parses an array of the server, `{1,5,9}`; returns `None` if it has fewer than two integers.
    pub(super) fn parse(text: &str) -> Option<Histogram> {
        let values = text.strip_prefix('{')?.strip_suffix('}')?.split(',');
        let values: Result<Vec<i64>, _> = values.map(str::parse).collect();
        let mut values = values.ok()?;
        values.sort_unstable();
        values.dedup();
        (values.len() > 1).then_some(Histogram(values))
    }

    /// Returns a range in the middle, such as the others of `count` ranges.
    pub(super) fn middle(&self) -> Range {
        let middle = (self.0.len() - 1) / 2;
        Range::Between(self.0[middle], self.0[middle + 1])
    }

    /// Returns the value that `index` of `count` equal parts of the rows are less than. `index` is less than `count`.
    fn bound(&self, index: u64, count: u64) -> i64 {
        let buckets = (self.0.len() - 1) as u64;
        let position = index * buckets;
        let (bucket, rest) = ((position / count) as usize, position % count);
        let (start, end) = (i128::from(self.0[bucket]), i128::from(self.0[bucket + 1]));
        let bound = start + (end - start) * i128::from(rest) / i128::from(count);
        i64::try_from(bound).expect("it is between two values of 64 bits")
    }
}

/// Ranges of about equally many rows, in ascending order, and then that of NULL. They are computed when they are needed,
/// because a large table has many.
#[derive(Debug)]
pub(super) struct Ranges {
    histogram: Histogram,
    /// The number of ranges without that of NULL, at least two.
    count: u64,
}

impl Ranges {
    pub(super) fn new(histogram: Histogram, count: u64) -> Ranges {
        Ranges {
            histogram,
            count: count.clamp(2, RANGES_MAX),
        }
    }

    /// Returns the number of ranges.
    pub(super) fn len(&self) -> u64 {
        self.count + 1
    }

    /// Returns a range by its index; `None` if no value can be in it, because values are rare there.
    pub(super) fn get(&self, index: u64) -> Option<Range> {
        let bound = |index| self.histogram.bound(index, self.count);
        let range = match index {
            0 => Range::Below(bound(1)),
            last if last == self.count - 1 => Range::From(bound(last)),
            index if index < self.count => Range::Between(bound(index), bound(index + 1)),
            _ => Range::Null,
        };
        match range {
            Range::Between(start, end) if start == end => None,
            range => Some(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges(bounds: &[i64], count: u64) -> Vec<Range> {
        let texts: Vec<String> = bounds.iter().map(ToString::to_string).collect();
        let histogram = Histogram::parse(&format!("{{{}}}", texts.join(",")));
        let ranges = Ranges::new(histogram.expect("two values"), count);
        (0..ranges.len())
            .filter_map(|index| ranges.get(index))
            .collect()
    }

    fn holds(range: Range, value: i64) -> bool {
        match range {
            Range::Below(end) => value < end,
            Range::Between(start, end) => value >= start && value < end,
            Range::From(start) => value >= start,
            Range::Null => false,
        }
    }

    proptest! {
        #[test]
        fn every_integer_is_in_one_range(
            bounds in proptest::collection::btree_set(any::<i64>(), 2..50),
            near in proptest::collection::btree_set(-100_i64..100, 2..50),
            count in 0_u64..500,
            value in any::<i64>(),
            small in -150_i64..150,
        ) {
            for (bounds, value) in [(bounds, value), (near, small)] {
                let bounds: Vec<i64> = bounds.into_iter().collect();
                let ranges = ranges(&bounds, count);
                let edges = bounds.iter().flat_map(|it| [it.saturating_sub(1), *it, it.saturating_add(1)]);
                for value in edges.chain([value, i64::MIN, i64::MAX]) {
                    let found = ranges.iter().filter(|range| holds(**range, value)).count();
                    prop_assert_eq!(found, 1, "{} in {:?}", value, ranges);
                }
            }
        }

        #[test]
        fn each_range_begins_where_the_one_before_it_ends(
            bounds in proptest::collection::btree_set(any::<i64>(), 2..50),
            count in 2_u64..500,
        ) {
            let bounds: Vec<i64> = bounds.into_iter().collect();
            let ranges = ranges(&bounds, count);
            let mut end = None;
            for (index, range) in ranges.iter().enumerate() {
                match *range {
                    Range::Below(first) => {
                        prop_assert_eq!(index, 0);
                        end = Some(first);
                    }
                    Range::Between(start, next) => {
                        prop_assert_eq!(Some(start), end);
                        prop_assert!(start < next);
                        end = Some(next);
                    }
                    Range::From(start) => {
                        prop_assert_eq!(Some(start), end);
                        prop_assert_eq!(index, ranges.len() - 2);
                    }
                    Range::Null => prop_assert_eq!(index, ranges.len() - 1),
                }
            }
        }
    }

    #[test]
    fn skewed_values_have_as_many_ranges_as_their_rows_need() {
        // Three quarters of the rows are below 100.
        let ranges = ranges(&[0, 30, 60, 100, 1_000_000], 8);
        let below = |range: &&Range| matches!(range, Range::Between(_, end) | Range::Below(end) if *end <= 100);
        assert_eq!(ranges.iter().filter(below).count(), 6);
        assert_eq!(ranges.last(), Some(&Range::Null));
    }

    #[test]
    fn only_arrays_of_two_integers_or_more_are_a_histogram() {
        let parsed = Histogram::parse("{-5,0,9223372036854775807}").expect("a histogram");
        assert_eq!(parsed.0, [-5, 0, i64::MAX]);
        for text in ["", "{}", "{1}", "{1,1}", "{1,a}", "{1,2.5}", "1,2"] {
            assert_eq!(Histogram::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_condition_has_parameters_after_those_of_the_statement() {
        let range = Range::Between(-3, 9);
        assert_eq!(range.condition("\"id\"", 2), "\"id\" >= $3 and \"id\" < $4");
        assert_eq!(range.parameters().len(), 2);
        assert_eq!(Range::Below(1).condition("\"id\"", 0), "\"id\" < $1");
        assert_eq!(Range::From(1).condition("\"id\"", 0), "\"id\" >= $1");
        assert_eq!(Range::Null.condition("\"id\"", 9), "\"id\" is null");
        assert!(Range::Null.parameters().is_empty());
    }
}
