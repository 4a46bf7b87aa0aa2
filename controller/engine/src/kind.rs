//! The kinds of baselines, and the cells that each of them is worked on in.

use std::fmt;

use crate::facts::Location;

/// A kind of baseline: what good looks like for one service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `SecurityGroupBaseline`: EC2 security groups.
    SecurityGroup,
    /// `LambdaBaseline`: functions, their URLs and policies, layers, and the settings of the account.
    Lambda,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::SecurityGroup, Self::Lambda];

    /// The name of the kind in the Kubernetes API.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecurityGroup => "SecurityGroupBaseline",
            Self::Lambda => "LambdaBaseline",
        }
    }

    /// The kind of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What its resources are called, as in "the security groups could not be read".
    pub fn resources(self) -> &'static str {
        match self {
            Self::SecurityGroup => "security groups",
            Self::Lambda => "functions",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One kind of baseline in one account and region: the unit of planning, writing and failure.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// The account and region.
    pub location: Location,
    /// The kind.
    pub kind: Kind,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { location: Location { account, region }, kind } = self;
        write!(f, "{kind} in {account}/{region}")
    }
}
