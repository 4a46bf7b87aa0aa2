//! `lambda/concurrency`: what a function has reserved, by GetFunctionConcurrency.

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetFunctionConcurrency"];

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<Option<i32>, AwsError> {
    let request = lambda.get_function_concurrency().function_name(function);
    let reply = reads.call(Operation::GetFunctionConcurrency, || request.clone().send()).await?;
    Ok(reply.reserved_concurrent_executions)
}
