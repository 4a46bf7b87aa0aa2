//! What the command line says, and how it says what went wrong.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes text to stdout, as it is.
///
/// # Errors
/// Nobody reads it any more, or it goes into a file that has no room.
pub fn show(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Writes a line to stdout.
///
/// # Errors
/// As for [`show`].
pub fn show_line(line: impl Display) -> anyhow::Result<()> {
    show(format_args!("{line}\n"))
}

/// An error as one sentence: what an API server answers in its own words, once. `None` if whoever read the output has gone,
/// which is no error of anybody.
pub fn sentence(error: &anyhow::Error) -> Option<String> {
    let mut said: Vec<String> = Vec::new();
    for cause in error.chain() {
        if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return None;
        }
        if let Some(kube::Error::Api(answer)) = cause.downcast_ref::<kube::Error>() {
            said.push(answer.message.clone());
            break;
        }
        let text = cause.to_string();
        if said.last().is_none_or(|last| !last.ends_with(&text)) {
            said.push(text);
        }
    }
    Some(said.join(": "))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_answer_of_the_api_server_is_told_once_and_in_its_own_words() {
        let answer = kube::core::Status::failure("changesets is forbidden", "Forbidden").with_code(403);
        let refused: Result<(), _> = Err(kube::Error::Api(Box::new(answer)));
        let error = refused.context("the API server refused it").unwrap_err();
        assert_eq!(sentence(&error).as_deref(), Some("the API server refused it: changesets is forbidden"));
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let gone: Result<(), _> = Err(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(sentence(&gone.context("the plan").unwrap_err()), None);
        let full: Result<(), _> = Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(sentence(&full.context("the plan").unwrap_err()).is_some());
    }
}
