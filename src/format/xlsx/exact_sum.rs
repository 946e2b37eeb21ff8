//! Exact sums of decimal numbers of any length.

/// Decimal digits per limb.
const LIMB_DIGITS: usize = 18;
const LIMB: i128 = 10_i128.pow(LIMB_DIGITS as u32);

/// A sum of integers and decimals. Its size depends on the longest number, not on how many were added.
///
/// A limb holds the sum of 18 digits of each number. It has room for 10¹⁹ of them, so that nothing is carried before the end.
#[derive(Debug, Default)]
pub struct ExactSum {
    /// Before the decimal point, the lowest limb first.
    whole: Vec<i128>,
    /// After the decimal point, the highest limb first.
    fraction: Vec<i128>,
    /// Most digits after the decimal point.
    scale: usize,
}

impl ExactSum {
    /// Adds an integer.
    pub fn add_integer(&mut self, value: i64) {
        match self.whole.first_mut() {
            Some(limb) => *limb += i128::from(value),
            None => self.whole.push(i128::from(value)),
        }
    }

    /// Adds a decimal number such as `-12.50`.
    pub fn add_decimal(&mut self, text: &str) {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        for (index, digits) in whole.as_bytes().rchunks(LIMB_DIGITS).enumerate() {
            add_to(&mut self.whole, index, sign * number(digits));
        }
        for (index, digits) in places.as_bytes().chunks(LIMB_DIGITS).enumerate() {
            let missing = (LIMB_DIGITS - digits.len()) as u32;
            let limb = number(digits) * 10_i128.pow(missing);
            add_to(&mut self.fraction, index, sign * limb);
        }
        self.scale = self.scale.max(places.len());
    }

    /// Returns the sum with as many decimal places as the number with most of them.
    pub fn text(&self) -> String {
        let limbs = self.fraction.iter().rev().chain(&self.whole);
        let (is_negative, limbs) = match carried(limbs.clone().copied()) {
            Some(limbs) => (false, limbs),
            None => {
                let negated = carried(limbs.map(|limb| -limb));
                (true, negated.expect("the opposite of a negative number"))
            }
        };
        let (fraction, whole) = limbs.split_at(self.fraction.len());
        let digits = |limbs: &[i128]| -> String {
            let limbs = limbs.iter().rev();
            limbs.map(|limb| format!("{limb:018}")).collect()
        };
        let (whole, mut places) = (digits(whole), digits(fraction));
        places.truncate(self.scale);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        let sign = if is_negative { "-" } else { "" };
        let point = if places.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{places}")
    }
}

fn add_to(limbs: &mut Vec<i128>, index: usize, value: i128) {
    if limbs.len() <= index {
        limbs.resize(index + 1, 0);
    }
    limbs[index] += value;
}

/// Returns the value of at most 18 digits.
fn number(digits: &[u8]) -> i128 {
    let number = digits.iter().fold(0_u64, |number, digit| {
        10 * number + u64::from(digit.wrapping_sub(b'0').min(9))
    });
    i128::from(number)
}

/// Returns limbs, the lowest first, that are each at least 0 and below [`LIMB`]; `None` if the number is negative.
fn carried(limbs: impl Iterator<Item = i128>) -> Option<Vec<i128>> {
    let mut carry = 0;
    let mut carried: Vec<i128> = limbs
        .map(|limb| {
            let limb = limb + carry;
            carry = limb.div_euclid(LIMB);
            limb.rem_euclid(LIMB)
        })
        .collect();
    while carry > 0 {
        carried.push(carry % LIMB);
        carry /= LIMB;
    }
    (carry == 0).then_some(carried)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(decimals: &[&str], integers: &[i64]) -> String {
        let mut sum = ExactSum::default();
        decimals.iter().for_each(|text| sum.add_decimal(text));
        integers.iter().for_each(|value| sum.add_integer(*value));
        sum.text()
    }

    #[test]
    fn sums_have_every_digit() {
        for (decimals, integers, expected) in [
            (&[][..], &[][..], "0"),
            (&["0.1", "0.2"], &[], "0.3"),
            (&["12.50", "-12.50"], &[], "0.00"),
            (&["-0.05"], &[], "-0.05"),
            (&["1.5"], &[-2], "-0.5"),
            (&[], &[i64::MAX, i64::MAX], "18446744073709551614"),
            (&[], &[i64::MIN, i64::MIN], "-18446744073709551616"),
            (
                &["999999999999999999.999999999999999999"],
                &[1],
                "1000000000000000000.999999999999999999",
            ),
            (
                &[
                    "-1000000000000000000000000000000000000",
                    "0.0000000000000000000000000000000000001",
                ],
                &[],
                "-999999999999999999999999999999999999.9999999999999999999999999999999999999",
            ),
            (
                &["0.123456789012345678", "0.0000000000000000009"],
                &[],
                "0.1234567890123456789",
            ),
        ] {
            assert_eq!(
                sum(decimals, integers),
                expected,
                "{decimals:?} {integers:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_sum_of_scaled_numbers_is_that_of_the_integers(
            values in prop::collection::vec((any::<i64>(), any::<bool>()), 0..200),
        ) {
            let mut sum = ExactSum::default();
            // Each number is an integer, or a decimal with five places.
            let mut expected = 0_i128;
            for (value, is_decimal) in values {
                if is_decimal {
                    let (sign, magnitude) = (if value < 0 { "-" } else { "" }, value.unsigned_abs());
                    sum.add_decimal(&format!("{sign}{}.{:05}", magnitude / 100_000, magnitude % 100_000));
                    expected += i128::from(value);
                } else {
                    sum.add_integer(value);
                    expected += 100_000 * i128::from(value);
                }
            }
            let digits = sum.text().replace('.', "");
            let scale = if sum.scale == 0 { 100_000 } else { 1 };
            prop_assert_eq!(digits.parse::<i128>().expect("digits") * scale, expected);
        }
    }
}
