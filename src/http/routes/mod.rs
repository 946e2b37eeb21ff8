//! One file per route.

mod accept;
mod answer;
pub(super) mod catalog;
mod confirmation;
pub(super) mod documents;
pub(super) mod download;
pub(super) mod exports_page;
pub(super) mod inspect;
mod kept;
pub(super) mod links;
pub(super) mod ops;
mod parts;
mod preparation;
mod redirect;
pub(super) mod status;
mod stored;
