//! `cloudfront/distributions`: the functions that distributions call, by ListDistributions in pages of 100. They are the
//! originals of what Lambda@Edge replicates, which Lambda itself does not tell.

use std::collections::BTreeSet;

use aws_sdk_cloudfront::operation::list_distributions::ListDistributionsOutput;
use aws_sdk_cloudfront::types::{DistributionSummary, LambdaFunctionAssociations};

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["cloudfront:ListDistributions"];

const OPERATION: Operation = Operation::ListDistributions;

/// The largest page (`MaxItems`).
const PAGE: i32 = 100;

/// The names of the functions.
pub(crate) async fn observe(
    cloudfront: &aws_sdk_cloudfront::Client,
    reads: &Reads<'_>,
) -> Result<BTreeSet<String>, AwsError> {
    let request = cloudfront.list_distributions().max_items(PAGE);
    let mut found = BTreeSet::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListDistributionsOutput| {
        let list = page.distribution_list.ok_or_else(|| AwsError::unusable(OPERATION.name(), "no DistributionList"))?;
        for arn in list.items().iter().flat_map(called) {
            let malformed = || AwsError::unusable(OPERATION.name(), "an association has no ARN of a function");
            found.insert(name(arn).ok_or_else(malformed)?.to_owned());
        }
        Ok(())
    };
    each_page(reads, OPERATION, send, |page| page.distribution_list()?.next_marker(), take).await?;
    Ok(found)
}

/// The ARNs of the functions that a distribution calls.
fn called(distribution: &DistributionSummary) -> impl Iterator<Item = &str> {
    let default = distribution.default_cache_behavior().and_then(|behavior| behavior.lambda_function_associations());
    let others = distribution.cache_behaviors().map(|behaviors| behaviors.items()).unwrap_or_default();
    let others = others.iter().filter_map(|behavior| behavior.lambda_function_associations());
    default.into_iter().chain(others).flat_map(LambdaFunctionAssociations::items).map(|one| one.lambda_function_arn())
}

/// The name in `arn:aws:lambda:us-east-1:ACCOUNT:function:NAME:VERSION`.
fn name(arn: &str) -> Option<&str> {
    match arn.split(':').collect::<Vec<_>>().as_slice() {
        ["arn", _, "lambda", _, _, "function", name, ..] => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_in_the_arn_of_a_version() {
        assert_eq!(name("arn:aws:lambda:us-east-1:111122223333:function:headers:7"), Some("headers"));
        assert_eq!(name("arn:aws:cloudfront::111122223333:function/headers"), None);
    }
}
