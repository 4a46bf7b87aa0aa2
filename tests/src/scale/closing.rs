//! The repair of the bad groups: how many calls it took, and in which order.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use crds::SecurityGroupBaseline;
use engine::controls::security_group::controls;
use serde::Serialize;

use super::rest::{Counts, count, is_write};
use crate::emulator::{BadGroup, Call, Rule};

/// So many of the worst groups must be closed before all others.
const WORST: usize = 50;

/// The ports of `internet.allowPorts`.
const ALLOWED_PORTS: [u16; 2] = [80, 443];
/// Ports by which one administers a machine: open to the world they are critical.
const ADMIN_PORTS: [u16; 5] = [22, 23, 3389, 5985, 5986];

/// What the repair came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Closed {
    /// All write calls, by operation.
    pub(super) write_calls: Counts,
    /// The most write calls that any group took.
    pub(super) write_calls_per_group: u64,
    /// The most write calls that any group took of which something only had to be removed.
    pub(super) write_calls_per_removal: u64,
    /// The most write calls of one operation that any group took. The operation names the direction.
    pub(super) write_calls_per_group_and_operation: u64,
    /// Whether the worst groups were closed before all others.
    pub(super) worst_closed_first: bool,
    /// How long the worst groups were open after `Enforce` was asked for.
    pub(super) seconds_to_close_worst: f64,
    /// How long the last group was.
    pub(super) seconds_to_close_all: f64,
}

/// How bad a group is, judged by nothing but its seed: whether it is critical, and how many ports it opens to the world.
/// The whole of IPv4 and the whole of IPv6 weigh the same.
type Badness = (bool, i64);

impl Closed {
    /// Judges the calls that followed on `Enforce`, which was asked for at `began`, in seconds since 1970.
    pub(super) fn of(bad: &[BadGroup], calls: &[Call], began: f64) -> Result<Self> {
        let writes: Vec<&Call> = calls.iter().filter(|call| is_write(call)).collect();
        let of_group = writes_of_groups(&writes)?;
        let mut closed = Vec::new();
        for group in bad {
            let writes = of_group.get(group.group_id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let last = writes.last().with_context(|| format!("{} was never written", group.group_id))?;
            closed.push((last.seq, last.time, group));
        }
        closed.sort_by_key(|(seq, _, _)| *seq);
        let most = |groups: &mut dyn Iterator<Item = usize>| groups.max().unwrap_or_default() as u64;
        let removals = bad.iter().filter(|group| keeps_nothing(group));
        let removals = removals.filter_map(|group| of_group.get(group.group_id.as_str()));
        let order: Vec<Badness> = closed.iter().map(|(_, _, group)| badness(group)).collect();
        let time_of = |position: usize| closed.get(position).or(closed.last()).map_or(0.0, |(_, time, _)| time - began);
        Ok(Self {
            write_calls_per_group: most(&mut of_group.values().map(Vec::len)),
            write_calls_per_removal: most(&mut removals.map(Vec::len)),
            write_calls_per_group_and_operation: most(&mut of_group.values().map(|writes| repeated(writes))),
            worst_closed_first: worst_first(&order, WORST),
            seconds_to_close_worst: time_of(WORST - 1),
            seconds_to_close_all: time_of(usize::MAX),
            write_calls: count(writes),
        })
    }
}

/// The writes that each group got, in their order.
fn writes_of_groups<'c>(writes: &[&'c Call]) -> Result<BTreeMap<&'c str, Vec<&'c Call>>> {
    let mut of_group: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for &write in writes {
        let id = write.parameters.get("GroupId").and_then(|id| id.as_str());
        let id = id.with_context(|| format!("{} names no group", write.operation()))?;
        of_group.entry(id).or_default().push(write);
    }
    Ok(of_group)
}

/// How often the most frequent operation occurs.
fn repeated(writes: &[&Call]) -> usize {
    let counts = count(writes.iter().copied());
    counts.into_values().max().map_or(0, |most| most as usize)
}

/// Whether none of the first `worst` is less bad than any that follows.
fn worst_first(order: &[Badness], worst: usize) -> bool {
    let (first, rest) = order.split_at(worst.min(order.len()));
    rest.iter().all(|later| first.iter().all(|earlier| earlier >= later))
}

fn badness(group: &BadGroup) -> Badness {
    let unwanted = group.rules.iter().filter(|rule| is_unwanted(rule));
    let badness = unwanted.map(|rule| (is_critical(rule), exposed_ports(rule)));
    badness.max().unwrap_or_default()
}

/// Whether nothing that the bad rules open may stay.
fn keeps_nothing(group: &BadGroup) -> bool {
    let unwanted = group.rules.iter().filter(|rule| is_unwanted(rule));
    unwanted.into_iter().all(|rule| !ALLOWED_PORTS.iter().any(|port| opens(rule, *port)))
}

