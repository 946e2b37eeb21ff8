//! Why a tool failed, as its caller sees it.

use rmcp::model::{CallToolResult, ContentBlock};
use serde::{Deserialize, Serialize};

use super::untrusted::{TEXT_CHARS_MAX, data_block, visible};

/// The most invalid fields that an error names.
const FIELDS_MAX: usize = 20;

/// Why a tool failed. It has no URL and no credential.
#[derive(Debug)]
pub(super) enum ToolError {
    /// The deployment refuses the request.
    Refused(Problem),
    /// Anything else, in words of the server.
    Other(String),
}

/// The part of a problem document (RFC 9457) that a caller needs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    status: u16,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InvalidField>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InvalidField {
    field: String,
    message: String,
}

/// An error of the server itself, as a caller sees it.
#[derive(Serialize)]
struct Message<'m> {
    error: &'m str,
}

impl ToolError {
    /// Reads the body of a response that is an error.
    pub(super) fn of_response(status: u16, body: &[u8]) -> ToolError {
        let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        if problem.code.is_empty() {
            problem.code = "unknown".to_owned();
            problem.detail = format!("the deployment answered {status} without a problem document");
        }
        ToolError::Refused(problem.shown())
    }

    /// Returns the result of a tool that failed. Texts of the deployment are marked as data: they quote values.
    pub(super) fn into_result(self) -> CallToolResult {
        let text = match &self {
            ToolError::Refused(problem) => {
                format!("{}\n{}", advice(&problem.code), data_block(problem))
            }
            ToolError::Other(error) => {
                let error = &visible(error, TEXT_CHARS_MAX);
                format!("The tool failed.\n{}", data_block(&Message { error }))
            }
        };
        CallToolResult::error(vec![ContentBlock::text(text)])
    }
}

impl Problem {
    fn shown(mut self) -> Problem {
        self.code = visible(&self.code, TEXT_CHARS_MAX);
        self.detail = visible(&self.detail, TEXT_CHARS_MAX);
        self.errors.truncate(FIELDS_MAX);
        for error in &mut self.errors {
            error.field = visible(&error.field, TEXT_CHARS_MAX);
            error.message = visible(&error.message, TEXT_CHARS_MAX);
        }
        self
    }
}

/// Returns what the caller can do about a problem.
fn advice(code: &str) -> &'static str {
    match code {
        "credential-missing" | "credential-refused" => {
            "The deployment refused the credential. Ask the user to check it: ROWLINK_TOKEN or ROWLINK_TOKEN_FILE of \
             this server, or over HTTP the header Authorization."
        }
        "invalid-values" => "Some arguments are invalid. Change them and call the tool again.",
        _ => "The deployment refused the request.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_that_is_no_problem_document_is_named_by_its_status() {
        for body in ["", "<html>", "[]", "{\"code\":7}"] {
            let ToolError::Refused(problem) = ToolError::of_response(502, body.as_bytes()) else {
                panic!("a refusal");
            };
            assert_eq!((problem.status, problem.code.as_str()), (502, "unknown"));
        }
    }
}
