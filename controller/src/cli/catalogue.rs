//! `baseward controls` and `baseward crds`.

use clap::{Args, ValueEnum};
use engine::controls::About;
use engine::controls::security_group::controls as security_group_controls;
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
    let entries: Vec<Entry> = security_group_controls()
        .map(|control| Entry { kind: "SecurityGroupBaseline", about: control.about })
        .collect();
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
