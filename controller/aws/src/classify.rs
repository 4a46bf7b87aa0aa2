//! The one place that knows the errors of the SDK and the error codes of AWS.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_types::request_id::RequestId;

use crate::error::{AwsError, Effect, ErrorClass, printable};

impl AwsError {
    /// Sorts an error of the SDK.
    pub(crate) fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        // An error of ours deep inside is a call that got no credentials: it was never sent.
        if let Some(cause) = find_source::<Self>(error) {
            return Self { effect: Effect::NotSent, ..cause.clone() };
        }
        match error {
            SdkError::ServiceError(answer) => Self::of_answer(operation, error, answer.raw().status().as_u16()),
            SdkError::ResponseError(_) => Self {
                request_id: error.request_id().map(printable),
                detail: Some(innermost(error)),
                ..Self::new(operation, ErrorClass::Undecodable, Effect::Unknown, "BrokenReply")
            },
            SdkError::TimeoutError(_) => Self::new(operation, ErrorClass::TimedOut, Effect::Unknown, "Timeout"),
            SdkError::ConstructionFailure(_) => Self {
                detail: Some(innermost(error)),
                ..Self::new(operation, ErrorClass::Invalid, Effect::NotSent, "RequestNotBuilt")
            },
            _ => Self { detail: Some(innermost(error)), ..Self::of_dispatch(operation, error) },
        }
    }

    /// The request was handed to the HTTP client and no reply came of it.
    fn of_dispatch(operation: &'static str, error: &(dyn Error + 'static)) -> Self {
        let connecting =
            find_source::<hyper_util::client::legacy::Error>(error).is_some_and(|cause| cause.is_connect());
        if connecting {
            let code = if is_unknown_host(error) { UNKNOWN_HOST } else { "ConnectionFailed" };
            return Self::new(operation, ErrorClass::Unavailable, Effect::NotSent, code);
        }
        Self::new(operation, ErrorClass::Unavailable, Effect::Unknown, "ConnectionLost")
    }

    fn of_answer<E>(operation: &'static str, error: &SdkError<E, HttpResponse>, status: u16) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let request_id = error.request_id().or_else(|| error.meta().request_id()).map(printable);
        let Some(code) = error.meta().code().map(printable).filter(|_| status >= 400) else {
            // No code means that nobody of AWS wrote this reply, or that it was cut off.
            let detail = Some(format!("HTTP status {status}: {}", innermost(error)));
            return Self { request_id, detail, ..Self::of_status(operation, status) };
        };
        let class = class_of(&code, status);
        let effect = match class {
            ErrorClass::Unavailable | ErrorClass::TimedOut | ErrorClass::Undecodable => Effect::Unknown,
            _ => Effect::Refused,
        };
        Self { request_id, detail: error.meta().message().map(printable), ..Self::new(operation, class, effect, code) }
    }

    fn of_status(operation: &'static str, status: u16) -> Self {
        let (class, code) = match status {
            429 => (ErrorClass::Throttled, "TooManyRequests"),
            401 | 403 => (ErrorClass::Denied, "Forbidden"),
            500.. => (ErrorClass::Unavailable, "ServerError"),
            _ => (ErrorClass::Undecodable, "BrokenReply"),
        };
        Self::new(operation, class, Effect::Unknown, code)
    }

    /// Sorts what a provider of credentials says; nothing was sent to the service that the
    /// credentials were for.
    pub(crate) fn of_credentials(error: &CredentialsError) -> Self {
        const OPERATION: &str = "GetCredentials";
        if let Some(cause) = find_source::<Self>(error) {
            return cause.clone();
        }
        if let Some(cause) = find_source::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error) {
            return Self { effect: Effect::NotSent, ..Self::of("AssumeRoleWithWebIdentity", cause) };
        }
        // A profile wraps what the source that it names says.
        let said = chain(error).filter_map(|cause| cause.downcast_ref::<CredentialsError>()).last();
        let (class, code) = match said.unwrap_or(error) {
            CredentialsError::CredentialsNotLoaded(_) => (ErrorClass::CredentialsExpired, "NoCredentials"),
            CredentialsError::InvalidConfiguration(_) => (ErrorClass::CredentialsExpired, "InvalidConfiguration"),
            CredentialsError::ProviderTimedOut(_) => (ErrorClass::TimedOut, "Timeout"),
            _ => (ErrorClass::Unavailable, "CredentialsProviderFailed"),
        };
        Self { detail: Some(innermost(error)), ..Self::new(OPERATION, class, Effect::NotSent, code) }
    }
}

