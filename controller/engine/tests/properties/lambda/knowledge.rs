//! Partial knowledge is inert: what was not read, or too long ago, passes nothing and is never acted on.

use std::collections::{BTreeMap, BTreeSet};

use engine::controls::{
    CODE_SIGNING, CODE_SIGNING_CONFIGS, CONCURRENCY, LAYERS, POLICIES, RECURSION, RUNTIME_MANAGEMENT, URLS,
};
use engine::edit::BaselineRef;
use engine::evaluate::{Keep, MAX_AGE, evaluate};
use engine::facts::{Inventory, Lambda, ReadFailure, Source};
use engine::finding::Verdict;
use engine::kind::Kind;
use engine::plan::{Plan, Proposed, ProposedEdit, plan};
use engine::property::{PropertyChange, PropertyName};
use engine::sequence::properties::changes;
use jiff::SignedDuration;
use proptest::prelude::*;

use super::generators::hide;
use super::world::{NOW, Read, World};
use super::{config, sample, worlds, worlds_and_choices};

use crate::dice::Dice;

type Verdicts = BTreeMap<(BaselineRef, &'static str, String), Verdict>;

fn verdicts(world: &World) -> Verdicts {
    let evaluation = world.evaluate(&world.desired());
    let found = evaluation.baselines.into_iter().flat_map(|baseline| {
        let reference = baseline.reference;
        let of =
            move |found: engine::evaluate::Finding| ((reference.clone(), found.control, found.resource), found.verdict);
        baseline.findings.into_iter().map(of)
    });
    found.collect()
}

/// What is asked of each resource, held or not; or only what is made.
fn asked(plan: &Plan<Proposed>, made: bool) -> BTreeSet<(&str, &PropertyChange)> {
    let edits = plan.stage.edits.iter().filter(|proposed| !made || proposed.hold.is_none());
    edits
        .flat_map(|ProposedEdit { edit, .. }| changes(edit).iter().map(|change| (edit.resource.as_str(), change)))
        .collect()
}

/// The source without which a property of a function is not known; what stands in the list of functions needs no other.
fn source(name: PropertyName) -> Option<&'static str> {
    match name {
        PropertyName::UrlAuth | PropertyName::UrlCors => Some(URLS),
        PropertyName::Statement => Some(POLICIES),
        PropertyName::Concurrency => Some(CONCURRENCY),
        PropertyName::CodeSigning => Some(CODE_SIGNING),
        PropertyName::Recursion => Some(RECURSION),
        PropertyName::RuntimeManagement => Some(RUNTIME_MANAGEMENT),
        PropertyName::LayerStatement => Some(LAYERS),
        PropertyName::Runtime
        | PropertyName::KmsKey
        | PropertyName::Tracing
        | PropertyName::Layers
        | PropertyName::Vpc
        | PropertyName::DeadLetter
        | PropertyName::Logging
        | PropertyName::Tag => None,
    }
}

fn is_hidden(world: &World, source: &'static str, resource: &str) -> bool {
    let of = if source == LAYERS { "" } else { resource };
    world.reads.get(&(source, of.to_owned())).is_some_and(|read| *read != Read::JustFresh)
}

