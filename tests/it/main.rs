//! Integration tests against the real router on a free port.
//!
//! The clock of the in-process server moves only when a test sets it. Tests that need more than Rust, a C compiler and
//! `sh`, or some seconds, are marked `#[ignore]` with the reason. `make test` installs what they need and runs them. It skips
//! only [`heavy`].

#![allow(clippy::unwrap_used)]

mod audit_values;
mod auth;
mod bad_input;
mod bind;
mod book_files;
mod books;
mod browsers;
mod button;
mod catalog;
mod check_store;
mod cli;
mod clients;
mod columns;
mod conditions;
mod confirm;
mod contract;
mod days;
mod deployment;
mod descriptions;
mod differential;
mod documents;
mod downloads;
mod exhaustion;
mod faults;
mod feeds;
mod formats;
mod get;
mod harness;
mod heartbeats;
mod heavy;
mod issue;
mod issuers;
mod kept;
mod languages;
mod large_rows;
mod matrix;
mod mcp;
mod minters;
mod mutation;
mod mysql;
mod offline;
mod operators;
mod other_users;
mod overload;
mod page_languages;
mod parallel;
mod parallel_check;
mod parallel_joins;
mod parsers;
mod partial_outages;
mod plain_links;
mod postgres;
mod postgres_server;
mod real_data;
mod reason;
mod receipts;
mod replicas;
mod resume;
mod retry_pages;
mod revoke;
mod rotation;
mod single_use;
mod sizes;
mod source_conformance;
mod spool;
mod sqlite;
mod sqlite_files;
mod statement_log;
mod stored;
mod stored_documents;
mod streaming;
mod traces;
mod truncation;
mod vectors;
mod workbook_details;
mod xlsx;
