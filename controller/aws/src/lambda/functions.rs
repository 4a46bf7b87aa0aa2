//! `lambda/functions`: every function of the region, by ListFunctions in pages of 50, with its tags.

use std::collections::BTreeMap;

use aws_sdk_lambda::types::FunctionConfiguration;
use engine::facts::{Function, Tags};

use super::configuration::convert;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::{UniqueIds, each_page};
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:ListFunctions"];

const OPERATION: Operation = Operation::ListFunctions;

/// Lambda lists at most so many at once, whatever is asked for.
pub(super) const PAGE: i32 = 50;

/// All functions, in Lambda's order, with their tags, which come from another bucket and so beside them. One that cannot be
/// decoded makes the whole read unusable.
pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    tags: impl Future<Output = Result<BTreeMap<String, Tags>, AwsError>>,
) -> Result<Vec<Function>, AwsError> {
    let (listed, mut tags) = tokio::try_join!(list(lambda, reads), tags)?;
    let tagged = |(arn, function)| Function { tags: tags.remove(&arn).unwrap_or_default(), ..function };
    // They are kept: no more room than they take.
    let mut functions = Vec::with_capacity(listed.len());
    functions.extend(listed.into_iter().map(tagged));
    Ok(functions)
}

/// All functions by ARN, still without their tags.
async fn list(lambda: &aws_sdk_lambda::Client, reads: &Reads<'_>) -> Result<Vec<(String, Function)>, AwsError> {
    let request = lambda.list_functions().max_items(PAGE);
    let (mut functions, mut names) = (Vec::new(), UniqueIds::new(OPERATION));
    let send = |marker| request.clone().set_marker(marker).send();
    each_page(
        reads,
        OPERATION,
        send,
        |page| page.next_marker(),
        |page| {
            for item in page.functions.unwrap_or_default() {
                let (arn, function) = function(&item)?;
                names.insert(&function.name)?;
                functions.push((arn, function));
            }
            Ok(())
        },
    )
    .await?;
    Ok(functions)
}

fn function(item: &FunctionConfiguration) -> Result<(String, Function), AwsError> {
    let missing = |member: &str| AwsError::unusable(OPERATION.name(), format!("a function has no {member}"));
    let arn = item.function_arn().ok_or_else(|| missing("FunctionArn"))?;
    let account = arn.split(':').nth(4).filter(|account| !account.is_empty());
    let function = Function {
        name: item.function_name().ok_or_else(|| missing("FunctionName"))?.to_owned(),
        account: account.ok_or_else(|| missing("account in its ARN"))?.to_owned(),
        tags: Tags::new(),
        edge: item.master_arn().is_some(),
        revision: item.revision_id().ok_or_else(|| missing("RevisionId"))?.to_owned(),
        configuration: convert(item),
    };
    Ok((arn.to_owned(), function))
}