/// The code of a host name that DNS does not know.
pub(crate) const UNKNOWN_HOST: &str = "UnknownHost";

/// Sorts AWS error codes: "Error codes for the Amazon EC2 API" and the common errors of STS.
fn class_of(code: &str, status: u16) -> ErrorClass {
    // The oldest EC2 endpoints put the guilty side before the code.
    let code = code.strip_prefix("Client.").or_else(|| code.strip_prefix("Server.")).unwrap_or(code);
    match code {
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "EC2ThrottledException"
        | "SlowDown"
        | "BandwidthLimitExceeded" => ErrorClass::Throttled,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "Blocked"
        | "PendingVerification"
        | "OperationNotPermitted"
        | "NotAuthorized" => ErrorClass::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "InvalidAccessKeyId"
        | "InvalidIdentityToken"
        | "IDPRejectedClaim"
        | "RequestInTheFuture"
        | "RequestTimeTooSkewed" => ErrorClass::CredentialsExpired,
        "OptInRequired" | "RegionDisabledException" | "RegionDisabled" => ErrorClass::RegionUnknown,
        "InternalError"
        | "InternalFailure"
        | "Internal"
        | "Unavailable"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "InsufficientCapacity"
        | "IDPCommunicationError" => ErrorClass::Unavailable,
        "RequestTimeout" | "RequestTimeoutException" => ErrorClass::TimedOut,
        "KMSNotFoundException" | "CodeSigningConfigNotFoundException" => ErrorClass::Invalid,
        code if code.ends_with(".NotFound") || code.ends_with("NotFoundException") => ErrorClass::NotFound,
        // Lambda says this of a statement id that is taken, and of an update in progress.
        "ResourceConflictException" => ErrorClass::Duplicate,
        "PreconditionFailedException" | "ResourceInUseException" => ErrorClass::Conflict,
        // Lambda answers 502 to these: the request was understood, and refused.
        "KMSAccessDeniedException" | "KMSDisabledException" | "KMSInvalidStateException" => ErrorClass::Invalid,
        code if code.ends_with(".Duplicate") => ErrorClass::Duplicate,
        code if code.ends_with("LimitExceeded") => ErrorClass::QuotaExceeded,
        _ if status == 429 => ErrorClass::Throttled,
        _ if status >= 500 => ErrorClass::Unavailable,
        _ => ErrorClass::Invalid,
    }
}

/// Every error behind one, itself first. The payload of an I/O error is shown as well, which
/// `source` skips.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}

fn find_source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|cause| cause.downcast_ref::<E>())
}

