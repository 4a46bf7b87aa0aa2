//! Pages: all of them or none. A token that comes again, a page too many or an item that comes twice
//! means that the reply as a whole cannot be trusted.

use std::collections::HashSet;
use std::error::Error;
use std::future::Future;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

use crate::error::AwsError;
use crate::limiter::Operation;
use crate::retry::Reads;

/// No source has this many pages: at 1,000 items a page it would be two million.
const MOST_PAGES: usize = 2_000;

/// Reads every page of a listing, in order, and hands each to `take`.
pub(crate) async fn each_page<T, E, F>(
    reads: &Reads<'_>,
    operation: Operation,
    send: impl Fn(Option<String>) -> F,
    token_of: impl Fn(&T) -> Option<&str>,
    mut take: impl FnMut(T) -> Result<(), AwsError>,
) -> Result<(), AwsError>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    E: ProvideErrorMetadata + Error + 'static,
{
    let mut pages = Pages::new(operation);
    let mut token = None;
    loop {
        let page = reads.call(operation, || send(token.clone())).await?;
        let next = pages.next(token_of(&page))?;
        take(page)?;
        match next {
            Some(next) => token = Some(next),
            None => return Ok(()),
        }
    }
}

/// The tokens of a listing so far.
struct Pages {
    operation: Operation,
    seen: HashSet<String>,
}

impl Pages {
    fn new(operation: Operation) -> Self {
        Self { operation, seen: HashSet::new() }
    }

    /// The token of the next page, `None` after the last one.
    fn next(&mut self, token: Option<&str>) -> Result<Option<String>, AwsError> {
        // EC2 writes an empty token where other services write none.
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        if !self.seen.insert(token.to_owned()) {
            return Err(AwsError::unusable(self.operation.name(), "a page token came twice"));
        }
        if self.seen.len() >= MOST_PAGES {
            return Err(AwsError::unusable(self.operation.name(), "the pages do not end"));
        }
        Ok(Some(token.to_owned()))
    }
}

/// The ids of a listing so far.
pub(crate) struct UniqueIds {
    operation: Operation,
    seen: HashSet<String>,
}

impl UniqueIds {
    pub(crate) fn new(operation: Operation) -> Self {
        Self { operation, seen: HashSet::new() }
    }

    /// Notes an id; an error if it came before.
    pub(crate) fn insert(&mut self, id: &str) -> Result<(), AwsError> {
        if self.seen.insert(id.to_owned()) {
            Ok(())
        } else {
            Err(AwsError::unusable(self.operation.name(), format!("{id} came twice")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    #[test]
    fn a_token_that_comes_again_makes_the_listing_unusable() {
        let mut pages = Pages::new(Operation::DescribeSecurityGroups);
        assert_eq!(pages.next(Some("a")).unwrap().as_deref(), Some("a"));
        assert_eq!(pages.next(Some("b")).unwrap().as_deref(), Some("b"));
        assert_eq!(pages.next(Some("a")).unwrap_err().class, ErrorClass::Undecodable);
    }

    #[test]
    fn the_last_page_has_no_token_or_an_empty_one() {
        let mut pages = Pages::new(Operation::DescribeSecurityGroups);
        assert_eq!(pages.next(None).unwrap(), None);
        assert_eq!(pages.next(Some("")).unwrap(), None);
    }

    #[test]
    fn pages_end() {
        let mut pages = Pages::new(Operation::DescribeSecurityGroups);
        let error = (0..).find_map(|page: usize| pages.next(Some(&page.to_string())).err()).unwrap();
        assert_eq!(error.detail.as_deref(), Some("the pages do not end"));
    }

    #[test]
    fn an_item_that_comes_twice_is_an_error_that_names_it() {
        let mut ids = UniqueIds::new(Operation::DescribeSecurityGroups);
        ids.insert("sg-1").unwrap();
        ids.insert("sg-2").unwrap();
        assert_eq!(ids.insert("sg-1").unwrap_err().detail.as_deref(), Some("sg-1 came twice"));
    }
}
