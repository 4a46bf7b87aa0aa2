//! One active leader, by a Lease in the Kubernetes API and a deadline of our own.
//!
//! The deadline counts from *sending* the last successful renewal, on the monotonic clock: past it writes stop
//! while the process goes on trying. A new holder waits one lease plus one write timeout before its first write,
//! unless the one before gave the lease back after its last write. The process ends only when it sees another holder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::events::News;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How many times a lease is renewed before it would run out.
pub const RENEWALS_PER_LEASE: u32 = 4;

/// Without the lease no status is written: it would hide what another process may know better. Whoever has one to write
/// looks again after this.
pub const LOOK_FOR_LEASE_AGAIN: Duration = Duration::from_secs(1);

/// An orderly end does not wait longer for the API server to take the lease back.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(5);

/// Which lease, and for how long.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the Lease object.
    pub namespace: String,
    /// Name of the Lease object.
    pub name: String,
    /// Who we are: unique for each process, also after a restart.
    pub identity: String,
    /// How long a renewal is good for, in whole seconds.
    pub duration: Duration,
    /// The longest that one AWS write can take.
    pub write_timeout: Duration,
}

/// What the rest of the process may know of the lease.
#[derive(Clone, Debug, Default)]
pub struct Leadership {
    held: Arc<watch::Sender<Option<Held>>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Writes may start from here on.
    writes_from: Instant,
    /// The lease is ours until here.
    deadline: Instant,
}

