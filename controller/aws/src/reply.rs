//! Replies that were cut off are errors.
//!
//! The SDK's XML decoder takes a document that ends in the middle, or breaks off at a character that is no XML, for
//! a complete one with fewer items. Half a listing would then look like the whole, so every
//! reply is checked to be well-formed before anyone sees what was decoded.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::AfterDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use xmlparser::{ElementEnd, Token, Tokenizer};

/// Fails a call whose reply was decoded but is not a whole XML document.
#[derive(Debug)]
pub(crate) struct WholeReply;

impl Intercept for WholeReply {
    fn name(&self) -> &'static str {
        "WholeReply"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(());
        }
        let body = context.response().body().bytes().ok_or("the reply has no body")?;
        Ok(check(std::str::from_utf8(body)?)?)
    }
}

/// Why a text is not a whole XML document.
#[derive(Debug, thiserror::Error)]
enum NotWhole {
    #[error(transparent)]
    Syntax(#[from] xmlparser::Error),
    #[error("</{0}> closes nothing")]
    Unopened(String),
    #[error("<{0}> is not closed")]
    Unclosed(String),
    #[error("there is no element")]
    Empty,
}

fn check(body: &str) -> Result<(), NotWhole> {
    let mut open = Vec::new();
    let mut elements = 0_usize;
    for token in Tokenizer::from(body) {
        match token? {
            Token::ElementStart { prefix, local, .. } => {
                elements += 1;
                open.push((prefix.as_str(), local.as_str()));
            }
            Token::ElementEnd { end: ElementEnd::Close(prefix, local), .. } => {
                let closed = open.pop().filter(|name| *name == (prefix.as_str(), local.as_str()));
                closed.ok_or_else(|| NotWhole::Unopened(local.as_str().to_owned()))?;
            }
            Token::ElementEnd { end: ElementEnd::Empty, .. } => {
                open.pop();
            }
            _ => {}
        }
    }
    match open.last() {
        Some((_, local)) => Err(NotWhole::Unclosed((*local).to_owned())),
        None if elements == 0 => Err(NotWhole::Empty),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Reply xmlns=\"http://ec2.amazonaws.com/\">\
        <requestId>1</requestId><items><item><id>a &amp; b</id><tagSet/></item></items></Reply>\n";

    #[test]
    fn a_whole_reply_passes() {
        check(WHOLE).unwrap();
    }

    #[test]
    fn a_reply_that_ends_anywhere_before_its_end_is_refused() {
        let end = WHOLE.trim_end().len();
        for cut in 0..end {
            assert!(check(WHOLE.get(..cut).unwrap()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_reply_with_garbage_in_the_middle_is_refused() {
        for garbage in ["\0", "<<", "</item>", "<a", "<a>", "&<"] {
            let broken = WHOLE.replace("<tagSet/>", garbage);
            assert!(check(&broken).is_err(), "{garbage:?}");
        }
    }
}
