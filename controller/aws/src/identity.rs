//! Who we are for AWS: proven by GetCallerIdentity, which needs no permission, before anything else
//! is read or written.

use std::fmt;

use tokio::time::Instant;

use crate::classify::UNKNOWN_HOST;
use crate::connection::{Connection, Session};
use crate::connector::Connector;
use crate::error::{AwsError, ErrorClass};
use crate::limiter::{Limiter, Operation};
use crate::retry::Reads;

const OPERATION: Operation = Operation::GetCallerIdentity;

/// Which of the two roles of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The role that reads, or the process's own identity.
    Read,
    /// The role that writes.
    Write,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "readRole",
            Self::Write => "writeRole",
        })
    }
}

/// Why an identity is not proven. The text is the same for the same trouble.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The role is of another account than the one it was named for.
    #[error("{role} belongs to account {actual}, not to {expected}")]
    Mismatch {
        /// Which role.
        role: Role,
        /// The account that it should be of.
        expected: String,
        /// The account that it is of.
        actual: String,
    },
    /// AWS could not be asked.
    #[error("{role}: {error}")]
    Failed {
        /// Which role.
        role: Role,
        /// What went wrong.
        error: AwsError,
    },
}

impl Connection {
    /// Proves that a role can be assumed and belongs to the account, in this region. Where there is no role to write with,
    /// there is nothing to prove.
    ///
    /// # Errors
    /// The role is of another account, or AWS cannot be asked.
    pub async fn prove(&self, role: Role) -> Result<(), IdentityError> {
        let session = match role {
            Role::Read => Some(self.read_session()),
            Role::Write => self.write_session(),
        };
        let Some(session) = session else { return Ok(()) };
        let failed = |error| IdentityError::Failed { role, error };
        let actual = who(session, self.limiter()).await.map_err(failed)?.account;
        let expected = self.location().account.clone();
        if actual == expected { Ok(()) } else { Err(IdentityError::Mismatch { role, expected, actual }) }
    }
}

impl Connector {
    /// ARN of the identity that the process itself runs with: whom the trust policies of roles must name.
    /// `region` is asked where the environment names none.
    ///
    /// # Errors
    /// No credentials, or AWS cannot be asked.
    pub async fn own_arn(&self, region: &str) -> Result<String, AwsError> {
        let session = self.own_session(region);
        who(&session, &Limiter::new(100)).await.map(|caller| caller.arn)
    }
}

struct Caller {
    account: String,
    arn: String,
}

async fn who(session: &Session, limiter: &Limiter) -> Result<Caller, AwsError> {
    let reads = Reads { limiter, credentials: &session.credentials, deadline: Instant::now() + session.timeout };
    let error = match ask(&reads, &session.sts).await {
        Ok(caller) => return Ok(caller),
        Err(error) => error,
    };
    // Credentials that hold elsewhere, or a host that is not known while another is, speak against the region.
    let suspicious = error.operation == OPERATION.name()
        && (error.class == ErrorClass::CredentialsExpired || error.code == UNKNOWN_HOST);
    match &session.home_sts {
        Some(home) if suspicious && ask(&reads, home).await.is_ok() => {
            Err(AwsError { class: ErrorClass::RegionUnknown, ..error })
        }
        _ => Err(error),
    }
}

async fn ask(reads: &Reads<'_>, sts: &aws_sdk_sts::Client) -> Result<Caller, AwsError> {
    let reply = reads.call(OPERATION, || sts.get_caller_identity().send()).await?;
    let missing = |member: &str| AwsError::unusable(OPERATION.name(), format!("no {member} in the reply"));
    Ok(Caller {
        account: reply.account.ok_or_else(|| missing("Account"))?,
        arn: reply.arn.ok_or_else(|| missing("Arn"))?,
    })
}
