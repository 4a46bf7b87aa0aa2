//! The faults that Baseward must survive, the promise that each must keep, and the tests that show it.
//!
//! One list, from which `FAULTS.md` is made. What it names has to exist.

/// Something that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Such as `F1`.
    pub id: &'static str,
    /// What goes wrong.
    pub what: &'static str,
    /// What holds all the same.
    pub promise: &'static str,
    /// What shows it.
    pub shown_by: &'static [Proof],
}

/// What shows that a promise is kept.
#[derive(Clone, Copy, Debug)]
pub enum Proof {
    /// A scenario: its module in `tests/tests/scenarios`, and its name.
    Scenario(&'static str, &'static str),
    /// Another test: its file, and its name.
    Test(&'static str, &'static str),
    /// A command: an alias of cargo.
    Command(&'static str),
}

use Proof::{Command, Scenario, Test};

const SILENT: Proof = Scenario("faults::silent", "audit_and_propose_write_nothing_whatever_goes_wrong");

/// Every fault that can befall the guard of security groups and functions.
#[must_use]
pub fn faults() -> Vec<Fault> {
    [of_processes(), of_kubernetes(), of_aws(), of_others(), of_functions()].concat()
}

/// What befalls the process itself, and what it shares with others of its kind.
fn of_processes() -> Vec<Fault> {
    vec![
        Fault {
            id: "F1",
            what: "the process is killed before a write, after its effect, or after its reply",
            promise: "no required flow is lost, nothing is done twice, the end state is that of an undisturbed run",
            shown_by: &[
                Scenario("chaos", "a_process_that_dies_or_loses_its_lease_at_a_write_makes_no_difference"),
                Scenario("outages", "a_change_set_that_a_killed_process_leaves_open_is_closed_as_unknown"),
                Command("chaos"),
            ],
        },
        Fault {
            id: "F16",
            what: "the clock is minutes off, or jumps back",
            promise: "AWS's refusal is said and nothing is written; the lease and the rate limits go by the monotonic clock; a fact from the future is no fact; budgets grow by no jump",
            shown_by: &[
                Scenario("faults::aws", "a_clock_that_aws_does_not_believe_is_said_and_nothing_is_written"),
                Test("controller/engine/tests/rails/clock.rs", "a_read_of_another_time_permits_nothing"),
                Test("controller/engine/tests/rails/clock.rs", "a_clock_that_goes_back_gives_no_budget_back"),
                Test(
                    "controller/src/lease.rs",
                    "a_lease_is_taken_over_only_after_it_stood_still_for_its_promised_time",
                ),
                Test("controller/src/lease.rs", "writes_start_after_the_wait_and_stop_at_the_deadline"),
                Test("controller/aws/src/limiter.rs", "a_clock_that_stands_still_or_goes_back_gives_no_token"),
            ],
        },
        Fault {
            id: "F17",
            what: "two processes; the leader sleeps in the middle of a write and wakes up without the lease",
            promise: "at most the one write whose check had passed comes after; writes of the two are never mixed",
            shown_by: &[
                Scenario("outages", "a_leader_that_sleeps_past_its_lease_with_writes_to_make_never_writes_again"),
                Scenario("chaos", "a_process_that_dies_or_loses_its_lease_at_a_write_makes_no_difference"),
                Command("chaos"),
            ],
        },
        Fault {
            id: "F18",
            what: "the process sees AWS but not the API server",
            promise: "its last write is within the lease; it lives, and goes on afterwards",
            shown_by: &[
                Scenario(
                    "faults::api_server",
                    "a_plan_that_is_cut_off_from_the_api_server_ends_with_the_lease_and_goes_on_afterwards",
                ),
                Command("chaos"),
            ],
        },
        Fault {
            id: "F28",
            what: "the store holds what an older version wrote, with fields of another version",
            promise: "it is read; nothing is written for it, neither to AWS nor to specs and change sets",
            shown_by: &[Scenario(
                "faults::store",
                "what_the_first_version_has_left_is_read_and_nothing_is_written_for_it",
            )],
        },
        Fault {
            id: "F29",
            what: "the audit trail cannot be written: the disk is full",
            promise: "nothing is written to AWS, the edits say why they wait",
            shown_by: &[Scenario("faults::process", "without_an_audit_trail_nothing_is_written")],
        },
        Fault {
            id: "F30",
            what: "no file descriptors; the name of the AWS endpoint is not known; its certificate is not trusted",
            promise: "the process neither ends nor restarts; it is alive and ready, says what it cannot reach, and goes on by itself",
            shown_by: &[
                Scenario("faults::process", "a_process_without_descriptors_waits_for_some_and_goes_on"),
                Scenario("faults::process", "an_aws_whose_name_nobody_knows_does_not_end_the_process"),
                Scenario("faults::process", "an_aws_that_cannot_be_trusted_does_not_end_the_process"),
                Scenario("outages", "a_stop_does_not_wait_for_an_aws_that_does_not_answer"),
            ],
        },
    ]
}

/// What befalls the Kubernetes API, and what people write there.
fn of_kubernetes() -> Vec<Fault> {
    vec![
        Fault {
            id: "F3",
            what: "the API server is away for half a minute, at rest or in the middle of a plan",
            promise: "only what is in the journal is finished, and only within the lease; no plan is begun; all goes on afterwards without a restart",
            shown_by: &[
                Scenario("outages", "an_api_server_that_is_away_for_half_a_minute_needs_no_restart"),
                Scenario(
                    "faults::api_server",
                    "a_plan_that_is_cut_off_from_the_api_server_ends_with_the_lease_and_goes_on_afterwards",
                ),
            ],
        },
        Fault {
            id: "F4",
            what: "watches are cut and cannot go on from where they were (410 Gone)",
            promise: "no object is missed, nothing is done twice",
            shown_by: &[Scenario(
                "faults::api_server",
                "what_changes_while_watches_are_cut_and_forgotten_is_not_missed_and_nothing_is_done_twice",
            )],
        },
        Fault {
            id: "F5",
            what: "the API server tells of the past: an older generation, an object of an older uid, its deletion",
            promise: "nothing is done for what was before; what is there stays",
            shown_by: &[
                Scenario("faults::api_server", "an_api_server_that_tells_of_the_past_is_not_believed"),
                Test("controller/src/newest.rs", "what_is_gone_does_not_come_back_and_what_came_after_it_does_not_go"),
            ],
        },
        Fault {
            id: "F6",
            what: "conflicts with other writers, others who write into a status",
            promise: "statuses converge and stand still; what others say stays theirs",
            shown_by: &[Scenario(
                "faults::api_server",
                "writes_that_come_too_late_are_made_again_and_what_others_say_in_a_status_stays_theirs",
            )],
        },
        Fault {
            id: "F7",
            what: "etcd is full; a status or a change set grows too large",
            promise: "with a journal that cannot be written no write to AWS begins; the process lives and goes on by itself; statuses and change sets are bounded",
            shown_by: &[
                Scenario("faults::store", "while_the_store_is_full_nothing_is_written_to_aws_either"),
                Test(
                    "controller/engine/tests/properties/bounded.rs",
                    "a_summary_stays_small_whatever_the_account_holds",
                ),
                Test("controller/src/journal/tests.rs", "edits_that_do_not_fit_keep_no_others_out_of_the_journal"),
            ],
        },
        Fault {
            id: "F24",
            what: "objects that mean harm: a megabyte of text, ten thousand selectors, patterns that explode, numbers and times beyond all",
            promise: "refused, or said to be of no use, and of no effect on any other object",
            shown_by: &[
                Scenario("faults::hostile", "an_object_that_means_harm_is_refused_and_harms_nobody"),
                Scenario("outages", "an_object_that_no_longer_decodes_does_not_stop_the_others"),
                Scenario("admission", "invalid_examples_are_refused_by_both_with_the_sentence_that_helps"),
            ],
        },
        Fault {
            id: "F26",
            what: "the baseline is deleted, edited, suspended or set to Audit in the middle of a plan",
            promise: "no write begins after that is seen, and nothing is put back",
            shown_by: &[
                Scenario("withdrawn", "a_baseline_deleted_before_the_write"),
                Scenario("withdrawn", "a_baseline_set_to_audit_before_the_write"),
                Scenario("withdrawn", "a_baseline_suspended_between_two_writes"),
                Scenario("withdrawn", "a_baseline_edited_before_the_write_is_followed_in_its_new_form"),
                Scenario("withdrawn", "an_account_whose_writes_are_stopped_before_the_write"),
                Scenario("stops", "a_flip_to_audit_stops_all_but_the_call_under_way"),
                Scenario(
                    "stops",
                    "the_kill_switch_of_an_account_stops_all_but_the_call_under_way_until_it_is_off_again",
                ),
            ],
        },
        Fault {
            id: "F27",
            what: "a baseline is widened by mistake and selects everything",
            promise: "the plan waits for an approval",
            shown_by: &[
                Scenario("limits", "a_plan_that_would_change_too_much_waits_for_an_approval"),
                Scenario("limits", "a_budget_is_spent_and_not_exceeded_by_a_restart"),
            ],
        },
    ]
}

/// What befalls AWS.
fn of_aws() -> Vec<Fault> {
    vec![
        Fault {
            id: "F8",
            what: "AWS throttles every other call, or all of them",
            promise: "at most 2.2 calls for a useful one; the work is done; other accounts do not wait",
            shown_by: &[
                Scenario(
                    "faults::aws",
                    "an_aws_that_throttles_every_other_call_is_asked_little_more_than_twice_and_holds_up_no_other_account",
                ),
                Scenario("reads", "steady_throttling"),
                SILENT,
            ],
        },
        Fault {
            id: "F9",
            what: "AWS fails, or does not answer",
            promise: "reads are tried a bounded number of times, to a deadline; an error changes no verdict",
            shown_by: &[
                Scenario("faults::aws", "a_read_that_fails_is_tried_a_few_times_and_changes_no_verdict"),
                Scenario("reads", "what_was_seen_stands_while_nothing_can_be_read"),
                Scenario("outages", "an_aws_that_does_not_answer_is_said_and_needs_no_restart"),
                Scenario("outages", "an_aws_that_is_killed_and_comes_back_without_its_sessions_needs_no_restart"),
                SILENT,
            ],
        },
        Fault {
            id: "F10",
            what: "a write takes effect and is answered by an error, or by nothing",
            promise: "its outcome is unknown: a read comes first, and nothing is written twice",
            shown_by: &[
                Scenario("withheld", "an_unknown_outcome_is_followed_by_a_read_and_not_repeated"),
                Scenario("withheld", "a_write_that_somebody_else_has_made_a_moment_before"),
                Scenario("lambda::withheld", "a_reply_that_was_lost_after_its_effect_is_read_and_not_repeated"),
            ],
        },
        Fault {
            id: "F11",
            what: "reads are behind our own writes, or go back behind them",
            promise: "no write is undone, none takes effect twice; what a listing leaves out is not gone",
            shown_by: &[
                Scenario("reads", "a_read_that_does_not_see_our_own_write_yet_is_read_again_and_the_write_is_not"),
                Scenario("faults::aws", "a_read_that_goes_back_in_time_neither_undoes_nor_repeats_a_write"),
                Scenario("faults::pages", "groups_that_a_listing_leaves_out_are_not_gone"),
            ],
        },
        Fault {
            id: "F12",
            what: "a batch of rules is carried out in part",
            promise: "it is planned anew on a fresh read; the end state is exact",
            shown_by: &[Scenario(
                "faults::writes",
                "a_batch_that_is_carried_out_in_part_is_planned_anew_and_ends_exactly",
            )],
        },
        Fault {
            id: "F13",
            what: "a revocation in a default VPC succeeds without having revoked",
            promise: "it counts as not done, and is tried again with fresh rules",
            shown_by: &[
                Scenario("faults::writes", "a_revocation_that_missed_its_rule_is_not_done_whatever_aws_says"),
                Test("controller/aws/src/ec2/write.rs", "a_revocation_that_missed_a_rule_is_not_done"),
            ],
        },
        Fault {
            id: "F14",
            what: "credentials expire, or a role is denied, in the middle of a look at one account",
            promise: "half a look yields no verdict and no plan; other accounts are not concerned",
            shown_by: &[
                Scenario("faults::pages", "a_page_that_fails_makes_the_whole_look_fail_and_no_other_account"),
                Scenario("reads", "expired_credentials"),
                Scenario("reads", "denied"),
                Scenario("reads", "a_role_that_cannot_be_assumed"),
                Scenario("reads", "a_write_role_that_cannot_be_assumed_holds_edits_back_and_nothing_else"),
            ],
        },
        Fault {
            id: "F15",
            what: "a page fails, repeats, loses items, or its token expires",
            promise: "the look is given up after a bounded number of pages, and nothing is taken away for it",
            shown_by: &[
                Scenario("faults::pages", "a_page_that_fails_makes_the_whole_look_fail_and_no_other_account"),
                Scenario("faults::pages", "groups_that_a_listing_leaves_out_are_not_gone"),
                Scenario("reads", "pages_that_never_end"),
                SILENT,
            ],
        },
        Fault {
            id: "F22",
            what: "replies are cut off, malformed, contradict themselves, or are of things that nobody knows",
            promise: "no panic: a read that failed, `Unknown`, and never compliant",
            shown_by: &[
                Scenario("faults::aws", "a_reply_that_no_aws_would_send_is_a_read_that_failed"),
                Scenario("reads", "an_undecodable_reply"),
                Scenario("reads", "a_truncated_reply"),
                Scenario("reads", "an_undecodable_fresh_read"),
                Test("controller/aws/src/reply.rs", "a_reply_that_ends_anywhere_before_its_end_is_refused"),
            ],
        },
        Fault {
            id: "F23",
            what: "ten thousand groups, hundreds of them open",
            promise: "memory and status are bounded, the worst goes first, limits hold",
            shown_by: &[
                Command("scale"),
                Test("controller/engine/tests/properties/bounded.rs", "time_grows_with_the_number_of_groups_at_most"),
                Scenario("limits", "a_budget_is_spent_and_not_exceeded_by_a_restart"),
            ],
        },
    ]
}

/// What others do to the same groups.
fn of_others() -> Vec<Fault> {
    vec![
        Fault {
            id: "F19",
            what: "somebody edits the group, or deploys the function, between read and write",
            promise: "unrelated rules and settings are not touched; what was changed is planned anew",
            shown_by: &[
                Scenario("withheld", "a_foreign_change_between_read_and_write_is_planned_anew"),
                Scenario("withheld", "a_hand_that_is_always_there_first_is_counted_and_named_and_never_overwritten"),
                Test("controller/engine/tests/properties/safety.rs", "a_foreign_change_stops_the_sequence"),
                Scenario("lambda::foreign", "a_configuration_is_never_written_over_a_newer_one"),
                Scenario("lambda::foreign", "a_deployment_at_any_step_is_kept_and_all_is_mended_beside_it"),
                Scenario("lambda::foreign", "a_deployment_that_is_under_way_is_kept_and_all_is_mended_after_it"),
                Scenario("lambda::foreign", "a_statement_id_that_somebody_takes_meanwhile_stays_his"),
            ],
        },
        Fault {
            id: "F20",
            what: "somebody keeps undoing a repair",
            promise: "after three reversals it is `Contested`, told once, and repaired ever more rarely",
            shown_by: &[
                Scenario("limits", "what_somebody_keeps_undoing_is_contested_and_told_once_with_his_name"),
                Test(
                    "controller/engine/src/contests/tests.rs",
                    "a_day_of_toggling_is_31_repairs_and_no_pattern_makes_more_than_81",
                ),
            ],
        },
        Fault {
            id: "F21",
            what: "a group or a function is deleted in the middle of a plan, and made anew under its name",
            promise: "it is done with; the new one has a plan of its own",
            shown_by: &[
                Scenario(
                    "faults::aws",
                    "a_group_that_is_deleted_in_the_middle_of_a_plan_is_done_with_and_its_successor_is_planned_anew",
                ),
                Scenario(
                    "lambda::foreign",
                    "a_function_that_is_deleted_half_way_is_done_with_and_its_successor_is_planned_anew",
                ),
            ],
        },
    ]
}

/// What befalls functions alone.
fn of_functions() -> Vec<Fault> {
    vec![
        Fault {
            id: "F31",
            what: "AWS cannot carry out an update of a function: its key is denied or disabled, its role is gone, a subnet is full, its runtime is blocked",
            promise: "the reason is told; what nobody may update is not tried again before the function has changed",
            shown_by: &[
                Scenario("lambda::withheld", "an_update_that_fails_says_by_what_it_failed"),
                Scenario("lambda::withheld", "who_has_access_is_put_right_whatever_becomes_of_the_configuration"),
                Scenario("lambda::withheld", "a_key_that_cannot_be_used_costs_no_variable"),
                Scenario(
                    "lambda::foreign",
                    "a_runtime_that_nobody_may_update_is_tried_again_only_once_the_function_has_changed",
                ),
            ],
        },
        Fault {
            id: "F32",
            what: "a function is pending, inactive, failed or being updated, or its last update has failed",
            promise: "its configuration is not written, and the reason is told",
            shown_by: &[
                Scenario("lambda::withheld", "a_function_that_cannot_be_changed_is_left_alone_and_says_why"),
                Test(
                    "controller/engine/tests/rails/lambda.rs",
                    "a_function_is_configured_only_while_it_is_ready_and_nothing_is_lost",
                ),
            ],
        },
        Fault {
            id: "F33",
            what: "the policy of a function does not parse",
            promise: "`Unknown`, and no edit",
            shown_by: &[Scenario(
                "lambda::withheld",
                "a_policy_that_cannot_be_read_or_parsed_is_unknown_and_left_alone",
            )],
        },
        Fault {
            id: "F34",
            what: "more concurrency is to be reserved than the account can spare",
            promise: "nothing is reserved for anybody, and the shortage is told",
            shown_by: &[Scenario("lambda::withheld", "concurrency_beyond_the_account_is_reserved_for_nobody")],
        },
        Fault {
            id: "F35",
            what: "CloudFront does not say which functions Lambda@Edge replicates",
            promise: "no function in us-east-1 is written, and the reason is told; then the originals are left alone",
            shown_by: &[Scenario(
                "lambda::withheld",
                "what_a_distribution_calls_is_left_alone_and_so_is_all_until_that_is_known",
            )],
        },
    ]
}

/// The table of faults, in Markdown.
#[must_use]
pub fn table() -> String {
    const HEAD: &str = "<!-- Generated by `cargo gen` from the list of faults. Change that, not this file. -->
# Faults

What can go wrong, what holds all the same, and what shows it. F2 is of task definitions and F25 of events, neither of which
there are yet. Whatever goes wrong with AWS, `Audit` and `Propose` write nothing.

| fault | what goes wrong | promise | test |
| --- | --- | --- | --- |
";
    let mut faults = faults();
    faults.sort_by_key(|fault| fault.number());
    let row = |Fault { id, what, promise, shown_by }: &Fault| {
        let shown: Vec<String> = shown_by.iter().map(Proof::name).collect();
        format!("| {id} | {what} | {promise} | {} |\n", shown.join(", "))
    };
    HEAD.to_owned() + &faults.iter().map(row).collect::<String>()
}

impl Fault {
    fn number(&self) -> Option<u32> {
        self.id.strip_prefix('F')?.parse().ok()
    }
}

impl Proof {
    fn name(&self) -> String {
        match self {
            Self::Scenario(module, name) => format!("`{module}::{name}`"),
            Self::Test(file, name) => format!("`{name}` in `{file}`"),
            Self::Command(alias) => format!("`cargo {alias}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;
    use crate::generate::root;

    /// Whether the text of a file holds a test of this name.
    fn has_test(text: &str, name: &str) -> bool {
        let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
        before.lines().rev().take(4).any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
    }

    fn text(path: &str) -> String {
        fs::read_to_string(root().join(path)).unwrap_or_default()
    }

    fn exists(proof: &Proof) -> bool {
        match proof {
            Proof::Scenario(module, name) => {
                has_test(&text(&format!("tests/tests/scenarios/{}.rs", module.replace("::", "/"))), name)
            }
            Proof::Test(file, name) => has_test(&text(file), name),
            Proof::Command(alias) => {
                text(".cargo/config.toml").lines().any(|line| line.starts_with(&format!("{alias} = ")))
            }
        }
    }

    #[test]
    fn every_test_that_the_table_names_exists() {
        for fault in faults() {
            assert!(!fault.shown_by.is_empty(), "{}", fault.id);
            let missing: Vec<String> = fault.shown_by.iter().filter(|proof| !exists(proof)).map(Proof::name).collect();
            assert!(missing.is_empty(), "{}: there is no {missing:?}", fault.id);
        }
        assert!(!exists(&Scenario("reads", "no_such_test")));
        assert!(!exists(&Scenario("reads", "recovers_from")), "a function is no test");
        assert!(!exists(&Command("no-such-alias")));
    }

    #[test]
    fn every_fault_is_in_the_table_once() {
        let numbers: Vec<u32> = faults().iter().filter_map(Fault::number).collect();
        let expected: BTreeSet<u32> = (1..=35).filter(|number| ![2, 25].contains(number)).collect();
        assert_eq!((numbers.len(), numbers.into_iter().collect()), (expected.len(), expected));
    }
}
