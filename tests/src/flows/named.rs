//! The flows of rules whose peer is somebody in particular, remembered from write to write.

use std::collections::BTreeMap;

use anyhow::Result;
use ipnet::{Ipv4Net, Ipv6Net};

use super::{FlowSet, lost};
use crate::emulator::{GroupChange, GroupRules, PeerKind, Rule};

/// By group id, what a rule that names its peer has ever let through, less what its owner took back.
///
/// One write may remove such a rule as redundant, and the next one what made it redundant: each of them alone is no harm.
#[derive(Debug, Default)]
pub(super) struct NamedFlows(BTreeMap<String, FlowSet>);

impl NamedFlows {
    /// What a write under judgement cut of them.
    pub(super) fn cut_by(&mut self, change: &GroupChange) -> Result<FlowSet> {
        let (before, after) = (change.rules_before(), change.rules_after());
        let kept = self.0.entry(change.group_id.clone()).or_default();
        *kept = kept.union(&of_named_peers(&before)?);
        Ok(lost(&before, &after)?.intersection(kept))
    }

    /// Takes note of a write of somebody else's: what he takes away need not be kept, what he names must be.
    pub(super) fn learn(&mut self, change: &GroupChange) -> Result<()> {
        let (before, after) = (change.rules_before(), change.rules_after());
        let (named_before, named_after) = (of_named_peers(&before)?, of_named_peers(&after)?);
        let taken = named_before.difference(&named_after).union(&lost(&before, &after)?);
        let kept = self.0.entry(change.group_id.clone()).or_default();
        *kept = kept.union(&named_before).difference(&taken).union(&named_after);
        Ok(())
    }
}

/// What the rules let through that do not speak of the internet at large.
fn of_named_peers(rules: &GroupRules) -> Result<FlowSet> {
    let named = |rules: &[Rule]| rules.iter().filter(|rule| names_its_peer(rule)).cloned().collect();
    FlowSet::of(&GroupRules { ingress: named(&rules.ingress), egress: named(&rules.egress) })
}

/// The private networks are the largest that an owner names; half of the internet is nobody in particular.
fn names_its_peer(rule: &Rule) -> bool {
    match rule.peer_kind {
        PeerKind::CidrV4 => rule.peer.parse().is_ok_and(|net: Ipv4Net| net.prefix_len() >= 8),
        PeerKind::CidrV6 => rule.peer.parse().is_ok_and(|net: Ipv6Net| net.prefix_len() >= 7),
        PeerKind::PrefixList | PeerKind::Group => true,
    }
}
