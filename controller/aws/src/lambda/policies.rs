//! `lambda/policies`: the resource policies of a function and of its aliases, by GetPolicy.

use engine::facts::{Alias, QualifiedPolicy};

use super::{absent, qualified};
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetPolicy"];

const OPERATION: Operation = Operation::GetPolicy;

/// The policies of a function and of these aliases. A function without a policy lets nobody in by one.
pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
    aliases: &[Alias],
) -> Result<Vec<QualifiedPolicy>, AwsError> {
    let mut policies = Vec::new();
    for qualifier in std::iter::once("").chain(aliases.iter().map(|alias| alias.name.as_str())) {
        if let Some((document, _)) = read(lambda, reads, function, qualifier).await? {
            policies.push(QualifiedPolicy { qualifier: qualifier.to_owned(), document: document.into() });
        }
    }
    Ok(policies)
}

/// One policy and its revision, if there is one.
pub(super) async fn read(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
    qualifier: &str,
) -> Result<Option<(String, String)>, AwsError> {
    let request = lambda.get_policy().function_name(function).set_qualifier(qualified(qualifier));
    let Some(reply) = absent(reads.call(OPERATION, || request.clone().send()).await)? else { return Ok(None) };
    let missing = |member: &str| AwsError::unusable(OPERATION.name(), format!("a policy has no {member}"));
    let document = reply.policy.ok_or_else(|| missing("Policy"))?;
    Ok(Some((document, reply.revision_id.ok_or_else(|| missing("RevisionId"))?)))
}
