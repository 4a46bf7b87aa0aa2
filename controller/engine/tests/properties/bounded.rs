//! Bounded: what is reported has a limit whatever an account holds, and time grows with the number of groups at most.

use std::time::{Duration, Instant};

use engine::evaluate::Keep;
use engine::facts::{Rule, SecurityGroup};
use engine::finding::Verdict;
use engine::kind::Kind;
use engine::plan::plan;
use engine::report::{NAMED, TEXT, report, summarise};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::dice::Dice;
use crate::generators::{grant, group};
use crate::world::{NOW, World};
use crate::{config, worlds, worlds_and_choices};

/// The most rules that AWS lets a group have, whatever quota is asked for (Amazon VPC quotas, "Inbound or outbound rules
/// per security group": the quota times the groups per interface cannot exceed 1,000).
const MOST_RULES: usize = 1000;

proptest! {
    #![proptest_config(config())]

    /// A summary names so many findings and says so much of each at most, and counts the rest.
    #[test]
    fn a_summary_stays_small_whatever_the_account_holds((mut world, choices) in worlds_and_choices()) {
        let mut dice = Dice::new(&choices);
        let (groups, name) = (1 + dice.below(40), "näme \"\u{1}\" ".repeat(1 + dice.below(40)));
        world.groups = (0..groups).map(|number| SecurityGroup { name: name.clone(), ..group(&mut dice, number) }).collect();
        let desired = world.desired();
        let evaluation = engine::evaluate::evaluate(Kind::SecurityGroup, &desired, &world.inventory(), NOW, Keep::Worst(NAMED));
        let stage = world.permit(&desired);
        let applied = engine::plan::Plan { cell: world.cell(), stage }.applied(Vec::new());
        for report in report(&evaluation, &applied, NOW) {
            let cells = vec![report; 1 + dice.below(60)];
            let summary = summarise(&cells);
            prop_assert!(summary.worst.len() <= NAMED && summary.cells.len() <= NAMED);
            prop_assert_eq!(summary.cells_total, cells.len());
            for named in &summary.worst {
                let texts = match &named.finding.verdict {
                    Verdict::Fail { expected, actual } => vec![expected.as_str(), actual.as_str()],
                    Verdict::Unknown { why } => vec![why.as_ref()],
                    _ => Vec::new(),
                };
                for text in texts {
                    prop_assert!(text.len() <= TEXT && !text.contains(char::is_control), "{:?}", text);
                }
            }
        }
    }
}

/// The shortest of three attempts to judge and plan a world: what else runs on the machine counts as little as possible.
#[allow(clippy::disallowed_methods, reason = "what is measured here is time itself")]
fn time(world: &World) -> Duration {
    let (desired, inventory) = (world.desired(), world.inventory());
    let attempt = |_| {
        let started = Instant::now();
        let evaluation = engine::evaluate::evaluate(Kind::SecurityGroup, &desired, &inventory, NOW, Keep::Worst(NAMED));
        let plan = plan(&desired, &inventory, &evaluation);
        assert!(evaluation.failure.is_none() && plan.cell.location == inventory.location);
        started.elapsed()
    };
    (0..3).map(attempt).min().unwrap_or_default()
}

fn some_worlds(count: usize) -> Vec<(World, Vec<u16>)> {
    let mut runner = TestRunner::deterministic();
    let numbers = prop::collection::vec(any::<u16>(), 4000..8000);
    (0..count)
        .map(|_| {
            let world = worlds().new_tree(&mut runner).unwrap().current();
            (world, numbers.new_tree(&mut runner).unwrap().current())
        })
        .collect()
}

#[test]
fn a_group_as_large_as_aws_allows_is_planned_at_once() {
    for (mut world, numbers) in some_worlds(20) {
        let mut dice = Dice::new(&numbers);
        let mut rules: Vec<Rule> =
            (0..MOST_RULES).map(|_| Rule { grant: grant(&mut dice), description: None }).collect();
        rules.sort();
        rules.dedup_by(|one, other| one.grant == other.grant);
        let large = SecurityGroup { rules, ..group(&mut dice, 0) };
        let count = large.rules.len();
        world.groups = vec![large];
        let took = time(&world);
        assert!(took < Duration::from_millis(500), "{took:?} for {count} rules of {world:?}");
    }
}

#[test]
fn time_grows_with_the_number_of_groups_at_most() {
    for (mut world, numbers) in some_worlds(5) {
        let mut dice = Dice::new(&numbers);
        let fleet: Vec<SecurityGroup> = (0..100).map(|number| group(&mut dice, number)).collect();
        let copies = |times: usize| {
            let copy = |number: usize| {
                fleet.iter().map(move |group| SecurityGroup { id: format!("{}-{number}", group.id), ..group.clone() })
            };
            (0..times).flat_map(copy).collect::<Vec<SecurityGroup>>()
        };
        world.groups = copies(5);
        let few = time(&world).max(Duration::from_micros(100));
        world.groups = copies(40);
        let many = time(&world);
        assert!(many < few * 8 * 3, "{few:?} for 500 groups, {many:?} for 4,000 of {:?}", world.baselines);
    }
}
