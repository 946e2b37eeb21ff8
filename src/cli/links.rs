//! `rowlink links`: prints the audit lines of links and downloads as a table.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::audit_line::{AuditEvent, AuditLine, parse};
use super::errors::{ErrorLines, error_line};
use super::log_reader::{FollowedFile, LineSplitter};
use super::text_table::{Align, line, with_commas};
use super::visible::printable;

/// How often a followed file is read.
const READ_EVERY: Duration = Duration::from_millis(250);
/// How many bytes are read at a time.
const READ_BYTES: usize = 1 << 16;

/// The columns: header, least width, alignment. A longer value is written whole.
const COLUMNS: [(&str, usize, Align); 9] = [
    ("TIME", 20, Align::Left),
    ("EVENT", 8, Align::Left),
    ("USER", 16, Align::Left),
    ("EXPORT", 20, Align::Left),
    ("ROWS", 10, Align::Right),
    ("BYTES", 14, Align::Right),
    ("DURATION", 9, Align::Right),
    ("OUTCOME", 15, Align::Left),
    ("LINK", 36, Align::Left),
];

#[derive(Args)]
pub(super) struct LinksArgs {
    /// File of audit lines, written with ROWLINK_LOG_FORMAT=json; `-` is standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Go on as the file grows, and when it is rotated
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    filter: LineFilter,
}

/// Which lines are printed.
#[derive(Args)]
struct LineFilter {
    /// Only lines of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only lines of this export
    #[arg(long, value_name = "NAME")]
    export: Option<String>,
    /// Only downloads whose client did not get the whole file
    #[arg(long)]
    failed: bool,
}

impl LineFilter {
    fn accepts(&self, line: &AuditLine) -> bool {
        let is_wanted = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is_wanted(&self.user, &line.user)
            && is_wanted(&self.export, &line.export)
            && (!self.failed || line.has_failed())
    }
}

/// Prints the lines. Those that are no JSON are counted on standard error.
///
/// # Errors
/// Returns why the lines cannot be read.
pub(super) async fn links(args: &LinksArgs) -> Result<(), ErrorLines> {
    let is_stdin = args.file.as_os_str() == "-";
    if args.follow && is_stdin {
        return Err(error_line(
            "--follow: has no effect on standard input, which is read to its end; name a file",
        ));
    }
    let mut printer = Printer::new(io::stdout().lock(), &args.filter);
    let printed = match is_stdin {
        true => print_all(io::stdin().lock(), &mut printer),
        false => print_file(&args.file, args.follow, &mut printer).await,
    };
    match printed {
        Ok(()) => Ok(()),
        // The reader of the table has ended, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error_line(format!("{}: {error}", args.file.display()))),
    }
}

fn print_all(mut input: impl io::Read, printer: &mut Printer<'_, impl Write>) -> io::Result<()> {
    printer.header()?;
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let read = match input.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            break;
        }
        printer.lines(splitter.lines(&chunk[..read]))?;
    }
    printer.lines(splitter.rest())?;
    printer.report();
    Ok(())
}

/// Prints a file, and what is appended to it if it is followed: then it returns only after an error.
async fn print_file(
    path: &Path,
    follow: bool,
    printer: &mut Printer<'_, impl Write>,
) -> io::Result<()> {
    let mut file = FollowedFile::open(path)?;
    if !follow {
        return print_all(file.reader(), printer);
    }
    printer.header()?;
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let read = file.reader().read(&mut chunk)?;
        printer.lines(splitter.lines(&chunk[..read]))?;
        if read > 0 {
            continue;
        }
        printer.report();
        if file.reopen_if_replaced()? {
            // The end of the earlier file.
            printer.lines(splitter.rest())?;
            continue;
        }
        sleep(READ_EVERY).await;
    }
}

/// Prints lines, and counts those that are no JSON.
struct Printer<'f, W> {
    out: W,
    filter: &'f LineFilter,
    malformed: u64,
    /// How many of these were reported.
    reported: u64,
}

