//! Whether the admission policies are in force, without which nobody can know who wrote an approval.

use std::sync::{Arc, Mutex, PoisonError};

use crds::ChangeSetApproval;
use crds::policy::missing;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::ResourceExt;
use kube::runtime::reflector::Store;

/// The API server takes a moment to act on a new policy, and its times are whole seconds.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_secs(2);

/// The policies as the API server last showed them.
#[derive(Clone)]
pub struct Policies {
    /// Every policy.
    pub policies: Store<ValidatingAdmissionPolicy>,
    /// Every binding.
    pub bindings: Store<ValidatingAdmissionPolicyBinding>,
    /// Who the controller is to the API server; `None` if it would not say.
    pub user: Option<String>,
    /// What came of the last comparison.
    pub last: Arc<Mutex<Last>>,
}

/// What came of the last comparison, and of those before.
#[derive(Debug, Default)]
pub struct Last {
    /// As long as the objects are the same, nothing is compared.
    compared: Option<(Seen, InForce)>,
    /// When this process found that policies which had been weakened were so no more.
    restored: Option<Timestamp>,
}

/// The objects that were compared.
pub type Seen = (Vec<Arc<ValidatingAdmissionPolicy>>, Vec<Arc<ValidatingAdmissionPolicyBinding>>);

/// How far approvals can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InForce {
    /// Those that were made after this time.
    Since(Timestamp),
    /// None, for this reason.
    Not(String),
}

impl InForce {
    /// Whether the policies were in force when an approval was made.
    ///
    /// # Errors
    /// Why nobody can know who wrote it, and what to do.
    pub fn cover(&self, approval: &ChangeSetApproval) -> Result<(), String> {
        match self {
            Self::Not(why) => Err(format!(
                "nobody can know who wrote it: {why}; apply what `baseward policies` prints, and approve again"
            )),
            Self::Since(time) if approval.creation_timestamp().is_some_and(|created| created.0 >= *time) => Ok(()),
            Self::Since(time) => Err(format!(
                "nobody can know who wrote it: the admission policies are in force since {time} only; approve again"
            )),
        }
    }
}

impl Policies {
    /// Waits until they were read once.
    pub async fn wait_until_ready(&self) {
        // An error means that the watch ended, which it does only when the process stops.
        let _ = self.policies.wait_until_ready().await;
        let _ = self.bindings.wait_until_ready().await;
    }

    /// How far approvals can be trusted now.
    pub fn in_force(&self) -> InForce {
        let seen = (self.policies.state(), self.bindings.state());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.after(seen, self.user.as_deref(), Timestamp::now())
    }
}

impl Last {
    /// How far approvals can be trusted once this was seen.
    fn after(&mut self, seen: Seen, user: Option<&str>, now: Timestamp) -> InForce {
        match &self.compared {
            Some((known, in_force)) if same(&known.0, &seen.0) && same(&known.1, &seen.1) => return in_force.clone(),
            // What was absent, or not read yet, tells by its creation since when it is there.
            Some((known, InForce::Not(_))) if are_all_there(known) => self.restored = Some(now),
            Some(_) | None => {}
        }
        let in_force = compare(&seen, user, self.restored);
        self.compared = Some((seen, in_force.clone()));
        in_force
    }
}

fn compare((policies, bindings): &Seen, user: Option<&str>, restored: Option<Timestamp>) -> InForce {
    let Some(user) = user else {
        let why = "the API server does not tell the controller who it is (create selfsubjectreviews)";
        return InForce::Not(why.to_owned());
    };
    let policies: Vec<_> = policies.iter().map(|policy| Arc::unwrap_or_clone(Arc::clone(policy))).collect();
    let bindings: Vec<_> = bindings.iter().map(|binding| Arc::unwrap_or_clone(Arc::clone(binding))).collect();
    if let Some(problem) = missing(&policies, &bindings, user).into_iter().next() {
        return InForce::Not(problem);
    }
    let written = policies.iter().filter(is_ours).flat_map(written_at);
    let last = written.chain(bindings.iter().filter(is_ours).flat_map(written_at)).chain(restored).max();
    InForce::Since(last.and_then(|last| last.checked_add(SETTLES_WITHIN).ok()).unwrap_or(Timestamp::MAX))
}

