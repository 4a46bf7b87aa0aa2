//! From the objects of the API to the values that the engine works with.

use engine::exempt::Exemption;
use engine::remediation::ACCOUNT_PER_HOUR;
use engine::tenancy::Account;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::account::{AWSAccount, AWSAccountSpec, Writes};
use crate::exemption::{BaselineExemption, BaselineExemptionSpec};

/// The namespace of a file that names none, as for kubectl.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The quota of AWS, for an object that was stored with one that makes no sense.
const DEFAULT_RULES_PER_GROUP: u32 = 60;

pub(crate) fn created(metadata: &ObjectMeta) -> Timestamp {
    metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |created| created.0)
}

impl BaselineExemption {
    /// The exemption for the engine. An object that comes from a file begins now.
    pub fn compile(&self, now: Timestamp) -> Exemption {
        let BaselineExemptionSpec { controls, resources, reason: _, ticket: _, expires } = self.spec.clone();
        Exemption {
            namespace: self.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: self.metadata.name.clone().unwrap_or_default(),
            created: self.metadata.creation_timestamp.as_ref().map_or(now, |created| created.0),
            controls,
            resources,
            expires: expires.0,
        }
    }
}

impl AWSAccount {
    /// The account for the engine.
    pub fn compile(&self) -> Account {
        let AWSAccountSpec {
            account_id,
            regions,
            read_role: _,
            write_role,
            rate_share: _,
            rules_per_security_group,
            budget,
            writes,
            namespaces,
        } = self.spec.clone();
        Account {
            name: self.metadata.name.clone().unwrap_or_default(),
            labels: self.metadata.labels.clone().unwrap_or_default(),
            account_id,
            regions,
            namespaces,
            writable: write_role.is_some(),
            write_distrust: None,
            writes_stopped: writes == Writes::Stopped,
            changes_per_hour: budget
                .and_then(|budget| usize::try_from(budget.per_hour).ok())
                .unwrap_or(ACCOUNT_PER_HOUR),
            rules_per_group: rules_per_security_group.try_into().unwrap_or(DEFAULT_RULES_PER_GROUP),
        }
    }
}
