//! `lambda/runtime_management`: when AWS patches the runtime of a function, by GetRuntimeManagementConfig.

use aws_sdk_lambda::types::UpdateRuntimeOn;
use engine::facts::{RuntimeManagement, UpdateOn};

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetRuntimeManagementConfig"];

const OPERATION: Operation = Operation::GetRuntimeManagementConfig;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<RuntimeManagement, AwsError> {
    let request = lambda.get_runtime_management_config().function_name(function);
    let reply = reads.call(OPERATION, || request.clone().send()).await?;
    let update_on = match reply.update_runtime_on {
        Some(UpdateRuntimeOn::Auto) => UpdateOn::Auto,
        Some(UpdateRuntimeOn::FunctionUpdate) => UpdateOn::FunctionUpdate,
        Some(UpdateRuntimeOn::Manual) => UpdateOn::Manual,
        _ => return Err(AwsError::unusable(OPERATION.name(), "no UpdateRuntimeOn that is known")),
    };
    // Only what is pinned names a version that counts.
    let version_arn = reply.runtime_version_arn.filter(|_| update_on == UpdateOn::Manual);
    Ok(RuntimeManagement { update_on, version_arn })
}
