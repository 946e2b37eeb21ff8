//! `rowlink get --prepare`: waits until the file of a link is in the server's store.

use std::io::{self, IsTerminal as _};
use std::thread::sleep;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use rowlink_link::SplitUrl;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::StatusCode;

use super::fetch::problem;
use crate::http_client::build_agent;

/// The longest time of a request, which waits for a part of it.
const REQUEST_MAX: Duration = Duration::from_secs(60);
/// How long the server waits before it says that the file is not ready, in seconds.
const WAIT_SECONDS: u64 = 2;
/// How often a request that failed is sent again.
const RETRIES: u32 = 5;

/// Lets the server prepare the file of a link, and waits until it is ready. Shows the progress on a terminal.
///
/// # Errors
/// Returns a message if the file is not stored or failed, or the server does not answer.
pub(super) fn prepare_file(link: &str) -> Result<(), String> {
    let path = SplitUrl::parse(link).map_err(|error| error.to_string())?;
    let server = link
        .split_once(path.target)
        .map_or("", |(server, _)| server);
    let status_url = format!("{server}/v1/links/status");
    let agent = build_agent(REQUEST_MAX);
    let spinner = match io::stderr().is_terminal() {
        true => ProgressBar::new_spinner(),
        false => ProgressBar::hidden(),
    };
    let mut is_first = true;
    loop {
        let question = json!({"url": link, "prepare": is_first, "wait": WAIT_SECONDS});
        let file = ask(&agent, &status_url, &question)?;
        is_first = false;
        let number = |field: &str| file[field].as_u64().unwrap_or(0);
        match file["state"].as_str() {
            Some("preparing") => {
                let (rows, bytes) = (HumanCount(number("rows")), HumanBytes(number("bytes")));
                spinner.set_message(format!("preparing: {rows} rows, {bytes}"));
                spinner.tick();
            }
            Some("ready") => {
                spinner.finish_and_clear();
                return Ok(());
            }
            Some("failed") => {
                let code = file["code"].as_str().unwrap_or("unknown").escape_debug();
                return Err(format!("the file could not be prepared: {code}"));
            }
            _ => return Err("the file is not prepared any more; try again".to_owned()),
        }
    }
}

/// Returns the state of the file. A request is tried again if the server is busy or does not answer.
fn ask(agent: &Agent, url: &str, question: &Value) -> Result<Value, String> {
    let mut failed = 0;
    loop {
        let error = match agent.post(url).send(question.to_string()) {
            Ok(mut response) => match response.status() {
                StatusCode::OK => {
                    let body = response.body_mut().read_to_vec();
                    let file = body
                        .ok()
                        .and_then(|body| serde_json::from_slice(&body).ok());
                    return file.ok_or_else(|| "the server's answer is not JSON".to_owned());
                }
                status if is_temporary(status) => problem(&mut response),
                _ => return Err(problem(&mut response)),
            },
            Err(error) => format!("the server does not answer: {error}"),
        };
        failed += 1;
        if failed > RETRIES {
            return Err(error);
        }
        sleep(Duration::from_secs(u64::from(failed)));
    }
}

fn is_temporary(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}
