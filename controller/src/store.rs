//! What the API server last showed: baselines, accounts and namespaces, and what follows from them for a cell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use aws::Target;
use crds::{
    AWSAccount, BaselineExemption, BaselineObject, ChangeSetApproval, LambdaBaseline, RECONCILE_AT,
    SecurityGroupBaseline,
};
use engine::desired::{Accepted, Baseline, Desired, Reason, Refusal};
use engine::exempt::Exempting;
use engine::facts::Location;
use engine::kind::{Cell, Kind};
use engine::tenancy::{Account, Namespace};
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use kube::ResourceExt;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::Store;
use tokio::sync::watch;

use crate::accounts::target;
use crate::approvals::decided;
use crate::baselines::key;
use crate::context::{Identities, Proof};
use crate::journal::{Decided, Open};
use crate::policies::{InForce, Policies};

/// The admission policies are waited for so long.
const POLICIES_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// The watched objects. An object that no longer decodes is passed over: it never stops the others.
#[derive(Clone)]
pub struct Objects {
    /// Every baseline on security groups.
    pub security_groups: Store<DeserializeGuard<SecurityGroupBaseline>>,
    /// Every baseline on functions.
    pub functions: Store<DeserializeGuard<LambdaBaseline>>,
    /// Every account.
    pub accounts: Store<DeserializeGuard<AWSAccount>>,
    /// Every exemption.
    pub exemptions: Store<DeserializeGuard<BaselineExemption>>,
    /// Every approval.
    pub approvals: Store<DeserializeGuard<ChangeSetApproval>>,
    /// What keeps approvals from being forged.
    pub policies: Policies,
    /// Whether the controller runs with the kill switch on.
    pub writes_stopped: bool,
    /// Names and labels of every namespace.
    pub namespaces: Store<PartialObjectMeta<v1::Namespace>>,
    /// Proven and failed identities of accounts.
    pub identities: Arc<Identities>,
    /// What makes external ids of this installation unlike those of others.
    pub installation_id: String,
    /// The accounts as they were last compiled.
    pub compiled: Arc<CompiledAccounts>,
    /// Whether every object was read once.
    pub all_read: watch::Sender<bool>,
}

/// The accounts that can be used: of several objects for one account id only the oldest.
#[derive(Debug, Default)]
pub struct Accounts {
    /// As the engine sees them, oldest first.
    pub compiled: Vec<Account>,
    /// The object behind each, by account id.
    objects: BTreeMap<String, AccountObject>,
}

/// Which object an account is from, and how it says that the account is to be reached.
#[derive(Debug)]
struct AccountObject {
    version: AccountVersion,
    target: Target,
}

/// The uid of an account object, and its generation.
pub type AccountVersion = (Option<String>, Option<i64>);

/// Uids of approvals, and whether each counts.
pub type ApprovalVersions = Vec<(Option<String>, bool)>;

/// Uid and generation of exemptions, and whether each has ended.
pub type ExemptionVersions = Vec<(Option<String>, Option<i64>, bool)>;

impl Accounts {
    fn of(objects: &[Arc<DeserializeGuard<AWSAccount>>], installation_id: &str) -> Self {
        let mut decoded: Vec<&AWSAccount> = objects.iter().filter_map(|object| object.0.as_ref().ok()).collect();
        decoded.sort_by_key(|account| (account.creation_timestamp().map(|time| time.0), account.name_any()));
        let mut accounts = Self::default();
        for account in decoded {
            let id = &account.spec.account_id;
            if !accounts.objects.contains_key(id) {
                let version = (account.uid(), account.metadata.generation);
                let object = AccountObject { version, target: target(account, installation_id) };
                accounts.objects.insert(id.clone(), object);
                accounts.compiled.push(account.compile());
            }
        }
        accounts
    }

    /// Whether this object is the one that counts for its account id.
    pub fn uses(&self, account: &AWSAccount) -> bool {
        self.objects.get(&account.spec.account_id).is_some_and(|used| used.version.0 == account.uid())
    }

    /// Whether a location is in one of the accounts.
    pub fn has(&self, location: &Location) -> bool {
        self.of_location(location).is_some_and(|account| account.regions.contains(&location.region))
    }

