//! Everything of Lambda: the lists at every look, and what is read function by function as far as its turn has come.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine::controls::{
    ACCOUNT_SETTINGS, ALIASES, CODE_SIGNING, CODE_SIGNING_CONFIGS, CONCURRENCY, DISTRIBUTIONS, EVENT_INVOKE,
    LAYER_POLICIES, LAYERS, POLICIES, RECURSION, RUNTIME_MANAGEMENT, URLS, VERSIONS,
};
use engine::facts::{Alias, EDGE_REGION, Gathered, Lambda, Pace, Package, QualifiedPolicy, ReadFailure, Source};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    account_settings, aliases, code_signing, concurrency, event_invoke, functions, layers, policies, recursion,
    runtime_management, urls, versions,
};
use crate::cloudfront::distributions;
use crate::connection::Connection;
use crate::error::{AwsError, Effect, ErrorClass};
use crate::inventory::sourced;
use crate::retry::Reads;
use crate::tagging;

/// The lists end within this time, whatever AWS does.
const LISTS_WITHIN: Duration = Duration::from_secs(180);

/// CloudFront has no endpoint in a VPC: where it cannot be reached, the functions do not wait for it for long.
const DISTRIBUTIONS_WITHIN: Duration = Duration::from_secs(20);

/// Reads function by function take at most so long of one look: what is not reached has its turn in the next.
const SLICE: Duration = Duration::from_secs(45);

/// Of what one read costs a round may use so much: a fifth of the rate, as other tools share it.
const ROUNDS: i32 = 5;

/// The least time between two reads of the same, however few functions there are.
const OFTEN: SignedDuration = SignedDuration::from_secs(50);

/// For what hardly ever changes.
const DAILY: SignedDuration = SignedDuration::from_hours(24);

/// When distributions are listed again, and when a list that takes many calls is tried again.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

/// For lists that only a few controls look at.
const HOURLY: SignedDuration = SignedDuration::from_hours(1);

/// Requests per second that Lambda takes from the whole account, for GetPolicy and for all others ("Lambda quotas").
const RATE: f64 = 15.0;

/// Looks at everything that is needed, and says whether more is due than the time was for. `interrupted` ends the reads
/// function by function early: something else has to be looked at.
pub(crate) async fn observe(
    connection: &Connection,
    needed: &BTreeSet<&'static str>,
    previous: &Lambda,
    now: &(dyn Fn() -> Timestamp + Sync),
    interrupted: &(dyn Fn() -> bool + Sync),
) -> (Lambda, bool) {
    let mut lambda = lists(connection, needed, previous, now).await;
    lambda.forget_changed();
    let listed = lambda.functions.clone();
    let Ok(found) = listed.facts() else { return (lambda, false) };
    let functions = Turns::new(found.iter().map(|function| function.name.as_str()));
    let zipped = found.iter().filter(|function| function.configuration.package == Package::Zip);
    let zipped = Turns::new(zipped.map(|function| function.name.as_str()));
    let listed = lambda.layers.clone();
    let layer_versions = listed.facts().map(Vec::as_slice).unwrap_or_default();
    let layers = Turns::new(layer_versions.iter().map(|layer| layer.id.as_str()));
    let reads = connection.reads(Instant::now() + SLICE);
    let turns = AllTurns { functions, zipped, layers };
    let gathering = Gathering { connection, reads, now, interrupted, turns: &turns };
    let more = gathering.all(needed, &mut lambda).await;
    (lambda, more)
}

