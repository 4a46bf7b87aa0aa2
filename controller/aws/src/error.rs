//! What can go wrong with an AWS call: named by what to do next, not by where it came from.

use std::error::Error;
use std::fmt;

use engine::facts::ReadFailure;

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The resource, or what the call names, does not exist (`….NotFound`).
    NotFound,
    /// What the call adds exists already (`….Duplicate`).
    Duplicate,
    /// The resource is no longer what the call was made for: another revision, or a change of it in progress.
    Conflict,
    /// Too many calls in this account and region, whoever made them.
    Throttled,
    /// The principal lacks the permission, or may not assume the role.
    Denied,
    /// The credentials have expired, are invalid, or there are none.
    CredentialsExpired,
    /// The region does not exist or is not enabled for the account.
    RegionUnknown,
    /// A quota of the account is used up, such as rules per security group.
    QuotaExceeded,
    /// AWS refuses the request as it stands; sending it again is of no use.
    Invalid,
    /// The endpoint could not be reached, or answered with a server error.
    Unavailable,
    /// No answer in time.
    TimedOut,
    /// An answer that cannot be used: truncated, not decodable, or pages that repeat.
    Undecodable,
}

impl ErrorClass {
    /// How often a read that fails like this is tried, the first time included. Expired credentials
    /// get one more try because new ones are fetched for it.
    pub(crate) fn attempts(self) -> u32 {
        match self {
            Self::Throttled | Self::Unavailable | Self::TimedOut => 8,
            Self::Undecodable => 3,
            Self::CredentialsExpired => 2,
            Self::NotFound
            | Self::Duplicate
            | Self::Conflict
            | Self::Denied
            | Self::RegionUnknown
            | Self::QuotaExceeded
            | Self::Invalid => 1,
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Duplicate => "exists already",
            Self::Conflict => "changed meanwhile",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::CredentialsExpired => "credentials expired or invalid",
            Self::RegionUnknown => "region unknown or not enabled",
            Self::QuotaExceeded => "quota exceeded",
            Self::Invalid => "refused as invalid",
            Self::Unavailable => "endpoint unavailable",
            Self::TimedOut => "timed out",
            Self::Undecodable => "unusable reply",
        })
    }
}

/// Whether a failed call can have had an effect in AWS all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Proven: the request never left this process.
    NotSent,
    /// AWS answered that it did not do it.
    Refused,
    /// The request may have been carried out: only a read can tell.
    Unknown,
}

/// A failed AWS call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsError {
    /// What to do about it.
    pub class: ErrorClass,
    /// Whether it may have had an effect.
    pub effect: Effect,
    /// The AWS operation that failed; `AssumeRole` where a call got no credentials.
    pub operation: &'static str,
    /// AWS's error code, or a word of ours where AWS gave none. The same for the same trouble.
    pub code: String,
    /// AWS's id of the request, for the audit trail. Never part of the message: it differs each time.
    pub request_id: Option<String>,
    /// AWS's own words, shortened and without control characters: for logs, not for status, since
    /// they can differ each time.
    pub detail: Option<String>,
}

impl fmt::Display for AwsError {
    /// The same text for the same trouble, without ids of requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.operation, self.class, self.code)
    }
}

impl Error for AwsError {}

impl AwsError {
    pub(crate) fn new(operation: &'static str, class: ErrorClass, effect: Effect, code: impl Into<String>) -> Self {
        Self { class, effect, operation, code: code.into(), request_id: None, detail: None }
    }

    /// A reply that was decoded but cannot be true.
    pub(crate) fn unusable(operation: &'static str, detail: impl AsRef<str>) -> Self {
        let error = Self::new(operation, ErrorClass::Undecodable, Effect::Unknown, "UnusableReply");
        Self { detail: Some(printable(detail.as_ref())), ..error }
    }

    /// The failure of a source of the inventory that this error makes.
    pub fn read_failure(&self) -> ReadFailure {
        match self.class {
            ErrorClass::Denied => ReadFailure::AccessDenied,
            ErrorClass::CredentialsExpired => ReadFailure::CredentialsExpired,
            ErrorClass::Throttled => ReadFailure::Throttled,
            ErrorClass::RegionUnknown => ReadFailure::RegionUnknown,
            ErrorClass::Unavailable | ErrorClass::TimedOut => ReadFailure::EndpointUnavailable,
            ErrorClass::Undecodable
            | ErrorClass::Invalid
            | ErrorClass::NotFound
            | ErrorClass::Duplicate
            | ErrorClass::Conflict
            | ErrorClass::QuotaExceeded => ReadFailure::ReplyUnusable,
        }
    }
}

/// Text of others for a log: no control characters, at most 300 characters.
pub(crate) fn printable(text: impl AsRef<str>) -> String {
    const LONGEST: usize = 300;
    text.as_ref().chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_a_failure_that_a_person_can_act_on() {
        let failure = |class| AwsError::new("DescribeSecurityGroups", class, Effect::Unknown, "x").read_failure();
        assert_eq!(failure(ErrorClass::Denied), ReadFailure::AccessDenied);
        assert_eq!(failure(ErrorClass::TimedOut), ReadFailure::EndpointUnavailable);
        assert_eq!(failure(ErrorClass::Undecodable), ReadFailure::ReplyUnusable);
        assert_eq!(failure(ErrorClass::Invalid), ReadFailure::ReplyUnusable);
    }
}
