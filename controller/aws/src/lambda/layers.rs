//! `lambda/layers`: the versions of the account's layers, by ListLayers and ListLayerVersions in pages of 50; and
//! `lambda/layer_policies`: the policy of each, by GetLayerVersionPolicy.

use aws_sdk_lambda::operation::list_layer_versions::ListLayerVersionsOutput;
use aws_sdk_lambda::operation::list_layers::ListLayersOutput;
use engine::facts::{LayerVersion, Tags};

use super::absent;
use super::functions::PAGE;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for these sources.
pub const IAM_ACTIONS: &[&str] = &["lambda:GetLayerVersionPolicy", "lambda:ListLayerVersions", "lambda:ListLayers"];

/// Every version of every layer: an old one that is shared is as public as the latest.
pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    account: &str,
) -> Result<Vec<LayerVersion>, AwsError> {
    let mut found = Vec::new();
    for name in names(lambda, reads).await? {
        for version in versions(lambda, reads, &name).await? {
            found.push(LayerVersion {
                id: format!("layer:{name}:{version}"),
                name: name.clone(),
                account: account.to_owned(),
                tags: Tags::new(),
            });
        }
    }
    Ok(found)
}

async fn names(lambda: &aws_sdk_lambda::Client, reads: &Reads<'_>) -> Result<Vec<String>, AwsError> {
    let request = lambda.list_layers().max_items(PAGE);
    let mut names = Vec::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListLayersOutput| {
        names.extend(page.layers.unwrap_or_default().into_iter().filter_map(|layer| layer.layer_name));
        Ok(())
    };
    each_page(reads, Operation::ListLayers, send, |page| page.next_marker(), take).await?;
    Ok(names)
}

async fn versions(lambda: &aws_sdk_lambda::Client, reads: &Reads<'_>, name: &str) -> Result<Vec<i64>, AwsError> {
    let request = lambda.list_layer_versions().layer_name(name).max_items(PAGE);
    let mut versions = Vec::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListLayerVersionsOutput| {
        versions.extend(page.layer_versions.unwrap_or_default().into_iter().map(|version| version.version));
        Ok(())
    };
    each_page(reads, Operation::ListLayerVersions, send, |page| page.next_marker(), take).await?;
    Ok(versions)
}

/// The document of the policy of a version, if it has one.
pub(super) async fn observe_policy(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    id: &str,
) -> Result<Option<Box<str>>, AwsError> {
    let Some((name, version)) = parts(id) else {
        return Err(AwsError::unusable(Operation::GetLayerVersionPolicy.name(), "no id of a layer version"));
    };
    Ok(read_policy(lambda, reads, name, version).await?.map(|(document, _)| document.into()))
}

/// The policy of one version and its revision, if there is one.
pub(super) async fn read_policy(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    name: &str,
    version: i64,
) -> Result<Option<(String, String)>, AwsError> {
    let operation = Operation::GetLayerVersionPolicy;
    let request = lambda.get_layer_version_policy().layer_name(name).version_number(version);
    let Some(reply) = absent(reads.call(operation, || request.clone().send()).await)? else { return Ok(None) };
    let missing = |member: &str| AwsError::unusable(operation.name(), format!("a policy has no {member}"));
    let document = reply.policy.ok_or_else(|| missing("Policy"))?;
    Ok(Some((document, reply.revision_id.ok_or_else(|| missing("RevisionId"))?)))
}

/// Name and version behind the id of a layer version.
pub(super) fn parts(id: &str) -> Option<(&str, i64)> {
    let (name, version) = id.strip_prefix("layer:")?.rsplit_once(':')?;
    Some((name, version.parse().ok()?))
}