async fn lists(
    connection: &Connection,
    needed: &BTreeSet<&'static str>,
    previous: &Lambda,
    now: &(dyn Fn() -> Timestamp + Sync),
) -> Lambda {
    let reads = connection.reads(Instant::now() + LISTS_WITHIN);
    let (sdk, account) = (&connection.read_session().lambda, &connection.location().account);
    let mut lambda = previous.clone();
    let known = &lambda.distributions;
    let is_old = known.facts().is_err() || now().duration_since(known.read_at()) >= AGAIN;
    if is_old && connection.location().region == EDGE_REGION {
        let began = now();
        let reads = connection.reads(Instant::now() + DISTRIBUTIONS_WITHIN);
        let read = distributions::observe(&connection.read_session().cloudfront, &reads).await;
        lambda.distributions = sourced(connection, DISTRIBUTIONS, read, began);
    }
    let began = now();
    let tags = tagging::resources::observe(&connection.read_session().tagging, &reads);
    let mut found = functions::observe(sdk, &reads, tags).await;
    if let (Ok(functions), Ok(replicated)) = (&mut found, lambda.distributions.facts()) {
        functions.iter_mut().for_each(|function| function.edge |= replicated.contains(&function.name));
    }
    lambda.functions = sourced(connection, "lambda/functions", found, began);
    let is_due = |source: &'static str, at: Timestamp, failed: bool, every: SignedDuration| {
        needed.contains(source) && (failed || now().duration_since(at) >= every)
    };
    if is_due(ACCOUNT_SETTINGS, lambda.account.read_at(), lambda.account.facts().is_err(), OFTEN) {
        let began = now();
        let read = account_settings::observe(sdk, &reads, account).await;
        lambda.account = sourced(connection, ACCOUNT_SETTINGS, read, began);
    }
    let configs = &lambda.code_signing_configs;
    if is_due(CODE_SIGNING_CONFIGS, configs.read_at(), configs.facts().is_err(), HOURLY) {
        let began = now();
        let read = code_signing::observe_configs(sdk, &reads).await;
        lambda.code_signing_configs = sourced(connection, CODE_SIGNING_CONFIGS, read, began);
    }
    // A read that fails for their number is not to take up every look.
    let every = if lambda.layers.facts().is_err() { AGAIN } else { HOURLY };
    if is_due(LAYERS, lambda.layers.read_at(), false, every) {
        let began = now();
        let read = layers::observe(sdk, &reads, account).await;
        lambda.layers = sourced(connection, LAYERS, read, began);
    }
    lambda
}

/// Whose turn it is, by name of a function or id of a layer version.
struct Turns<'f> {
    names: Vec<&'f str>,
    known: BTreeSet<&'f str>,
}

impl<'f> Turns<'f> {
    fn new(found: impl Iterator<Item = &'f str>) -> Self {
        let names: Vec<&str> = found.collect();
        Self { known: names.iter().copied().collect(), names }
    }

    /// Those of which a read is due: first what was never read, or not since it changed, then the oldest.
    fn of<T: Clone>(&self, gathered: &Gathered<T>, now: Timestamp) -> Vec<&'f str> {
        let mut due: Vec<&str> = self.names.iter().copied().filter(|name| gathered.is_due(name, now)).collect();
        due.sort_by_key(|name| gathered.read_at(name));
        due
    }
}

/// All that takes turns.
struct AllTurns<'f> {
    functions: Turns<'f>,
    /// The functions in zip packages. Of the others Lambda refuses to say who signed them, and manages no runtime.
    zipped: Turns<'f>,
    layers: Turns<'f>,
}

/// How often what is read one by one is read again.
struct Paces {
    /// Policies, which are alone in their bucket.
    policies: Pace,
    /// What tells who has access and shares the other bucket: it goes before the rest of it.
    access: Pace,
    /// The rest.
    slowly: Pace,
    /// The same for what only a few controls look at.
    hourly: Pace,
    daily: Pace,
}

/// Reads function by function, and layer version by layer version.
struct Gathering<'g> {
    connection: &'g Connection,
    reads: Reads<'g>,
    now: &'g (dyn Fn() -> Timestamp + Sync),
    interrupted: &'g (dyn Fn() -> bool + Sync),
    turns: &'g AllTurns<'g>,
}

