//! `spec.publishedVersions`: the published versions behind aliases.

use std::collections::{BTreeMap, BTreeSet};

use super::view::unread;
use super::{Compiled as Parameters, Control, FunctionView, Functions, LambdaParameters, LambdaView};
use crate::controls::{ALIASES, About, Catalogue, FUNCTIONS, Setting, VERSIONS, named};
use crate::facts::{Configuration, Function, ReadFailure};
use crate::finding::{Severity, Verdict};

/// The parameters of this topic, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    /// Those of the controls on versions that the baseline uses.
    published: Vec<&'static str>,
}

impl Compiled {
    pub(super) fn new(spec: &LambdaParameters) -> Self {
        let used = |control: &&Control| (control.setting)(spec) != Setting::Off;
        Self { published: judging().filter(used).map(|control| control.about.id).collect() }
    }

    /// The same without the controls that an override has switched off.
    pub(super) fn keep(&mut self, is_active: impl Fn(&str) -> bool) {
        self.published.retain(|id| is_active(id));
    }

    /// The controls that a version has to pass.
    fn controls(&self) -> impl Iterator<Item = &'static Control> {
        judging().filter(|control| self.published.contains(&control.about.id))
    }
}

/// The controls of this topic.
pub(super) const CONTROLS: &[Control] = &[Control {
    about: About {
        id: "lambda-published-versions-compliant",
        title: "Versions behind aliases follow the baseline too",
        severity: Severity::Medium,
        field: "publishedVersions",
        default: "true",
        remedy: "report only: a published version cannot be changed; publish a new one and move the alias",
        since: "0.2.0",
        sources: &[FUNCTIONS, VERSIONS, ALIASES],
    },
    setting: |spec| Setting::switch(spec.published_versions),
    alike: |one, other| {
        let (mine, theirs) = (&one.versions, &other.versions);
        mine == theirs && mine.controls().all(|control| (control.alike)(one, other))
    },
    check: check_versions,
    remedy: None,
}];

/// What the settings of a version are judged by: runtime, credentials, key, tracing and VPC.
const JUDGING: [&str; 5] =
    ["lambda-supported-runtime", "lambda-no-secrets-in-env", "lambda-env-cmk", "lambda-xray-active", "lambda-in-vpc"];

fn judging() -> impl Iterator<Item = &'static Control> {
    Functions::controls().filter(|control| JUDGING.contains(&control.about.id))
}

/// So many versions of a function are looked at.
const MOST_VERSIONS: usize = 20;

/// What an alias is called that is on no published version.
const LATEST: &str = "$LATEST";

/// The versions that aliases lead to with their configurations, as far as these are known.
fn behind_aliases<'a>(
    view: &FunctionView<'a>,
) -> Result<BTreeMap<&'a str, Option<&'a Configuration>>, (&'static str, ReadFailure)> {
    let (lambda, name, now) = (view.lambda(), &view.function.name, view.now());
    let aliases = lambda.aliases.of(name, now).map_err(|failure| ("the aliases", failure))?;
    let numbers: BTreeSet<&str> =
        aliases.iter().flat_map(|alias| &alias.versions).map(String::as_str).filter(|it| *it != LATEST).collect();
    if numbers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let versions = lambda.versions.of(name, now).map_err(|failure| ("the published versions", failure))?;
    let configuration =
        |number: &str| versions.iter().find(|version| version.number == number).map(|version| &version.configuration);
    Ok(numbers.into_iter().map(|number| (number, configuration(number))).collect())
}

