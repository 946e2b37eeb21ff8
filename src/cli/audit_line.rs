//! Audit lines in JSON.

use serde_json::{Map, Value};

use crate::http::AUDIT_TARGET;

/// Outcomes of downloads whose client got the whole file, or where to get it.
const SUCCESSES: [&str; 2] = ["complete", "redirected"];

/// What an audit line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuditEvent {
    Issued,
    Downloaded,
}

/// An audit line of a link or a download. A text is empty if the line lacks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditLine {
    pub(super) time: String,
    pub(super) event: AuditEvent,
    pub(super) user: String,
    pub(super) export: String,
    pub(super) format: String,
    pub(super) rows: Option<u64>,
    pub(super) bytes: Option<u64>,
    pub(super) milliseconds: Option<u64>,
    pub(super) outcome: String,
    pub(super) link_id: String,
}

impl AuditLine {
    /// Tells whether the line is about a download that did not end well.
    pub(super) fn has_failed(&self) -> bool {
        self.event == AuditEvent::Downloaded && !SUCCESSES.contains(&self.outcome.as_str())
    }
}

/// Parses a line of a log. Returns `None` for an empty line, and for one that is not about a link or a download.
///
/// # Errors
/// Returns an error if the line is no JSON object.
pub(super) fn parse(line: &[u8]) -> Result<Option<AuditLine>, serde_json::Error> {
    if line.trim_ascii().is_empty() {
        return Ok(None);
    }
    let object: Map<String, Value> = serde_json::from_slice(line)?;
    let text = |name: &str| {
        let text = object.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let number = |name: &str| object.get(name).and_then(Value::as_u64);
    let event = match text("message").as_str() {
        "link issued" => AuditEvent::Issued,
        "download ended" => AuditEvent::Downloaded,
        _ => return Ok(None),
    };
    let line = AuditLine {
        time: text("timestamp"),
        event,
        user: text("user"),
        export: text("export"),
        format: text("format"),
        rows: number("rows"),
        bytes: number("bytes"),
        milliseconds: number("milliseconds"),
        outcome: text("outcome"),
        link_id: text("link_id"),
    };
    Ok((text("target") == AUDIT_TARGET).then_some(line))
}