/// Whether a rule opens to the world what may not be open.
pub(super) fn is_unwanted(rule: &Rule) -> bool {
    matches!(rule.peer.as_str(), "0.0.0.0/0" | "::/0") && exposed_ports(rule) > 0
}

fn is_critical(rule: &Rule) -> bool {
    ADMIN_PORTS.iter().any(|port| opens(rule, *port))
}

fn opens(rule: &Rule, port: u16) -> bool {
    let (from, to) = ports(rule);
    (from..=to).contains(&i64::from(port))
}

/// The seed has TCP and all traffic only.
fn ports(rule: &Rule) -> (i64, i64) {
    let port = |given: Option<i32>, other: i64| given.map_or(other, i64::from);
    (port(rule.from_port, 0), port(rule.to_port, 65_535))
}

fn exposed_ports(rule: &Rule) -> i64 {
    let (from, to) = ports(rule);
    let protocols = if rule.protocol == "-1" { 256 } else { 1 };
    let allowed = ALLOWED_PORTS.iter().filter(|port| opens(rule, **port)).count() as i64;
    (to - from + 1) * protocols - allowed
}

/// Whether the status says that nothing is open to the world that may not be.
pub(super) fn is_closed(baseline: &SecurityGroupBaseline) -> bool {
    const FIELDS: [&str; 3] = ["internet.allowPorts", "internet.denyAllTraffic", "internet.denyPresets"];
    let enforced: Vec<&str> =
        controls().filter(|control| FIELDS.contains(&control.about.field)).map(|control| control.about.id).collect();
    let status = baseline.status.clone().unwrap_or_default();
    let current = status.observed_generation == baseline.metadata.generation;
    let of_enforced: Vec<_> =
        status.controls.iter().filter(|control| enforced.contains(&control.id.as_str())).collect();
    current
        && of_enforced.len() == enforced.len()
        && of_enforced.iter().all(|control| control.mode == engine::spec::Mode::Enforce && control.fail == 0)
}

/// Seconds since 1970, as the ledger counts.
pub(super) fn now() -> Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    ensure!(now > 0.0, "the clock stands at 1970");
    Ok(now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(id: &str, rules: &[&str]) -> Result<BadGroup> {
        Ok(BadGroup {
            group_id: id.to_owned(),
            name: id.to_owned(),
            problem: String::new(),
            rules: rules.iter().map(|rule| rule.parse()).collect::<Result<_>>()?,
        })
    }

    fn call(seq: u64, operation: &str, group: &str) -> Result<Call> {
        let parameters = json!({"GroupId": group});
        let call =
            json!({"seq": seq, "time": seq as f64, "operation": operation, "parameters": parameters, "effect": true});
        Ok(serde_json::from_value(call)?)
    }

    const AUTHORIZE: &str = "AuthorizeSecurityGroupIngress";
    const REVOKE: &str = "RevokeSecurityGroupIngress";

    #[test]
    fn calls_are_counted_per_group_and_operation() -> Result<()> {
        let bad = [group("sg-1", &["all 0.0.0.0/0"])?, group("sg-2", &["tcp 22 0.0.0.0/0", "tcp 443 0.0.0.0/0"])?];
        let calls = [
            call(7, "DescribeSecurityGroups", "sg-1")?,
            call(8, AUTHORIZE, "sg-1")?,
            call(9, REVOKE, "sg-1")?,
            call(11, REVOKE, "sg-2")?,
        ];
        let closed = Closed::of(&bad, &calls, 1.0)?;
        assert_eq!((closed.write_calls_per_group, closed.write_calls_per_removal), (2, 1));
        assert_eq!((closed.write_calls_per_group_and_operation, closed.worst_closed_first), (1, true));
        assert_eq!(closed.seconds_to_close_all, 10.0);
        assert!(Closed::of(&bad, &calls[..3], 1.0).is_err());
        Ok(())
    }

    #[test]
    fn badness_is_severity_first_and_then_exposure() -> Result<()> {
        let badness = |rule: &str| Ok::<_, anyhow::Error>(badness(&group("sg", &[rule])?));
        let order = ["all ::/0", "tcp 0-65535 0.0.0.0/0", "tcp 20-30 ::/0", "tcp 22 0.0.0.0/0", "tcp 5000-5900 ::/0"];
        let order: Vec<Badness> = order.iter().map(|rule| badness(rule)).collect::<Result<_>>()?;
        assert_eq!(badness("tcp 22 ::/0")?, badness("tcp 22 0.0.0.0/0")?);
        assert!(order.is_sorted_by(|one, other| one > other), "{order:?}");
        assert!(worst_first(&order, 3));
        let turned: Vec<Badness> = order.iter().rev().copied().collect();
        assert!(!worst_first(&turned, 3));
        assert!(worst_first(&turned, 50));
        Ok(())
    }
}
