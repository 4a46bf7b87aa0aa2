//! Looking at AWS once, from a terminal: the controller's own line of data, with nothing written.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use aws::{Connection, Connector, ConnectorOptions, Role};
use clap::Args;
use crds::AnyBaseline;
use engine::approval::Proposal;
use engine::controls::resources;
use engine::desired::{Accepted, Baseline, Desired, Refusal};
use engine::edit::{BaselineRef, Withheld};
use engine::evaluate::{Evaluation, Finding, Keep, evaluate};
use engine::exempt::Exempting;
use engine::facts::{Inventory, ReadFailure};
use engine::finding::Verdict;
use engine::kind::{Cell, Kind};
use engine::plan::{Permitted, Plan, Proposed, plan as propose};
use engine::rails::{self, Circumstances, Moment};
use engine::tenancy::Account;
use jiff::Timestamp;

use super::history::History;
use super::load::Documents;
use crate::accounts::{distrust, target};
use crate::seconds::seconds;

/// How AWS is reached.
#[derive(Args, Clone, Debug)]
pub struct Access {
    /// Lets the role of the instance that this runs on be used, if there is no better identity.
    #[arg(long)]
    allow_instance_role: bool,
    /// Time for one attempt of an AWS read, in seconds (0.1 to 300).
    #[arg(long, default_value = "30", value_parser = seconds::<300>)]
    read_seconds: Duration,
}

impl Access {
    /// The way to AWS.
    pub async fn connector(&self) -> Connector {
        Connector::new(ConnectorOptions {
            allow_instance_role: self.allow_instance_role,
            read_timeout: self.read_seconds,
            ..ConnectorOptions::default()
        })
        .await
    }
}

/// A baseline and whether it has any effect.
#[derive(Debug)]
pub struct Weighed {
    /// As it was written.
    pub baseline: Baseline,
    /// Whether it has any effect.
    pub standing: Standing,
}

/// Whether a baseline has any effect.
#[derive(Debug)]
pub enum Standing {
    /// It looks at these accounts and regions.
    InEffect(Box<Accepted>),
    /// It would, if it were not suspended.
    Suspended,
    /// It is accepted, and no account grants its namespace what it asks for.
    NoAccounts,
    /// It is not accepted.
    Refused(Refusal),
}

/// Judges every baseline as the controller does.
pub fn weigh(documents: &Documents, accounts: &[Account]) -> Vec<Weighed> {
    let weighed = documents.baselines.iter().map(|(object, namespace)| {
        let baseline = object.compile(&namespace.labels);
        let standing = match baseline.accept(accounts) {
            Err(refusal) => Standing::Refused(refusal),
            Ok(_) if baseline.suspended => Standing::Suspended,
            Ok(found) if found.assignments.cells.is_empty() => Standing::NoAccounts,
            Ok(found) => Standing::InEffect(Box::new(found)),
        };
        Weighed { baseline, standing }
    });
    weighed.collect()
}

/// The baselines that have an effect.
pub fn in_effect(weighed: &[Weighed]) -> impl Iterator<Item = &Accepted> {
    weighed.iter().filter_map(|weighed| match &weighed.standing {
        Standing::InEffect(accepted) => Some(accepted.as_ref()),
        Standing::Suspended | Standing::NoAccounts | Standing::Refused(_) => None,
    })
}

/// The cells that baselines look at, sorted.
pub fn cells_of<'a>(accepted: impl IntoIterator<Item = &'a Accepted>) -> Vec<Cell> {
    let cells = |accepted: &'a Accepted| {
        let kind = accepted.reference.kind;
        accepted.assignments.cells.iter().map(move |assigned| Cell { kind, location: assigned.location.clone() })
    };
    let mut cells: Vec<Cell> = accepted.into_iter().flat_map(cells).collect();
    cells.sort();
    cells.dedup();
    cells
}

/// Everything that is known of one cell.
#[derive(Debug)]
pub struct CellPlan {
    /// The kind, and the account and region.
    pub cell: Cell,
    /// What AWS said.
    pub inventory: Inventory,
    /// The baselines that look at it.
    pub desired: Vec<Desired>,
    /// Every verdict.
    pub evaluation: Evaluation,
    /// What would be changed, and what is held back.
    pub permitted: Permitted,
    /// Change sets that people decide on.
    pub proposals: Vec<Proposal>,
    /// Names of the resources whose id says less, by id.
    pub names: BTreeMap<String, String>,
    /// What could not be read, why, and what to do.
    pub unread: Vec<Unread>,
}

