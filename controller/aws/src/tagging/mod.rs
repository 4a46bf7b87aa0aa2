//! The Resource Groups Tagging API: the tags of many resources in one call.

pub mod resources;