impl Gathering<'_> {
    /// Policies pay from a bucket of their own, so they are read beside the others; URLs and the policies of layers go before
    /// the rest.
    async fn all(&self, needed: &BTreeSet<&'static str>, lambda: &mut Lambda) -> bool {
        let (sdk, reads) = (&self.connection.read_session().lambda, &self.reads);
        let needs = |source: &'static str| needed.contains(source);
        let paces = self.paces(needed);
        let lists_layers = lambda.layers.facts().is_ok();
        let Lambda { aliases, policies, urls, layer_policies, concurrency, code_signing, event_invoke, .. } =
            &mut *lambda;
        let in_policies = self.policies(needed, &paces, aliases, policies);
        let beside = async {
            let mut more = false;
            if needs(URLS) {
                more |= self
                    .gather(&self.turns.functions, urls, paces.access, |name| urls::observe(sdk, reads, name))
                    .await;
            }
            // Without their list nothing is known of which are there.
            if needs(LAYER_POLICIES) && lists_layers {
                let read = |id| layers::observe_policy(sdk, reads, id);
                more |= self.gather(&self.turns.layers, layer_policies, paces.hourly, read).await;
            }
            if needs(CONCURRENCY) {
                more |= self
                    .gather(&self.turns.functions, concurrency, paces.slowly, |name| {
                        concurrency::observe(sdk, reads, name)
                    })
                    .await;
            }
            if needs(CODE_SIGNING) {
                let read = |name| code_signing::observe(sdk, reads, name);
                more |= self.gather(&self.turns.zipped, code_signing, paces.slowly, read).await;
            }
            if needs(EVENT_INVOKE) {
                more |= self
                    .gather(&self.turns.functions, event_invoke, paces.slowly, |name| {
                        event_invoke::observe(sdk, reads, name)
                    })
                    .await;
            }
            more
        };
        let (policies, others) = tokio::join!(in_policies, beside);
        let mut more = policies | others;
        if needs(VERSIONS) {
            let (aliases, now) = (&lambda.aliases, self.now);
            let read = |name| async move {
                let aliases = aliases.of(name, now()).map_err(unread_aliases)?;
                versions::observe(sdk, reads, name, aliases).await
            };
            more |= self.gather(&self.turns.functions, &mut lambda.versions, paces.slowly, read).await;
        }
        if needs(RECURSION) {
            more |= self
                .gather(&self.turns.functions, &mut lambda.recursion, paces.daily, |name| {
                    recursion::observe(sdk, reads, name)
                })
                .await;
        }
        if needs(RUNTIME_MANAGEMENT) {
            let read = |name| runtime_management::observe(sdk, reads, name);
            more |= self.gather(&self.turns.zipped, &mut lambda.runtime_management, paces.daily, read).await;
        }
        more
    }

    /// Aliases have policies of their own, so they are read function by function with these: nobody waits for the policy of
    /// the first function until the aliases of all are known.
    async fn policies(
        &self,
        needed: &BTreeSet<&'static str>,
        paces: &Paces,
        aliases: &mut Gathered<Vec<Alias>>,
        policies: &mut Gathered<Vec<QualifiedPolicy>>,
    ) -> bool {
        let (sdk, reads) = (&self.connection.read_session().lambda, &self.reads);
        if !needed.contains(POLICIES) {
            let read = |name| aliases::observe(sdk, reads, name);
            return needed.contains(ALIASES) && self.gather(&self.turns.functions, aliases, paces.access, read).await;
        }
        aliases.keep(paces.access, |name| self.turns.functions.known.contains(name));
        let aliases = &Mutex::new(aliases);
        let read = |name| async move {
            let aliases = self.aliases(name, aliases).await?;
            policies::observe(sdk, reads, name, &aliases).await
        };
        self.gather(&self.turns.functions, policies, paces.policies, read).await
    }

    /// The aliases of a function, read if it is their turn.
    async fn aliases(&self, name: &str, known: &Mutex<&mut Gathered<Vec<Alias>>>) -> Result<Vec<Alias>, AwsError> {
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.now)();
        let is_due = lock().is_due(name, now);
        if is_due {
            let sdk = &self.connection.read_session().lambda;
            let reading = self.reading(name, aliases::observe(sdk, &self.reads, name)).await?;
            lock().note(name, reading);
        }
        lock().of(name, now).cloned().map_err(unread_aliases)
    }

    /// How often each sort of source is read.
    fn paces(&self, needed: &BTreeSet<&'static str>) -> Paces {
        let count = |sources: &[&'static str]| sources.iter().filter(|source| needed.contains(*source)).count();
        // Aliases have policies of their own.
        let access = count(&[URLS, ALIASES]);
        let slow = count(&[CONCURRENCY, CODE_SIGNING, RECURSION, RUNTIME_MANAGEMENT, EVENT_INVOKE, VERSIONS]);
        let functions = self.turns.functions.names.len();
        let shared = functions.saturating_mul(slow).saturating_add(self.turns.layers.names.len());
        Paces {
            policies: self.pace(functions, OFTEN),
            access: self.pace(functions.saturating_mul(access), OFTEN),
            slowly: self.pace(shared, OFTEN),
            hourly: self.pace(shared, HOURLY),
            daily: self.pace(shared, DAILY),
        }
    }

    /// How often what takes so many calls at a shared rate is read again.
    fn pace(&self, calls: usize, wanted: SignedDuration) -> Pace {
        let calls = u32::try_from(calls).unwrap_or(u32::MAX);
        let seconds = f64::from(calls) / (RATE * self.connection.rate_share());
        let round = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
        Pace::of(wanted, round.saturating_mul(ROUNDS))
    }

    /// Reads one thing of those whose turn it is; whether time ran out before all of them had theirs.
    async fn gather<'t, T: Clone, F>(
        &'t self,
        turns: &'t Turns<'t>,
        gathered: &mut Gathered<T>,
        pace: Pace,
        read: impl Fn(&'t str) -> F,
    ) -> bool
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        gathered.keep(pace, |name| turns.known.contains(name));
        for name in turns.of(gathered, (self.now)()) {
            if Instant::now() >= self.reads.deadline || (self.interrupted)() {
                return true;
            }
            let Ok(reading) = self.reading(name, read(name)).await else { return true };
            gathered.note(name, reading);
        }
        false
    }

    /// What came of one read.
    ///
    /// # Errors
    /// Time ran out while it waited for its turn.
    async fn reading<T>(
        &self,
        name: &str,
        read: impl Future<Output = Result<T, AwsError>>,
    ) -> Result<Source<T>, AwsError> {
        let began = (self.now)();
        match read.await {
            Ok(facts) => Ok(Source::complete(facts, began)),
            Err(error) if error.class == ErrorClass::Throttled && Instant::now() >= self.reads.deadline => Err(error),
            Err(error) => Ok(Source::failed(failure(name, &error), began)),
        }
    }
}

