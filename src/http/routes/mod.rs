//! One file per route.

pub(super) mod catalog;
pub(super) mod download;
pub(super) mod inspect;
pub(super) mod links;
pub(super) mod ops;
mod redirect;
