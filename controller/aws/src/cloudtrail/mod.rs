//! CloudTrail: who did what.

pub mod lookup_events;
