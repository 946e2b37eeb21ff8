//! The requests to the deployment.

use std::io::Read;
use std::time::Duration;

use rowlink_link::{DownloadPath, SplitUrl};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use ureq::http::{HeaderValue, Response, StatusCode};
use ureq::{Body, RequestBuilder};

use super::errors::ToolError;
use super::export_description::ExportDescription;
use crate::config::web_url;
use crate::http_client::build_agent;
use crate::unix_time;

/// The longest time of a request, and of reading its response.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// The longest response that is no file, in bytes.
const BODY_BYTES_MAX: u64 = 8 << 20;
/// Names this server in the logs of proxies.
const AGENT: &str = concat!("rowlink-mcp/", env!("CARGO_PKG_VERSION"));

/// A deployment of Rowlink.
pub(super) struct Deployment {
    agent: Agent,
    /// Without a slash at its end. No request goes anywhere else.
    base: String,
}

/// A deployment, and the credential of the caller of a tool.
pub(super) struct Caller<'d> {
    deployment: &'d Deployment,
    /// The value of `Authorization`.
    credential: Option<HeaderValue>,
}

/// A link that was issued.
#[derive(Deserialize)]
pub(super) struct IssuedLink {
    pub(super) url: String,
    pub(super) link_id: String,
    pub(super) expires_at: String,
    pub(super) expires_in: u64,
    pub(super) filename: String,
    pub(super) content_type: String,
    #[serde(default)]
    pub(super) estimated_rows: Option<u64>,
    #[serde(default)]
    pub(super) estimated_bytes: Option<u64>,
    #[serde(default)]
    pub(super) estimated_by: Option<String>,
}

#[derive(Deserialize)]
struct Exports {
    exports: Vec<ExportDescription>,
}

impl Deployment {
    pub(super) fn at(base: &str) -> Deployment {
        Deployment {
            agent: build_agent(REQUEST_MAX),
            base: base.to_owned(),
        }
    }

    pub(super) fn caller(&self, credential: Option<HeaderValue>) -> Caller<'_> {
        Caller {
            deployment: self,
            credential,
        }
    }
}

impl Caller<'_> {
    /// Returns the exports that the caller may download.
    ///
    /// # Errors
    /// Returns the [`ToolError`] of the request.
    pub(super) fn exports(&self) -> Result<Vec<ExportDescription>, ToolError> {
        let exports: Exports = self.get("/v1/exports")?;
        Ok(exports.exports)
    }

    /// Returns the description of one of these exports.
    ///
    /// # Errors
    /// Returns the [`ToolError`] of the request.
    pub(super) fn export(&self, name: &str) -> Result<ExportDescription, ToolError> {
        // The name becomes a part of a path.
        if DownloadPath::of_files(name).is_none() {
            let error = "export: expected 1 to 64 of A-Z a-z 0-9 _ -; call list_exports";
            return Err(ToolError::Other(error.to_owned()));
        }
        self.get(&format!("/v1/exports/{name}"))
    }

    /// Requests a link.
    ///
    /// # Errors
    /// Returns the [`ToolError`] of the request.
    pub(super) fn issue(&self, request: Map<String, Value>) -> Result<IssuedLink, ToolError> {
        let url = format!("{}/v1/links", self.deployment.base);
        let sending = self.with_headers(self.deployment.agent.post(url));
        let sending = sending.header(CONTENT_TYPE, "application/json");
        let link: IssuedLink = read(sending.send(Value::Object(request).to_string()))?;
        let is_valid = web_url(&link.url).is_ok() && unix_time::parse(&link.expires_at).is_some();
        is_valid.then_some(link).ok_or_else(not_rowlink)
    }

    /// Requests the file of a link, from this deployment and without the credential. Dropping it ends the query.
    ///
    /// # Errors
    /// Returns the [`ToolError`] of the request.
    pub(super) fn download(&self, link: &IssuedLink) -> Result<impl Read + use<>, ToolError> {
        let target = SplitUrl::parse(&link.url)
            .map_err(|_| not_rowlink())?
            .target;
        let url = format!("{}{target}", self.deployment.base);
        let request = self.deployment.agent.get(url).header(USER_AGENT, AGENT);
        let response = succeeded(request.call())?;
        Ok(response.into_body().into_reader())
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ToolError> {
        let url = format!("{}{path}", self.deployment.base);
        read(self.with_headers(self.deployment.agent.get(url)).call())
    }

    fn with_headers<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        let request = request.header(USER_AGENT, AGENT);
        match &self.credential {
            Some(credential) => request.header(AUTHORIZATION, credential.clone()),
            None => request,
        }
    }
}

/// Reads a response as JSON.
fn read<T: DeserializeOwned>(
    response: Result<Response<Body>, ureq::Error>,
) -> Result<T, ToolError> {
    let body = body(&mut succeeded(response)?)?;
    serde_json::from_slice(&body).map_err(|_| not_rowlink())
}

fn succeeded(response: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, ToolError> {
    let mut response = response.map_err(|error| no_answer(&error))?;
    match response.status() {
        StatusCode::OK => Ok(response),
        status => Err(ToolError::of_response(
            status.as_u16(),
            &body(&mut response)?,
        )),
    }
}

fn body(response: &mut Response<Body>) -> Result<Vec<u8>, ToolError> {
    let limited = response.body_mut().with_config().limit(BODY_BYTES_MAX);
    limited.read_to_vec().map_err(|error| no_answer(&error))
}

/// Returns why a request failed, without its URL, which may hold a signature.
fn no_answer(error: &ureq::Error) -> ToolError {
    ToolError::Other(match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            "the URL of the deployment or the credential is invalid; check ROWLINK_URL and ROWLINK_TOKEN".to_owned()
        }
        error => format!("the deployment does not answer: {error}"),
    })
}

fn not_rowlink() -> ToolError {
    let error = "the answer is not one of Rowlink; check ROWLINK_URL, the URL of the deployment";
    ToolError::Other(error.to_owned())
}
