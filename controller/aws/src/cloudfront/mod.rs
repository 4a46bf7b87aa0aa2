//! CloudFront: which functions Lambda@Edge replicates.

pub mod distributions;
