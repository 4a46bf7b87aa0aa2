//! What AWS's answers to a write mean.

use aws::lambda::write as words;
use aws::write::{NotSent, WriteResult};
use aws::{AwsError, ErrorClass};
use engine::edit::Withheld;
use engine::plan::{Failure, Outcome};

use super::Stop;

/// A call that AWS may have carried out, as the next read shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) request_id: Option<String>,
    /// What came of it if the read does not show it.
    pub(super) unseen: Outcome,
}

/// What is to be made of AWS's answer.
pub(super) fn sent(result: WriteResult) -> Result<Sent, Stop> {
    match result {
        WriteResult::Done { request_id } => Ok(Sent { request_id, unseen: Outcome::Failed(Failure::NotVerified) }),
        WriteResult::Unknown(error) => {
            tracing::warn!(%error, "Outcome of a write unknown: reading");
            Ok(Sent { request_id: error.request_id, unseen: Outcome::Failed(Failure::OutcomeUnknown) })
        }
        // It is somebody else's, and tells nothing of ours: nobody waits for its end here.
        WriteResult::Refused(AwsError {
            class: ErrorClass::Duplicate,
            operation: "UpdateFunctionConfiguration",
            request_id,
            ..
        }) => Err(Stop { reason: Outcome::Withheld(Withheld::UpdateInProgress), request_id }),
        // What is to be added is there, or what is to be removed is not: somebody else may have done just that.
        WriteResult::Refused(AwsError { class: ErrorClass::Duplicate | ErrorClass::NotFound, request_id, .. }) => {
            Ok(Sent { request_id, unseen: Outcome::Withheld(Withheld::ForeignChange) })
        }
        WriteResult::Refused(AwsError { class: ErrorClass::Conflict, request_id, .. }) => {
            Err(Stop { reason: Outcome::Withheld(Withheld::ForeignChange), request_id })
        }
        WriteResult::Refused(error) => {
            tracing::warn!(%error, detail = error.detail, "Write refused");
            Err(Stop { reason: Outcome::Failed(refused(&error)), request_id: error.request_id })
        }
        WriteResult::NotSent(reason) => {
            tracing::warn!(%reason, "Write not sent");
            Err(Stop { reason: Outcome::Failed(not_sent(&reason)), request_id: None })
        }
    }
}

fn not_sent(reason: &NotSent) -> Failure {
    match reason {
        NotSent::NoToken => Failure::Throttled,
        NotSent::Failed(error) if matches!(error.class, ErrorClass::Denied | ErrorClass::CredentialsExpired) => {
            Failure::WriteDenied
        }
        NotSent::NoWriteRole | NotSent::WrongPermit(_) | NotSent::Failed(_) => Failure::NotSent,
    }
}

fn refused(error: &AwsError) -> Failure {
    match error.class {
        ErrorClass::Denied | ErrorClass::CredentialsExpired => Failure::WriteDenied,
        ErrorClass::QuotaExceeded => Failure::RuleQuota,
        ErrorClass::Throttled => Failure::Throttled,
        ErrorClass::NotFound => Failure::NotFound,
        ErrorClass::Invalid => refused_as_invalid(error),
        ErrorClass::Duplicate
        | ErrorClass::Conflict
        | ErrorClass::RegionUnknown
        | ErrorClass::Unavailable
        | ErrorClass::TimedOut
        | ErrorClass::Undecodable => Failure::Refused,
    }
}

/// Lambda has one code for most of what it refuses, and tells more by its words.
fn refused_as_invalid(error: &AwsError) -> Failure {
    if error.code.starts_with("KMS") {
        return Failure::KeyUnusable;
    }
    match error.detail.as_deref() {
        Some(words::ROLE_NOT_ASSUMED | words::ROLE_LACKS_PERMISSION) => Failure::RoleUnusable,
        Some(words::RUNTIME_BLOCKED) => Failure::RuntimeBlocked,
        Some(words::TOO_FEW_UNRESERVED) => Failure::ConcurrencyQuota,
        _ => Failure::Refused,
    }
}

/// What a reason code of an update means (`LastUpdateStatusReasonCode`).
pub(super) fn failed_update(code: &str) -> Failure {
    match code {
        "DisabledKMSKey" | "InvalidStateKMSKey" | "KMSKeyAccessDenied" | "KMSKeyNotFound" => Failure::KeyUnusable,
        "InvalidRole" | "InsufficientRolePermissions" => Failure::RoleUnusable,
        "InvalidRuntime" => Failure::RuntimeBlocked,
        _ => Failure::UpdateFailed,
    }
}

#[cfg(test)]
mod tests {
    use aws::Effect;

    use super::*;

    fn error(class: ErrorClass, effect: Effect) -> AwsError {
        AwsError { class, effect, operation: "x", code: String::new(), request_id: None, detail: None }
    }

    fn unseen(result: WriteResult) -> Result<Outcome, Outcome> {
        sent(result).map(|sent| sent.unseen).map_err(|stop| stop.reason)
    }

    #[test]
    fn what_is_there_already_or_gone_already_is_read_and_not_a_failure() {
        let foreign = Outcome::Withheld(Withheld::ForeignChange);
        for class in [ErrorClass::Duplicate, ErrorClass::NotFound] {
            assert_eq!(unseen(WriteResult::Refused(error(class, Effect::Refused))), Ok(foreign.clone()));
        }
        let busy =
            AwsError { operation: "UpdateFunctionConfiguration", ..error(ErrorClass::Duplicate, Effect::Refused) };
        assert_eq!(unseen(WriteResult::Refused(busy)), Err(Outcome::Withheld(Withheld::UpdateInProgress)));
        let changed = WriteResult::Refused(error(ErrorClass::Conflict, Effect::Refused));
        assert_eq!(unseen(changed), Err(foreign), "nothing was done, so there is nothing to look for");
        let invalid = WriteResult::Refused(error(ErrorClass::Invalid, Effect::Refused));
        assert_eq!(unseen(invalid), Err(Outcome::Failed(Failure::Refused)));
    }

    #[test]
    fn what_was_never_sent_was_not_refused_by_aws() {
        for reason in [
            NotSent::Failed(error(ErrorClass::Unavailable, Effect::NotSent)),
            NotSent::Failed(error(ErrorClass::TimedOut, Effect::NotSent)),
            NotSent::NoWriteRole,
        ] {
            assert_eq!(unseen(WriteResult::NotSent(reason)), Err(Outcome::Failed(Failure::NotSent)));
        }
        let denied = NotSent::Failed(error(ErrorClass::Denied, Effect::NotSent));
        assert_eq!(unseen(WriteResult::NotSent(denied)), Err(Outcome::Failed(Failure::WriteDenied)));
    }
}
