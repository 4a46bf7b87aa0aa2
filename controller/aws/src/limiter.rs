//! Client-side token buckets, one per account, region and operation, or operations that AWS counts together.
//!
//! The rates of EC2 are those of the page "Request throttling for the Amazon EC2 API"; AWS counts them
//! per account and region over all tools in it, so only a share of each is used. Whoever waits for
//! a token is served in the order of arrival.
//!
//! When AWS throttles all the same, somebody else has drawn the bucket empty: ours is emptied too and refills
//! at a quarter of its rate for [`SLOW_FOR`], counted from the latest throttle reply; after that at the full rate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a bucket refills at a quarter of its rate after a throttle reply.
const SLOW_FOR: Duration = Duration::from_secs(20);
const SLOW_FACTOR: f64 = 0.25;
/// By how much the time that calls are under way can differ.
const BUNCHING: Duration = Duration::from_millis(400);

/// An AWS operation that Baseward calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Operation {
    GetCallerIdentity,
    DescribeSecurityGroups,
    DescribeSecurityGroupRules,
    DescribeNetworkInterfaces,
    DescribeManagedPrefixLists,
    GetManagedPrefixListEntries,
    AuthorizeSecurityGroupIngress,
    AuthorizeSecurityGroupEgress,
    RevokeSecurityGroupIngress,
    RevokeSecurityGroupEgress,
    ModifySecurityGroupRules,
    CreateTags,
    DeleteTags,
    LookupEvents,
    ListFunctions,
    GetFunctionConfiguration,
    GetPolicy,
    ListAliases,
    ListVersionsByFunction,
    ListFunctionUrlConfigs,
    GetFunctionConcurrency,
    GetFunctionCodeSigningConfig,
    ListCodeSigningConfigs,
    GetFunctionRecursionConfig,
    GetRuntimeManagementConfig,
    ListFunctionEventInvokeConfigs,
    ListLayers,
    ListLayerVersions,
    GetLayerVersionPolicy,
    GetAccountSettings,
    ListDistributions,
    ListTags,
    GetResources,
    DescribeSubnets,
    DescribeRouteTables,
    AddPermission,
    RemovePermission,
    AddLayerVersionPermission,
    RemoveLayerVersionPermission,
    TagResource,
    UntagResource,
    UpdateFunctionConfiguration,
    UpdateFunctionUrlConfig,
    PutFunctionConcurrency,
    DeleteFunctionConcurrency,
    PutFunctionCodeSigningConfig,
    DeleteFunctionCodeSigningConfig,
    PutFunctionRecursionConfig,
    PutRuntimeManagementConfig,
}

