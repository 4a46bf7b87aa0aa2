//! `tagging/resources`: the tags of every function of the region, by GetResources in pages of 100.

use std::collections::BTreeMap;

use engine::facts::Tags;

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["tag:GetResources"];

const OPERATION: Operation = Operation::GetResources;

/// The largest page (`ResourcesPerPage`).
const PAGE: i32 = 100;

/// Tags by ARN. A function that never had a tag is missing, which means that it has none.
pub(crate) async fn observe(
    tagging: &aws_sdk_resourcegroupstagging::Client,
    reads: &Reads<'_>,
) -> Result<BTreeMap<String, Tags>, AwsError> {
    let request = tagging.get_resources().resource_type_filters("lambda:function").resources_per_page(PAGE);
    let (mut found, mut arns) = (BTreeMap::new(), UniqueIds::new(OPERATION));
    let send = |token| request.clone().set_pagination_token(token).send();
    each_page(
        reads,
        OPERATION,
        send,
        |page| page.pagination_token(),
        |page| {
            for item in page.resource_tag_mapping_list.unwrap_or_default() {
                let arn =
                    item.resource_arn.ok_or_else(|| AwsError::unusable(OPERATION.name(), "a resource has no ARN"))?;
                arns.insert(&arn)?;
                let tags = item.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value));
                found.insert(arn, tags.collect());
            }
            Ok(())
        },
    )
    .await?;
    Ok(found)
}
