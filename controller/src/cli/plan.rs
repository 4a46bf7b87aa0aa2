//! `baseward plan`: the controller's own line of data, once, from files, with nothing written.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, ValueEnum};
use crds::AWSAccount;
use engine::exempt::Exempting;
use engine::tenancy::Account;
use jiff::Timestamp;
use kube::ResourceExt;

use super::history::History;
use super::load::{Documents, load};
use super::look::{Access, Look, Standing, Weighed, cells_of, exit_code, in_effect, weigh};
use super::output::{show, show_line};
use super::render;

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
    #[command(flatten)]
    access: Access,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON document with every finding, passes too, and every edit.
    Json,
}

/// Plans, shows the plan, and says by the exit code how things stand.
///
/// # Errors
/// Files that cannot be used, baselines that would not be accepted, accounts that cannot be reached.
pub async fn plan(options: PlanOptions) -> anyhow::Result<ExitCode> {
    let documents = load(&options.files)?;
    let accounts: Vec<Account> = documents.accounts.iter().map(AWSAccount::compile).collect();
    let weighed = accept(&documents, &accounts)?;
    let mut look = Look {
        documents: &documents,
        accounts: &accounts,
        accepted: in_effect(&weighed).collect(),
        exempting: exempting(&documents)?,
        connector: options.access.connector().await,
        installation_id: options.installation_id,
        history: History::default(),
    };
    let mut cells = Vec::new();
    for cell in cells_of(in_effect(&weighed)) {
        cells.push(look.cell(&cell).await?);
    }
    match options.output {
        Output::Text => show(render::text(&cells))?,
        Output::Json => {
            eprint!("{}", render::unread(&cells));
            show_line(render::json(&cells)?)?;
        }
    }
    let findings = cells.iter().flat_map(|cell| &cell.evaluation.baselines).flat_map(|baseline| &baseline.findings);
    Ok(exit_code(cells.iter().any(|cell| !cell.unread.is_empty()), findings))
}

/// The baselines of the files. One that would not be accepted is an error here.
fn accept(documents: &Documents, accounts: &[Account]) -> anyhow::Result<Vec<Weighed>> {
    if documents.baselines.is_empty() {
        bail!("the files hold no baseline: `baseward init SecurityGroupBaseline` prints one to start from");
    }
    let (weighed, mut refusals) = (weigh(documents, accounts), Vec::new());
    for Weighed { baseline, standing } in &weighed {
        let title = format!("{} {}", baseline.reference.kind, baseline.reference);
        match standing {
            Standing::InEffect(_) => (),
            Standing::Suspended => tracing::warn!(baseline = title, "Suspended: passed over"),
            Standing::Refused(refusal) => refusals.push(format!("{title}: {refusal}")),
            Standing::NoAccounts => refusals
                .push(format!("{title}: no AWSAccount in the files matches and grants the namespace what it asks for")),
        }
    }
    if !refusals.is_empty() {
        bail!("not accepted, as in the cluster:\n{}", refusals.join("\n"));
    }
    if in_effect(&weighed).next().is_none() {
        bail!("every baseline in the files is suspended: there is nothing to judge");
    }
    Ok(weighed)
}

/// The exemptions of the files. One that cannot be used is an error here: in the cluster it would have no effect.
///
/// # Errors
/// Exemptions that cannot be used.
pub fn exempting(documents: &Documents) -> anyhow::Result<Vec<Exempting>> {
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
