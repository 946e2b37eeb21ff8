//! `rowlink audit decrypt`: reads audit lines, and decrypts the values of their filters.

use std::fmt::Display;
use std::fs;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use regex::bytes::Regex;
use zeroize::Zeroizing;

use super::errors::{ErrorLines, error_line};
use crate::audit_values::{AuditIdentities, AuditValuesError, FIELD};

#[derive(Args)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Copy audit lines, text or JSON, from standard input to standard output, and decrypt the values of their filters.
    /// Other lines are copied as they are. The exit code is 1 if values could not be decrypted
    Decrypt(DecryptArgs),
}

#[derive(Args)]
struct DecryptArgs {
    /// File of age-keygen with the private key for ROWLINK_AUDIT_RECIPIENT, or with several, one per line
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
}

/// Runs the command; returns the exit code of the process.
///
/// # Errors
/// Returns why the private keys cannot be read, or the lines not copied.
pub(super) fn audit(args: &AuditArgs) -> Result<ExitCode, ErrorLines> {
    let AuditCommand::Decrypt(args) = &args.command;
    let identities = read_identities(&args.identity)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let refused = copy_lines(io::stdin().lock(), &mut out, &identities);
    let refused = refused.and_then(|refused| out.flush().map(|()| refused));
    let refused = refused.map_err(error_line)?;
    Ok(match refused {
        None => ExitCode::SUCCESS,
        Some(refused) => {
            eprintln!("rowlink: {refused}");
            ExitCode::FAILURE
        }
    })
}

fn read_identities(path: &Path) -> Result<AuditIdentities, ErrorLines> {
    let named = |error: &dyn Display| error_line(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| named(&error))?;
    AuditIdentities::parse(&text).map_err(|error| named(&error))
}

/// The lines whose values could not be decrypted.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    count: usize,
    /// The number of the first one.
    first: usize,
    error: AuditValuesError,
}

impl Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refused {
            count,
            first,
            error,
        } = self;
        write!(f, "line {first}: {FIELD}: {error}")?;
        match count {
            1 => Ok(()),
            count => write!(f, " ({count} lines were not decrypted)"),
        }
    }
}

/// Copies all lines. Values that cannot be decrypted stay as they are.
fn copy_lines(
    mut lines: impl BufRead,
    out: &mut impl Write,
    identities: &AuditIdentities,
) -> io::Result<Option<Refused>> {
    let field = field();
    let mut refused: Option<Refused> = None;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        match decrypt_line(&line, &field, identities) {
            Ok(decrypted) => out.write_all(decrypted.as_deref().unwrap_or(&line))?,
            Err(error) => {
                out.write_all(&line)?;
                let refused = refused.get_or_insert(Refused {
                    count: 0,
                    first: number,
                    error,
                });
                refused.count += 1;
            }
        }
    }
    Ok(refused)
}

/// Returns what finds the values in a line: `audit_values="…"` of text, also with the colours of a terminal, and
/// `"audit_values":"…"` of JSON. In the value of another field its quotes would be escaped.
fn field() -> Regex {
    let colours = r"(?:\x1b\[[0-9;]*m)*";
    let pattern = format!(
        r#"(?-u)(?P<before>(?:\b|\x1b\[[0-9;]*m){FIELD}(?:{colours}={colours}|"\s*:\s*))"(?P<values>[A-Za-z0-9+/]+=*)""#
    );
    Regex::new(&pattern).expect("a valid pattern")
}

