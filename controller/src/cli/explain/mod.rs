//! `baseward explain`: everything about one resource, and nothing written.

mod render;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use crds::AWSAccount;
use engine::approval::{Proposal, proposal};
use engine::controls::resources;
use engine::desired::Scope;
use engine::edit::{BaselineRef, Edit, Impact, Withheld};
use engine::evaluate::{BaselineEvaluation, Finding};
use engine::exempt::Exempting;
use engine::facts::{Location, Resource};
use engine::finding::Verdict;
use engine::kind::{Cell, Kind};
use engine::tenancy::Account;

use super::history::History;
use super::load::{Documents, load};
use super::look::{Access, CellPlan, Look, Standing, Unread, Weighed, cells_of, exit_code, in_effect, weigh};
use super::output::{show, show_line};
use super::plan::{self, Output};
use super::{cluster, render as plan_render};
use crate::{kubernetes, run};

/// Which resource, where to look, and how to show it.
#[derive(Args, Clone, Debug)]
pub struct ExplainOptions {
    /// Id of a security group, such as sg-0f12, name of a function, or layer:NAME:VERSION.
    resource: String,
    /// Files with AWSAccount, baseline and exemption documents (and Namespaces, for grants by label); - is standard input. Left
    /// out: what is in the cluster of the current kubeconfig.
    #[arg(short = 'f', long = "filename", value_name = "FILE", num_args = 1..)]
    files: Vec<PathBuf>,
    /// Look only in the account with this id.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Look only in this region.
    #[arg(long)]
    region: Option<String>,
    /// The installation id, which is part of the roles' external id. Left out: that of the cluster; local with -f.
    #[arg(long, env = "BASEWARD_INSTALLATION_ID")]
    installation_id: Option<String>,
    /// How it is shown.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    access: Access,
}

/// What is known of one resource.
struct Explanation<'c> {
    cell: &'c CellPlan,
    resource: Resource<'c>,
    baselines: Vec<View<'c>>,
    /// How many baselines look at other accounts and regions alone.
    elsewhere: usize,
    /// Every edit of the group, worst first.
    edits: Vec<Explained<'c>>,
}

/// An edit, what holds it back, and the change set in which people decide on it.
#[derive(Clone, Copy)]
struct Explained<'c> {
    edit: &'c Edit,
    held: Option<&'c Withheld>,
    change_set: Option<&'c Proposal>,
}

/// One baseline and the group.
struct View<'c> {
    baseline: &'c BaselineRef,
    sight: Sight<'c>,
}

/// How a baseline sees a group.
enum Sight<'c> {
    Seen { scope: Scope, evaluation: &'c BaselineEvaluation, findings: Vec<&'c Finding> },
    Unseen { reason: &'static str, why: String },
}

/// Finds the group, says all about it, and by the exit code how it stands.
///
/// # Errors
/// The objects cannot be read, no baseline has an effect where it is to be looked, or the group is not found.
pub async fn explain(options: ExplainOptions) -> anyhow::Result<ExitCode> {
    let Source { documents, exempting, installation_id, history } = read(&options).await?;
    let accounts: Vec<Account> = documents.accounts.iter().map(AWSAccount::compile).collect();
    let weighed = weigh(&documents, &accounts);
    let mut look = Look {
        documents: &documents,
        accounts: &accounts,
        accepted: in_effect(&weighed).collect(),
        exempting,
        connector: options.access.connector().await,
        installation_id,
        history,
    };
    let cell = find(&mut look, &weighed, &options).await?;
    let Some(explanation) = Explanation::of(&options.resource, &cell, &weighed) else {
        bail!("{} went away while it was looked at", options.resource);
    };
    match options.output {
        Output::Text => show(render::text(&explanation))?,
        Output::Json => {
            eprint!("{}", plan_render::unread(std::slice::from_ref(&cell)));
            show_line(render::json(&explanation)?)?;
        }
    }
    Ok(exit_code(!cell.unread.is_empty(), explanation.findings()))
}

