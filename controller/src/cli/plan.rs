//! `baseward plan`: the controller's own line of data, once, from files, with nothing written.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use aws::{Connection, Connector, ConnectorOptions, Role};
use clap::{Args, ValueEnum};
use crds::AWSAccount;
use engine::desired::{Accepted, Desired};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::exempt::Exempting;
use engine::facts::{Inventory, Location, ReadFailure, Source};
use engine::finding::Verdict;
use engine::plan::{Permitted, plan as propose};
use engine::rails::{self, Circumstances, Moment};
use engine::tenancy::Account;
use jiff::Timestamp;
use kube::ResourceExt;

use super::load::{Documents, load};
use super::render;
use crate::accounts::{distrust, target};
use crate::seconds::seconds;

/// What to plan, and how to show it.
#[derive(Args, Clone, Debug)]
pub struct PlanOptions {
    /// Files with AWSAccount, baseline and exemption documents (and Namespaces, for grants by label); - is standard input.
    #[arg(short = 'f', long = "filename", required = true, value_name = "FILE", num_args = 1..)]
    files: Vec<PathBuf>,
    /// The installation id of the cluster that the baselines are meant for: it is part of the roles' external id.
    #[arg(long, default_value = "local", env = "BASEWARD_INSTALLATION_ID")]
    installation_id: String,
    /// How the plan is shown.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: Output,
    /// Lets the role of the instance that this runs on be used, if there is no better identity.
    #[arg(long)]
    allow_instance_role: bool,
    /// Time for one attempt of an AWS read, in seconds (0.1 to 300).
    #[arg(long, default_value = "30", value_parser = seconds::<300>)]
    read_seconds: Duration,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document with every finding, passes too, and every edit.
    Json,
}

