//! What can go wrong with the calls of an account.

use serde::{Deserialize, Serialize};

use super::{Direction, Rule};

/// One thing that goes wrong: what happens, and to which calls. By default it hits the first EC2 call, once.
#[derive(Debug, Clone, Serialize)]
pub struct Fault {
    #[serde(flatten)]
    kind: FaultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nth: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<u32>,
    /// `Some(None)` is sent as null: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<Option<u32>>,
}

/// What happens to a call.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum FaultKind {
    /// AWS says that there were too many requests.
    Throttle,
    /// The caller's permissions do not suffice.
    AccessDenied,
    /// The caller's credentials have expired.
    ExpiredToken,
    /// AWS fails before it does anything.
    InternalError,
    /// The call takes effect and answers an internal error.
    EffectThenError,
    /// The call takes effect and is not answered, forever or for some seconds.
    EffectThenHang {
        /// After these the connection is closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The call has no effect and is not answered, forever or for some seconds.
    Hang {
        /// After these the connection is closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The connection is reset before the call has an effect.
    Reset,
    /// The connection is reset after the call took effect.
    EffectThenReset,
    /// The answer ends in its middle.
    Truncate,
    /// The answer is not what AWS speaks.
    Garbage {
        /// The answer; something broken by default.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A read of security groups shows them as they were.
    Stale {
        /// How long ago.
        seconds: f64,
    },
    /// A page of an answer lacks items.
    PartialPage {
        /// How many are missing.
        items: u32,
    },
    /// A page of an answer carries the token of the page before, so that pages never end.
    RepeatToken,
    /// The answer takes its time.
    Latency {
        /// How much more time than usual.
        milliseconds: f64,
    },
    /// AWS answers an error of the test's choice.
    Custom {
        /// Such as `InvalidGroup.NotFound`.
        code: String,
        /// The HTTP status.
        status: u16,
        /// What AWS says about it.
        message: String,
    },
    /// Somebody else changes a group right before the call takes effect.
    ForeignWrite {
        /// What he does.
        change: ForeignChange,
    },
    /// Somebody else changes a function right before the call takes effect.
    #[serde(rename = "foreignWrite")]
    ForeignFunction {
        /// What he does, in the emulator's own JSON.
        change: serde_json::Value,
    },
}

impl FaultKind {
    /// One of each kind, short enough for a test that waits for its end.
    #[must_use]
    pub fn one_of_each(change: ForeignChange) -> Vec<Self> {
        let (code, message) = ("InvalidGroup.NotFound".to_owned(), "gone".to_owned());
        vec![
            Self::Throttle,
            Self::AccessDenied,
            Self::ExpiredToken,
            Self::InternalError,
            Self::EffectThenError,
            Self::EffectThenHang { seconds: Some(0.2) },
            Self::Hang { seconds: Some(0.2) },
            Self::Reset,
            Self::EffectThenReset,
            Self::Truncate,
            Self::Garbage { body: None },
            Self::Stale { seconds: 1.0 },
            Self::PartialPage { items: 1 },
            Self::RepeatToken,
            Self::Latency { milliseconds: 200.0 },
            Self::Custom { code, status: 400, message },
            Self::ForeignWrite { change },
        ]
    }

    /// Its name, in the emulator's spelling.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Throttle => "throttle",
            Self::AccessDenied => "accessDenied",
            Self::ExpiredToken => "expiredToken",
            Self::InternalError => "internalError",
            Self::EffectThenError => "effectThenError",
            Self::EffectThenHang { .. } => "effectThenHang",
            Self::Hang { .. } => "hang",
            Self::Reset => "reset",
            Self::EffectThenReset => "effectThenReset",
            Self::Truncate => "truncate",
            Self::Garbage { .. } => "garbage",
            Self::Stale { .. } => "stale",
            Self::PartialPage { .. } => "partialPage",
            Self::RepeatToken => "repeatToken",
            Self::Latency { .. } => "latency",
            Self::Custom { .. } => "custom",
            Self::ForeignWrite { .. } | Self::ForeignFunction { .. } => "foreignWrite",
        }
    }
}

/// What somebody else does to a security group.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignChange {
    group_id: String,
    authorize: Vec<ForeignRule>,
    revoke: Vec<ForeignRule>,
}