/// Where the objects are from.
struct Source {
    documents: Documents,
    exempting: Vec<Exempting>,
    installation_id: String,
    history: History,
}

async fn read(options: &ExplainOptions) -> anyhow::Result<Source> {
    if options.files.is_empty() {
        let client = kubernetes::client().await?;
        let documents = cluster::load(&client).await?;
        let installation_id = run::installation_id(options.installation_id.as_deref(), &client).await?;
        let (exempting, history) = (cluster::exempting(&documents), History::read(&client).await?);
        return Ok(Source { documents, exempting, installation_id, history });
    }
    let documents = load(&options.files)?;
    let installation_id = options.installation_id.clone().unwrap_or_else(|| "local".to_owned());
    Ok(Source { exempting: plan::exempting(&documents)?, documents, installation_id, history: History::default() })
}

/// The account and region that a group is in. A group that is shared with other accounts is explained where it belongs, if that
/// is looked at.
async fn find(look: &mut Look<'_>, weighed: &[Weighed], options: &ExplainOptions) -> anyhow::Result<CellPlan> {
    let is_wanted = |location: &Location| {
        options.account.as_ref().is_none_or(|account| *account == location.account)
            && options.region.as_ref().is_none_or(|region| *region == location.region)
    };
    let kind = kind(&options.resource);
    let cells: Vec<Cell> = cells_of(in_effect(weighed))
        .into_iter()
        .filter(|cell| cell.kind == kind && is_wanted(&cell.location))
        .collect();
    if cells.is_empty() {
        bail!("{}", nowhere_to_look(weighed));
    }
    let (mut shared, mut looked_at) = (None, Vec::new());
    for wanted in &cells {
        let cell = look.cell(wanted).await?;
        match resource(&cell, &options.resource).map(|found| found.owner == wanted.location.account) {
            Some(true) => return Ok(cell),
            Some(false) => shared = shared.or(Some(cell)),
            None => looked_at.push(place(&cell)),
        }
    }
    match shared {
        Some(cell) => Ok(cell),
        None => bail!(
            "{} was not found: check its id, or have a baseline look at its account and region. Looked at were:\n{}",
            options.resource,
            looked_at.join("\n")
        ),
    }
}

/// What a resource is that is named so.
fn kind(id: &str) -> Kind {
    if id.starts_with("sg-") { Kind::SecurityGroup } else { Kind::Lambda }
}

fn nowhere_to_look(weighed: &[Weighed]) -> String {
    let line = |Weighed { baseline, standing }: &Weighed| match sight_without_cell(standing) {
        Some((reason, why)) => format!("  {}: {why} ({reason})", baseline.reference),
        None => format!("  {}: looks elsewhere", baseline.reference),
    };
    match weighed {
        [] => "there is no baseline: `baseward init SecurityGroupBaseline` prints one to start from".to_owned(),
        weighed => {
            let lines: Vec<String> = weighed.iter().map(line).collect();
            format!(
                "no baseline looks there: mend one, or leave out --account and --region. There are:\n{}",
                lines.join("\n")
            )
        }
    }
}

/// An account and region that was looked at, and what could not be read of it.
fn place(cell: &CellPlan) -> String {
    let Location { account, region } = &cell.cell.location;
    let unread = cell
        .unread
        .iter()
        .map(|Unread { what, reason, advice }| format!("; {what} could not be read ({reason}): {advice}"));
    format!("  account {account}, region {region}{}", unread.collect::<String>())
}

fn resource<'c>(cell: &'c CellPlan, id: &str) -> Option<Resource<'c>> {
    let found = resources(cell.cell.kind, &cell.inventory).ok()?;
    found.into_iter().find(|resource| resource.id == id)
}

