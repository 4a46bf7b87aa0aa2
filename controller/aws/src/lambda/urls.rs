//! `lambda/urls`: the URLs of a function and of its aliases, by ListFunctionUrlConfigs in pages of 50.

use aws_sdk_lambda::operation::list_function_url_configs::ListFunctionUrlConfigsOutput;
use aws_sdk_lambda::types::{Cors as SdkCors, FunctionUrlAuthType, FunctionUrlConfig};
use engine::facts::{Cors, FunctionUrl, UrlAuth};

use super::functions::PAGE;
use super::qualifier;
use crate::error::AwsError;
use crate::limiter::Operation;
use crate::paging::each_page;
use crate::retry::Reads;

/// What the read role must be allowed to do for this source.
pub const IAM_ACTIONS: &[&str] = &["lambda:ListFunctionUrlConfigs"];

const OPERATION: Operation = Operation::ListFunctionUrlConfigs;

pub(super) async fn observe(
    lambda: &aws_sdk_lambda::Client,
    reads: &Reads<'_>,
    function: &str,
) -> Result<Vec<FunctionUrl>, AwsError> {
    let request = lambda.list_function_url_configs().function_name(function).max_items(PAGE);
    let mut urls = Vec::new();
    let send = |marker| request.clone().set_marker(marker).send();
    let take = |page: ListFunctionUrlConfigsOutput| {
        for item in page.function_url_configs {
            urls.push(url(item)?);
        }
        Ok(())
    };
    each_page(reads, OPERATION, send, |page| page.next_marker(), take).await?;
    Ok(urls)
}

fn url(item: FunctionUrlConfig) -> Result<FunctionUrl, AwsError> {
    let auth = match item.auth_type {
        FunctionUrlAuthType::AwsIam => UrlAuth::Iam,
        FunctionUrlAuthType::None => UrlAuth::None,
        other => return Err(AwsError::unusable(OPERATION.name(), format!("an AuthType {}", other.as_str()))),
    };
    Ok(FunctionUrl { qualifier: qualifier(&item.function_arn).to_owned(), auth, cors: item.cors.map(cors) })
}

/// Lists of CORS are sets.
fn cors(given: SdkCors) -> Cors {
    let sorted = |list: Option<Vec<String>>| {
        let mut list = list.unwrap_or_default();
        list.sort();
        list
    };
    Cors {
        allow_credentials: given.allow_credentials,
        allow_headers: sorted(given.allow_headers),
        allow_methods: sorted(given.allow_methods),
        allow_origins: sorted(given.allow_origins),
        expose_headers: sorted(given.expose_headers),
        max_age: given.max_age,
    }
}