fn check_versions(parameters: &Parameters, view: &LambdaView<'_>) -> Verdict {
    let Some(view) = view.function() else { return Verdict::not_applicable("not a function") };
    if parameters.versions.published.is_empty() {
        return Verdict::not_applicable("the baseline uses none of the controls on versions");
    }
    let versions = match behind_aliases(view) {
        Err((what, failure)) => return unread(what, failure),
        Ok(versions) if versions.is_empty() => return Verdict::not_applicable("no alias leads to a published version"),
        Ok(versions) => versions,
    };
    let looked_at = versions.iter().take(MOST_VERSIONS);
    let verdicts: Vec<(String, Verdict)> =
        looked_at.flat_map(|(number, configuration)| verdicts(parameters, view, number, *configuration)).collect();
    let failed = |(whose, verdict): &(String, Verdict)| match verdict {
        Verdict::Fail { actual, .. } => Some(format!("{whose}: {actual}")),
        Verdict::Unknown { .. } | Verdict::Pass | Verdict::PassWithNote { .. } | Verdict::NotApplicable { .. } => None,
    };
    let unknown = |(whose, verdict): &(String, Verdict)| match verdict {
        Verdict::Unknown { why } => Some(Verdict::unknown(format!("{whose}: {why}"))),
        Verdict::Fail { .. } | Verdict::Pass | Verdict::PassWithNote { .. } | Verdict::NotApplicable { .. } => None,
    };
    let failures = named(verdicts.iter().filter_map(failed));
    if !failures.is_empty() {
        return Verdict::fail("versions behind aliases that pass the controls on functions", failures);
    }
    let more = versions.len() > MOST_VERSIONS;
    let more = more.then(|| format!("{} versions are behind aliases, {MOST_VERSIONS} are looked at", versions.len()));
    verdicts.iter().find_map(unknown).or(more.map(Verdict::unknown)).unwrap_or(Verdict::Pass)
}