fn failure(resource: &str, error: &AwsError) -> ReadFailure {
    tracing::debug!(resource, %error, request_id = error.request_id, "It could not be read");
    match error.class {
        // It is gone, and so from the next list on.
        ErrorClass::NotFound => ReadFailure::NotReadYet,
        _ => error.read_failure(),
    }
}

/// What rests on the aliases waits for them, or is as unknown as they are.
fn unread_aliases(failure: ReadFailure) -> AwsError {
    let class = match failure {
        ReadFailure::AccessDenied => ErrorClass::Denied,
        ReadFailure::CredentialsExpired => ErrorClass::CredentialsExpired,
        ReadFailure::EndpointUnavailable => ErrorClass::Unavailable,
        _ => ErrorClass::NotFound,
    };
    AwsError::new("ListAliases", class, Effect::NotSent, failure.reason())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_was_never_read_goes_before_what_is_old_and_what_is_fresh_waits() {
        let found = ["fresh", "old", "unread", "older"];
        let start = Timestamp::UNIX_EPOCH;
        let pace = Pace::of(SignedDuration::from_mins(1), SignedDuration::ZERO);
        let mut gathered = Gathered::new(BTreeMap::new(), pace);
        gathered.note("old", Source::complete(1, start + SignedDuration::from_secs(1)));
        gathered.note("older", Source::complete(1, start));
        gathered.note("fresh", Source::complete(1, start + SignedDuration::from_mins(2)));
        let due = Turns::new(found.into_iter()).of(&gathered, start + SignedDuration::from_mins(2));
        assert_eq!(due, ["unread", "older", "old"]);
    }
}