impl Operation {
    /// The name that AWS gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::DescribeSecurityGroups => "DescribeSecurityGroups",
            Self::DescribeSecurityGroupRules => "DescribeSecurityGroupRules",
            Self::DescribeNetworkInterfaces => "DescribeNetworkInterfaces",
            Self::DescribeManagedPrefixLists => "DescribeManagedPrefixLists",
            Self::GetManagedPrefixListEntries => "GetManagedPrefixListEntries",
            Self::AuthorizeSecurityGroupIngress => "AuthorizeSecurityGroupIngress",
            Self::AuthorizeSecurityGroupEgress => "AuthorizeSecurityGroupEgress",
            Self::RevokeSecurityGroupIngress => "RevokeSecurityGroupIngress",
            Self::RevokeSecurityGroupEgress => "RevokeSecurityGroupEgress",
            Self::ModifySecurityGroupRules => "ModifySecurityGroupRules",
            Self::CreateTags => "CreateTags",
            Self::DeleteTags => "DeleteTags",
            Self::LookupEvents => "LookupEvents",
            Self::ListFunctions => "ListFunctions",
            Self::GetFunctionConfiguration => "GetFunctionConfiguration",
            Self::GetPolicy => "GetPolicy",
            Self::ListAliases => "ListAliases",
            Self::ListVersionsByFunction => "ListVersionsByFunction",
            Self::ListFunctionUrlConfigs => "ListFunctionUrlConfigs",
            Self::GetFunctionConcurrency => "GetFunctionConcurrency",
            Self::GetFunctionCodeSigningConfig => "GetFunctionCodeSigningConfig",
            Self::ListCodeSigningConfigs => "ListCodeSigningConfigs",
            Self::GetFunctionRecursionConfig => "GetFunctionRecursionConfig",
            Self::GetRuntimeManagementConfig => "GetRuntimeManagementConfig",
            Self::ListFunctionEventInvokeConfigs => "ListFunctionEventInvokeConfigs",
            Self::ListDistributions => "ListDistributions",
            Self::ListLayers => "ListLayers",
            Self::ListLayerVersions => "ListLayerVersions",
            Self::GetLayerVersionPolicy => "GetLayerVersionPolicy",
            Self::GetAccountSettings => "GetAccountSettings",
            Self::ListTags => "ListTags",
            Self::GetResources => "GetResources",
            Self::DescribeSubnets => "DescribeSubnets",
            Self::DescribeRouteTables => "DescribeRouteTables",
            Self::AddPermission => "AddPermission",
            Self::RemovePermission => "RemovePermission",
            Self::AddLayerVersionPermission => "AddLayerVersionPermission",
            Self::RemoveLayerVersionPermission => "RemoveLayerVersionPermission",
            Self::TagResource => "TagResource",
            Self::UntagResource => "UntagResource",
            Self::UpdateFunctionConfiguration => "UpdateFunctionConfiguration",
            Self::UpdateFunctionUrlConfig => "UpdateFunctionUrlConfig",
            Self::PutFunctionConcurrency => "PutFunctionConcurrency",
            Self::DeleteFunctionConcurrency => "DeleteFunctionConcurrency",
            Self::PutFunctionCodeSigningConfig => "PutFunctionCodeSigningConfig",
            Self::DeleteFunctionCodeSigningConfig => "DeleteFunctionCodeSigningConfig",
            Self::PutFunctionRecursionConfig => "PutFunctionRecursionConfig",
            Self::PutRuntimeManagementConfig => "PutRuntimeManagementConfig",
        }
    }

    /// The operation whose bucket a call is paid from: Lambda counts nearly all of its operations together.
    fn bucket(self) -> Self {
        match self {
            Self::ListFunctions
            | Self::GetFunctionConfiguration
            | Self::ListAliases
            | Self::ListVersionsByFunction
            | Self::ListFunctionUrlConfigs
            | Self::GetFunctionConcurrency
            | Self::GetFunctionCodeSigningConfig
            | Self::ListCodeSigningConfigs
            | Self::GetFunctionRecursionConfig
            | Self::GetRuntimeManagementConfig
            | Self::ListFunctionEventInvokeConfigs
            | Self::ListLayers
            | Self::ListLayerVersions
            | Self::GetLayerVersionPolicy
            | Self::GetAccountSettings
            | Self::ListTags
            | Self::AddPermission
            | Self::RemovePermission
            | Self::AddLayerVersionPermission
            | Self::RemoveLayerVersionPermission
            | Self::TagResource
            | Self::UntagResource
            | Self::UpdateFunctionConfiguration
            | Self::UpdateFunctionUrlConfig
            | Self::PutFunctionConcurrency
            | Self::DeleteFunctionConcurrency
            | Self::PutFunctionCodeSigningConfig
            | Self::DeleteFunctionCodeSigningConfig
            | Self::PutFunctionRecursionConfig
            | Self::PutRuntimeManagementConfig => Self::ListFunctions,
            alone => alone,
        }
    }

    /// The documented rate for the whole account in one region.
    fn rate(self) -> Rate {
        match self.bucket() {
            // STS documents no rate per operation; this is the EC2 rate of reads and far below what is
            // reported for STS (600 per second over all its operations).
            Self::GetCallerIdentity => NON_MUTATING,
            // Non-mutating; the descriptions always come with a page size or a filter, or the bucket would be 50 / 10.
            Self::DescribeSecurityGroups
            | Self::DescribeSecurityGroupRules
            | Self::DescribeNetworkInterfaces
            | Self::DescribeManagedPrefixLists
            | Self::GetManagedPrefixListEntries
            | Self::DescribeSubnets
            | Self::DescribeRouteTables => NON_MUTATING,
            // Ingress is listed as resource-intensive, egress and in-place changes are mutating: the same figures.
            Self::AuthorizeSecurityGroupIngress
            | Self::AuthorizeSecurityGroupEgress
            | Self::RevokeSecurityGroupIngress
            | Self::RevokeSecurityGroupEgress
            | Self::ModifySecurityGroupRules => MUTATING,
            Self::CreateTags | Self::DeleteTags => Rate { capacity: 100.0, refill: 10.0 },
            // Two in a second, says the API reference of CloudTrail.
            Self::LookupEvents => Rate { capacity: 2.0, refill: 2.0 },
            // The tagging API and CloudFront document no rates: that of Lambda is assumed.
            Self::GetResources | Self::ListDistributions => LAMBDA,
            // "Lambda quotas": 15 requests per second for all control plane APIs together, 15 for GetPolicy alone.
            _ => LAMBDA,
        }
    }
}

