//! `lambda/account_settings`: the concurrency of the account, by GetAccountSettings.

use engine::facts::{AccountSettings, Tags};

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetAccountSettings"];

const OPERATION: Operation = Operation::GetAccountSettings;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    account: &str,
) -> Result<Vec<AccountSettings>, AwsError> {
    let reply = reads.call(OPERATION, || lambda.get_account_settings().send()).await?;
    let limit = reply.account_limit.ok_or_else(|| AwsError::unusable(OPERATION.name(), "no AccountLimit"))?;
    let missing = || AwsError::unusable(OPERATION.name(), "no UnreservedConcurrentExecutions");
    Ok(vec![AccountSettings {
        account: account.to_owned(),
        concurrency: limit.concurrent_executions,
        unreserved: limit.unreserved_concurrent_executions.ok_or_else(missing)?,
        tags: Tags::new(),
    }])
}