impl<'f, W: Write> Printer<'f, W> {
    fn new(out: W, filter: &'f LineFilter) -> Printer<'f, W> {
        Printer {
            out,
            filter,
            malformed: 0,
            reported: 0,
        }
    }

    fn header(&mut self) -> io::Result<()> {
        self.write(&COLUMNS.map(|(name, ..)| name.to_owned()))
    }

    fn lines(&mut self, lines: Vec<Option<Vec<u8>>>) -> io::Result<()> {
        for line in lines {
            match line.as_deref().map(parse) {
                Some(Ok(Some(line))) if self.filter.accepts(&line) => self.write(&cells(&line))?,
                Some(Ok(_)) => {}
                // No JSON, or too long to be an audit line.
                Some(Err(_)) | None => self.malformed += 1,
            }
        }
        self.out.flush()
    }

    fn write(&mut self, cells: &[String; COLUMNS.len()]) -> io::Result<()> {
        let widths = COLUMNS.map(|(_, width, _)| width);
        let align = COLUMNS.map(|(.., align)| align);
        self.out.write_all(line(cells, &widths, &align).as_bytes())
    }

    /// Reports malformed lines that were not reported yet.
    fn report(&mut self) {
        if self.malformed > self.reported {
            let count = self.malformed;
            eprintln!(
                "rowlink: {count} lines are left out: no JSON; audit lines are JSON with ROWLINK_LOG_FORMAT=json"
            );
            self.reported = self.malformed;
        }
    }
}

fn cells(line: &AuditLine) -> [String; COLUMNS.len()] {
    let number = |number: Option<u64>| number.map_or_else(none, with_commas);
    let event = match line.event {
        AuditEvent::Issued => "issued",
        AuditEvent::Downloaded => "download",
    };
    let export = match line.format.is_empty() {
        true => line.export.clone(),
        false => format!("{}.{}", line.export, line.format),
    };
    [
        shown(&seconds(&line.time)),
        event.to_owned(),
        shown(&line.user),
        shown(&export),
        number(line.rows),
        number(line.bytes),
        line.milliseconds.map_or_else(none, duration),
        shown(&line.outcome),
        shown(&line.link_id),
    ]
}

fn none() -> String {
    "-".to_owned()
}

fn shown(text: &str) -> String {
    match text.is_empty() {
        true => none(),
        false => printable(text),
    }
}

/// Returns a time without its fraction of a second.
fn seconds(time: &str) -> String {
    match (time.find('.'), time.strip_suffix('Z')) {
        (Some(point), Some(_)) => format!("{}Z", &time[..point]),
        _ => time.to_owned(),
    }
}

fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        _ => format!(
            "{} m {:02} s",
            milliseconds / 60_000,
            milliseconds / 1000 % 60
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUED: &str = r#"{"timestamp":"2026-11-27T10:00:00.123456Z","level":"INFO","message":"link issued","request_id":"r","link_id":"l1","credential":"jwt","user":"alice","export":"orders","format":"csv","ttl_seconds":60,"target":"rowlink::http::audit"}"#;
    const ENDED: &str = r#"{"timestamp":"2026-11-27T10:00:01.5Z","level":"INFO","message":"download ended","link_id":"l1","user":"alice","export":"orders","format":"csv","rows":1204,"bytes":96113,"milliseconds":1380,"outcome":"complete","target":"rowlink::http::audit"}"#;

    fn print(text: &str, filter: &LineFilter) -> (Vec<String>, u64) {
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, filter);
        print_all(text.as_bytes(), &mut printer).expect("read");
        let malformed = printer.malformed;
        let out = String::from_utf8(out).expect("UTF-8");
        let lines = out.lines().skip(1);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        (lines.map(words).collect(), malformed)
    }

    fn all() -> LineFilter {
        LineFilter {
            user: None,
            export: None,
            failed: false,
        }
    }

    #[test]
    fn lines_become_rows_and_malformed_ones_are_counted() {
        let other = r#"{"message":"listening","target":"rowlink::cli","user":7}"#;
        let text = format!("{ISSUED}\nINFO text\n{other}\n\n{{\"message\":\n{ENDED}");
        let (rows, malformed) = print(&text, &all());
        assert_eq!(
            rows,
            [
                "2026-11-27T10:00:00Z issued alice orders.csv - - - - l1",
                "2026-11-27T10:00:01Z download alice orders.csv 1,204 96,113 1.3 s complete l1",
            ]
        );
        assert_eq!(malformed, 2);
    }

    #[test]
    fn filters_select_by_user_export_and_failure() {
        let bob = ENDED
            .replace("alice", "bob")
            .replace("complete", "client_gone");
        let text = [ISSUED, ENDED, &bob].join("\n");
        let count = |filter: LineFilter| print(&text, &filter).0.len();
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(count(all()), 3);
        assert_eq!(
            count(LineFilter {
                user: is("alice"),
                ..all()
            }),
            2
        );
        assert_eq!(
            count(LineFilter {
                user: is("ali"),
                ..all()
            }),
            0
        );
        assert_eq!(
            count(LineFilter {
                export: is("orders"),
                ..all()
            }),
            3
        );
        assert_eq!(
            count(LineFilter {
                export: is("other"),
                ..all()
            }),
            0
        );
        let failed = print(
            &text,
            &LineFilter {
                failed: true,
                ..all()
            },
        )
        .0;
        assert_eq!(failed.len(), 1);
        assert!(failed[0].contains("bob") && failed[0].contains("client_gone"));
    }

    #[test]
    fn values_cannot_control_the_terminal() {
        let text = ENDED.replace("alice", "\\u001b[2Ja\\nb\\u202e");
        let (rows, _) = print(&text, &all());
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(
            rows[0].contains("\\u{1b}[2Ja\\u{a}b\\u{202e} orders.csv"),
            "{rows:?}"
        );
    }

    #[test]
    fn durations_have_the_unit_that_people_read() {
        let shown = [38, 1000, 59_999, 60_000, 754_000].map(duration);
        assert_eq!(shown, ["38 ms", "1.0 s", "59.9 s", "1 m 00 s", "12 m 34 s"]);
    }
}
