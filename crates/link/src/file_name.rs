//! The file name that a browser suggests for a download.

use std::fmt;

/// The most bytes of a name in UTF-8. File systems allow 255, of which browsers use some for a file that is not complete.
const BYTES_MAX: usize = 230;

/// The longest extension, with its dot, that a name keeps when it is shortened.
const EXTENSION_BYTES_MAX: usize = 17;

/// A file name chosen by a caller: 1 to 150 characters of any script, at most 230 bytes in UTF-8, without a path,
/// control or direction-changing characters, and not reserved by Windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName(String);

/// A file name breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FileNameError(&'static str);

impl FileName {
    /// Parses a file name.
    ///
    /// # Errors
    /// Returns [`FileNameError`] with the rule that it breaks.
    pub fn parse(name: impl Into<String>) -> Result<FileName, FileNameError> {
        let name = name.into();
        if !(1..=150).contains(&name.chars().count()) {
            return Err(FileNameError("expected 1 to 150 characters"));
        }
        if name.len() > BYTES_MAX {
            return Err(FileNameError("expected at most 230 bytes in UTF-8"));
        }
        if name.contains(['/', '\\']) || name.chars().all(|c| c == '.') {
            return Err(FileNameError("expected a name without a path"));
        }
        if name.chars().any(char::is_control) {
            return Err(FileNameError("expected no control characters"));
        }
        if name.chars().any(is_bidi_control) {
            return Err(FileNameError("expected no direction-changing characters"));
        }
        if name.trim() != name || name.ends_with('.') {
            return Err(FileNameError("expected no space or dot at the edges"));
        }
        if is_reserved_on_windows(&name) {
            return Err(FileNameError(
                "expected a name that Windows does not reserve",
            ));
        }
        Ok(FileName(name))
    }

    /// Returns the file name that is closest to a text: what no name may have becomes `_`, and a name that is too long is
    /// shortened before its extension. `None` if no name is left.
    #[must_use]
    pub fn from_lossy(text: &str) -> Option<FileName> {
        let is_refused = |c: char| FileName::parse(format!("a{c}a")).is_err();
        let name = text.replace(is_refused, "_");
        let name = name.trim().trim_end_matches('.').trim_end();
        let (stem, extension) = name.split_at(start_of_extension(name));
        let mut stem = match is_reserved_on_windows(name) {
            true => format!("_{stem}"),
            false => stem.to_owned(),
        };
        loop {
            let name = [stem.trim_end(), extension].concat();
            if let Ok(name) = FileName::parse(name) {
                return Some(name);
            }
            stem.pop()?;
        }
    }

    /// Returns the name with ` (number)` before its extension. It is shortened to fit, so that different numbers give different
    /// names.
    #[must_use]
    pub fn numbered(&self, number: usize) -> FileName {
        let (stem, extension) = self.0.split_at(start_of_extension(&self.0));
        let mut stem = stem.to_owned();
        loop {
            let name = format!("{} ({number}){extension}", stem.trim_end());
            match FileName::parse(name.trim_start()) {
                Ok(name) => return name,
                Err(_) if stem.is_empty() => return FileName(format!("({number})")),
                Err(_) => stem.pop(),
            };
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name with exactly one `.extension` at its end.
    #[must_use]
    pub fn with_extension(&self, extension: &str) -> String {
        let has_extension = self
            .0
            .rsplit_once('.')
            .is_some_and(|(stem, last)| !stem.is_empty() && last.eq_ignore_ascii_case(extension));
        if has_extension {
            self.0.clone()
        } else {
            format!("{}.{extension}", self.0)
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns where the extension of a name begins, with its dot; its length if there is none.
fn start_of_extension(name: &str) -> usize {
    let dot = name.rfind('.').filter(|dot| *dot > 0);
    let dot = dot.filter(|dot| name.len() - dot <= EXTENSION_BYTES_MAX);
    dot.unwrap_or(name.len())
}

/// Tells whether a character is one of Unicode's `Bidi_Control`, which can display `gpj.exe` as `exe.jpg`
/// (Unicode Technical Report 36, section 3.2).
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Tells whether a name is a device name, with any extension ("Naming Files, Paths, and Namespaces", Microsoft).
fn is_reserved_on_windows(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let upper = stem.to_ascii_uppercase();
    match upper.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        _ => ["COM", "LPT"].iter().any(|device| {
            let number = upper.strip_prefix(device);
            let is_digit = |c: char| matches!(c, '0'..='9' | '¹' | '²' | '³');
            number.is_some_and(|it| it.chars().count() == 1 && it.chars().all(is_digit))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_numbers_give_different_names_of_any_length() {
        let long = [
            "x".repeat(150),
            format!("{}.pdf", "x".repeat(146)),
            format!("{}.pdf", "ü".repeat(113)),
            "a.pdf".to_owned(),
            ".htaccess".to_owned(),
        ];
        for name in long {
            let name = FileName::parse(name).expect("a name");
            let numbered = [2, 3, 10, 99_999].map(|number| name.numbered(number));
            for (index, one) in numbered.iter().enumerate() {
                assert!(FileName::parse(one.as_str()).is_ok());
                assert!(!numbered[..index].contains(one) && *one != name, "{one}");
            }
        }
        let name = FileName::parse("a b.pdf").expect("a name");
        assert_eq!(name.numbered(2).as_str(), "a b (2).pdf");
    }

    #[test]
    fn any_text_gives_the_closest_name() {
        let long = "ü".repeat(300);
        for (text, expected) in [
            ("a.pdf", Some("a.pdf".to_owned())),
            (" ../a\\b\u{202e}\n.pdf. ", Some(".._a_b__.pdf".to_owned())),
            ("con.pdf", Some("_con.pdf".to_owned())),
            ("nul", Some("_nul".to_owned())),
            (".htaccess", Some(".htaccess".to_owned())),
            (
                &format!("{long}.pdf"),
                Some(format!("{}.pdf", "ü".repeat(113))),
            ),
            ("", None),
            ("...", None),
            (" ", None),
        ] {
            let name = FileName::from_lossy(text);
            let name = name.as_ref().map(FileName::as_str);
            assert_eq!(name, expected.as_deref(), "{text}");
        }
    }

    #[test]
    fn names_of_every_script_are_kept_and_end_with_one_extension() {
        for (name, saved) in [
            ("Bestellungen März", "Bestellungen März.csv"),
            ("注文.csv", "注文.csv"),
            ("Q1.CSV", "Q1.CSV"),
            ("v1.2", "v1.2.csv"),
            (".csv", ".csv.csv"),
            ("COMPANY", "COMPANY.csv"),
            ("COM10", "COM10.csv"),
            ("COM⁴", "COM⁴.csv"),
            (&"注".repeat(76), &format!("{}.csv", "注".repeat(76))),
        ] {
            let parsed = FileName::parse(name).expect(name);
            assert_eq!(parsed.with_extension("csv"), saved);
        }
    }

    #[test]
    fn unsafe_names_are_refused() {
        let (long, wide) = ("x".repeat(151), "注".repeat(77));
        for name in [
            "",
            "..",
            "a/b",
            "a\\b",
            "/etc/passwd",
            "a\nb",
            "a\0",
            "exe.\u{202e}gpj",
            " a",
            "a.",
            "con",
            "NUL.csv",
            "lpt1",
            "com¹",
            "LPT³.csv",
            "conin$",
            "CONOUT$.txt",
            &long,
            &wide,
        ] {
            assert!(FileName::parse(name).is_err(), "{name:?} was accepted");
        }
    }
}
