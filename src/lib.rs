//! Rowlink: signed download links for database rows.
//!
//! A link is **issued**:
//!
//! ```text
//! http::routes::links → auth → service::issue → catalog (checks filters) → rowlink_link::sign → URL
//! ```
//!
//! and a file is **downloaded**, from this server or any other that holds the key:
//!
//! ```text
//! http::routes::download → rowlink_link::Verifier → VerifiedLink → catalog::Export::bind → BoundQuery
//!                        → source::Source::open → RowStream → format::Encoder → chunks → body
//! ```
//!
//! Imports point one way: [`store`] ← [`used_links`]; [`row`], [`spool`], [`used_links`], [`unix_time`], [`toml_errors`],
//! [`audit_values`], `zip`, `texts` ← [`format`](mod@format) ← [`catalog`] ← [`source`], [`auth`] ← [`service`] ← [`http`] ←
//! [`config`], [`demo`] ← [`cli`]. The time is an argument; only `http` and `cli` read the clock.

pub mod audit_values;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod demo;
pub mod format;
pub mod http;
mod http_client;
pub mod row;
pub mod service;
pub mod source;
pub mod spool;
pub mod store;
mod texts;
pub mod toml_errors;
pub mod unix_time;
pub mod used_links;
mod zip;
