//! Rowlink: signed download links for database rows.
//!
//! Two journeys run through this crate. A link is **issued**:
//!
//! ```text
//! http::links → auth (who asks?) → export::issue → catalog (may these filters be?) → link::sign → URL
//! ```
//!
//! and a file is **downloaded**, on this replica or any other that holds the key:
//!
//! ```text
//! http::downloads → link::verify → VerifiedLink → catalog::bind → BoundQuery
//!                 → source::open → RowStream → encode → chunks → body
//! ```
//!
//! Imports point one way: [`row`], [`format`](mod@format), [`end_line`], [`moment`],
//! [`toml_errors`] ← [`link`] ← [`catalog`] ← [`source`], [`encode`] ←
//! [`auth`], [`export`] ← [`http`] ← [`config`], [`demo`] ← [`cli`]. The time is an argument; only
//! the edge reads the clock.

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
pub mod toml_errors;
pub mod unix_time;