    fn of_location(&self, location: &Location) -> Option<&Account> {
        self.compiled.iter().find(|account| account.account_id == location.account)
    }
}

type AccountObjects = Vec<Arc<DeserializeGuard<AWSAccount>>>;

/// The accounts with the objects that they were compiled from: as long as those are the same, nothing is compiled.
#[derive(Debug, Default)]
pub struct CompiledAccounts(Mutex<(AccountObjects, Arc<Accounts>)>);

impl CompiledAccounts {
    fn of(&self, objects: AccountObjects, installation_id: &str) -> Arc<Accounts> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            last.0.len() == objects.len() && last.0.iter().zip(&objects).all(|(one, other)| Arc::ptr_eq(one, other));
        if !same {
            let accounts = Arc::new(Accounts::of(&objects, installation_id));
            *last = (objects, accounts);
        }
        Arc::clone(&last.1)
    }
}

/// A baseline that is watched, whether it decodes or not.
#[derive(Clone, Debug)]
pub struct Known {
    /// Kind, namespace and name.
    pub key: String,
    /// Its uid.
    pub uid: Option<String>,
}

/// One baseline with what became of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The baseline as it was written.
    pub baseline: Baseline,
    /// The value of `baseward.dev/reconcile-at`.
    pub reconcile_at: Option<String>,
    /// How often to look.
    pub interval: std::time::Duration,
    /// Whether it is accepted, and where it applies.
    pub accepted: Result<Accepted, Refusal>,
    /// Why no approval of its edits is honoured, if that is so.
    pub unheard: Option<String>,
}

