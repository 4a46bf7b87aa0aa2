//! `lambda/recursion`: whether loops are stopped, by GetFunctionRecursionConfig.

use aws_sdk_lambda::types::RecursiveLoop;
use engine::facts::Recursion;

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetFunctionRecursionConfig"];

const OPERATION: Operation = Operation::GetFunctionRecursionConfig;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<Recursion, AwsError> {
    let request = lambda.get_function_recursion_config().function_name(function);
    match reads.call(OPERATION, || request.clone().send()).await?.recursive_loop {
        Some(RecursiveLoop::Terminate) => Ok(Recursion::Terminate),
        Some(RecursiveLoop::Allow) => Ok(Recursion::Allow),
        _ => Err(AwsError::unusable(OPERATION.name(), "no RecursiveLoop that is known")),
    }
}
