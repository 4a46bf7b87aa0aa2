//! The one loop that repeats reads. Each attempt pays a token; the number of attempts and the whole
//! time are bounded. Writes are never repeated: see `crate::write`.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use tokio::time::Instant;

use crate::credentials::CredentialSource;
use crate::error::{AwsError, Effect, ErrorClass};
use crate::limiter::{Limiter, Operation};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Reads that have to be over by a deadline.
pub(crate) struct Reads<'a> {
    pub(crate) limiter: &'a Limiter,
    /// The credentials that the reads are signed with.
    pub(crate) credentials: &'a CredentialSource,
    pub(crate) deadline: Instant,
}

impl Reads<'_> {
    /// Makes one read, again and again while that may help and there is time.
    pub(crate) async fn call<T, E, F>(&self, operation: Operation, send: impl Fn() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut attempt = 1;
        loop {
            let error = match self.attempt(operation, &send).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            tracing::debug!(%error, attempt, detail = error.detail, request_id = error.request_id, "Read failed");
            learn(self.limiter, self.credentials, operation, &error).await;
            let pause = pause(attempt, fastrand::f64());
            if attempt >= error.class.attempts() || Instant::now() + pause > self.deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn attempt<T, E, F>(&self, operation: Operation, send: impl Fn() -> F) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let failed = |class, effect, code| AwsError::new(operation.name(), class, effect, code);
        if self.limiter.acquire(operation, self.deadline).await.is_err() {
            return Err(failed(ErrorClass::Throttled, Effect::NotSent, "RateShareUsedUp"));
        }
        match tokio::time::timeout_at(self.deadline, send()).await {
            Ok(reply) => reply.map_err(|error| AwsError::of(operation.name(), &error)),
            Err(_) => Err(failed(ErrorClass::TimedOut, Effect::Unknown, "Deadline")),
        }
    }
}

/// What a failed call tells about the calls after it.
pub(crate) async fn learn(limiter: &Limiter, credentials: &CredentialSource, operation: Operation, error: &AwsError) {
    // A call that was not sent says nothing about the bucket of its operation.
    if error.class == ErrorClass::Throttled && error.effect != Effect::NotSent {
        limiter.throttled(operation);
    }
    if error.class == ErrorClass::CredentialsExpired {
        credentials.invalidate().await;
    }
}

/// How long to wait after the given failed attempt: exponential with full jitter. `random` is from 0 to 1.
fn pause(attempt: u32, random: f64) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(10)).min(LONGEST_PAUSE);
    longest.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_are_spread_out() {
        assert_eq!(pause(1, 1.0), Duration::from_millis(200));
        assert_eq!(pause(3, 1.0), Duration::from_millis(800));
        assert_eq!(pause(30, 1.0), LONGEST_PAUSE);
        assert_eq!(pause(30, 0.0), Duration::ZERO);
        assert_eq!(pause(3, 0.5), Duration::from_millis(400));
    }
}
