//! Budgets and the blast radius hold in every window of time, over cells side by side, restarts and retries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use engine::approval::{ChangeSetName, Decision, Proposal, Warrant};
use engine::budget::{Charge, DAY, Ledger, Reserved, Spent};
use engine::controls::Parameters;
use engine::desired::{Baseline, Desired};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{Inventory, Location, Rule, SecurityGroup, Source, Tags};
use engine::kind::{self, Kind};
use engine::plan::{Applied, Failure, Outcome, PermittedResource, Plan, Proposed, ResourceOutcome, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::spec::{Mode, NamespaceGrant, Select};
use engine::tenancy::Account;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::config;
use crate::dice::Dice;
use crate::generators::{OTHER_ACCOUNT, baseline};
use crate::world::{ACCOUNT, NOW};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Groups of each name in each cell. The first is the first baseline's alone, the second belongs to both, the third to the other.
const EACH: usize = 4;
const NAMES: [&str; 3] = ["db", "shop", "web"];
const SELECTED: [[&str; 2]; 2] = [["db", "shop"], ["shop", "web"]];

/// A cell in which every group is open.
struct Cell {
    location: Location,
    account: Account,
    desired: Vec<Desired>,
    inventory: Inventory,
    evaluation: Evaluation,
    proposed: Plan<Proposed>,
}

static CELLS: LazyLock<Vec<Cell>> = LazyLock::new(|| {
    let accounts =
        [account("prod", ACCOUNT, &["eu-west-1", "us-east-1"]), account("lab", OTHER_ACCOUNT, &["eu-west-1"])];
    let baselines = [closing("one", &SELECTED[0]), closing("two", &SELECTED[1])];
    let accepted: Vec<_> = baselines.iter().map(|baseline| baseline.accept(&accounts).unwrap()).collect();
    let cell = |account: &Account, region: &String| {
        let location = Location { account: account.account_id.clone(), region: region.clone() };
        let desired: Vec<Desired> = accepted.iter().filter_map(|accepted| accepted.in_cell(&location)).collect();
        let groups = NAMES.iter().flat_map(|name| (0..EACH).map(move |number| group(account, name, number)));
        let inventory = Inventory {
            security_groups: Source::complete(groups.collect(), NOW),
            network_interfaces: Source::complete(BTreeMap::new(), NOW),
            prefix_lists: Source::complete(BTreeMap::new(), NOW),
            ..Inventory::unread(location.clone())
        };
        let evaluation = evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::Worst(1));
        let proposed = rails::hold_for_good(plan(&desired, &inventory, &evaluation), &inventory, account);
        Cell { location, account: account.clone(), desired, inventory, evaluation, proposed }
    };
    let cells = accounts.iter().flat_map(|account| account.regions.iter().map(move |region| cell(account, region)));
    cells.collect()
});

fn account(name: &str, id: &str, regions: &[&str]) -> Account {
    let grant =
        NamespaceGrant { name: Some("team-0".to_owned()), max_mode: Mode::Enforce, ..NamespaceGrant::default() };
    Account {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        account_id: id.to_owned(),
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        namespaces: vec![grant],
        writable: true,
        write_distrust: None,
        writes_stopped: false,
        changes_per_hour: 0,
        rules_per_group: 60,
    }
}

/// A baseline that closes SSH on groups of these names.
fn closing(name: &str, names: &[&str]) -> Baseline {
    let mut baseline = baseline(&mut Dice::new(&[]), 0);
    baseline.reference.name = name.to_owned();
    baseline.reference.uid = name.to_owned();
    baseline.mode = Mode::Enforce;
    baseline.accounts.names = vec!["prod".to_owned(), "lab".to_owned()];
    baseline.select = Select { names: names.iter().map(|name| (*name).to_owned()).collect(), ..Select::default() };
    let parameters = serde_json::json!({"internet": {"denyPresets": ["Admin"]}});
    baseline.parameters = Parameters::SecurityGroup(serde_json::from_value(parameters).unwrap());
    baseline
}

/// An open group. Those of other cells have the same id.
fn group(account: &Account, name: &str, number: usize) -> SecurityGroup {
    let grant = engine::facts::Grant {
        direction: engine::facts::Direction::Ingress,
        traffic: "tcp/22".parse().unwrap(),
        peer: "0.0.0.0/0".parse().unwrap(),
    };
    SecurityGroup {
        id: format!("sg-{name}-{number}"),
        name: name.to_owned(),
        description: "front end of the shop".to_owned(),
        owner: account.account_id.clone(),
        vpc: "vpc-1".to_owned(),
        tags: Tags::new(),
        rules: vec![Rule { grant, description: Some("open".to_owned()) }],
    }
}

/// A resource that was changed, when, and for whom.
#[derive(Clone, Debug)]
struct Changed {
    at: Timestamp,
    location: Location,
    id: String,
    baselines: BTreeSet<String>,
    approved: bool,
}

/// A sweep that has paid and not settled yet.
struct Begun {
    at: Timestamp,
    resources: Vec<PermittedResource>,
    reserved: Reserved,
}