/// hyper-util keeps the type of its DNS errors to itself, but not their text.
fn is_unknown_host(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|cause| cause.to_string().starts_with("dns error"))
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(|cause| printable(cause.to_string())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::operation::describe_security_groups::DescribeSecurityGroupsError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::http::{Response, StatusCode};
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    type Sdk = SdkError<DescribeSecurityGroupsError, HttpResponse>;
    const OPERATION: &str = "DescribeSecurityGroups";

    fn response(status: u16) -> HttpResponse {
        let mut response = Response::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        response.headers_mut().insert("x-amzn-requestid", "req-1");
        response
    }

    fn answer(status: u16, code: Option<&str>) -> AwsError {
        let mut meta = ErrorMetadata::builder();
        if let Some(code) = code {
            meta = meta.code(code).message("words\nof AWS, request req-1");
        }
        let error = DescribeSecurityGroupsError::generic(meta.build());
        AwsError::of(OPERATION, &Sdk::service_error(error, response(status)))
    }

    #[test]
    fn codes_are_sorted_by_what_to_do_next() {
        for (status, code, class, effect) in [
            (400, "InvalidGroup.NotFound", ErrorClass::NotFound, Effect::Refused),
            (400, "InvalidPermission.Duplicate", ErrorClass::Duplicate, Effect::Refused),
            (503, "RequestLimitExceeded", ErrorClass::Throttled, Effect::Refused),
            (503, "Client.RequestLimitExceeded", ErrorClass::Throttled, Effect::Refused),
            (403, "UnauthorizedOperation", ErrorClass::Denied, Effect::Refused),
            (400, "RequestExpired", ErrorClass::CredentialsExpired, Effect::Refused),
            (401, "AuthFailure", ErrorClass::CredentialsExpired, Effect::Refused),
            (401, "OptInRequired", ErrorClass::RegionUnknown, Effect::Refused),
            (400, "RulesPerSecurityGroupLimitExceeded", ErrorClass::QuotaExceeded, Effect::Refused),
            (400, "InvalidParameterValue", ErrorClass::Invalid, Effect::Refused),
            (500, "InternalError", ErrorClass::Unavailable, Effect::Unknown),
            (503, "Unavailable", ErrorClass::Unavailable, Effect::Unknown),
            (502, "SomethingNew", ErrorClass::Unavailable, Effect::Unknown),
        ] {
            let error = answer(status, Some(code));
            assert_eq!((error.class, error.effect), (class, effect), "{code}");
        }
    }

    #[test]
    fn the_text_is_the_same_each_time_and_the_request_id_stands_apart() {
        let error = answer(403, Some("UnauthorizedOperation"));
        assert_eq!(error.to_string(), "DescribeSecurityGroups: denied (UnauthorizedOperation)");
        assert_eq!(error.request_id.as_deref(), Some("req-1"));
        assert_eq!(error.detail.as_deref(), Some("words of AWS, request req-1"));
    }

    #[test]
    fn a_reply_without_a_code_proves_nothing() {
        for (status, class) in [
            (200, ErrorClass::Undecodable),
            (400, ErrorClass::Undecodable),
            (403, ErrorClass::Denied),
            (500, ErrorClass::Unavailable),
        ] {
            let error = answer(status, None);
            assert_eq!((error.class, error.effect), (class, Effect::Unknown), "{status}");
        }
    }

    #[test]
    fn a_call_without_credentials_was_not_sent() {
        let denied = AwsError::new("AssumeRole", ErrorClass::Denied, Effect::Refused, "AccessDenied");
        let cause = CredentialsError::provider_error(denied.clone());
        let error = AwsError::of(OPERATION, &Sdk::dispatch_failure(ConnectorError::other(cause.into(), None)));
        assert_eq!(error, AwsError { effect: Effect::NotSent, ..denied });
    }

    #[test]
    fn credentials_that_cannot_be_had_are_sorted_by_their_cause() {
        let wrapped = CredentialsError::provider_error(CredentialsError::invalid_configuration("no role"));
        for (error, class) in [
            (CredentialsError::not_loaded("none"), ErrorClass::CredentialsExpired),
            (wrapped, ErrorClass::CredentialsExpired),
            (CredentialsError::provider_error("agent is away"), ErrorClass::Unavailable),
        ] {
            let error = AwsError::of_credentials(&error);
            assert_eq!((error.class, error.effect), (class, Effect::NotSent), "{error}");
        }
    }

    #[test]
    fn timeouts_and_lost_connections_leave_the_effect_open() {
        let timeout = AwsError::of(OPERATION, &Sdk::timeout_error("late"));
        assert_eq!((timeout.class, timeout.effect), (ErrorClass::TimedOut, Effect::Unknown));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let lost = AwsError::of(OPERATION, &Sdk::dispatch_failure(ConnectorError::io(reset.into())));
        assert_eq!((lost.class, lost.effect), (ErrorClass::Unavailable, Effect::Unknown));
        let cut = AwsError::of(OPERATION, &Sdk::response_error("cut off", response(200)));
        assert_eq!((cut.class, cut.effect), (ErrorClass::Undecodable, Effect::Unknown));
    }
}