/// Something that could not be read.
#[derive(Debug)]
pub struct Unread {
    /// What: `all of it`, or a source.
    pub what: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
    /// What went wrong and what to do.
    pub advice: String,
}

impl Unread {
    fn of(what: &'static str, failure: ReadFailure) -> Self {
        Self { what, reason: failure.reason(), advice: failure.advice().to_owned() }
    }
}

/// What is unread where nothing can be read.
const EVERYTHING: &str = "it";

/// What all accounts and regions are looked at with.
#[derive(Debug)]
pub struct Look<'a> {
    /// The objects.
    pub documents: &'a Documents,
    /// The accounts among them, compiled.
    pub accounts: &'a [Account],
    /// The baselines that have an effect.
    pub accepted: Vec<&'a Accepted>,
    /// What is exempt.
    pub exempting: Vec<Exempting>,
    /// The way to AWS.
    pub connector: Connector,
    /// What makes external ids of this installation unlike those of others.
    pub installation_id: String,
    /// What happened before.
    pub history: History,
}

impl Look<'_> {
    /// Reads one account and region, judges everything there, and plans.
    ///
    /// # Errors
    /// There is no object for the account. What cannot be read is no error: the plan says so.
    pub async fn cell(&mut self, cell: &Cell) -> anyhow::Result<CellPlan> {
        let Cell { kind, location } = cell;
        let Self { documents, accounts, accepted, exempting, connector, installation_id, history: _ } = &*self;
        let mine = accepted.iter().filter(|accepted| accepted.reference.kind == *kind);
        let desired = mine.filter_map(|accepted| accepted.in_cell(location));
        let desired: Vec<Desired> = desired.map(|desired| desired.exempted(exempting)).collect();
        let object = documents.accounts.iter().find(|object| object.spec.account_id == location.account);
        let account = accounts.iter().find(|account| account.account_id == location.account);
        let (Some(object), Some(account)) = (object, account) else { bail!("no AWSAccount for {}", location.account) };
        let connection = connector.connect(&target(object, installation_id), &location.region);
        let mut account = account.clone();
        account.write_distrust = connection.prove(Role::Write).await.err().map(|error| error.to_string());
        account.writes_stopped |= self.is_stopped();
        let (inventory, foreign) = observe(&connection, *kind, &desired).await;
        let evaluation = evaluate(*kind, &desired, &inventory, Timestamp::now(), Keep::All);
        let held = rails::hold_for_good(propose(&desired, &inventory, &evaluation), &inventory, &account);
        self.history.ledger().look(&held, &evaluation, &desired, Timestamp::now());
        let held = rails::hold_for_now(held, &account, true);
        let (permitted, proposals) = self.permitted(held, &desired, &inventory, &account);
        let found = resources(*kind, &inventory).unwrap_or_default();
        let named = found.iter().filter(|resource| resource.id != resource.name);
        let names = named.map(|resource| (resource.id.to_owned(), resource.name.to_owned())).collect();
        let failure = evaluation.failure.map(|failure| Unread::of(EVERYTHING, failure));
        let partial = evaluation.partial.iter().map(|(source, failure)| Unread::of(source, *failure));
        let unread = match foreign.or(failure) {
            Some(everything) => vec![everything],
            None => partial.collect(),
        };
        let cell = cell.clone();
        Ok(CellPlan { cell, inventory, desired, evaluation, permitted, proposals, names, unread })
    }

    /// What the controller would let through now, and the change sets that people decide on.
    fn permitted(
        &mut self,
        held: Plan<Proposed>,
        desired: &[Desired],
        inventory: &Inventory,
        account: &Account,
    ) -> (Permitted, Vec<Proposal>) {
        let now = Timestamp::now();
        let known = self.history.circumstances(&held, now);
        self.history.ledger().hear(&known.proposals);
        let circumstances = Circumstances { too_many: self.too_many(desired, now), ..known };
        let moment = Moment { desired, circumstances: &circumstances, now };
        let permitted = rails::apply(held, inventory, account, moment);
        // Nothing is changed, so what is reserved must not count for the next cell.
        let (permitted, _) = self.history.ledger().clone().reserve(permitted, desired, account, now);
        (permitted.stage, circumstances.proposals)
    }

    /// The baselines that have to ask before they change so much. Of one with cells that were not looked at here the controller
    /// knows it, if there is one.
    fn too_many(&mut self, desired: &[Desired], now: Timestamp) -> BTreeMap<BaselineRef, Withheld> {
        let counted = self.history.ledger().too_many(desired, now);
        let known = counted.into_iter().filter_map(|(reference, reason)| match reason {
            Withheld::OtherCells => {
                let mut baselines = desired.iter();
                let share = baselines.find(|desired| desired.reference == reference)?.limits.max_share;
                let too_many = format!("more than {share} percent of what it selects would change within a day");
                let failed = "as the status of the baseline says".to_owned();
                let reasons = [Withheld::BlastRadius(too_many), Withheld::CanaryFailed(failed)];
                let reported = reasons.into_iter().find(|reason| self.reports(&reference, reason.reason()));
                reported.map(|reason| (reference, reason))
            }
            reason => Some((reference, reason)),
        });
        known.collect()
    }

    /// Whether the controller runs with the kill switch on: what it reports as stopped no account stops.
    fn is_stopped(&self) -> bool {
        let reason = Withheld::WritesStopped.reason();
        let mut baselines = self.documents.baselines.iter();
        self.accounts.iter().all(|account| !account.writes_stopped)
            && baselines.any(|(object, _)| self.reports(&object.reference(), reason))
    }

    /// Whether the status of a baseline counts edits that are withheld for this reason.
    fn reports(&self, baseline: &BaselineRef, reason: &str) -> bool {
        let mut baselines = self.documents.baselines.iter();
        let object = baselines.find(|(object, _)| object.reference() == *baseline).map(|(object, _)| object);
        let status = object.and_then(AnyBaseline::status);
        status.is_some_and(|status| {
            status.observed_generation == Some(baseline.generation) && status.withheld.contains_key(reason)
        })
    }
}

