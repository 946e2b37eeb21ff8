//! Checks number formats: ECMA-376 part 1, 18.8.31. Excel reports a workbook with a wrong one as damaged.

use std::iter::Peekable;
use std::str::Chars;

/// The longest format, in characters.
const CHARS_MAX: usize = 255;
/// Positive numbers, negative ones, zero and text.
const SECTIONS_MAX: usize = 4;
const COLOURS: [&str; 8] = [
    "black", "blue", "cyan", "green", "magenta", "red", "white", "yellow",
];

/// The formats with a name, for error texts.
pub const NAMED_FORMATS: &str =
    "expected `percent`, or `currency:` and an ISO 4217 code such as `currency:EUR`";

/// Returns the number format with a name, `percent` or `currency:EUR`; `None` for an unknown name.
///
/// A currency is shown by its code in brackets, the form that Excel and LibreOffice write themselves: both then know that
/// it is a currency. A symbol such as `$` would stand for several. The code is last, so that columns of several currencies
/// align, and so does a minus sign. The decimal places are those of ISO 4217.
pub fn named_format(name: &str) -> Option<String> {
    if name == "percent" {
        return Some("0.00%".to_owned());
    }
    let code = name.strip_prefix("currency:")?;
    let is_code = code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
    let places = match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => "",
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => ".000",
        "CLF" | "UYW" => ".0000",
        _ => ".00",
    };
    is_code.then(|| format!("#,##0{places}\\ [${code}]"))
}

/// Returns whether Excel opens a workbook with this number format.
pub fn is_number_format(text: &str) -> bool {
    let is_plain = !text.chars().any(char::is_control) && text.chars().count() <= CHARS_MAX;
    is_plain && !text.is_empty() && check(text).is_some()
}

/// Returns `None` for a format with an error.
fn check(text: &str) -> Option<()> {
    let mut sections = 1;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            ';' => sections += 1,
            '"' => skip_until('"', &mut rest).map(drop)?,
            // The next character: as it is, as a gap of its width, repeated.
            '\\' | '_' | '*' => rest.next().map(drop)?,
            '[' => is_bracket(&skip_until(']', &mut rest)?).then_some(())?,
            'E' | 'e' if matches!(rest.peek(), Some('+' | '-')) => rest.next().map(drop)?,
            letter if letter.is_ascii_alphabetic() => check_word(letter, &mut rest)?,
            ']' => return None,
            // Placeholders, and characters that stand for themselves.
            _ => {}
        }
    }
    (sections <= SECTIONS_MAX).then_some(())
}

/// Returns what precedes the end, and skips it; `None` if there is no end.
fn skip_until(end: char, rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut skipped = String::new();
    loop {
        match rest.next()? {
            character if character == end => return Some(skipped),
            character => skipped.push(character),
        }
    }
}

/// Checks a word without quotes: parts of dates and times, `AM/PM`, `A/P` or `General`.
fn check_word(first: char, rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    let follows = |word: &str, rest: &Peekable<Chars<'_>>| {
        let letters = rest.clone().take(word.len() - 1);
        let found: String = std::iter::once(first).chain(letters).collect();
        found.eq_ignore_ascii_case(word)
    };
    for word in ["general", "am/pm", "a/p"] {
        if follows(word, rest) {
            rest.nth(word.len() - 2)?;
            return Some(());
        }
    }
    // `e`, `g` and `b` are years and eras of some calendars.
    let is_date = "ymdhsegb".contains(first.to_ascii_lowercase());
    is_date.then_some(())
}

/// Returns whether the content of brackets is a colour, a condition, a currency or locale, an elapsed time, or digits of
/// another script.
fn is_bracket(content: &str) -> bool {
    let content = content.to_ascii_lowercase();
    let is_number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let is_elapsed = ["h", "m", "s"]
        .iter()
        .any(|unit| !content.is_empty() && content.trim_start_matches(unit).is_empty());
    let indexed = content
        .strip_prefix("color")
        .and_then(|index| index.parse::<u8>().ok());
    let operators = [">=", "<=", "<>", ">", "<", "="];
    let bound = operators
        .iter()
        .find_map(|operator| content.strip_prefix(operator));
    is_elapsed
        || COLOURS.contains(&content.as_str())
        || indexed.is_some_and(|index| (1..=56).contains(&index))
        || bound.is_some_and(is_number)
        || content.starts_with('$')
        || ["dbnum1", "dbnum2", "dbnum3"].contains(&content.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_formats_are_number_formats_that_excel_opens() {
        for (name, expected) in [
            ("percent", "0.00%"),
            ("currency:EUR", "#,##0.00\\ [$EUR]"),
            ("currency:JPY", "#,##0\\ [$JPY]"),
            ("currency:KWD", "#,##0.000\\ [$KWD]"),
        ] {
            assert_eq!(named_format(name).as_deref(), Some(expected));
            assert!(is_number_format(expected), "{expected}");
        }
        for unknown in [
            "",
            "Percent",
            "currency",
            "currency:",
            "currency:eur",
            "currency:EU]",
            "currency:EURO",
        ] {
            assert_eq!(named_format(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn only_formats_that_excel_opens_are_accepted() {
        for good in [
            "#,##0.00",
            "General",
            "0%",
            "0.00E+00",
            "# ?/8",
            "yyyy\\-mm\\-dd hh:mm:ss.000",
            "[h]:mm:ss",
            "h:mm AM/PM",
            "h:mm a/p",
            "[Red]-0.00;[Color12]0;\"none\";@",
            "[>=1000]#,##0,\"k\";0",
            "[$€-407] #,##0.00",
            "#,##0.00 €",
            "0.0 \"kg\"",
            "_-* #,##0.00_-",
            "[$-F800]dddd, mmmm dd, yyyy",
            "\\[0\\]",
        ] {
            assert!(is_number_format(good), "{good}");
        }
        let long = "0".repeat(256);
        for bad in [
            "",
            "0.0 kg",
            "0.00 EUR",
            "\"open",
            "[Red",
            "[Pink]0",
            "[Color57]0",
            "[]0",
            "[>x]0",
            "0]",
            "0;0;0;0;0",
            "0\\",
            "0_",
            "hello",
            "0\n",
            "0.00x",
            &long,
        ] {
            assert!(!is_number_format(bad), "{bad}");
        }
    }
}
