//! What is generated: one account and region, and the baselines that look at it.

use std::collections::BTreeMap;
use std::fmt;

use engine::controls::Parameters;
use engine::controls::security_group::SecurityGroupParameters;
use engine::desired::{Baseline, Desired};
use engine::edit::{Change, Edit};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{InterfaceUse, Inventory, Location, PrefixList, ReadFailure, Rule, SecurityGroup, Source};
use engine::kind::{Cell, Kind};
use engine::plan::{Permitted, Plan, Proposed, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::tenancy::Account;
use jiff::Timestamp;

/// The account that is looked at.
pub(crate) const ACCOUNT: &str = "111122223333";

/// The time of every sweep.
pub(crate) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// One account in one region.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) groups: Vec<SecurityGroup>,
    /// `None` if they could not be read.
    pub(crate) lists: Option<BTreeMap<String, PrefixList>>,
    /// `None` if they could not be read.
    pub(crate) usage: Option<BTreeMap<String, InterfaceUse>>,
    pub(crate) account: Account,
    pub(crate) baselines: Vec<Baseline>,
}

impl World {
    pub(crate) fn location(&self) -> Location {
        Location { account: ACCOUNT.to_owned(), region: "eu-west-1".to_owned() }
    }

    pub(crate) fn cell(&self) -> Cell {
        Cell { kind: Kind::SecurityGroup, location: self.location() }
    }

    /// A group by its id.
    pub(crate) fn group(&self, id: &str) -> &SecurityGroup {
        self.groups.iter().find(|group| group.id == id).expect("the group exists")
    }

    pub(crate) fn inventory(&self) -> Inventory {
        Inventory {
            security_groups: Source::complete(self.groups.clone(), NOW),
            network_interfaces: source(&self.usage),
            prefix_lists: source(&self.lists),
            ..Inventory::unread(self.location())
        }
    }

    /// The baselines that are accepted, compiled.
    pub(crate) fn desired(&self) -> Vec<Desired> {
        let accounts = std::slice::from_ref(&self.account);
        let accepted = self.baselines.iter().filter_map(|baseline| baseline.accept(accounts).ok());
        accepted.filter_map(|accepted| accepted.in_cell(&self.location())).collect()
    }

    pub(crate) fn evaluate(&self, desired: &[Desired]) -> Evaluation {
        evaluate(Kind::SecurityGroup, desired, &self.inventory(), NOW, Keep::All)
    }

    pub(crate) fn propose(&self, desired: &[Desired]) -> Plan<Proposed> {
        plan(desired, &self.inventory(), &self.evaluate(desired))
    }

    pub(crate) fn permit(&self, desired: &[Desired]) -> Permitted {
        self.check(self.propose(desired))
    }

    /// What the rails leave of a plan.
    pub(crate) fn check(&self, plan: Plan<Proposed>) -> Permitted {
        self.check_under(plan, &Circumstances::default())
    }

    /// What the rails leave of a plan after what came before.
    pub(crate) fn check_under(&self, plan: Plan<Proposed>, circumstances: &Circumstances) -> Permitted {
        let plan =
            rails::hold_for_now(rails::hold_for_good(plan, &self.inventory(), &self.account), &self.account, true);
        let moment = Moment { desired: &[], circumstances, now: NOW };
        rails::apply(plan, &self.inventory(), &self.account, moment).stage
    }
}

impl fmt::Debug for World {
    /// A counterexample as short as a person can read it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        for SecurityGroup { id, name, owner, vpc, tags, rules, .. } in &self.groups {
            writeln!(f, "\n{id} {name:?} of {owner} in {vpc}, tags {tags:?}")?;
            for rule in rules {
                writeln!(f, "    {}  {:?}", rule.grant, rule.description)?;
            }
        }
        writeln!(f, "lists {:?}", self.lists)?;
        writeln!(f, "usage {:?}", self.usage)?;
        let Account { namespaces, rules_per_group, .. } = &self.account;
        writeln!(f, "quota {rules_per_group}, grants {}", json(serde_json::to_string(namespaces)))?;
        for baseline in &self.baselines {
            write!(f, "{} {} ", baseline.reference, baseline.mode)?;
            write!(f, "select {} ", json(serde_json::to_string(&baseline.select)))?;
            write!(f, "overrides {} ", json(serde_json::to_string(&baseline.overrides)))?;
            write!(f, "code {:?} ", baseline.infrastructure_as_code.mode)?;
            writeln!(f, "{}", json(serde_json::to_string(parameters(baseline))))?;
        }
        Ok(())
    }
}

fn source<T: Clone>(facts: &Option<T>) -> Source<T> {
    match facts {
        Some(facts) => Source::complete(facts.clone(), NOW),
        None => Source::failed(ReadFailure::AccessDenied, NOW),
    }
}

/// What is permitted and what is withheld, an edit a line.
pub(crate) fn brief(permitted: &Permitted) -> String {
    let line = |edit: &Edit, why: &str| match &edit.change {
        Change::Properties(changes) => format!("{} {changes:?} {why}", edit.resource),
        Change::Tags { after, .. } => format!("{} tags {after:?} {why}", edit.resource),
        Change::Restore { rule, .. } => format!("{} gets {} back {why}", edit.resource, rule.grant),
        Change::Rule { before, after } => {
            let name = |rule: &Rule| format!("{} {:?}", rule.grant, rule.description);
            let after: Vec<String> = after.iter().map(name).collect();
            format!("{} {:?} -> {after:?} {:?} {why}", edit.resource, before.as_ref().map(name), edit.controls())
        }
    };
    let made = permitted.resources.iter().flat_map(|resource| &resource.edits).map(|edit| line(edit, ""));
    let held = permitted.withheld.iter().map(|held| line(&held.edit, held.reason.reason()));
    made.chain(held).collect::<Vec<String>>().join("\n")
}

/// What good looks like for the security groups of a baseline.
pub(crate) fn parameters(baseline: &Baseline) -> &SecurityGroupParameters {
    match &baseline.parameters {
        Parameters::SecurityGroup(parameters) => parameters,
        Parameters::Lambda(_) => unreachable!("only baselines of security groups are generated"),
    }
}

/// The same, to change it.
pub(crate) fn parameters_mut(baseline: &mut Baseline) -> &mut SecurityGroupParameters {
    match &mut baseline.parameters {
        Parameters::SecurityGroup(parameters) => parameters,
        Parameters::Lambda(_) => unreachable!("only baselines of security groups are generated"),
    }
}
