//! What runs are made on: of each kind a fleet, each resource bad in a way of its own, and the baseline that puts it right.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;

use super::names::Names;
use super::{functions, groups};
use crate::emulator::{AccountApi, Call, Seeded};
use crate::scenario::Scenario;

pub(super) const REGION: &str = "eu-west-1";
pub(super) const BASELINE: &str = "edge";

/// The services whose calls touch the resources, or say what they are.
const SERVICES: [&str; 3] = ["ec2", "lambda", "tagging"];

/// The resources of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fleet {
    Groups,
    Functions,
}

impl Fleet {
    pub(super) const ALL: [Self; 2] = [Self::Groups, Self::Functions];

    /// The kind of the baseline.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Groups => "SecurityGroupBaseline",
            Self::Functions => "LambdaBaseline",
        }
    }

    /// Makes the resources and applies the account and the baseline.
    pub(super) async fn set_up(self, scenario: &Scenario<'_>) -> Result<Seeded> {
        match self {
            Self::Groups => groups::set_up(scenario).await,
            Self::Functions => functions::set_up(scenario).await,
        }
    }

    /// The id of a resource by its name in every account.
    pub(super) fn id<'a>(self, seeded: &'a Seeded, name: &'a str) -> Result<&'a str> {
        match self {
            Self::Groups => seeded.group(name),
            Self::Functions => Ok(name),
        }
    }

    /// The name of the resource that a write is about, in every account.
    pub(super) fn target(self, call: &Call, names: &Names) -> String {
        match self {
            Self::Groups => names.translate(groups::target(call)),
            Self::Functions => functions::target(call).to_owned(),
        }
    }

    /// All resources in words.
    pub(super) async fn state(self, aws: &AccountApi, names: &Names) -> Result<BTreeSet<String>> {
        match self {
            Self::Groups => groups::state(aws, names).await,
            Self::Functions => functions::state(aws, names).await,
        }
    }

    /// What a call has touched, in words, before it and after it.
    pub(super) fn states(self, call: &Call, names: &Names) -> (BTreeSet<String>, BTreeSet<String>) {
        match self {
            Self::Groups => groups::states(call, names),
            Self::Functions => functions::states(call, names),
        }
    }
}

/// Whether a call is about the resources.
pub(super) fn is_about_resources(call: &Call) -> bool {
    call.service.as_deref().is_some_and(|service| SERVICES.contains(&service))
}

impl fmt::Display for Fleet {
    /// The service of its resources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Groups => "ec2",
            Self::Functions => "lambda",
        })
    }
}