/// Everything that is known of one account and region.
#[derive(Debug)]
pub struct CellPlan {
    /// The account and region.
    pub location: Location,
    /// Every verdict.
    pub evaluation: Evaluation,
    /// What would be changed, and what is held back.
    pub permitted: Permitted,
    /// Names of the groups, by id.
    pub names: std::collections::BTreeMap<String, String>,
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

/// Plans, shows the plan, and says by the exit code how things stand.
///
/// # Errors
/// Files that cannot be used, baselines that would not be accepted, accounts that cannot be reached.
pub async fn plan(options: PlanOptions) -> anyhow::Result<ExitCode> {
    let documents = load(&options.files)?;
    let (accounts, accepted) = accept(&documents)?;
    let exempting = exempting(&documents)?;
    let connector = Connector::new(ConnectorOptions {
        allow_instance_role: options.allow_instance_role,
        read_timeout: options.read_seconds,
        ..ConnectorOptions::default()
    })
    .await;
    let mut cells = Vec::new();
    for location in locations(&accepted) {
        let desired = accepted.iter().filter_map(|accepted| accepted.in_cell(&location));
        let desired: Vec<Desired> = desired.map(|desired| desired.exempted(&exempting)).collect();
        cells.push(cell(&location, &documents, &accounts, &desired, &connector, &options.installation_id).await?);
    }
    match options.output {
        Output::Text => print!("{}", render::text(&cells)),
        Output::Json => {
            eprint!("{}", render::unread(&cells));
            println!("{}", render::json(&cells)?);
        }
    }
    Ok(exit_code(&cells))
}

fn accept(documents: &Documents) -> anyhow::Result<(Vec<Account>, Vec<Accepted>)> {
    let accounts: Vec<Account> = documents.accounts.iter().map(AWSAccount::compile).collect();
    if documents.baselines.is_empty() {
        bail!("the files hold no baseline: `baseward init SecurityGroupBaseline` prints one to start from");
    }
    let (mut accepted, mut refusals) = (Vec::new(), Vec::new());
    for (object, namespace) in &documents.baselines {
        let baseline = object.compile(&namespace.labels);
        let title = format!("SecurityGroupBaseline {}", baseline.reference);
        match baseline.accept(&accounts) {
            Err(refusal) => refusals.push(format!("{title}: {refusal}")),
            Ok(_) if baseline.suspended => tracing::warn!(baseline = title, "Suspended: passed over"),
            Ok(found) if found.assignments.cells.is_empty() => {
                refusals.push(format!(
                    "{title}: no AWSAccount in the files matches and grants the namespace what it asks for"
                ));
            }
            Ok(found) => accepted.push(found),
        }
    }
    if !refusals.is_empty() {
        bail!("not accepted, as in the cluster:\n{}", refusals.join("\n"));
    }
    if accepted.is_empty() {
        bail!("every baseline in the files is suspended: there is nothing to judge");
    }
    Ok((accounts, accepted))
}

/// The exemptions of the files. One that cannot be used is an error here: in the cluster it would have no effect.
fn exempting(documents: &Documents) -> anyhow::Result<Vec<Exempting>> {
    let now = Timestamp::now();
    let (mut exempting, mut refusals) = (Vec::new(), Vec::new());
    for exemption in &documents.exemptions {
        if exemption.spec.expires.0 <= now {
            tracing::warn!(exemption = exemption.name_any(), "Exemption has ended: passed over");
            continue;
        }
        match exemption.compile(now).accept() {
            Ok(found) => exempting.push(found),
            Err(problem) => refusals.push(format!("BaselineExemption {}: {problem}", exemption.name_any())),
        }
    }
    if !refusals.is_empty() {
        bail!("not in effect, as in the cluster:\n{}", refusals.join("\n"));
    }
    Ok(exempting)
}

fn locations(accepted: &[Accepted]) -> Vec<Location> {
    let cells = accepted.iter().flat_map(|accepted| &accepted.assignments.cells);
    let mut locations: Vec<Location> = cells.map(|cell| cell.location.clone()).collect();
    locations.sort();
    locations.dedup();
    locations
}

async fn cell(
    location: &Location,
    documents: &Documents,
    accounts: &[Account],
    desired: &[Desired],
    connector: &Connector,
    installation_id: &str,
) -> anyhow::Result<CellPlan> {
    let object = documents.accounts.iter().find(|object| object.spec.account_id == location.account);
    let account = accounts.iter().find(|account| account.account_id == location.account);
    let (Some(object), Some(account)) = (object, account) else { bail!("no AWSAccount for {}", location.account) };
    let connection = connector.connect(&target(object, installation_id), &location.region);
    let mut account = account.clone();
    account.write_distrust = connection.prove(Role::Write).await.err().map(|error| error.to_string());
    let (inventory, foreign) = observe(&connection).await;
    let evaluation = evaluate(desired, &inventory, Timestamp::now(), Keep::All);
    let proposed = propose(desired, &inventory, &evaluation);
    let proposed = rails::hold(proposed, &inventory, &account, true);
    let moment = Moment { desired, circumstances: &Circumstances::default(), now: Timestamp::now() };
    let permitted = rails::apply(proposed, &inventory, &account, moment).stage;
    let groups = inventory.security_groups.facts().map(Vec::as_slice).unwrap_or_default();
    let names = groups.iter().map(|group| (group.id.clone(), group.name.clone())).collect();
    let failure = evaluation.failure.map(|failure| Unread::of(EVERYTHING, failure));
    let partial = evaluation.partial.iter().map(|(source, failure)| Unread::of(source, *failure));
    let unread = match foreign.or(failure) {
        Some(everything) => vec![everything],
        None => partial.collect(),
    };
    Ok(CellPlan { location: location.clone(), evaluation, permitted, names, unread })
}

/// Reads a cell, unless the role that reads is not proven to be of the account: then nothing is read, and this is why.
async fn observe(connection: &Connection) -> (Inventory, Option<Unread>) {
    let Err(error) = connection.prove(Role::Read).await else {
        return (aws::observe(connection, None, Timestamp::now).await, None);
    };
    let (distrust, now) = (distrust(&error), Timestamp::now());
    let failure = distrust.failure.unwrap_or(ReadFailure::AccessDenied);
    let inventory = Inventory {
        location: connection.location().clone(),
        security_groups: Source::failed(failure, now),
        network_interfaces: Source::failed(failure, now),
        prefix_lists: Source::failed(failure, now),
    };
    let advice = match distrust.failure {
        Some(failure) => format!("{}: {}", distrust.message, failure.advice()),
        None => distrust.message,
    };
    (inventory, Some(Unread { what: EVERYTHING, reason: distrust.reason, advice }))
}

/// 1 for anything unknown, else 2 for anything that fails and is not exempt, else 0.
fn exit_code(cells: &[CellPlan]) -> ExitCode {
    let findings = || cells.iter().flat_map(|cell| &cell.evaluation.baselines).flat_map(|baseline| &baseline.findings);
    let unread = cells.iter().any(|cell| !cell.unread.is_empty());
    if unread || findings().any(|finding| matches!(finding.verdict, Verdict::Unknown { .. })) {
        ExitCode::from(1)
    } else if findings().any(|finding| matches!(finding.verdict, Verdict::Fail { .. }) && finding.exempt.is_none()) {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}