/// Returns the line with its values decrypted; `None` if it has none.
fn decrypt_line(
    line: &[u8],
    field: &Regex,
    identities: &AuditIdentities,
) -> Result<Option<Vec<u8>>, AuditValuesError> {
    let Some(found) = field.captures(line) else {
        return Ok(None);
    };
    let (start, end) = (found["before"].len(), found[0].len());
    let whole = found.get(0).map_or(0, |whole| whole.start());
    let values = String::from_utf8_lossy(&found["values"]);
    let values = identities.decrypt(&values)?;
    let (before, after) = (&line[..whole + start], &line[whole + end..]);
    Ok(Some([before, values.as_bytes(), after].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit_values::AuditRecipient;
    use age::secrecy::ExposeSecret as _;
    use age::x25519::Identity;

    fn keys() -> (AuditIdentities, AuditRecipient) {
        let key = Identity::generate();
        let identities = AuditIdentities::parse(key.to_string().expose_secret());
        let recipient = AuditRecipient::parse(&key.to_public().to_string());
        (
            identities.expect("a private key"),
            recipient.expect("a public key"),
        )
    }

    fn encrypt(recipient: &AuditRecipient) -> String {
        let filters = [("from".to_owned(), "2026-01-01".to_owned())];
        recipient.encrypt(&filters).expect("values")
    }

    /// Copies lines; returns the output and the refusal.
    fn copy(text: &str, identities: &AuditIdentities) -> (String, Option<Refused>) {
        let mut out = Vec::new();
        let refused = copy_lines(text.as_bytes(), &mut out, identities).expect("copied");
        (String::from_utf8(out).expect("UTF-8"), refused)
    }

    #[test]
    fn values_are_decrypted_in_text_and_json_and_all_else_is_copied() {
        let (identities, recipient) = keys();
        let values = encrypt(&recipient);
        let clear = r#"{"from":["2026-01-01"]}"#;
        let colours = |value: &str| {
            format!("\u{1b}[3maudit_values\u{1b}[0m\u{1b}[2m=\u{1b}[0m{value} \u{1b}[3mrows")
        };
        for (line, expected) in [
            (
                format!(
                    "INFO link issued filters=\"from\" audit_values=\"{values}\" client=\"x\"\n"
                ),
                format!("INFO link issued filters=\"from\" audit_values={clear} client=\"x\"\n"),
            ),
            (
                format!(r#"{{"message":"link issued","audit_values":"{values}","rows":1}}"#),
                format!(r#"{{"message":"link issued","audit_values":{clear},"rows":1}}"#),
            ),
            (
                format!(r#"{{"fields": {{"audit_values": "{values}"}}}}"#),
                format!(r#"{{"fields": {{"audit_values": {clear}}}}}"#),
            ),
            (colours(&format!("\"{values}\"")), colours(clear)),
        ] {
            assert_eq!(copy(&line, &identities), (expected, None), "{line}");
        }
        for line in [
            "",
            "\n\n",
            "INFO link issued filters=\"\" client=\"x\"\r\n",
            r#"INFO x user="a audit_values=" export="orders""#,
            r#"INFO x reason="say \"audit_values=\"AAAA\"""#,
            r#"{"reason":"\"audit_values\":\"AAAA\""}"#,
        ] {
            assert_eq!(copy(line, &identities), (line.to_owned(), None));
        }
    }

    #[test]
    fn lines_for_another_key_are_counted_and_copied_as_they_are() {
        let ((identities, recipient), (_, other)) = (keys(), keys());
        let line = |recipient| format!("audit_values=\"{}\"\n", encrypt(recipient));
        let text = [
            "x\n".to_owned(),
            line(&other),
            line(&recipient),
            line(&other),
        ]
        .concat();
        let (out, refused) = copy(&text, &identities);
        let lines: Vec<&str> = out.lines().collect();
        let given: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], r#"audit_values={"from":["2026-01-01"]}"#);
        assert_eq!((lines[0], lines[1], lines[3]), ("x", given[1], given[3]));
        let refused = refused.expect("a refusal");
        assert_eq!((refused.count, refused.first), (2, 2));
        assert_eq!(refused.error, AuditValuesError::OtherKey);
        let message = refused.to_string();
        assert!(
            message.starts_with("line 2: audit_values: encrypted to another key;"),
            "{message}"
        );
    }
}