/// Why a baseline sees nothing anywhere, if it does not.
fn sight_without_cell(standing: &Standing) -> Option<(&'static str, String)> {
    match standing {
        Standing::InEffect(_) => None,
        Standing::Suspended => Some(("Suspended", "spec.suspend is true".to_owned())),
        Standing::NoAccounts => Some((
            "NoAccounts",
            "no AWSAccount that matches grants its namespace what it asks for: see spec.namespaces there".to_owned(),
        )),
        Standing::Refused(refusal) => Some((refusal.reason.as_str(), format!("not accepted: {}", refusal.message))),
    }
}

impl<'c> Explanation<'c> {
    fn of(id: &str, cell: &'c CellPlan, weighed: &'c [Weighed]) -> Option<Self> {
        let resource = resource(cell, id)?;
        let view = |weighed: &'c Weighed| {
            Some(View { baseline: &weighed.baseline.reference, sight: Sight::of(weighed, cell, resource)? })
        };
        let baselines: Vec<View<'c>> = weighed.iter().filter_map(view).collect();
        let explained =
            |(edit, held): (&'c Edit, _)| Explained { edit, held, change_set: proposal(&cell.proposals, edit) };
        Some(Self {
            cell,
            resource,
            elsewhere: weighed.len() - baselines.len(),
            baselines,
            edits: plan_render::edits(cell).filter(|(edit, _)| edit.resource == id).map(explained).collect(),
        })
    }

    /// What hangs on the resource.
    fn impact(&self) -> String {
        if self.cell.cell.kind == Kind::Lambda {
            return Impact::Callers.to_string();
        }
        match self.cell.inventory.network_interfaces.facts() {
            Err(_) => Impact::Unknown,
            Ok(usage) => Impact::from(usage.get(self.resource.id).copied().unwrap_or_default()),
        }
        .to_string()
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.baselines
            .iter()
            .flat_map(|view| match &view.sight {
                Sight::Seen { findings, .. } => findings.as_slice(),
                Sight::Unseen { .. } => &[],
            })
            .copied()
    }

    /// Why a control's failure has no edit.
    fn unmade(&self, evaluation: &BaselineEvaluation, finding: &Finding) -> Option<String> {
        let asks = |edit: &Edit| {
            let mut demands = edit.demands.iter();
            demands.any(|demand| demand.control == finding.control && demand.baseline == evaluation.reference)
        };
        let fails = matches!(finding.verdict, Verdict::Fail { .. }) && finding.exempt.is_none();
        if !fails || self.edits.iter().any(|explained| asks(explained.edit)) {
            return None;
        }
        Some(match evaluation.unmade(finding.control) {
            Some(held) => format!("withheld ({}): {}", held.reason(), held.explain()),
            None => "the control only reports: mend it by hand".to_owned(),
        })
    }
}

impl<'c> Sight<'c> {
    /// `None` if the baseline looks at other accounts and regions.
    fn of(Weighed { baseline, standing }: &'c Weighed, cell: &'c CellPlan, resource: Resource<'c>) -> Option<Self> {
        if let Some((reason, why)) = sight_without_cell(standing) {
            return Some(Self::Unseen { reason, why });
        }
        let unseen = |reason, why: &str| Self::Unseen { reason, why: why.to_owned() };
        let desired = cell.desired.iter().find(|desired| desired.reference == baseline.reference)?;
        if !desired.is_granted(resource) {
            let why = "the AWSAccount does not grant its namespace this resource: spec.namespaces[].select there";
            return Some(unseen("NotGranted", why));
        }
        let evaluation = cell.evaluation.baselines.iter().find(|found| found.reference == baseline.reference);
        Some(match (desired.scope(resource), evaluation) {
            (Scope::Outside, _) | (_, None) => unseen("NotSelected", "does not select it: spec.select"),
            (scope, Some(evaluation)) => {
                let findings = evaluation.findings.iter().filter(|finding| finding.resource == resource.id).collect();
                Self::Seen { scope, evaluation, findings }
            }
        })
    }
}
