//! Who may write what in one cell, at one moment.

use std::collections::BTreeSet;
use std::time::Duration;

use engine::approval::ChangeSetName;
use engine::desired::Desired;
use engine::rails::Authority;
use engine::tenancy::{Account, Namespace};

/// The accepted baselines and the account as the API server last showed them, and what is left of the lease.
#[derive(Clone, Debug)]
pub struct AuthorityNow {
    /// Accepted, unsuspended baselines of the cell.
    pub desired: Vec<Desired>,
    /// The account; `None` if the object is gone.
    pub account: Option<Account>,
    /// The change sets that are approved.
    pub approved: BTreeSet<ChangeSetName>,
    /// The namespaces in which somebody wants something undone.
    pub namespaces: Vec<Namespace>,
    /// What is left of the lease; `None` for a process that does not lead or is told to stop.
    pub lease_left: Option<Duration>,
    /// The longest that a write can take.
    pub write_timeout: Duration,
}

impl AuthorityNow {
    /// As the rails want it.
    pub fn as_authority(&self) -> Authority<'_> {
        Authority {
            desired: &self.desired,
            account: self.account.as_ref(),
            approved: &self.approved,
            namespaces: &self.namespaces,
            lease_left: self.lease_left,
            write_timeout: self.write_timeout,
        }
    }
}