proptest! {
    #![proptest_config(config())]

    /// With less knowledge verdicts become unknown at most, and nothing is made that full knowledge would not ask for.
    #[test]
    fn what_is_hidden_is_never_acted_on((world, choices) in worlds_and_choices()) {
        let mut hidden = world.clone();
        hide(&mut Dice::new(&choices), &mut hidden);
        let known = verdicts(&world);
        for (of, guessed) in verdicts(&hidden) {
            let weaker = matches!(guessed, Verdict::Unknown { .. }) || guessed.word() == known[&of].word();
            prop_assert!(weaker, "{:?} of {:?} was {:?}", guessed, of, known[&of]);
        }
        let (full, partial) = (world.propose(&world.desired()), hidden.propose(&hidden.desired()));
        let plenty = asked(&full, false);
        for (resource, change) in asked(&partial, true) {
            // Which groups a function gets depends on whether it is moved to other subnets as well.
            let more = !plenty.contains(&(resource, change)) && change.property.name != PropertyName::Vpc;
            prop_assert!(!more, "{change:?} of {resource} is made without knowledge");
            let unread = source(change.property.name).is_some_and(|source| is_hidden(&hidden, source, resource));
            prop_assert!(!unread, "{change:?} of {resource} rests on nothing");
        }
    }

    /// Of what is not known at all the controls say so, whatever the rest.
    #[test]
    fn without_its_source_no_control_passes(mut world in worlds()) {
        const ALONE: [(&str, &str); 8] = [
            ("lambda-no-public-policy", POLICIES),
            ("lambda-no-confused-deputy", POLICIES),
            ("lambda-no-untrusted-account", POLICIES),
            ("lambda-url-auth-iam", URLS),
            ("lambda-url-cors-restricted", URLS),
            ("lambda-url-absent", URLS),
            ("lambda-recursion-terminate", RECURSION),
            ("lambda-code-signing", CODE_SIGNING),
        ];
        for read in [Read::TooOld, Read::Failed, Read::Missing] {
            for deep in &world.functions {
                for (_, source) in ALONE {
                    world.reads.insert((source, deep.name().to_owned()), read);
                }
            }
            for ((_, control, resource), verdict) in verdicts(&world) {
                let judged = ALONE.iter().any(|(id, _)| *id == control);
                let silent = matches!(verdict, Verdict::Unknown { .. } | Verdict::NotApplicable { .. });
                prop_assert!(!judged || silent, "{control} on {resource} is {verdict:?} with {read:?}");
            }
        }
    }

    /// What is as old as it may be counts like what is new.
    #[test]
    fn what_is_just_fresh_counts(world in worlds()) {
        let mut old = world.clone();
        for source in [LAYERS, CODE_SIGNING_CONFIGS] {
            old.reads.insert((source, String::new()), Read::JustFresh);
        }
        for deep in &world.functions {
            for source in [POLICIES, URLS, CONCURRENCY, CODE_SIGNING, RECURSION, RUNTIME_MANAGEMENT] {
                old.reads.insert((source, deep.name().to_owned()), Read::JustFresh);
            }
        }
        prop_assert_eq!(verdicts(&old), verdicts(&world));
        prop_assert_eq!(old.propose(&old.desired()).stage.edits, world.propose(&world.desired()).stage.edits);
    }

    /// Nothing is planned while the functions themselves could not be read, or were read too long ago to judge by.
    #[test]
    fn without_fresh_functions_nothing_is_planned(world in worlds()) {
        let (desired, read) = (world.desired(), world.inventory());
        let failed = Source::failed(ReadFailure::Throttled, NOW);
        let unread = Inventory { lambda: Lambda { functions: failed, ..read.lambda.clone() }, ..read.clone() };
        for (inventory, now) in [(unread, NOW), (read, NOW + MAX_AGE + SignedDuration::from_secs(1))] {
            let evaluation = evaluate(Kind::Lambda, &desired, &inventory, now, Keep::All);
            prop_assert!(evaluation.baselines.iter().all(|baseline| baseline.findings.is_empty()));
            prop_assert_eq!(plan(&desired, &inventory, &evaluation).stage.edits, Vec::new());
        }
    }
}

#[test]
fn enough_of_what_is_hidden_would_have_been_acted_on() {
    let mut fewer = 0;
    for (world, choices) in sample(500).zip(crate::numbers(500, 10)) {
        let mut hidden = world.clone();
        hide(&mut Dice::new(&choices), &mut hidden);
        let (full, partial) = (world.propose(&world.desired()), hidden.propose(&hidden.desired()));
        fewer += usize::from(asked(&partial, false).len() < asked(&full, false).len());
    }
    assert!(fewer > 100, "{fewer}");
}
