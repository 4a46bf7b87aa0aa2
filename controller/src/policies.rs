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
    /// What came of the last comparison: as long as the objects are the same, nothing is compared.
    pub last: Arc<Mutex<Option<(Seen, InForce)>>>,
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
    /// How far approvals can be trusted now.
    pub fn in_force(&self) -> InForce {
        let seen = (self.policies.state(), self.bindings.state());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, in_force)) if same(&known.0, &seen.0) && same(&known.1, &seen.1) => in_force.clone(),
            _ => {
                let in_force = self.compare(&seen);
                *last = Some((seen, in_force.clone()));
                in_force
            }
        }
    }

    fn compare(&self, (policies, bindings): &Seen) -> InForce {
        let Some(user) = &self.user else {
            let why = "the API server does not tell the controller who it is (create selfsubjectreviews)";
            return InForce::Not(why.to_owned());
        };
        let policies: Vec<_> = policies.iter().map(|policy| Arc::unwrap_or_clone(Arc::clone(policy))).collect();
        let bindings: Vec<_> = bindings.iter().map(|binding| Arc::unwrap_or_clone(Arc::clone(binding))).collect();
        if let Some(problem) = missing(&policies, &bindings, user).into_iter().next() {
            return InForce::Not(problem);
        }
        let ours = |name: &str| crds::policy::NAMES.contains(&name);
        let policies = policies.iter().filter(|policy| ours(&policy.name_any())).map(ResourceExt::creation_timestamp);
        let bindings = bindings.iter().filter(|binding| ours(&binding.name_any())).map(ResourceExt::creation_timestamp);
        let last = policies.chain(bindings).flatten().map(|time| time.0).max();
        InForce::Since(last.and_then(|last| last.checked_add(SETTLES_WITHIN).ok()).unwrap_or(Timestamp::MAX))
    }
}

fn same<K>(one: &[Arc<K>], other: &[Arc<K>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}
