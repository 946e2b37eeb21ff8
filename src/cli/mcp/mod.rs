//! `rowlink mcp`: agents list exports, look at a few rows and create links, over the Model Context Protocol (MCP).
//!
//! The server is a client of a deployment, with the credential of its caller. It has no other way to the database.

mod create_link;
mod credential;
mod deployment;
mod errors;
mod estimate_rows;
mod export_description;
mod file_check;
mod http;
mod list_exports;
mod preview_rows;
mod sample;
mod server;
mod tools;
mod untrusted;

use std::env;
use std::net::SocketAddr;

use clap::Args;
use rmcp::ServiceExt as _;
use rmcp::transport::stdio;

use super::errors::{ErrorLines, error_line};
use crate::config::{cors_origin, web_url};
use credential::Credentials;
use deployment::Deployment;
use http::HttpOptions;
use server::McpServer;

const URL: &str = "ROWLINK_URL";

#[derive(Args)]
pub(super) struct McpArgs {
    /// URL of the deployment, such as https://shop.example.com [default: ROWLINK_URL]
    #[arg(long)]
    url: Option<String>,
    /// Serve over HTTP at this address instead of standard input and output. Each request then needs the credential of
    /// its caller in `Authorization`
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8090")]
    http: Option<SocketAddr>,
    /// Name by which clients reach the server, such as mcp.example.com; repeatable. Required to listen on an address that
    /// other machines reach
    #[arg(long = "host", value_name = "NAME", requires = "http")]
    hosts: Vec<String>,
    /// Answer pages of this origin, such as https://chat.example.com; repeatable. Without it requests of pages are refused
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = cors_origin, requires = "http")]
    origins: Vec<String>,
}

/// Serves until standard input ends, or over HTTP until a signal ends the process.
///
/// # Errors
/// Returns what is missing or invalid, or why the server cannot listen.
pub(super) async fn mcp(args: McpArgs) -> Result<(), ErrorLines> {
    let url = match args.url {
        Some(url) => ("--url", url),
        None => (URL, env::var(URL).unwrap_or_default()),
    };
    let deployment = Deployment::at(&base_url(url)?);
    match args.http {
        None => over_stdio(McpServer::new(deployment, Credentials::from_env()?)).await,
        Some(address) => {
            let options = HttpOptions {
                address,
                hosts: args.hosts,
                origins: args.origins,
            };
            let server = McpServer::new(deployment, Credentials::OfRequests);
            http::serve(server, options).await
        }
    }
}

/// Checks the URL of the deployment; returns it without a slash at its end. Errors do not quote it: it may hold a password.
fn base_url((name, url): (&str, String)) -> Result<String, ErrorLines> {
    if url.is_empty() {
        let error = format!("{name}: is required; set it to the URL of the deployment");
        return Err(error_line(error));
    }
    let url = web_url(&url).map_err(|error| error_line(format!("{name}: {error}")))?;
    // A user in it would be sent with the requests of callers who have no credential.
    match url.contains(['?', '#', '@']) {
        true => Err(error_line(format!(
            "{name}: expected a URL without a user, query or fragment"
        ))),
        false => Ok(url.trim_end_matches('/').to_owned()),
    }
}

async fn over_stdio(server: McpServer) -> Result<(), ErrorLines> {
    let running = server.serve(stdio()).await.map_err(|_| {
        // Its text may quote the message, and a log of the client keeps it.
        error_line("the client sent no MCP handshake; start this command from an MCP client")
    })?;
    running.waiting().await.map(drop).map_err(error_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_the_deployment_has_no_slash_at_its_end_and_is_never_quoted() {
        let base = |url: &str| base_url(("--url", url.to_owned()));
        assert_eq!(
            base("https://shop.example.com/data/"),
            Ok("https://shop.example.com/data".to_owned())
        );
        for url in [
            "",
            "shop",
            "ftp://secret@shop",
            "https://secret@shop/",
            "https://shop/?a=secret",
        ] {
            let error = base(url).expect_err("an invalid URL").concat();
            assert!(
                error.starts_with("--url: ") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
