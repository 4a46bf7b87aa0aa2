//! What all kinds of baselines are for the API and for the controller.

use std::collections::BTreeMap;
use std::fmt::Debug;

use engine::controls::{Parameters, listed};
use engine::desired::Baseline;
use engine::edit::BaselineRef;
use engine::kind::Kind;
use engine::tenancy::Namespace;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use schemars::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::baseline::{BaselineStatus, Common};
use crate::compile::{DEFAULT_NAMESPACE, created};
use crate::lambda_baseline::LambdaBaseline;
use crate::security_group_baseline::SecurityGroupBaseline;

/// An object of a kind of baseline.
pub trait BaselineObject:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The kind.
    const KIND: Kind;

    /// The fields that every baseline has.
    fn common(&self) -> &Common;

    /// What good looks like.
    fn parameters(&self) -> Parameters;

    /// What the controller last wrote.
    fn status(&self) -> Option<&BaselineStatus>;

    /// The baseline for the engine. An object that comes from a file has no uid and no age: it counts as the youngest.
    fn compile(&self, namespace_labels: &BTreeMap<String, String>) -> Baseline {
        let Common {
            accounts,
            regions,
            select,
            mode,
            interval: _,
            suspend,
            overrides,
            infrastructure_as_code,
            remediation,
        } = self.common().clone();
        let reference = self.reference();
        Baseline {
            namespace: Namespace { name: reference.namespace.clone(), labels: namespace_labels.clone() },
            reference,
            created: created(self.meta()),
            suspended: suspend,
            accounts,
            regions,
            select,
            mode,
            overrides,
            infrastructure_as_code: infrastructure_as_code.unwrap_or_default(),
            remediation: remediation.unwrap_or_default(),
            parameters: self.parameters(),
        }
    }

    /// Names this generation of this object.
    fn reference(&self) -> BaselineRef {
        let ObjectMeta { namespace, name, uid, generation, .. } = self.meta().clone();
        BaselineRef {
            kind: Self::KIND,
            namespace: namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            name: name.unwrap_or_default(),
            uid: uid.unwrap_or_default(),
            generation: generation.unwrap_or_default(),
        }
    }
}

/// Lets an override name the controls of its kind alone.
pub(crate) fn name_controls(kind: Kind, schema: &mut Schema) {
    let control = schema.pointer_mut("/properties/overrides/items/properties/control").and_then(Value::as_object_mut);
    if let Some(control) = control {
        let ids = listed(kind).into_iter().map(|control| control.about.id.into()).collect();
        control.insert("enum".to_owned(), Value::Array(ids));
    }
}

/// A baseline of any kind, as a file or a cluster holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyBaseline {
    /// On security groups.
    SecurityGroup(Box<SecurityGroupBaseline>),
    /// On functions.
    Lambda(Box<LambdaBaseline>),
}

impl AnyBaseline {
    /// The baseline for the engine.
    pub fn compile(&self, namespace_labels: &BTreeMap<String, String>) -> Baseline {
        match self {
            Self::SecurityGroup(object) => object.compile(namespace_labels),
            Self::Lambda(object) => object.compile(namespace_labels),
        }
    }

    /// Names this generation of this object.
    pub fn reference(&self) -> BaselineRef {
        match self {
            Self::SecurityGroup(object) => object.reference(),
            Self::Lambda(object) => object.reference(),
        }
    }

    /// What the controller last wrote.
    pub fn status(&self) -> Option<&BaselineStatus> {
        match self {
            Self::SecurityGroup(object) => object.status(),
            Self::Lambda(object) => object.status(),
        }
    }

    /// The object as it is written.
    ///
    /// # Errors
    /// None in practice: plain values can be written as JSON.
    pub fn to_value(&self) -> serde_json::Result<Value> {
        match self {
            Self::SecurityGroup(object) => serde_json::to_value(object),
            Self::Lambda(object) => serde_json::to_value(object),
        }
    }

    /// The metadata of the object.
    pub fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::SecurityGroup(object) => object.meta_mut(),
            Self::Lambda(object) => object.meta_mut(),
        }
    }

    /// The metadata of the object.
    pub fn meta(&self) -> &ObjectMeta {
        match self {
            Self::SecurityGroup(object) => object.meta(),
            Self::Lambda(object) => object.meta(),
        }
    }
}
