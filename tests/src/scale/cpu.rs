//! The engine alone: CPU time of evaluating and planning, on facts that were read as the controller reads them.
//!
//! It runs in a process of its own, since the credentials of an AWS client come from the environment.

use std::collections::BTreeSet;
use std::process::Stdio;

use anyhow::{Context as _, Result, anyhow, ensure};
use aws::{Connector, ConnectorOptions, Target};
use crds::{BaselineObject, SecurityGroupBaseline};
use engine::controls::security_group::Internet;
use engine::desired::Desired;
use engine::evaluate::{Keep, evaluate};
use engine::facts::{Inventory, Location};
use engine::kind::Kind;
use engine::plan::{Applied, Plan, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::report::{NAMED, report};
use engine::tenancy::Account;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::fleet::{ACCOUNT, ALL_CONTROLS, AN_EDIT_PER_GROUP, REGION, account, parsed};
use super::{Seconds, usage};
use crate::baseward::Program;
use crate::world::World;

/// The subcommand of the rig that runs [`print`].
pub const SUBCOMMAND: &str = "scale-cpu";

/// Baselines that look at the same groups.
const OVERLAPPING: u16 = 100;
/// Each step is repeated, and the median counts.
const RUNS: usize = 5;

/// Runs the child and reads what it prints.
pub(super) async fn measure(program: &Program, world: &World, subcommand: &str) -> Result<Seconds> {
    let mut command = program.rig_in(world, ACCOUNT);
    command.arg(subcommand).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = spawn_blocking(move || command.output()).await?.context("cannot start the rig again")?;
    ensure!(output.status.success(), "the engine could not be measured");
    serde_json::from_slice(&output.stdout).context("the child did not print its figures")
}

/// Reads the account that the environment leads to and prints the CPU time of each step as JSON.
///
/// # Errors
/// The account cannot be read whole, or holds nothing to plan.
pub async fn print() -> Result<()> {
    let (inventory, observe) = observe(Kind::SecurityGroup, &BTreeSet::new()).await;
    let mut seconds = Seconds::from([("observe".to_owned(), observe)]);
    ensure!(inventory.security_groups.facts().is_ok(), "the groups cannot be read");
    ensure!(inventory.network_interfaces.facts().is_ok(), "the interfaces cannot be read");
    seconds.extend(judged(&inventory)?);
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}

/// The lists of a kind as the controller reads them, and the CPU time of that. What takes its turn is not read.
pub(super) async fn observe(kind: Kind, sources: &BTreeSet<&'static str>) -> (Inventory, f64) {
    let connector = Connector::new(ConnectorOptions::default()).await;
    let target = Target {
        account_id: ACCOUNT.to_owned(),
        read_role: None,
        write_role: None,
        external_id: String::new(),
        rate_share: 100,
    };
    let before = usage::own_cpu();
    let (connection, unread) = (connector.connect(&target, REGION), Inventory::unread(location()));
    let observed = aws::observe(&connection, kind, sources, &|| unread.clone(), &Timestamp::now, &|| true).await;
    (observed.inventory, usage::own_cpu() - before)
}

/// Where everything is.
pub(super) fn location() -> Location {
    Location { account: ACCOUNT.to_owned(), region: REGION.to_owned() }
}

fn judged(inventory: &Inventory) -> Result<Seconds> {
    let account = account()?;
    let all_controls: SecurityGroupBaseline = parsed(ALL_CONTROLS)?;
    let one = [desired(&all_controls, &account, &inventory.location)?];
    let hundred: Vec<SecurityGroupBaseline> = (0..OVERLAPPING).map(|number| variant(&all_controls, number)).collect();
    let hundred: Vec<Desired> =
        hundred.iter().map(|object| desired(object, &account, &inventory.location)).collect::<Result<_>>()?;
    let steps = |desired: &[Desired]| Steps::median(Kind::SecurityGroup, desired, inventory, &account);
    let (one, hundred) = (steps(&one), steps(&hundred));
    ensure!(one.edits > 0, "nothing was planned");
    let proposing = [desired(&parsed::<SecurityGroupBaseline>(AN_EDIT_PER_GROUP)?, &account, &inventory.location)?];
    let proposing = steps(&proposing);
    let groups = inventory.security_groups.facts().map(Vec::len).unwrap_or_default();
    ensure!(proposing.proposed >= groups, "{} edits are proposed for {groups} groups", proposing.proposed);
    let step = |name: &str, seconds: f64| (name.to_owned(), seconds);
    Ok(Seconds::from([
        step("evaluate", one.evaluate),
        step("plan", one.plan),
        step("evaluate_and_plan", one.evaluate + one.plan),
        step("rails_and_report", one.rest),
        step("propose_an_edit_per_group", proposing.evaluate + proposing.plan + proposing.rest),
        step("evaluate_100_baselines", hundred.evaluate),
        step("plan_100_baselines", hundred.plan),
        step("evaluate_and_plan_100_baselines", hundred.evaluate + hundred.plan),
        step("rails_and_report_100_baselines", hundred.rest),
    ]))
}

/// One of the baselines that look at the same groups: another object that allows one more port to the internet.
fn variant(object: &SecurityGroupBaseline, number: u16) -> SecurityGroupBaseline {
    let mut variant = object.clone();
    variant.metadata.name = Some(format!("scale-{number}"));
    variant.metadata.uid = Some(format!("scale-{number}"));
    let internet: &mut Internet = variant.spec.parameters.internet.get_or_insert_default();
    internet.allow_ports.get_or_insert_default().push(format!("tcp/{}", 10_000 + number));
    variant
}

pub(super) fn desired(object: &impl BaselineObject, account: &Account, location: &Location) -> Result<Desired> {
    let accepted = object.compile(&Default::default()).accept(std::slice::from_ref(account));
    let accepted = accepted.map_err(|refusal| anyhow!("{refusal}"))?;
    accepted.in_cell(location).context("the baseline does not apply to the account")
}

/// CPU time of one line of data from the facts to the report.
pub(super) struct Steps {
    pub(super) evaluate: f64,
    pub(super) plan: f64,
    /// The rails, and the report on what they let through.
    pub(super) rest: f64,
    /// Verdicts that could not be reached.
    pub(super) unknown: u64,
    pub(super) edits: usize,
    /// The edits of those that wait for an approval.
    proposed: usize,
}

impl Steps {
    pub(super) fn median(kind: Kind, desired: &[Desired], inventory: &Inventory, account: &Account) -> Self {
        let runs: Vec<Self> = (0..RUNS).map(|_| Self::run(kind, desired, inventory, account)).collect();
        let of = |step: fn(&Self) -> f64| median(runs.iter().map(step).collect());
        Self {
            evaluate: of(|run| run.evaluate),
            plan: of(|run| run.plan),
            rest: of(|run| run.rest),
            unknown: runs.first().map_or(0, |run| run.unknown),
            edits: runs.first().map_or(0, |run| run.edits),
            proposed: runs.first().map_or(0, |run| run.proposed),
        }
    }

    fn run(kind: Kind, desired: &[Desired], inventory: &Inventory, account: &Account) -> Self {
        let now = Timestamp::now();
        let (evaluation, evaluate) = usage::thread_cpu(|| evaluate(kind, desired, inventory, now, Keep::Worst(NAMED)));
        let (proposed, plan) = usage::thread_cpu(|| plan(desired, inventory, &evaluation));
        let edits = proposed.stage.edits.len();
        let ((unknown, proposed), rest) = usage::thread_cpu(|| {
            let held = rails::hold_for_good(proposed, inventory, account);
            let held = rails::hold_for_now(held, account, true);
            let moment = Moment { desired, circumstances: &Circumstances::default(), now };
            let permitted = rails::apply(held, inventory, account, moment);
            let proposed = permitted.stage.to_propose.iter().map(|resource| resource.edits.len()).sum();
            let applied: Plan<Applied> = permitted.applied(Vec::new());
            let reports = report(&evaluation, &applied, now);
            let controls = reports.iter().flat_map(|report| &report.controls);
            (controls.map(|control| control.verdicts.unknown).sum(), proposed)
        });
        Self { evaluate, plan, rest, unknown, edits, proposed }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_baselines_are_accepted_and_differ() -> Result<()> {
        let (account, object) = (account()?, parsed(ALL_CONTROLS)?);
        let one = desired(&variant(&object, 0), &account, &location())?;
        let other = desired(&variant(&object, OVERLAPPING - 1), &account, &location())?;
        assert_ne!(one.parameters, other.parameters);
        Ok(())
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