#[derive(Debug, Clone, Serialize)]
struct ForeignRule {
    egress: bool,
    #[serde(flatten)]
    rule: Rule,
}

impl ForeignChange {
    /// A change of a group that does nothing yet.
    #[must_use]
    pub fn of_group(id: &str) -> Self {
        Self { group_id: id.to_owned(), authorize: Vec::new(), revoke: Vec::new() }
    }

    /// Adds a rule.
    #[must_use]
    pub fn authorize(mut self, direction: Direction, rule: Rule) -> Self {
        self.authorize.push(ForeignRule::new(direction, rule));
        self
    }

    /// Removes a rule, found by its id if it has one, else by what it lets through.
    #[must_use]
    pub fn revoke(mut self, direction: Direction, rule: Rule) -> Self {
        self.revoke.push(ForeignRule::new(direction, rule));
        self
    }
}

impl ForeignRule {
    fn new(direction: Direction, rule: Rule) -> Self {
        Self { egress: direction == Direction::Egress, rule }
    }
}

/// How often a fault has matched and hit.
#[derive(Debug, Clone, Deserialize)]
pub struct FaultCount {
    /// Its kind, in the emulator's spelling.
    pub kind: String,
    /// The calls that it matched.
    pub seen: u32,
    /// The calls that it hit.
    pub fired: u32,
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self {
            kind,
            service: None,
            operation: None,
            region: None,
            principal: None,
            resource: None,
            nth: None,
            every: None,
            times: None,
        }
    }
}

impl Fault {
    /// Only calls of an operation, as a glob such as `Describe*`.
    #[must_use]
    pub fn on(self, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..self }
    }

    /// Only calls to a service: `sts`, `cloudtrail`, or `*` for any. EC2 by default.
    #[must_use]
    pub fn of_service(self, service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..self }
    }

    /// Only calls to a region.
    #[must_use]
    pub fn in_region(self, region: &str) -> Self {
        Self { region: Some(region.to_owned()), ..self }
    }

    /// Only calls by a principal, as a glob such as `*:role/writer`.
    #[must_use]
    pub fn by(self, principal: &str) -> Self {
        Self { principal: Some(principal.to_owned()), ..self }
    }

    /// Only calls that are to change the resource with this id.
    #[must_use]
    pub fn of_resource(self, id: &str) -> Self {
        Self { resource: Some(id.to_owned()), ..self }
    }

    /// From the n-th matching call on, counted from 1.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// Every n-th matching call, without end unless [`Self::times`] says so.
    #[must_use]
    pub fn every(self, every: u32) -> Self {
        Self { every: Some(every), ..self }
    }

    /// So many calls.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(Some(times)), ..self }
    }

    /// Each matching call until the faults are cleared.
    #[must_use]
    pub fn always(self) -> Self {
        Self { times: Some(None), ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, to_value};

    use super::*;

    #[test]
    fn faults_are_written_as_the_emulator_reads_them() -> anyhow::Result<()> {
        let written = |fault: Fault| -> anyhow::Result<Value> { Ok(to_value(fault)?) };
        assert_eq!(
            written(Fault::from(FaultKind::Throttle).on("Describe*").nth(2).always())?,
            json!({"kind": "throttle", "operation": "Describe*", "nth": 2, "times": null})
        );
        assert_eq!(written(FaultKind::EffectThenHang { seconds: None }.into())?, json!({"kind": "effectThenHang"}));
        let change = ForeignChange::of_group("sg-1")
            .authorize(Direction::Ingress, "tcp 22 0.0.0.0/0".parse()?)
            .revoke(Direction::Egress, "all 0.0.0.0/0".parse()?);
        let foreign = written(FaultKind::ForeignWrite { change }.into())?;
        assert_eq!(foreign.pointer("/change/groupId"), Some(&json!("sg-1")));
        assert_eq!(foreign.pointer("/change/authorize/0/toPort"), Some(&json!(22)));
        assert_eq!(foreign.pointer("/change/authorize/0/egress"), Some(&json!(false)));
        assert_eq!(foreign.pointer("/change/revoke/0/egress"), Some(&json!(true)));
        Ok(())
    }
}
