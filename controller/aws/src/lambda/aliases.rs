//! `lambda/aliases`: the aliases of a function, by ListAliases in pages of 50.

use aws_sdk_lambda::types::AliasConfiguration;
use engine::facts::Alias;

use super::functions::PAGE;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:ListAliases"];

const OPERATION: Operation = Operation::ListAliases;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<Vec<Alias>, AwsError> {
    let request = lambda.list_aliases().function_name(function).max_items(PAGE);
    let mut aliases = Vec::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: aws_sdk_lambda::operation::list_aliases::ListAliasesOutput| {
        aliases.extend(page.aliases.unwrap_or_default().into_iter().filter_map(alias));
        Ok(())
    };
    each_page(reads, OPERATION, send, |page| page.next_marker(), take).await?;
    Ok(aliases)
}

fn alias(item: AliasConfiguration) -> Option<Alias> {
    let weighted = item.routing_config.and_then(|routing| routing.additional_version_weights).unwrap_or_default();
    let mut versions: Vec<String> = item.function_version.into_iter().chain(weighted.into_keys()).collect();
    versions.sort();
    Some(Alias { name: item.name?, versions })
}
