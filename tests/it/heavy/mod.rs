//! Tests that take minutes, gigabytes of disk or programs that `make setup` does not install.
//!
//! `make test` skips every path that contains `heavy`. Each file names the target that runs it.

mod attack;
mod component;
mod cuts;
mod differential;
mod e2e;
mod engines;
mod large_workbooks;
mod libreoffice;
mod retries;
mod single_use;
mod slow_readers;
mod soak;
mod spark;
mod stored_cuts;
mod stores;
