//! `rowlink keygen`: signing keys, child keys and API keys.

use std::io::{self, Write as _};

use clap::Args;
use rowlink_link::{Scope, generate, generate_child, is_bare_name, is_key_id};
use zeroize::Zeroizing;

use super::errors::{ErrorLines, error_line, error_lines};
use super::request::claim;
use crate::auth::NewApiKey;
use crate::config::KeysConfig;

#[derive(Args)]
pub(super) struct KeygenArgs {
    /// Id of the key: up to 16 of A-Z a-z 0-9 _ -; for a child key, that of its parent [default: k1, or the first]
    #[arg(long, value_parser = key_id)]
    id: Option<String>,
    /// Generate an API key of this name instead: prints its token, and the entry of the API key file
    #[arg(long, value_name = "NAME", conflicts_with = "id", value_parser = api_key_name)]
    api_key: Option<String>,
    /// Derive a child key from one in ROWLINK_SIGNING_KEYS; it signs only links inside its scope
    #[arg(long, conflicts_with = "api_key")]
    child: bool,
    /// Only links to this export; repeatable
    #[arg(long = "export", value_name = "NAME", requires = "child")]
    exports: Vec<String>,
    /// Only this user
    #[arg(long, value_name = "ID", requires = "child")]
    user: Option<String>,
    /// Only users whose id starts with TEXT, which ends with a delimiter
    #[arg(long, value_name = "TEXT", requires = "child")]
    user_prefix: Option<String>,
    /// Only links with this claim, and no other claims; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE", requires = "child", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// Column with a scope that the links may show; repeatable. Without it they show none
    #[arg(long = "reveal", value_name = "COLUMN", requires = "child")]
    reveal: Vec<String>,
}

/// Prints the key.
pub(super) fn keygen(args: KeygenArgs) -> Result<(), ErrorLines> {
    let mut out = io::stdout().lock();
    if args.child {
        return writeln!(out, "{}", child_key(&args)?.as_str()).map_err(error_line);
    }
    match args.api_key {
        None => {
            let id = args.id.as_deref().unwrap_or("k1");
            let key = generate(id).map_err(error_line)?;
            writeln!(out, "{}", key.as_str()).map_err(error_line)
        }
        Some(name) => {
            let key = NewApiKey::generate().map_err(error_line)?;
            let entry = format!(
                "[keys.{name}]\nsha256 = \"{}\"\nuser = \"{name}\"",
                key.sha256
            );
            // On standard error, so that a redirect writes only the hash into the file.
            eprintln!("Token of the holder, shown once: {}", key.token.as_str());
            writeln!(out, "{entry}").map_err(error_line)
        }
    }
}

fn child_key(args: &KeygenArgs) -> Result<Zeroizing<String>, ErrorLines> {
    let has_user = args.user.is_some() || args.user_prefix.is_some();
    if args.exports.is_empty() && !has_user && args.claims.is_empty() {
        let error = "--child: expected a scope: --export, --user, --user-prefix or --claim";
        return Err(error_line(error));
    }
    let keyring = KeysConfig::from_env(std::env::vars_os());
    let keyring = keyring.map_err(error_lines)?.keyring;
    let (user, prefix) = (args.user.as_deref(), args.user_prefix.as_deref());
    let scope = Scope::new(&args.exports, user, prefix, &args.claims, &args.reveal);
    let scope = scope.map_err(error_line)?;
    let first = keyring.key_ids().next().unwrap_or_default();
    generate_child(&keyring, args.id.as_deref().unwrap_or(first), &scope).map_err(error_line)
}

pub(super) fn key_id(text: &str) -> Result<String, &'static str> {
    is_key_id(text)
        .then(|| text.to_owned())
        .ok_or("expected 1 to 16 of A-Z a-z 0-9 _ -")
}

/// Parses a name that TOML accepts without quotes.
fn api_key_name(text: &str) -> Result<String, &'static str> {
    is_bare_name(text, 64)
        .then(|| text.to_owned())
        .ok_or("expected 1 to 64 of A-Z a-z 0-9 _ -")
}