const NON_MUTATING: Rate = Rate { capacity: 100.0, refill: 20.0 };
const LAMBDA: Rate = Rate { capacity: 15.0, refill: 15.0 };
const MUTATING: Rate = Rate { capacity: 50.0, refill: 5.0 };

/// Size of a bucket in calls, and how many come back per second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate {
    capacity: f64,
    refill: f64,
}

impl Rate {
    /// The part of the rate that may be used. Calls can bunch up on their way to AWS, so a little of the bucket
    /// is left unused. A bucket smaller than one call would never let any through.
    fn share(self, percent: u8) -> Self {
        let share = f64::from(percent.clamp(1, 100)) / 100.0;
        let refill = self.refill * share;
        Self { capacity: (self.capacity * share - refill * BUNCHING.as_secs_f64()).max(1.0), refill }
    }
}

/// One bucket. Time is an argument.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    level: f64,
    at: Instant,
    slow_until: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, level: rate.capacity, at: now, slow_until: now }
    }

    fn advance(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        let slow = self.slow_until.saturating_duration_since(self.at).min(elapsed);
        let seconds = slow.as_secs_f64() * SLOW_FACTOR + (elapsed - slow).as_secs_f64();
        self.level = (self.level + seconds * self.rate.refill).min(self.rate.capacity);
        self.at = now.max(self.at);
    }

    /// How long until a call may be made; zero if at once.
    fn wait(&mut self, now: Instant) -> Duration {
        self.advance(now);
        let missing = (1.0 - self.level) / self.rate.refill;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        let slow = self.slow_until.saturating_duration_since(now).as_secs_f64();
        let seconds =
            if missing <= slow * SLOW_FACTOR { missing / SLOW_FACTOR } else { missing + slow * (1.0 - SLOW_FACTOR) };
        // A bucket that lacks next to nothing would make a sleep of zero and a busy loop.
        Duration::from_secs_f64(seconds).max(Duration::from_millis(1))
    }

    /// Takes a token, or says how long until there is one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(now);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.level -= 1.0;
        Ok(())
    }

    fn throttled(&mut self, now: Instant) {
        self.advance(now);
        self.level = self.level.min(0.0);
        self.slow_until = now + SLOW_FOR;
    }

    fn set_rate(&mut self, rate: Rate, now: Instant) {
        self.advance(now);
        // A bucket that was full stays full, so that a larger share counts at once.
        if self.level >= self.rate.capacity {
            self.level = rate.capacity;
        }
        self.rate = rate;
        self.level = self.level.min(rate.capacity);
    }
}

/// A bucket and the line in front of it.
#[derive(Debug)]
struct Queue {
    /// Held by whoever is next: tokio's mutex lets waiters in by order of arrival.
    line: tokio::sync::Mutex<()>,
    bucket: Mutex<Bucket>,
}

impl Queue {
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No token came free before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoToken;

/// The buckets of one account in one region.
#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    percent: u8,
    queues: HashMap<Operation, Arc<Queue>>,
}

