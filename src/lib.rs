//! lib
pub mod catalog;
pub mod encode;
pub mod format;
pub mod link;
pub mod row;
pub mod source;
