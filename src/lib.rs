//! lib
pub mod catalog;
pub mod format;
pub mod link;
pub mod row;