impl Held {
    fn left(&self, now: Instant) -> Option<Duration> {
        (now >= self.writes_from).then(|| self.deadline.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

impl Leadership {
    /// What is left of the lease, if this process may write at `now`.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.held.borrow().and_then(|held| held.left(now))
    }

    /// Waits until the lease is ours.
    pub async fn taken(&self) {
        // The sender lives as long as `self`.
        let _ = self.held.subscribe().wait_for(Option::is_some).await;
    }

    /// Waits until this process may write and more than so much is left of the lease.
    pub async fn writable(&self, room: Duration) {
        let mut news = self.held.subscribe();
        loop {
            let (held, now) = (*news.borrow_and_update(), Instant::now());
            if held.and_then(|held| held.left(now)).is_some_and(|left| left > room) {
                return;
            }
            let begin = held.map(|held| held.writes_from.saturating_duration_since(now)).filter(|wait| !wait.is_zero());
            tokio::select! {
                () = tokio::time::sleep(begin.unwrap_or(Duration::MAX)) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// The lease is ours.
    fn begun(&self, sent: Instant, settings: &LeaseSettings, wait: Duration) {
        let (writes_from, deadline) = (sent + wait, sent + settings.duration);
        self.held.send_replace(Some(Held { writes_from, deadline }));
    }

    fn renewed(&self, sent: Instant, settings: &LeaseSettings, wait: Duration) {
        self.held.send_modify(|held| {
            let writes_from = held.map_or(sent + wait, |held| held.writes_from);
            *held = Some(Held { writes_from, deadline: sent + settings.duration });
        });
    }

    /// Whether the lease is ours at `now`, even if this process may not write yet.
    pub fn holds(&self, now: Instant) -> bool {
        self.held.borrow().is_some_and(|held| now < held.deadline)
    }

    fn is_held(&self) -> bool {
        self.held.borrow().is_some()
    }
}

/// What a look at the Lease object says, given what was seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it, and the one before gave it back after its last write.
    TakeReleased,
    /// Nobody has held it, or its holder has not renewed it for as long as it promised: it may still be writing.
    TakeOver,
    /// Somebody else holds it.
    Wait { holder: String },
}

impl Claim {
    /// What is done by a process that held the lease before. If it is not renewed but taken anew, somebody else may have
    /// held it meanwhile, and knows what this process does not: it begins again from the start.
    fn unless(self, was_held: bool) -> Self {
        match self {
            Self::TakeReleased | Self::TakeOver if was_held => {
                Self::Wait { holder: "nobody by now: it was given back, or deleted".to_owned() }
            }
            claim => claim,
        }
    }
}

/// The last change of the Lease that was seen, and when, on our own clock: the clocks of other nodes are not trusted.
#[derive(Clone, Debug)]
struct Sighting {
    holder: String,
    renewed: Option<Timestamp>,
    seen_at: Instant,
}

fn claim(spec: Option<&LeaseSpec>, identity: &str, sighting: Option<&Sighting>, now: Instant) -> Claim {
    let Some(spec) = spec else { return Claim::TakeOver };
    let holder = spec.holder_identity.clone().unwrap_or_default();
    if holder == identity {
        return Claim::Renew;
    }
    if holder.is_empty() {
        return if spec.renew_time.is_some() { Claim::TakeReleased } else { Claim::TakeOver };
    }
    let promised = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    let unchanged = sighting
        .filter(|seen| seen.holder == holder && seen.renewed == spec.renew_time.as_ref().map(|time| time.0))
        .map(|seen| now.saturating_duration_since(seen.seen_at));
    if unchanged.is_some_and(|idle| idle > promised) { Claim::TakeOver } else { Claim::Wait { holder } }
}

/// Why the election ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process was told to stop; the lease was given back if it was ours.
    Stopped,
    /// Another process holds the lease that was ours.
    Lost {
        /// Who holds it now.
        holder: String,
    },
}

/// Holds the lease for as long as the process lives.
///
/// `released` is cancelled once the last write is finished: only then is the lease given back.
pub async fn elect(
    client: Client,
    settings: LeaseSettings,
    leadership: Leadership,
    released: CancellationToken,
) -> Ended {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    let (mut sighting, troubles) = (None, News::default());
    loop {
        let (sent, mut trouble) = (Instant::now(), None);
        let attempt = attempt(&api, &settings, &mut sighting, leadership.is_held(), sent);
        match tokio::time::timeout(settings.duration / 2, attempt).await {
            Ok(Ok(Claim::Renew)) => leadership.renewed(sent, &settings, settings.duration + settings.write_timeout),
            Ok(Ok(Claim::TakeReleased)) => leadership.begun(sent, &settings, Duration::ZERO),
            Ok(Ok(Claim::TakeOver)) => leadership.begun(sent, &settings, settings.duration + settings.write_timeout),
            Ok(Ok(Claim::Wait { holder })) if leadership.is_held() => return Ended::Lost { holder },
            Ok(Ok(Claim::Wait { .. })) => {}
            Ok(Err(error)) => trouble = Some(error.to_string()),
            Err(_) => trouble = Some("no answer in time".to_owned()),
        }
        if troubles.is_new(trouble.as_ref())
            && let Some(error) = trouble
        {
            tracing::warn!(error, namespace = settings.namespace, name = settings.name, "Lease not renewed");
        }
        tokio::select! {
            () = released.cancelled() => break,
            () = tokio::time::sleep(settings.duration / RENEWALS_PER_LEASE) => {}
        }
    }
    if leadership.is_held() {
        release(&api, &settings).await;
    }
    Ended::Stopped
}

/// One try to take or renew the lease. A conflict with another writer is an error like any other: the next try looks again.
async fn attempt(
    api: &Api<Lease>,
    settings: &LeaseSettings,
    sighting: &mut Option<Sighting>,
    was_held: bool,
    now: Instant,
) -> kube::Result<Claim> {
    let found = api.get_opt(&settings.name).await?;
    let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
    let claim = claim(spec, &settings.identity, sighting.as_ref(), now).unless(was_held);
    if let Claim::Wait { holder } = &claim {
        let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let news = sighting.as_ref().is_none_or(|seen| seen.holder != *holder || seen.renewed != renewed);
        if news {
            *sighting = Some(Sighting { holder: holder.clone(), renewed, seen_at: now });
        }
        return Ok(claim);
    }
    let transitions = spec.and_then(|spec| spec.lease_transitions).unwrap_or(0);
    let acquired = spec.and_then(|spec| spec.acquire_time.clone()).filter(|_| claim == Claim::Renew);
    let renewed = LeaseSpec {
        holder_identity: Some(settings.identity.clone()),
        lease_duration_seconds: i32::try_from(settings.duration.as_secs()).ok(),
        acquire_time: acquired.or_else(|| Some(MicroTime(Timestamp::now()))),
        renew_time: Some(MicroTime(Timestamp::now())),
        lease_transitions: Some(if claim == Claim::Renew { transitions } else { transitions + 1 }),
        ..LeaseSpec::default()
    };
    match found {
        Some(mut lease) => {
            lease.spec = Some(renewed);
            api.replace(&settings.name, &PostParams::default(), &lease).await?;
        }
        None => {
            let metadata = ObjectMeta { name: Some(settings.name.clone()), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &Lease { metadata, spec: Some(renewed) }).await?;
        }
    }
    Ok(claim)
}

/// Gives the lease back, so that the next holder need not wait. If it fails, the lease runs out by itself.
async fn release(api: &Api<Lease>, settings: &LeaseSettings) {
    let give_back = async {
        let mut lease = api.get(&settings.name).await?;
        if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&settings.identity))
        {
            spec.holder_identity = Some(String::new());
            api.replace(&settings.name, &PostParams::default(), &lease).await?;
        }
        Ok::<(), kube::Error>(())
    };
    match tokio::time::timeout(GIVE_BACK_WITHIN, give_back).await {
        Ok(Ok(())) => tracing::info!("Lease given back"),
        Ok(Err(error)) => tracing::warn!(%error, "Lease not given back: it runs out by itself"),
        Err(_) => tracing::warn!("Lease not given back in time: it runs out by itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, renewed: Option<i64>) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(10),
            renew_time: renewed.map(|second| MicroTime(Timestamp::from_second(second).unwrap())),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_over_only_after_it_stood_still_for_its_promised_time() {
        let start = Instant::now();
        let lease = spec("other", Some(1));
        let seen =
            Sighting { holder: "other".to_owned(), renewed: Some(Timestamp::from_second(1).unwrap()), seen_at: start };
        let at = |seconds| claim(Some(&lease), "me", Some(&seen), start + Duration::from_secs(seconds));
        assert_eq!(at(10), Claim::Wait { holder: "other".to_owned() });
        assert_eq!(at(11), Claim::TakeOver);
        let renewed = spec("other", Some(2));
        let later = start + Duration::from_secs(11);
        assert_eq!(claim(Some(&renewed), "me", Some(&seen), later), Claim::Wait { holder: "other".to_owned() });
        assert_eq!(claim(Some(&lease), "me", None, later), Claim::Wait { holder: "other".to_owned() });
    }

    #[test]
    fn who_has_lost_the_lease_does_not_take_it_again() {
        let gone = |claim: Claim| matches!(claim.unless(true), Claim::Wait { .. });
        assert!(gone(Claim::TakeReleased) && gone(Claim::TakeOver));
        assert_eq!(Claim::Renew.unless(true), Claim::Renew);
        assert_eq!(Claim::TakeReleased.unless(false), Claim::TakeReleased);
    }

    #[test]
    fn only_a_lease_that_was_given_back_needs_no_waiting() {
        let now = Instant::now();
        assert_eq!(claim(Some(&spec("", Some(1))), "me", None, now), Claim::TakeReleased);
        assert_eq!(claim(None, "me", None, now), Claim::TakeOver);
        assert_eq!(claim(Some(&spec("me", Some(1))), "me", None, now), Claim::Renew);
    }

    fn settings() -> LeaseSettings {
        LeaseSettings {
            namespace: String::new(),
            name: String::new(),
            identity: "me".to_owned(),
            duration: Duration::from_secs(10),
            write_timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn writes_start_after_the_wait_and_stop_at_the_deadline() {
        let settings = settings();
        let (leadership, sent) = (Leadership::default(), Instant::now());
        assert_eq!(leadership.left(sent), None);
        leadership.renewed(sent, &settings, Duration::from_secs(15));
        assert_eq!(leadership.left(sent + Duration::from_secs(1)), None);
        let renewal = sent + Duration::from_secs(9);
        leadership.renewed(renewal, &settings, Duration::from_secs(15));
        assert_eq!(leadership.left(sent + Duration::from_secs(15)), Some(Duration::from_secs(4)));
        assert_eq!(leadership.left(sent + Duration::from_secs(19)), None);
        assert_eq!([1, 18, 19].map(|second| leadership.holds(sent + Duration::from_secs(second))), [true, true, false]);
    }

    #[tokio::test]
    async fn who_waits_for_the_right_to_write_is_woken_when_it_begins_and_when_a_renewal_makes_room() {
        let settings = settings();
        let leadership = Leadership::default();
        let within = |wait, room| tokio::time::timeout(wait, leadership.writable(room));
        let (short, room) = (Duration::from_millis(20), Duration::from_secs(5));
        assert!(within(short, room).await.is_err(), "nobody holds it");
        let begin = Duration::from_millis(100);
        leadership.renewed(Instant::now(), &settings, begin);
        leadership.taken().await;
        assert!(within(short, room).await.is_err(), "another one may still write");
        assert!(within(Duration::from_secs(5), room).await.is_ok());
        assert!(within(short, Duration::from_secs(11)).await.is_err(), "a lease is never that long");
        let renew = async {
            tokio::time::sleep(short).await;
            leadership.renewed(Instant::now() + room, &settings, begin);
        };
        let (woken, ()) = tokio::join!(within(Duration::from_secs(5), Duration::from_secs(11)), renew);
        assert!(woken.is_ok());
    }
}
