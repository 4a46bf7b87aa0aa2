//! A connection to one account and region: who reads, who writes, and how fast.

use std::sync::Arc;
use std::time::Duration;

use engine::facts::Location;
use tokio::time::Instant;

use crate::credentials::CredentialSource;
use crate::limiter::Limiter;
use crate::retry::Reads;

/// A connection to one account and region. Cheap to clone. All connections to the same account and
/// region share their rate limits.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    location: Location,
    read: Session,
    write: Option<Session>,
    limiter: Arc<Limiter>,
}

/// The clients of one identity in one region.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) cloudfront: aws_sdk_cloudfront::Client,
    pub(crate) cloudtrail: aws_sdk_cloudtrail::Client,
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    pub(crate) tagging: aws_sdk_resourcegroupstagging::Client,
    pub(crate) sts: aws_sdk_sts::Client,
    /// STS in the region that the process runs in, if that is another one.
    pub(crate) home_sts: Option<aws_sdk_sts::Client>,
    pub(crate) credentials: CredentialSource,
    /// Time for one attempt.
    pub(crate) timeout: Duration,
}

impl Connection {
    pub(crate) fn new(location: Location, read: Session, write: Option<Session>, limiter: Arc<Limiter>) -> Self {
        Self { inner: Arc::new(Inner { location, read, write, limiter }) }
    }

    /// The account and region.
    pub fn location(&self) -> &Location {
        &self.inner.location
    }

    /// Time for a write from the moment it is sent.
    pub(crate) fn write_timeout(&self) -> Duration {
        self.inner.write.as_ref().map_or(Duration::ZERO, |session| session.timeout)
    }

    /// Time for one attempt of a read.
    pub(crate) fn read_timeout(&self) -> Duration {
        self.inner.read.timeout
    }

    pub(crate) fn limiter(&self) -> &Limiter {
        &self.inner.limiter
    }

    pub(crate) fn read_client(&self) -> &aws_sdk_ec2::Client {
        &self.inner.read.ec2
    }

    /// The share of each documented rate that may be used, from 0 to 1.
    pub(crate) fn rate_share(&self) -> f64 {
        self.inner.limiter.share()
    }

    pub(crate) fn read_session(&self) -> &Session {
        &self.inner.read
    }

    pub(crate) fn write_session(&self) -> Option<&Session> {
        self.inner.write.as_ref()
    }

    /// Reads with the read role that have to be over by a deadline.
    pub(crate) fn reads(&self, deadline: Instant) -> Reads<'_> {
        Reads { limiter: self.limiter(), credentials: &self.inner.read.credentials, deadline }
    }
}
