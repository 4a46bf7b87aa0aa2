//! `lambda/code_signing`: the code signing configuration of a function, by GetFunctionCodeSigningConfig; and
//! `lambda/code_signing_configs`: all of the account, by ListCodeSigningConfigs in pages of 50.

use std::collections::BTreeMap;

use aws_sdk_lambda::operation::list_code_signing_configs::ListCodeSigningConfigsOutput;
use aws_sdk_lambda::types::CodeSigningPolicy;
use engine::facts::CodeSigningConfig;

use super::absent;
use super::functions::PAGE;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for these sources.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetFunctionCodeSigningConfig", "lambda:ListCodeSigningConfigs"];

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<Option<String>, AwsError> {
    let request = lambda.get_function_code_signing_config().function_name(function);
    let reply = absent(reads.call(Operation::GetFunctionCodeSigningConfig, || request.clone().send()).await)?;
    // A function without one answers an empty ARN.
    Ok(reply.map(|reply| reply.code_signing_config_arn).filter(|arn| !arn.is_empty()))
}

/// All configurations of the account, by ARN.
pub(super) async fn observe_configs(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
) -> Result<BTreeMap<String, CodeSigningConfig>, AwsError> {
    let request = lambda.list_code_signing_configs().max_items(PAGE);
    let mut configs = BTreeMap::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListCodeSigningConfigsOutput| {
        for item in page.code_signing_configs.unwrap_or_default() {
            let policy = item.code_signing_policies.and_then(|policies| policies.untrusted_artifact_on_deployment);
            let publishers = item.allowed_publishers.map_or(0, |allowed| allowed.signing_profile_version_arns.len());
            let config = CodeSigningConfig { enforces: policy == Some(CodeSigningPolicy::Enforce), publishers };
            configs.insert(item.code_signing_config_arn, config);
        }
        Ok(())
    };
    each_page(reads, Operation::ListCodeSigningConfigs, send, |page| page.next_marker(), take).await?;
    Ok(configs)
}