impl Objects {
    /// The accounts that can be used.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.compiled.of(self.accounts.state(), &self.installation_id)
    }

    /// The names of all account objects.
    pub fn account_names(&self) -> Vec<String> {
        self.accounts.state().iter().map(|object| object.name_any()).collect()
    }

    /// The account of a location, with what is known of its role to write with.
    pub fn account(&self, location: &Location) -> Option<Account> {
        let mut account = self.accounts().of_location(location)?.clone();
        account.write_distrust = match self.proof(location) {
            None => Some("it is not proven yet".to_owned()),
            Some(proof) => proof.writing.err().map(|distrust| distrust.message),
        };
        account.writes_stopped |= self.writes_stopped;
        Some(account)
    }

    /// How far approvals can be trusted now.
    pub fn policies_in_force(&self) -> InForce {
        self.policies.in_force()
    }

    /// What people decided on a change set.
    pub fn decided(&self, open: &Open, policies: &InForce) -> Decided {
        decided(&self.approvals.state(), open.name(), open.hash(), open.is_begun(), policies)
    }

    /// The approvals and rejections of a cell's namespaces: their uids, and whether they count.
    pub fn approval_versions(&self, namespaces: &BTreeSet<&str>) -> ApprovalVersions {
        let policies = self.policies_in_force();
        let objects = self.approvals.state();
        let mut versions: ApprovalVersions = objects
            .iter()
            .filter_map(|object| object.0.as_ref().ok())
            .filter(|approval| approval.namespace().is_some_and(|name| namespaces.contains(name.as_str())))
            .map(|approval| (approval.uid(), policies.cover(approval).is_ok()))
            .collect();
        versions.sort();
        versions
    }

    /// The object that the account of a location is from.
    pub fn account_version(&self, location: &Location) -> Option<AccountVersion> {
        self.accounts().objects.get(&location.account).map(|object| object.version.clone())
    }

    /// What is known of the identities in a location, as it is to be reached now.
    pub fn proof(&self, location: &Location) -> Option<Proof> {
        self.identities.get(location, &self.accounts().objects.get(&location.account)?.target)
    }

    /// A namespace; without labels where there is none of this name.
    pub fn namespace(&self, name: &str) -> Namespace {
        let found = self.namespaces.find(|namespace| namespace.name_any() == name);
        let labels = found.map(|namespace| namespace.labels().clone()).unwrap_or_default();
        Namespace { name: name.to_owned(), labels }
    }

    /// Judges one baseline.
    pub fn judge<B: BaselineObject>(&self, object: &B) -> Judged {
        let namespace = self.namespace(&object.meta().namespace.clone().unwrap_or_default());
        let baseline = object.compile(&namespace.labels);
        Judged {
            accepted: baseline
                .accept(&self.accounts().compiled)
                .and_then(|accepted| self.refuse_foreign_identity(accepted)),
            baseline,
            reconcile_at: object.meta().annotations.as_ref().and_then(|all| all.get(RECONCILE_AT)).cloned(),
            interval: object.common().interval(),
            unheard: match self.policies_in_force() {
                InForce::Since(_) => None,
                InForce::Not(why) => Some(why),
            },
        }
    }

    /// A caller of another account than the one that is named reads and writes nothing.
    fn refuse_foreign_identity(&self, mut accepted: Accepted) -> Result<Accepted, Refusal> {
        accepted.assignments.leave_out(|cell| {
            let distrust = self.proof(&cell.location)?.reading.err()?;
            let message = format!("AWSAccount {:?}: {}", cell.account, distrust.message);
            distrust.failure.is_none().then(|| Refusal::new(Reason::IdentityMismatch, message))
        })?;
        Ok(accepted)
    }

    /// Waits until every object was read once, and tells all others that do.
    pub async fn read_all(&self) {
        // An error means that the watch ended, which it does only when the process stops.
        let _ = self.security_groups.wait_until_ready().await;
        let _ = self.functions.wait_until_ready().await;
        let _ = self.accounts.wait_until_ready().await;
        let _ = self.exemptions.wait_until_ready().await;
        let _ = self.approvals.wait_until_ready().await;
        let _ = self.namespaces.wait_until_ready().await;
        // Who may not read them honours no approval, and does all else.
        let _ = tokio::time::timeout(POLICIES_WITHIN, self.policies.wait_until_ready()).await;
        self.all_read.send_replace(true);
    }

    /// Waits until every object was read once. A store itself wakes only the last of those who wait for it.
    pub async fn wait_until_ready(&self) {
        // The sender is here, so it lives.
        let _ = self.all_read.subscribe().wait_for(|all| *all).await;
    }

    /// Every baseline that is watched.
    pub fn known_baselines(&self) -> Vec<Known> {
        fn known<B: BaselineObject>(store: &Store<DeserializeGuard<B>>) -> Vec<Known> {
            let known = |object: &Arc<DeserializeGuard<B>>| Known { key: key(&**object), uid: object.uid() };
            store.state().iter().map(known).collect()
        }
        [known(&self.security_groups), known(&self.functions)].concat()
    }

    /// Every baseline of a kind that decodes, oldest first.
    pub fn judged(&self, kind: Kind) -> Vec<Judged> {
        match kind {
            Kind::SecurityGroup => self.judged_of(&self.security_groups),
            Kind::Lambda => self.judged_of(&self.functions),
        }
    }

    fn judged_of<B: BaselineObject>(&self, store: &Store<DeserializeGuard<B>>) -> Vec<Judged> {
        let objects = store.state();
        let decoded = objects.iter().filter_map(|object| object.0.as_ref().ok());
        let mut judged: Vec<Judged> = decoded.map(|object| self.judge(object)).collect();
        judged.sort_by(|one, other| {
            let age = |judged: &Judged| (judged.baseline.created, judged.baseline.reference.clone());
            age(one).cmp(&age(other))
        });
        judged
    }

    /// The baselines in effect in one cell, oldest first.
    pub fn in_cell(&self, Cell { kind, location }: &Cell) -> Vec<(Judged, Desired)> {
        let in_effect = self.judged(*kind).into_iter().filter(|judged| !judged.baseline.suspended);
        let exempting = self.exempting();
        in_effect
            .filter_map(|judged| {
                let desired = judged.accepted.as_ref().ok()?.in_cell(location)?;
                Some((judged, desired.exempted(&exempting)))
            })
            .collect()
    }

    /// Every exemption that is in order.
    fn exempting(&self) -> Vec<Exempting> {
        let now = Timestamp::now();
        let objects = self.exemptions.state();
        let decoded = objects.iter().filter_map(|object| object.0.as_ref().ok());
        decoded.filter_map(|exemption| exemption.compile(now).accept().ok()).collect()
    }

    /// An exemption, if it was seen and can be read.
    pub fn exemption(&self, namespace: &str, name: &str) -> Option<BaselineExemption> {
        let found = self
            .exemptions
            .find(|object| object.name_any() == name && object.namespace().as_deref() == Some(namespace));
        found?.0.as_ref().ok().cloned()
    }

    /// Whether an approval is there, whether it counts or not.
    pub fn knows_approval(&self, uid: &str) -> bool {
        self.approvals.find(|object| object.uid().as_deref() == Some(uid)).is_some()
    }

    /// Whether an approval still counts.
    pub fn has_approval(&self, uid: &str) -> bool {
        let policies = self.policies_in_force();
        let objects = self.approvals.state();
        let mut approvals = objects.iter().filter_map(|object| object.0.as_ref().ok());
        approvals.any(|approval| approval.uid().as_deref() == Some(uid) && policies.cover(approval).is_ok())
    }

    /// Which exemptions there are in some namespaces: the generation of each by its uid, and whether it has ended.
    pub fn exemption_versions(&self, namespaces: &BTreeSet<&str>, now: Timestamp) -> ExemptionVersions {
        let objects = self.exemptions.state();
        let mut versions: ExemptionVersions = objects
            .iter()
            .filter_map(|object| object.0.as_ref().ok())
            .filter(|exemption| exemption.namespace().is_some_and(|name| namespaces.contains(name.as_str())))
            .map(|exemption| (exemption.uid(), exemption.metadata.generation, exemption.spec.expires.0 <= now))
            .collect();
        versions.sort();
        versions
    }

    /// Every cell that a baseline in effect applies to, with the name of the account.
    pub fn cells(&self) -> BTreeMap<Cell, String> {
        let mut cells = BTreeMap::new();
        for kind in Kind::ALL {
            let judged = self.judged(kind);
            let in_effect = judged.iter().filter(|judged| !judged.baseline.suspended);
            let accepted = in_effect.filter_map(|judged| judged.accepted.as_ref().ok());
            let assigned = accepted.flat_map(|accepted| &accepted.assignments.cells);
            let cell = |location: &Location| Cell { kind, location: location.clone() };
            cells.extend(assigned.map(|assigned| (cell(&assigned.location), assigned.account.clone())));
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An object for the account 111122223333.
    fn object(name: &str, created: &str) -> Arc<DeserializeGuard<AWSAccount>> {
        let text = serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "AWSAccount",
            "metadata": {"name": name, "uid": name, "generation": 1, "creationTimestamp": created},
            "spec": {"accountId": "111122223333", "regions": ["eu-west-1"]},
        });
        Arc::new(serde_json::from_value(text).unwrap())
    }

    #[test]
    fn the_oldest_of_two_objects_for_one_account_counts_as_long_as_it_is_there() {
        let (old, young) = (object("old", "2026-01-01T00:00:00Z"), object("young", "2026-02-01T00:00:00Z"));
        let uses =
            |accounts: &Accounts, object: &Arc<DeserializeGuard<AWSAccount>>| accounts.uses(object.0.as_ref().unwrap());
        let both = Accounts::of(&[Arc::clone(&young), Arc::clone(&old)], "test");
        assert!(uses(&both, &old) && !uses(&both, &young));
        let rest = Accounts::of(&[Arc::clone(&young)], "test");
        assert!(uses(&rest, &young));
    }

    #[test]
    fn accounts_are_compiled_once_for_each_change() {
        let (compiled, one) = (CompiledAccounts::default(), object("one", "2026-01-01T00:00:00Z"));
        let first = compiled.of(vec![Arc::clone(&one)], "test");
        assert!(Arc::ptr_eq(&first, &compiled.of(vec![one], "test")));
        let changed = object("one", "2026-01-01T00:00:00Z");
        assert!(!Arc::ptr_eq(&first, &compiled.of(vec![changed], "test")));
    }
}
