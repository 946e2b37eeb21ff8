//! HTTP. No module below knows it; only this folder and `cli/serve.rs` name actix.
//!
//! Imports between the files point one way: `connection/admission` ← `config`, `request/path` ← `response`,
//! `telemetry` ← `state` ← the rest of `connection` and of `request`, `download` ← `routes`, `middleware` ← `server`.

mod config;
mod connection;
mod download;
mod lifecycle;
mod middleware;
mod refusal_log;
mod refusal_page;
mod request;
mod response;
mod routes;
mod server;
mod state;
mod telemetry;
mod tls;

pub use config::{HttpConfig, OidcClient, ProxyHeader, StaticContent, StaticFile};
pub use connection::admission::ConnectionLimits;
pub use download::audit_log::TARGET as AUDIT_TARGET;
pub use lifecycle::DrainTimes;
pub use server::{Tls, metrics_server, server};
pub use state::{AppState, Clock};
pub use telemetry::{LostLines, TRACE_TARGET};
