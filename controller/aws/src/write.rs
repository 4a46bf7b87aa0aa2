//! The writes. Each is made once, with a permit, and never repeated here: a call that got lost may have been carried out,
//! and only a read can tell.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use engine::call::{Call, LambdaOperation};
use engine::facts::Direction;
use engine::permit::Permit;
use tokio::time::Instant;

use crate::connection::{Connection, Session};
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::Operation;
use crate::retry::learn;
use crate::{ec2, lambda};

/// A write waits at most this long for its turn: what was known when it was permitted grows old. Whoever waits for
/// [`Connection::write_delay`] first rarely needs it.
const TOKEN_WAIT: Duration = Duration::from_secs(1);

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// AWS says that it did it. That reads show it yet is not said.
    Done {
        /// AWS's id of the request, for the audit trail.
        request_id: Option<String>,
    },
    /// Proven to have had no effect: the request never left this process.
    NotSent(NotSent),
    /// AWS answered that it did not do it.
    Refused(AwsError),
    /// It may have been done. Nothing may be concluded before a read.
    Unknown(AwsError),
}

/// Why a write was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The connection has no role to write with.
    #[error("the account names no role to write with")]
    NoWriteRole,
    /// The account's rate share is used up; the write has to be permitted anew.
    #[error("no request rate was left in time")]
    NoToken,
    /// The permit is for another account or region, or contradicts itself: an error of the program.
    #[error("the permit does not fit: {0}")]
    WrongPermit(String),
    /// No credentials, or no connection to the endpoint.
    #[error(transparent)]
    Failed(AwsError),
}

impl Connection {
    /// How long a write of this kind would wait for its turn. Waiting that long before the fresh
    /// read and the permit keeps both young.
    pub fn write_delay(&self, call: &Call) -> Duration {
        self.limiter().wait(operation(call))
    }
}

/// Makes exactly the call that the permit is for, once. Returns within [`crate::Connector::longest_write`].
pub async fn execute(connection: &Connection, permit: Permit) -> WriteResult {
    if permit.location() != connection.location() {
        let wrong = format!("it is for {:?}, the connection for {:?}", permit.location(), connection.location());
        return wrong_permit(wrong);
    }
    perform(connection, permit.resource(), permit.call()).await
}

fn wrong_permit(wrong: String) -> WriteResult {
    tracing::error!(wrong, "Write with a permit that does not fit");
    WriteResult::NotSent(NotSent::WrongPermit(wrong))
}

async fn perform(connection: &Connection, resource: &str, call: &Call) -> WriteResult {
    let Some(session) = connection.write_session() else {
        return WriteResult::NotSent(NotSent::NoWriteRole);
    };
    let checked = match call {
        Call::Lambda(call) => lambda::write::check(call),
        _ => ec2::write::check(call),
    };
    if let Err(wrong) = checked {
        return wrong_permit(wrong);
    }
    let operation = operation(call);
    let now = Instant::now();
    let deadline = now + connection.write_timeout();
    if connection.limiter().acquire(operation, deadline.min(now + TOKEN_WAIT)).await.is_err() {
        return WriteResult::NotSent(NotSent::NoToken);
    }
    let sent = tokio::time::timeout_at(deadline, send(session, resource, call, operation)).await;
    let late = |_| AwsError::new(operation.name(), ErrorClass::TimedOut, Effect::Unknown, "Deadline");
    match sent.map_err(late).and_then(|result| result) {
        Ok(request_id) => WriteResult::Done { request_id },
        Err(error) => {
            let error = without_values(error, call);
            learn(connection.limiter(), &session.credentials, operation, &error).await;
            tracing::debug!(%error, resource, detail = error.detail, request_id = error.request_id, "Write failed");
            match error.effect {
                Effect::NotSent => WriteResult::NotSent(NotSent::Failed(error)),
                Effect::Refused => WriteResult::Refused(error),
                Effect::Unknown => WriteResult::Unknown(error),
            }
        }
    }
}

/// Lambda repeats in its words what it refuses: variables of the environment, tags, statements. What is known of them stays.
fn without_values(error: AwsError, call: &Call) -> AwsError {
    match call {
        Call::Lambda(_) => {
            let detail = error.detail.as_deref().and_then(lambda::write::known_words).map(str::to_owned);
            AwsError { detail, ..error }
        }
        _ => error,
    }
}

pub(crate) fn operation(call: &Call) -> Operation {
    match call {
        Call::Authorize { direction: Direction::Ingress, .. } => Operation::AuthorizeSecurityGroupIngress,
        Call::Authorize { direction: Direction::Egress, .. } => Operation::AuthorizeSecurityGroupEgress,
        Call::Modify { .. } => Operation::ModifySecurityGroupRules,
        Call::Revoke { direction: Direction::Ingress, .. } => Operation::RevokeSecurityGroupIngress,
        Call::Revoke { direction: Direction::Egress, .. } => Operation::RevokeSecurityGroupEgress,
        Call::Tag { .. } => Operation::CreateTags,
        Call::Untag { .. } => Operation::DeleteTags,
        Call::Lambda(call) => match call.operation {
            LambdaOperation::AddPermission => Operation::AddPermission,
            LambdaOperation::AddLayerVersionPermission => Operation::AddLayerVersionPermission,
            LambdaOperation::TagResource => Operation::TagResource,
            LambdaOperation::UntagResource => Operation::UntagResource,
            LambdaOperation::UpdateFunctionConfiguration => Operation::UpdateFunctionConfiguration,
            LambdaOperation::UpdateFunctionUrlConfig => Operation::UpdateFunctionUrlConfig,
            LambdaOperation::PutFunctionConcurrency => Operation::PutFunctionConcurrency,
            LambdaOperation::DeleteFunctionConcurrency => Operation::DeleteFunctionConcurrency,
            LambdaOperation::PutFunctionCodeSigningConfig => Operation::PutFunctionCodeSigningConfig,
            LambdaOperation::DeleteFunctionCodeSigningConfig => Operation::DeleteFunctionCodeSigningConfig,
            LambdaOperation::PutFunctionRecursionConfig => Operation::PutFunctionRecursionConfig,
            LambdaOperation::PutRuntimeManagementConfig => Operation::PutRuntimeManagementConfig,
            LambdaOperation::RemovePermission => Operation::RemovePermission,
            LambdaOperation::RemoveLayerVersionPermission => Operation::RemoveLayerVersionPermission,
        },
    }
}

async fn send(
    session: &Session,
    resource: &str,
    call: &Call,
    operation: Operation,
) -> Result<Option<String>, AwsError> {
    match call {
        Call::Lambda(call) => lambda::write::send(session, resource, call, operation).await,
        _ => ec2::write::send(session, resource, call, operation).await,
    }
}

/// The id of the request, if AWS says that it did all of what was asked.
pub(crate) async fn answer<T, E>(
    operation: Operation,
    sending: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    done: impl FnOnce(&T) -> Option<bool>,
) -> Result<Option<String>, AwsError>
where
    T: RequestId,
    E: ProvideErrorMetadata + Error + 'static,
{
    let reply = sending.await.map_err(|error| AwsError::of(operation.name(), &error))?;
    if done(&reply) == Some(false) {
        return Err(AwsError::unusable(operation.name(), "AWS answered that not all of it was done"));
    }
    Ok(reply.request_id().map(str::to_owned))
}
