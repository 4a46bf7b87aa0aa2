//! `lambda/versions`: the published versions behind aliases, by ListVersionsByFunction in pages of 50.

use std::collections::BTreeSet;

use aws_sdk_lambda::operation::list_versions_by_function::ListVersionsByFunctionOutput;
use engine::facts::{Alias, Version};

use super::configuration::convert;
use super::functions::PAGE;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:ListVersionsByFunction"];

const OPERATION: Operation = Operation::ListVersionsByFunction;

/// The versions that these aliases lead to. Without any there is nothing to ask for.
pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
    aliases: &[Alias],
) -> Result<Vec<Version>, AwsError> {
    let wanted: BTreeSet<&str> = aliases.iter().flat_map(|alias| &alias.versions).map(String::as_str).collect();
    if wanted.iter().all(|version| *version == "$LATEST") {
        return Ok(Vec::new());
    }
    let request = lambda.list_versions_by_function().function_name(function).max_items(PAGE);
    let mut versions = Vec::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListVersionsByFunctionOutput| {
        let items = page.versions.unwrap_or_default();
        let behind = items.iter().filter_map(|item| Some((item.version()?, item)));
        let behind = behind.filter(|(number, _)| wanted.contains(number) && *number != "$LATEST");
        versions
            .extend(behind.map(|(number, item)| Version { number: number.to_owned(), configuration: convert(item) }));
        Ok(())
    };
    each_page(reads, OPERATION, send, |page| page.next_marker(), take).await?;
    Ok(versions)
}