/// Reads a cell, unless the role that reads is not proven to be of the account: then nothing is read, and this is why.
async fn observe(connection: &Connection, kind: Kind, desired: &[Desired]) -> (Inventory, Option<Unread>) {
    let Err(error) = connection.prove(Role::Read).await else {
        let controls = desired.iter().flat_map(|desired| &desired.controls);
        let needed = controls.flat_map(|active| active.about.sources).copied().collect();
        let mut known = Inventory::unread(connection.location().clone());
        // What is read one by one takes as many looks as it needs: nobody judges half of it here.
        loop {
            let observed = aws::observe(connection, kind, &needed, &|| known.clone(), &Timestamp::now, &|| false).await;
            if !observed.more {
                return (observed.inventory, None);
            }
            known = observed.inventory;
        }
    };
    let (distrust, now) = (distrust(&error), Timestamp::now());
    let failure = distrust.failure.unwrap_or(ReadFailure::AccessDenied);
    let inventory = Inventory::failed(connection.location().clone(), failure, now);
    let advice = match distrust.failure {
        Some(failure) => format!("{}: {}", distrust.message, failure.advice()),
        None => distrust.message,
    };
    (inventory, Some(Unread { what: EVERYTHING, reason: distrust.reason, advice }))
}

/// 1 for anything unknown, else 2 for anything that fails and is not exempt, else 0.
pub fn exit_code<'f>(unread: bool, findings: impl Iterator<Item = &'f Finding>) -> ExitCode {
    let (mut unknown, mut failed) = (unread, false);
    for finding in findings {
        unknown |= matches!(finding.verdict, Verdict::Unknown { .. });
        failed |= matches!(finding.verdict, Verdict::Fail { .. }) && finding.exempt.is_none();
    }
    match (unknown, failed) {
        (true, _) => ExitCode::from(1),
        (false, true) => ExitCode::from(2),
        (false, false) => ExitCode::SUCCESS,
    }
}
