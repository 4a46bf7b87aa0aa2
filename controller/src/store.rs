//! What the API server last showed: baselines, accounts and namespaces, and what follows from them for a cell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::{AWSAccount, RECONCILE_AT, SecurityGroupBaseline};
use engine::desired::{Accepted, Baseline, Desired, Reason, Refusal};
use engine::facts::Location;
use engine::tenancy::{Account, Namespace};
use k8s_openapi::api::core::v1;
use kube::ResourceExt;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::Store;

use crate::context::{Distrust, Identities};

/// The watched objects. An object that no longer decodes is passed over: it never stops the others.
#[derive(Clone)]
pub struct Objects {
    /// Every baseline on security groups.
    pub baselines: Store<DeserializeGuard<SecurityGroupBaseline>>,
    /// Every account.
    pub accounts: Store<DeserializeGuard<AWSAccount>>,
    /// Names and labels of every namespace.
    pub namespaces: Store<PartialObjectMeta<v1::Namespace>>,
    /// Proven and failed identities of accounts.
    pub identities: Arc<Identities>,
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
}

impl Objects {
    /// The accounts that can be used. Of several objects for one account id only the oldest counts.
    pub fn accounts(&self) -> Vec<AWSAccount> {
        let mut accounts: Vec<AWSAccount> =
            self.accounts.state().iter().filter_map(|object| object.0.as_ref().ok().cloned()).collect();
        accounts.sort_by_key(|account| (account.creation_timestamp().map(|time| time.0), account.name_any()));
        let mut ids = BTreeSet::new();
        accounts.retain(|account| ids.insert(account.spec.account_id.clone()));
        accounts
    }

    /// The account of a location.
    pub fn account(&self, location: &Location) -> Option<Account> {
        let of = |account: &&AWSAccount| account.spec.account_id == location.account;
        self.accounts().iter().find(of).map(AWSAccount::compile)
    }

    fn namespace(&self, name: &str) -> Namespace {
        let found = self.namespaces.find(|namespace| namespace.name_any() == name);
        let labels = found.map(|namespace| namespace.labels().clone()).unwrap_or_default();
        Namespace { name: name.to_owned(), labels }
    }

    /// Judges one baseline.
    pub fn judge(&self, object: &SecurityGroupBaseline, accounts: &[Account]) -> Judged {
        let namespace = self.namespace(&object.namespace().unwrap_or_default());
        let baseline = object.compile(&namespace.labels);
        Judged {
            accepted: baseline.accept(accounts).and_then(|accepted| self.refuse_foreign_identity(accepted)),
            baseline,
            reconcile_at: object.annotations().get(RECONCILE_AT).cloned(),
            interval: object.spec.common.interval(),
        }
    }

    /// A caller of another account than the one that is named reads and writes nothing.
    fn refuse_foreign_identity(&self, accepted: Accepted) -> Result<Accepted, Refusal> {
        for cell in &accepted.assignments.cells {
            let outcome = self.identities.get(&cell.location).map(|proof| proof.outcome);
            if let Some(Err(Distrust { message, failure: None, .. })) = outcome {
                let message = format!("AWSAccount {:?}: {message}", cell.account);
                return Err(Refusal::new(Reason::IdentityMismatch, message));
            }
        }
        Ok(accepted)
    }

    /// Waits until every object was read once.
    pub async fn wait_until_ready(&self) {
        // An error means that the watch ended, which it does only when the process stops.
        let _ = self.baselines.wait_until_ready().await;
        let _ = self.accounts.wait_until_ready().await;
        let _ = self.namespaces.wait_until_ready().await;
    }

    /// Every baseline that decodes, oldest first.
    pub fn judged(&self) -> Vec<Judged> {
        let accounts: Vec<Account> = self.accounts().iter().map(AWSAccount::compile).collect();
        let objects = self.baselines.state();
        let decoded = objects.iter().filter_map(|object| object.0.as_ref().ok());
        let mut judged: Vec<Judged> = decoded.map(|object| self.judge(object, &accounts)).collect();
        judged.sort_by(|one, other| {
            let age = |judged: &Judged| (judged.baseline.created, judged.baseline.reference.clone());
            age(one).cmp(&age(other))
        });
        judged
    }

    /// The baselines in effect in one cell, oldest first.
    pub fn in_cell(&self, location: &Location) -> Vec<(Judged, Desired)> {
        let in_effect = self.judged().into_iter().filter(|judged| !judged.baseline.suspended);
        in_effect
            .filter_map(|judged| {
                let desired = judged.accepted.as_ref().ok()?.in_cell(location)?;
                Some((judged, desired))
            })
            .collect()
    }

    /// Every account and region that a baseline in effect applies to, with the name of the account.
    pub fn cells(&self) -> BTreeMap<Location, String> {
        let judged = self.judged();
        let in_effect = judged.iter().filter(|judged| !judged.baseline.suspended);
        let cells = in_effect
            .filter_map(|judged| judged.accepted.as_ref().ok())
            .flat_map(|accepted| &accepted.assignments.cells);
        cells.map(|cell| (cell.location.clone(), cell.account.clone())).collect()
    }
}
