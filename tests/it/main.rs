//! The integration tests: the real router on a free port, a real SQLite file, a clock that only
//! moves when a test moves it.

#![allow(clippy::unwrap_used)]

mod auth;
mod bad_input;
mod browsers;
mod button;
mod catalog;
mod cli;
mod clients;
mod conditions;
mod contract;
mod deployment;
mod differential;
mod documents;
mod downloads;
mod faults;
mod harness;
mod heavy;
mod issue;
mod issuers;
mod matrix;
mod minters;
mod mutation;
mod mysql;
mod offline;
mod operators;
mod overload;
mod parsers;
mod plain_links;
mod postgres;
mod postgres_server;
mod real_data;
mod replicas;
mod rotation;
mod sizes;
mod source_conformance;
mod sqlite;
mod statement_log;
mod streaming;
mod traces;
mod vectors;
mod xlsx;