fn is_ours(object: &&impl ResourceExt) -> bool {
    crds::policy::NAMES.contains(&object.name_any().as_str())
}

/// When an object was created, and when anybody last wrote more of it than its status: what was in order, weakened, and put
/// in order again was not in force all the time.
fn written_at(object: &impl ResourceExt) -> impl Iterator<Item = Timestamp> {
    let writes = object.managed_fields().iter().filter(|write| write.subresource.as_deref() != Some("status"));
    let writes: Vec<Timestamp> = writes.filter_map(|write| write.time.as_ref()).map(|time| time.0).collect();
    object.creation_timestamp().map(|time| time.0).into_iter().chain(writes)
}

fn are_all_there((policies, bindings): &Seen) -> bool {
    let all = crds::policy::NAMES.len();
    let policies = policies.iter().filter(|policy| is_ours(&policy.as_ref())).count();
    policies == all && bindings.iter().filter(|binding| is_ours(&binding.as_ref())).count() == all
}

fn same<K>(one: &[Arc<K>], other: &[Arc<K>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}

#[cfg(test)]
mod tests {
    use crds::policy::{DEFAULT_CONTROLLER_USER, bindings, policies};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Everything as it should be since the tenth second, but for what is done to the bindings.
    fn seen(change: impl Fn(&mut ValidatingAdmissionPolicyBinding)) -> Seen {
        let mut seen = (policies(DEFAULT_CONTROLLER_USER).to_vec(), bindings().to_vec());
        seen.0.iter_mut().for_each(|policy| policy.metadata.creation_timestamp = Some(Time(at(10))));
        for binding in &mut seen.1 {
            binding.metadata.creation_timestamp = Some(Time(at(10)));
            change(binding);
        }
        (seen.0.into_iter().map(Arc::new).collect(), seen.1.into_iter().map(Arc::new).collect())
    }

    fn weaken(binding: &mut ValidatingAdmissionPolicyBinding) {
        if let Some(spec) = &mut binding.spec {
            spec.validation_actions = Some(vec!["Audit".to_owned()]);
        }
    }

    fn written(second: i64, subresource: Option<&str>) -> impl Fn(&mut ValidatingAdmissionPolicyBinding) {
        let write = ManagedFieldsEntry {
            time: Some(Time(at(second))),
            subresource: subresource.map(str::to_owned),
            ..ManagedFieldsEntry::default()
        };
        move |binding| binding.metadata.managed_fields = Some(vec![write.clone()])
    }

    #[test]
    fn what_was_written_again_is_in_force_since_then_only() {
        let since = |seen: Seen| Last::default().after(seen, Some(DEFAULT_CONTROLLER_USER), at(99));
        assert_eq!(since(seen(|_| ())), InForce::Since(at(12)));
        assert_eq!(since(seen(written(50, None))), InForce::Since(at(52)));
        assert_eq!(since(seen(written(50, Some("status")))), InForce::Since(at(12)), "a status weakens nothing");
    }

    #[test]
    fn what_was_seen_weakened_is_in_force_since_it_was_seen_restored() {
        let mut last = Last::default();
        let mut since = |seen: Seen, now| last.after(seen, Some(DEFAULT_CONTROLLER_USER), at(now));
        let unread = (Vec::new(), Vec::new());
        assert!(matches!(since(unread, 20), InForce::Not(_)));
        assert_eq!(since(seen(|_| ()), 21), InForce::Since(at(12)), "who has only just begun knows of no weakness");
        assert!(matches!(since(seen(weaken), 30), InForce::Not(_)));
        assert_eq!(since(seen(|_| ()), 40), InForce::Since(at(42)));
        assert_eq!(since(seen(|_| ()), 60), InForce::Since(at(42)));
    }
}