/// What the controls say about a version as if it were what the function is now.
fn verdicts(
    parameters: &Parameters,
    view: &FunctionView<'_>,
    number: &str,
    configuration: Option<&Configuration>,
) -> Vec<(String, Verdict)> {
    let Some(configuration) = configuration else {
        return vec![(format!("version {number}"), Verdict::unknown("it was not read"))];
    };
    let function = Function { configuration: configuration.clone(), ..view.function.clone() };
    let version = LambdaView::Function(view.in_place_of(&function));
    let ask = |control: &'static Control| {
        (format!("version {number}, {}", control.about.id), (control.check)(parameters, &version))
    };
    parameters.versions.controls().map(ask).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{control, gathered, setting, spec, verdict, with, word};
    use super::*;
    use crate::facts::{Alias, Inventory, Tracing, Version, Vpc};

    const PUBLISHED: &str = "lambda-published-versions-compliant";

    /// A baseline that judges versions by tracing and VPC alone.
    fn strict() -> LambdaParameters {
        spec(json!({
            "observability": {"xray": true}, "network": {"require": "Vpc"}, "publishedVersions": true,
            "runtime": {"denyDeprecated": false}, "environment": {"requireCustomerKey": false}
        }))
    }

    fn alias(name: &str, versions: &[&str]) -> Alias {
        Alias { name: name.to_owned(), versions: versions.iter().map(|&number| number.to_owned()).collect() }
    }

    /// A version that is as demanded, and one that is not.
    fn version(number: &str, is_fine: bool) -> Version {
        let mut configuration = Configuration { runtime: Some("nodejs24.x".to_owned()), ..Configuration::default() };
        if is_fine {
            (configuration.tracing, configuration.vpc) = (Tracing::Active, Some(Vpc::default()));
        }
        Version { number: number.to_owned(), configuration }
    }

    /// A function that is not as demanded, with what is behind its aliases.
    fn publishing(aliases: &[Alias], versions: &[Version]) -> Inventory {
        let mut inventory = with(|_| {});
        inventory.lambda.aliases = gathered(Ok(aliases.to_vec()));
        inventory.lambda.versions = gathered(Ok(versions.to_vec()));
        inventory
    }

    #[test]
    fn defaults() {
        let setting = |written| setting(&spec(written), PUBLISHED);
        assert_eq!(setting(json!({})), Setting::Recommended);
        assert_eq!(setting(json!({"publishedVersions": true})), Setting::Named);
        assert_eq!(setting(json!({"publishedVersions": false})), Setting::Off);
        assert!(control(PUBLISHED).remedy.is_none());
    }

    #[test]
    fn only_controls_that_the_baseline_uses_judge_versions() {
        let published = |spec: &LambdaParameters| Compiled::new(spec).published;
        assert!(published(&LambdaParameters::default()).contains(&"lambda-xray-active"));
        assert!(!published(&LambdaParameters::default()).contains(&"lambda-in-vpc"));
        assert!(published(&strict()).contains(&"lambda-in-vpc"));
        assert!(!published(&spec(json!({"observability": {"xray": false}}))).contains(&"lambda-xray-active"));
        let nothing = Compiled { published: Vec::new() };
        let parameters = Parameters { versions: nothing, ..Parameters::new(&strict()).unwrap() };
        let inventory = publishing(&[alias("live", &["1"])], &[version("1", false)]);
        let index = Functions::index(&inventory);
        let found = Functions::found(&inventory).unwrap();
        let view = Functions::view(found[0], &index, &inventory, inventory.lambda.functions.read_at());
        assert_eq!(check_versions(&parameters, &view).word(), "NotApplicable");
    }

    #[test]
    fn every_version_behind_an_alias_is_judged() {
        let fine =
            publishing(&[alias("live", &["1"]), alias("next", &["1", "2"])], &[version("1", true), version("2", true)]);
        assert_eq!(verdict(&strict(), PUBLISHED, &fine), Verdict::Pass);
        let weighted =
            publishing(&[alias("live", &["1", "2"])], &[version("1", true), version("2", false), version("3", false)]);
        assert_eq!(
            verdict(&strict(), PUBLISHED, &weighted),
            Verdict::fail(
                "versions behind aliases that pass the controls on functions",
                "version 2, lambda-xray-active: PassThrough; version 2, lambda-in-vpc: none"
            )
        );
    }

    #[test]
    fn what_is_not_published_is_not_judged() {
        for aliases in [&[][..], &[alias("live", &["$LATEST"])]] {
            let inventory = publishing(aliases, &[version("1", false)]);
            assert_eq!(word(&strict(), PUBLISHED, &inventory), "NotApplicable");
        }
    }

    #[test]
    fn what_is_unknown_does_not_hide_a_failure() {
        let live = || [alias("live", &["1", "2"])];
        let unread = publishing(&live(), &[version("1", true)]);
        assert_eq!(verdict(&strict(), PUBLISHED, &unread), Verdict::unknown("version 2: it was not read"));
        assert_eq!(word(&strict(), PUBLISHED, &publishing(&live(), &[version("1", false)])), "Fail");
        assert_eq!(word(&strict(), PUBLISHED, &with(|_| {})), "Unknown");
        let mut inventory = with(|_| {});
        inventory.lambda.aliases = gathered(Ok(live().to_vec()));
        assert_eq!(word(&strict(), PUBLISHED, &inventory), "Unknown");
    }

    #[test]
    fn twenty_versions_are_looked_at() {
        let numbers: Vec<String> = (10..31).map(|number| number.to_string()).collect();
        let aliases: Vec<Alias> = numbers.iter().map(|number| alias(&format!("v{number}"), &[number])).collect();
        let judged = |is_fine: fn(&str) -> bool| {
            let versions: Vec<Version> = numbers.iter().map(|number| version(number, is_fine(number))).collect();
            verdict(&strict(), PUBLISHED, &publishing(&aliases, &versions))
        };
        assert_eq!(judged(|_| true), Verdict::unknown("21 versions are behind aliases, 20 are looked at"));
        assert_eq!(judged(|number| number != "30").word(), "Unknown");
        assert_eq!(judged(|number| number != "29").word(), "Fail");
    }

    #[test]
    fn two_baselines_share_a_verdict_only_if_the_controls_behind_it_do() {
        let parameters = |spec: &LambdaParameters| Parameters::new(spec).unwrap();
        let alike = |one: &LambdaParameters, other: &LambdaParameters| {
            (control(PUBLISHED).alike)(&parameters(one), &parameters(other))
        };
        assert!(alike(&strict(), &strict()));
        assert!(!alike(&strict(), &LambdaParameters::default()));
        let mut other = strict();
        other.limits = spec(json!({"limits": {"maxTimeout": 60}})).limits;
        assert!(alike(&strict(), &other));
    }

    #[test]
    fn a_control_that_is_switched_off_judges_no_version() {
        let mut compiled = Compiled::new(&spec(json!({})));
        assert!(compiled.controls().count() > 1);
        compiled.keep(|id| id == "lambda-supported-runtime");
        assert_eq!(compiled.published, ["lambda-supported-runtime"]);
        compiled.keep(|_| false);
        assert_eq!(compiled.controls().count(), 0);
    }
}
