//! `create_link`: a link to a file, never its rows.

use rmcp::model::{CallToolResult, ContentBlock, Resource};
use rmcp::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::deployment::{Caller, IssuedLink};
use super::errors::ToolError;
use super::export_description::{REASON_CHARS_MAX, filters_schema};
use super::untrusted::{TEXT_CHARS_MAX, result, visible};

/// The fields have the names of the request to the deployment.
#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateLink {
    /// Name of the export
    export: String,
    /// Format of the file, one of the export's; stored documents have none
    format: Option<String>,
    #[serde(default)]
    #[schemars(schema_with = "filters_schema")]
    filters: Option<Map<String, Value>>,
    /// Names of the columns of the file, in this order; default: all
    #[schemars(length(min = 1))]
    columns: Option<Vec<String>>,
    /// Why the user wants the file; some exports require it
    #[schemars(length(min = 1, max = REASON_CHARS_MAX))]
    reason: Option<String>,
    /// Lifetime of the link in seconds; default and maximum are the deployment's
    #[schemars(range(min = 1))]
    expires_in: Option<u64>,
    /// A file with more rows is refused, or its download is aborted
    #[schemars(range(min = 1, max = 999_999_999_999_999_u64))]
    max_rows: Option<u64>,
    /// The same for bytes, before compression
    #[schemars(range(min = 1, max = 999_999_999_999_999_u64))]
    max_bytes: Option<u64>,
    /// Whether the link works only once; not every deployment has this
    single_use: Option<bool>,
    /// Whether a browser shows a page with a button before the download
    confirm: Option<bool>,
    /// Whether CSV, TSV or NDJSON end with an integrity line, which shows that they are complete
    end_line: Option<bool>,
    /// Suggested file name, without a path
    #[schemars(length(min = 1, max = 150))]
    filename: Option<String>,
    /// IANA time zone of instants, such as Europe/Berlin
    timezone: Option<String>,
    /// Language of titles and labels, such as de or de-AT
    language: Option<String>,
}

/// A link.
#[derive(Serialize, JsonSchema)]
pub(super) struct CreatedLink {
    /// Anyone who has it can download the file until it expires
    url: String,
    /// Identifies the link in the log of the deployment
    link_id: String,
    expires_at: String,
    /// In seconds
    expires_in: u64,
    file_name: String,
    media_type: String,
}

/// Creates a link: a `resource_link`, and its expiry as text.
///
/// # Errors
/// Returns the [`ToolError`] of the request.
pub(super) fn run(caller: &Caller<'_>, arguments: CreateLink) -> Result<CallToolResult, ToolError> {
    let export = caller.export(&arguments.export)?;
    let link = CreatedLink::from(caller.issue(export.request(&arguments))?);
    let seconds = link.expires_in;
    let description = format!(
        "Download link; expires in {seconds} s, at {}",
        link.expires_at
    );
    let resource = Resource::new(&link.url, &link.file_name)
        .with_mime_type(&link.media_type)
        .with_description(description);
    let text = format!(
        "The link expires in {seconds} seconds. Give it to the user, who downloads the file; do not open it."
    );
    let mut result = result(&link);
    let blocks = [
        ContentBlock::resource_link(resource),
        ContentBlock::text(text),
    ];
    result.content.splice(0..0, blocks);
    Ok(result)
}

impl From<IssuedLink> for CreatedLink {
    fn from(link: IssuedLink) -> CreatedLink {
        CreatedLink {
            url: link.url,
            link_id: visible(&link.link_id, TEXT_CHARS_MAX),
            expires_at: link.expires_at,
            expires_in: link.expires_in,
            file_name: visible(&link.filename, TEXT_CHARS_MAX),
            media_type: visible(&link.content_type, TEXT_CHARS_MAX),
        }
    }
}
