//! `lambda/event_invoke`: whether failed asynchronous events have a destination, by ListFunctionEventInvokeConfigs in
//! pages of 50.

use aws_sdk_lambda::operation::list_function_event_invoke_configs::ListFunctionEventInvokeConfigsOutput;
use aws_sdk_lambda::types::FunctionEventInvokeConfig;

use super::functions::PAGE;
use super::qualifier;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:ListFunctionEventInvokeConfigs"];

const OPERATION: Operation = Operation::ListFunctionEventInvokeConfigs;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<bool, AwsError> {
    let request = lambda.list_function_event_invoke_configs().function_name(function).max_items(PAGE);
    let mut found = false;
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListFunctionEventInvokeConfigsOutput| {
        found |= page.function_event_invoke_configs.unwrap_or_default().iter().any(has_destination);
        Ok(())
    };
    each_page(reads, OPERATION, send, |page| page.next_marker(), take).await?;
    Ok(found)
}

/// Whether the function itself, and not an alias of it, has a destination for failures.
fn has_destination(config: &FunctionEventInvokeConfig) -> bool {
    let of_itself = config.function_arn().is_none_or(|arn| matches!(qualifier(arn), "" | "$LATEST"));
    let failures = config.destination_config().and_then(|destinations| destinations.on_failure());
    of_itself && failures.and_then(|failures| failures.destination()).is_some_and(|arn| !arn.is_empty())
}