impl Limiter {
    pub(crate) fn new(percent: u8) -> Self {
        Self { state: Mutex::new(State { percent, queues: HashMap::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share of each rate that may be used, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.state().percent.clamp(1, 100)) / 100.0
    }

    /// Changes the share of each rate that may be used.
    pub(crate) fn set_share(&self, percent: u8) {
        let mut state = self.state();
        if state.percent != percent {
            state.percent = percent;
            for (operation, queue) in &state.queues {
                queue.bucket().set_rate(operation.rate().share(percent), Instant::now());
            }
        }
    }

    fn queue(&self, operation: Operation) -> Arc<Queue> {
        let operation = operation.bucket();
        let mut state = self.state();
        let rate = operation.rate().share(state.percent);
        let make = || {
            let bucket = Mutex::new(Bucket::full(rate, Instant::now()));
            Arc::new(Queue { line: tokio::sync::Mutex::new(()), bucket })
        };
        Arc::clone(state.queues.entry(operation).or_insert_with(make))
    }

    /// Waits in line for the right to make one call. Gives up as soon as it is clear that no token comes before `deadline`.
    pub(crate) async fn acquire(&self, operation: Operation, deadline: Instant) -> Result<(), NoToken> {
        let queue = self.queue(operation);
        let _place = tokio::time::timeout_at(deadline, queue.line.lock()).await.map_err(|_| NoToken)?;
        loop {
            let now = Instant::now();
            let taken = queue.bucket().take(now);
            match taken {
                Ok(()) => return Ok(()),
                Err(wait) if now + wait > deadline => return Err(NoToken),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// How long a call would have to wait if nobody stood in line.
    pub(crate) fn wait(&self, operation: Operation) -> Duration {
        self.queue(operation).bucket().wait(Instant::now())
    }

    /// AWS has throttled a call.
    pub(crate) fn throttled(&self, operation: Operation) {
        tracing::debug!(operation = operation.name(), "Throttled by AWS, slowing down");
        self.queue(operation).bucket().throttled(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(bucket: &mut Bucket, now: Instant) -> u32 {
        let mut taken = 0;
        while bucket.take(now).is_ok() {
            taken += 1;
        }
        taken
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_share_of_the_documented_rate_is_used_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::full(Operation::RevokeSecurityGroupIngress.rate().share(50), start);
        assert_eq!(drain(&mut bucket, start), 24);
        assert_eq!(drain(&mut bucket, start + seconds(2)), 5);
        assert_eq!(drain(&mut bucket, start + seconds(4)), 5);
        assert_eq!(drain(&mut bucket, start + seconds(10_000)), 24);
    }

    #[test]
    fn even_the_smallest_share_lets_a_call_through() {
        let start = Instant::now();
        let mut bucket = Bucket::full(Operation::RevokeSecurityGroupIngress.rate().share(0), start);
        assert_eq!(drain(&mut bucket, start), 1);
        assert_eq!(bucket.take(start), Err(seconds(20)));
    }

    #[test]
    fn the_wait_that_is_named_is_the_wait_that_is_needed() {
        for throttled in [false, true] {
            let start = Instant::now();
            let mut bucket = Bucket::full(MUTATING, start);
            drain(&mut bucket, start);
            if throttled {
                bucket.throttled(start);
            }
            let wait = bucket.take(start).unwrap_err();
            assert!(bucket.take(start + wait - Duration::from_millis(2)).is_err());
            assert!(bucket.wait(start + wait) <= Duration::from_millis(1));
        }
    }

    #[test]
    fn a_throttle_reply_empties_the_bucket_and_slows_it_to_a_quarter_for_a_while() {
        let start = Instant::now();
        let mut bucket = Bucket::full(MUTATING, start);
        bucket.throttled(start);
        assert_eq!(bucket.take(start), Err(Duration::from_millis(800)));
        // 20 s at 1.25 per second.
        assert_eq!(drain(&mut bucket, start + SLOW_FOR), 25);
        assert_eq!(drain(&mut bucket, start + SLOW_FOR + seconds(4)), 20);
        // Part of the time slow, the rest at the full rate.
        bucket.throttled(start + SLOW_FOR + seconds(4));
        assert_eq!(drain(&mut bucket, start + SLOW_FOR + SLOW_FOR + seconds(5)), 30);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_no_token() {
        let start = Instant::now() + seconds(60);
        let mut bucket = Bucket::full(MUTATING, start);
        drain(&mut bucket, start);
        assert!(bucket.take(start - seconds(30)).is_err());
        assert!(bucket.take(start).is_err());
    }

    #[test]
    fn a_smaller_share_takes_tokens_away_and_a_larger_one_fills_a_full_bucket() {
        let start = Instant::now();
        let mut bucket = Bucket::full(MUTATING.share(50), start);
        bucket.set_rate(MUTATING.share(100), start);
        assert_eq!(drain(&mut bucket, start), 48);
        let mut bucket = Bucket::full(MUTATING.share(100), start);
        bucket.set_rate(MUTATING.share(50), start);
        assert_eq!(drain(&mut bucket, start), 24);
    }

    #[tokio::test]
    async fn waiters_are_served_in_order_and_give_up_at_their_deadline() {
        let limiter = Limiter::new(100);
        let operation = Operation::DescribeSecurityGroups;
        let soon = Instant::now() + Duration::from_millis(400);
        for _ in 0..92 {
            limiter.acquire(operation, soon).await.unwrap();
        }
        let served = Mutex::new(Vec::new());
        let waiter = async |name: u8| {
            limiter.acquire(operation, soon).await.unwrap();
            served.lock().unwrap().push(name);
        };
        tokio::join!(waiter(1), waiter(2), waiter(3));
        assert_eq!(*served.lock().unwrap(), [1, 2, 3]);
        limiter.throttled(operation);
        assert_eq!(limiter.acquire(operation, Instant::now() + Duration::from_millis(50)).await, Err(NoToken));
        assert!(limiter.wait(operation) > Duration::from_millis(100));
    }
}
