//! `baseward controls` and `baseward crds`.

use clap::{Args, ValueEnum};
use engine::controls::{About, listed};
use engine::kind::Kind;
use engine::runtimes;
use jiff::Timestamp;
use serde::Serialize;

use super::output::{show, show_line};

/// How the catalogue is shown.
#[derive(Args, Clone, Debug)]
pub struct Controls {
    /// How the catalogue is shown.
    #[arg(short = 'o', long = "output", value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    #[default]
    Table,
    /// One JSON array with everything that is known of each control.
    Json,
}

#[derive(Serialize)]
struct Entry {
    kind: &'static str,
    #[serde(flatten)]
    about: About,
}

/// Prints the controls of every kind.
///
/// # Errors
/// The output cannot be written.
pub fn controls(options: &Controls) -> anyhow::Result<()> {
    let of =
        |kind: Kind| listed(kind).into_iter().map(move |control| Entry { kind: kind.name(), about: *control.about });
    let entries: Vec<Entry> = Kind::ALL.into_iter().flat_map(of).collect();
    if let Some(notice) = runtimes::stale_notice(Timestamp::now()) {
        tracing::warn!("{notice}");
    }
    match options.output {
        Output::Json => show_line(serde_json::to_string_pretty(&entries)?),
        Output::Table => show(table(&entries)),
    }
}

fn table(entries: &[Entry]) -> String {
    let width = |text: fn(&Entry) -> &str| entries.iter().map(|entry| text(entry).len()).max().unwrap_or(0);
    let (id, kind) = (width(|entry| entry.about.id), width(|entry| entry.kind));
    let line =
        |one: &str, two: &str, three: &str, four: &str| format!("{one:<id$}  {two:<kind$}  {three:<8}  {four}\n");
    let mut table = line("CONTROL", "KIND", "SEVERITY", "TITLE");
    for Entry { kind, about } in entries {
        table.push_str(&line(about.id, kind, &about.severity.to_string(), about.title));
    }
    table
}

/// Prints the custom resource definitions.
///
/// # Errors
/// The output cannot be written.
pub fn crds() -> anyhow::Result<()> {
    for (_, yaml) in crds::yaml_files()? {
        show(format_args!("---\n{yaml}"))?;
    }
    Ok(())
}