/// Cells that sweep at any times by one ledger, and everything that they changed.
struct Fleet {
    now: Timestamp,
    /// Limits for each cell, as this case has them.
    limited: Vec<(Vec<Desired>, Account)>,
    open: BTreeSet<(usize, String)>,
    ledger: Ledger,
    begun: BTreeMap<usize, Begun>,
    proposals: Vec<Proposal>,
    changed: Vec<Changed>,
}

impl Fleet {
    fn new(dice: &mut Dice<'_>) -> Self {
        let limits: Vec<(usize, u64)> = (0..2).map(|_| (1 + dice.below(5), *dice.pick(&[25, 10, 40, 100]))).collect();
        let accounts: [usize; 2] = [2 + dice.below(6), 2 + dice.below(6)];
        let limited = |cell: &Cell| {
            let mut desired = cell.desired.clone();
            for (desired, (per_hour, max_share)) in desired.iter_mut().zip(&limits) {
                (desired.limits.per_hour, desired.limits.max_share) = (*per_hour, *max_share);
            }
            let changes_per_hour = accounts[usize::from(cell.account.name != "prod")];
            (desired, Account { changes_per_hour, ..cell.account.clone() })
        };
        Self {
            now: NOW,
            limited: CELLS.iter().map(limited).collect(),
            open: BTreeSet::new(),
            ledger: Ledger::default(),
            begun: BTreeMap::new(),
            proposals: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// Somebody opens some groups of a cell.
    fn open(&mut self, dice: &mut Dice<'_>) {
        for _ in 0..1 + dice.below(4) {
            let id = format!("sg-{}-{}", dice.pick(&NAMES), dice.below(EACH));
            self.open.insert((dice.below(CELLS.len()), id));
        }
    }

    /// Looks at a cell and pays for what is permitted there; what has to wait for an approval may get one.
    fn begin(&mut self, number: usize, approves: bool) {
        if self.begun.contains_key(&number) {
            return;
        }
        let (cell, (desired, account)) = (&CELLS[number], &self.limited[number]);
        let mut proposed = cell.proposed.clone();
        proposed.stage.edits.retain(|proposed| self.open.contains(&(number, proposed.edit.resource.clone())));
        self.ledger.look(&proposed, &cell.evaluation, desired, self.now);
        let too_many = self.ledger.too_many(desired, self.now);
        let of_cell = self.proposals.iter().filter(|proposal| proposal.name.namespace == number.to_string());
        let proposals = of_cell.cloned().collect();
        let circumstances = Circumstances { too_many, proposals, ..Circumstances::default() };
        let moment = Moment { desired, circumstances: &circumstances, now: self.now };
        let permitted = rails::apply(proposed, &cell.inventory, account, moment);
        let (permitted, reserved) = self.ledger.reserve(permitted, desired, account, self.now);
        if approves && let Some(waiting) = permitted.stage.to_propose.first() {
            self.proposals.push(approved(number, waiting));
        }
        self.begun.insert(number, Begun { at: self.now, resources: permitted.stage.resources, reserved });
    }

    /// Ends the sweep of a cell: what came of each resource is known, and written down.
    fn end(&mut self, number: usize, dice: &mut Dice<'_>) {
        let Some(Begun { resources, reserved, .. }) = self.begun.remove(&number) else { return };
        let mut outcomes = Vec::new();
        for resource in resources {
            let (outcome, calls_verified, touched) = match dice.below(5) {
                0 | 1 => (Outcome::Verified, 1, true),
                2 => (Outcome::Withheld(engine::edit::Withheld::ForeignChange), 0, false),
                3 => (Outcome::Failed(Failure::OutcomeUnknown), 0, true),
                _ => (Outcome::Withheld(engine::edit::Withheld::NotLeader), 1, true),
            };
            if touched {
                self.change(number, &resource, self.now);
            }
            outcomes.push(ResourceOutcome {
                id: resource.target.id.clone(),
                edits: resource.edits,
                warrant: resource.warrant,
                outcome,
                calls_verified,
                request_ids: Vec::new(),
                finished_at: self.now,
            });
        }
        let stage = Applied { outcomes, withheld: Vec::new() };
        self.ledger.settle(
            reserved,
            &Plan { cell: kind::Cell { kind: Kind::SecurityGroup, location: CELLS[number].location.clone() }, stage },
        );
    }

    fn change(&mut self, number: usize, resource: &PermittedResource, at: Timestamp) {
        let demands = resource.edits.iter().flat_map(|edit| &edit.demands);
        self.open.remove(&(number, resource.target.id.clone()));
        self.changed.push(Changed {
            at,
            location: CELLS[number].location.clone(),
            id: resource.target.id.clone(),
            baselines: demands.map(|demand| demand.baseline.to_string()).collect(),
            approved: resource.warrant != Warrant::Baselines,
        });
    }

    /// The process dies in the midst of its sweeps, and the next one reads the journal. Of what has no outcome nobody knows
    /// whether it was made.
    fn restart(&mut self, dice: &mut Dice<'_>) {
        let begun = std::mem::take(&mut self.begun);
        let mut unsure = Vec::new();
        for (number, Begun { at, resources, .. }) in begun {
            for resource in resources {
                let made = self.changed.len();
                self.change(number, &resource, at);
                if dice.one_in(2) {
                    unsure.extend(self.changed.drain(made..));
                }
            }
        }
        self.ledger = Ledger::default();
        let journal = self.changed.iter().chain(&unsure).filter(|changed| self.now.duration_since(changed.at) < DAY);
        for Changed { at, location, id, baselines, approved } in journal {
            for baseline in baselines {
                let charge = Charge {
                    location: location.clone(),
                    resource: id.clone(),
                    kind: Kind::SecurityGroup,
                    baseline: baseline.clone(),
                };
                self.ledger.enter(charge, Spent { at: *at, approved: *approved });
            }
        }
    }

    /// Time goes by; no sweep takes longer than the half of an hour.
    fn wait(&mut self, dice: &mut Dice<'_>) {
        let minutes = *dice.pick(&[1, 10, 30, 59, 60, 61, 10 * 60, 23 * 60]);
        let until = self.now + SignedDuration::from_mins(minutes);
        let late: Vec<usize> =
            self.begun.iter().filter(|(_, begun)| until - HOUR / 2 > begun.at).map(|(number, _)| *number).collect();
        for number in late {
            self.end(number, dice);
        }
        self.now = until;
    }

    /// The resources that were changed within so long until some time, if they are wanted.
    fn within(&self, span: SignedDuration, until: Timestamp, wanted: impl Fn(&Changed) -> bool) -> usize {
        let recent =
            |changed: &&Changed| changed.at <= until && until.duration_since(changed.at) < span && wanted(changed);
        let resources = self.changed.iter().filter(recent).map(|changed| (&changed.location, &changed.id));
        resources.collect::<BTreeSet<_>>().len()
    }
}

/// A change set of what waits in a cell, approved.
fn approved(number: usize, waiting: &PermittedResource) -> Proposal {
    let changes = waiting.edits.iter().map(|edit| (edit.resource.clone(), edit.change.clone())).collect();
    Proposal {
        name: ChangeSetName { namespace: number.to_string(), name: waiting.target.id.clone() },
        baseline: waiting.edits[0].demands[0].baseline.clone(),
        decision: Decision::Approved,
        changes,
        proposed_at: NOW,
    }
}

/// A fleet after some events.
fn fleet(numbers: &[u16]) -> Fleet {
    let mut dice = Dice::new(numbers);
    let mut fleet = Fleet::new(&mut dice);
    for _ in 0..numbers.len() / 4 {
        match dice.below(12) {
            0..=4 => fleet.begin(dice.below(CELLS.len()), dice.one_in(3)),
            5..=7 => fleet.end(dice.below(CELLS.len()), &mut dice),
            8 | 9 => fleet.open(&mut dice),
            10 => fleet.wait(&mut dice),
            _ => fleet.restart(&mut dice),
        }
    }
    (0..CELLS.len()).for_each(|number| fleet.end(number, &mut dice));
    fleet
}

proptest! {
    #![proptest_config(config())]

    /// In no hour more resources are changed than the account allows, and than a baseline that asks alone allows; in no
    /// day more of its selection than its share is, but for what somebody approved.
    #[test]
    fn no_hour_and_no_day_has_more_changes_than_are_allowed(numbers in prop::collection::vec(any::<u16>(), 0..240)) {
        let fleet = fleet(&numbers);
        for last in &fleet.changed {
            for (_, account) in &fleet.limited {
                let in_account = fleet.within(HOUR, last.at, |changed| changed.location.account == account.account_id);
                prop_assert!(in_account <= account.changes_per_hour, "{in_account} in {:?}", fleet.changed);
            }
            for Desired { reference, limits, .. } in &fleet.limited[0].0 {
                let alone = BTreeSet::from([reference.to_string()]);
                let hour = fleet.within(HOUR, last.at, |changed| changed.baselines == alone);
                prop_assert!(hour <= limits.per_hour, "{hour} for {reference} in {:?}", fleet.changed);
                let day = fleet.within(DAY, last.at, |changed| changed.baselines == alone && !changed.approved);
                let selected = CELLS.len() * EACH * 2;
                let most = selected * usize::try_from(limits.max_share).unwrap() / 100;
                prop_assert!(day <= most, "{day} of {selected} for {reference} in {:?}", fleet.changed);
            }
        }
    }
}

#[test]
fn the_generated_fleets_reach_their_limits() {
    let (mut hours, mut days, mut approvals) = (0, 0, 0);
    for numbers in crate::numbers(500, 240) {
        let fleet = fleet(&numbers);
        for last in &fleet.changed {
            let Desired { reference, limits, .. } = &fleet.limited[0].0[0];
            let alone = BTreeSet::from([reference.to_string()]);
            hours += usize::from(fleet.within(HOUR, last.at, |changed| changed.baselines == alone) == limits.per_hour);
            days +=
                usize::from(fleet.within(DAY, last.at, |changed| changed.baselines == alone && !changed.approved) >= 2);
            approvals += usize::from(last.approved);
        }
    }
    assert!(hours > 100 && days > 100 && approvals > 50, "{hours} full hours, {days} busy days, {approvals} approvals");
}
