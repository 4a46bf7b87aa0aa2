//! The caller oracle: whom each write let into a function or a version of a layer and whom it shut out, worked out from the
//! ledger alone.
//!
//! It shares no code with the engine, on purpose: the engine's own reckoning is what it checks. A caller is a principal, an
//! action and conditions, as one statement names them. He is let in where one statement covers him: the same words, or
//! fewer conditions, or everybody in place of him. What two statements cover only together counts as new.

mod caller;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::emulator::{Call, FunctionChange, LayerChange};
use caller::Caller;

/// A set of callers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Callers {
    let_in: BTreeSet<Caller>,
    /// Statements that deny, word for word: whom they are about is not worked out.
    denials: BTreeSet<String>,
}

/// What a call did to one function or one version of a layer.
struct Change {
    /// Told apart by region.
    place: String,
    before: Callers,
    after: Callers,
}

/// Callers that were ever let in by name, by where, less those whom the owner has shut out.
///
/// One write may remove such a statement as redundant, and the next one what made it redundant: each of them alone is no
/// harm.
#[derive(Debug, Default)]
struct Named(BTreeMap<String, BTreeSet<Caller>>);

impl Callers {
    /// Everybody whom a function lets in, in the emulator's own JSON; null lets in nobody.
    pub fn of_function(function: &Value) -> Result<Self> {
        let mut callers = Self::default();
        if function.is_null() {
            return Ok(callers);
        }
        let text = |field: &str| {
            function.get(field).and_then(Value::as_str).with_context(|| format!("a function has no {field}"))
        };
        let members = |field: &str| {
            function.get(field).and_then(Value::as_object).with_context(|| format!("a function has no {field}"))
        };
        let (name, arn) = (text("name")?, text("arn")?);
        let of_alias =
            |what: &str, alias: &str| if alias.is_empty() { what.to_owned() } else { format!("{what}:{alias}") };
        for (alias, policy) in members("policies")? {
            callers.read(&of_alias(name, alias), &of_alias(arn, alias), policy)?;
        }
        for (alias, url) in members("urls")? {
            callers.let_in.extend(Caller::by_url(&of_alias(name, alias), url));
        }
        Ok(callers)
    }

    /// Everybody whom a version of a layer lets in, in the emulator's own JSON; null lets in nobody.
    fn of_layer(change: &LayerChange, version: &Value) -> Result<Self> {
        let mut callers = Self::default();
        let policy = version.get("policy").filter(|policy| !policy.is_null());
        if let Some(policy) = policy {
            let arn = version.get("LayerVersionArn").and_then(Value::as_str).context("a layer has no ARN")?;
            callers.read(&format!("{}:{}", change.name, change.version), arn, policy)?;
        }
        Ok(callers)
    }

    /// The callers of texts such as `checkout 444455556666 lambda:InvokeFunction`: a function (with `:ALIAS`), or a layer
    /// with its version; an account, an ARN or a service; an action, and conditions such as `aws:SourceAccount=111122223333`.
    /// `*` is any of the first, everybody, or every action. `unsigned` is a request to a URL that asks for no signature.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let let_in = texts.into_iter().map(str::parse).collect::<Result<BTreeSet<Caller>>>()?;
        Ok(Self { let_in, denials: BTreeSet::new() })
    }

    fn read(&mut self, of: &str, arn: &str, policy: &Value) -> Result<()> {
        let statements = policy.get("statements").and_then(Value::as_array).context("a policy has no statements")?;
        for statement in statements {
            match statement.get("Effect").and_then(Value::as_str) {
                Some("Allow") => self.let_in.extend(Caller::of_statement(of, arn, statement)),
                // One that nobody understands denies nobody and lets in nobody for sure.
                _ => self.denials.extend([format!("{of} {statement}")]),
            }
        }
        Ok(())
    }

    /// Whether there is nobody in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.let_in.is_empty() && self.denials.is_empty()
    }

    /// The callers that are in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let Self { let_in, denials } = other;
        Self { let_in: &self.let_in | let_in, denials: &self.denials | denials }
    }

    /// The callers that are in this set alone.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let alone = self.let_in.iter().filter(|caller| !other.has(caller));
        Self { let_in: alone.cloned().collect(), denials: &self.denials - &other.denials }
    }

    fn has(&self, caller: &Caller) -> bool {
        self.let_in.iter().any(|wide| wide.covers(caller))
    }

    fn named(&self) -> BTreeSet<Caller> {
        self.let_in.iter().filter(|caller| caller.is_named()).cloned().collect()
    }
}

impl Change {
    fn all(call: &Call) -> Result<Vec<Self>> {
        let region = call.region.as_deref().unwrap_or_default();
        let of_function = |FunctionChange { name, before, after }: &FunctionChange| -> Result<Self> {
            let (before, after) = (Callers::of_function(before)?, Callers::of_function(after)?);
            Ok(Self { place: format!("{region} {name}"), before, after })
        };
        let of_layer = |change: &LayerChange| -> Result<Self> {
            let (before, after) =
                (Callers::of_layer(change, &change.before)?, Callers::of_layer(change, &change.after)?);
            Ok(Self { place: format!("{region} {}:{}", change.name, change.version), before, after })
        };
        call.functions.iter().map(of_function).chain(call.layers.iter().map(of_layer)).collect()
    }

    /// Who was not let in before and is after.
    fn let_in(&self) -> Callers {
        let denials = &self.before.denials - &self.after.denials;
        Callers { denials, ..self.after.difference(&self.before) }
    }

    /// Who of some callers was let in before and is not after.
    fn shut_out(&self, callers: &BTreeSet<Caller>) -> Callers {
        let lost = callers.iter().filter(|caller| self.before.has(caller) && !self.after.has(caller));
        Callers { let_in: lost.cloned().collect(), denials: &self.after.denials - &self.before.denials }
    }
}

impl Named {
    /// Whom of them a write under judgement shut out.
    fn shut_out_by(&mut self, change: &Change) -> Callers {
        let kept = self.0.entry(change.place.clone()).or_default();
        kept.extend(change.before.named());
        change.shut_out(kept)
    }

    /// Takes note of a write of somebody else's: whom he shuts out need not be kept, whom he names must be.
    fn learn(&mut self, change: &Change) {
        let kept = self.0.entry(change.place.clone()).or_default();
        kept.extend(change.before.named());
        let named = change.after.named();
        let taken = change.before.named();
        kept.retain(|caller| change.after.has(caller) && (!taken.contains(caller) || named.contains(caller)));
        kept.extend(named);
    }
}

/// Fails if any write by a role let in anybody who is not in `may_let_in`, and says which write and whom.
pub fn assert_nobody_let_in(calls: &[Call], may_let_in: &Callers) -> Result<()> {
    assert_none("let in", calls, |call, change| match call.is_by_a_role() {
        true => change.let_in().difference(may_let_in),
        false => Callers::default(),
    })
}

/// Fails if any write by a role shut out anybody who is in `must_let_in`, and says which write and whom.
pub fn assert_never_shut_out(calls: &[Call], must_let_in: &Callers) -> Result<()> {
    assert_none("shut out", calls, |call, change| match call.is_by_a_role() {
        true => change.shut_out(&must_let_in.let_in),
        false => Callers::default(),
    })
}

/// Fails if any write by a role shut out a caller who was let in by name, and is not in `may_shut_out`; says which write
/// and whom.
///
/// A name counts from when it was first seen, also once a write by a role has removed its statement. `calls` are those of
/// everybody: whom others name counts as well, and whom they shut out no more.
pub fn assert_named_callers_kept(calls: &[Call], may_shut_out: &Callers) -> Result<()> {
    let mut named = Named::default();
    assert_none("shut out", calls, |call, change| {
        if call.is_by_a_role() {
            return named.shut_out_by(change).difference(may_shut_out);
        }
        named.learn(change);
        Callers::default()
    })
}

/// Fails if there is anything wrong with any change of a function or a layer, and says what.
fn assert_none(verb: &str, calls: &[Call], mut wrong: impl FnMut(&Call, &Change) -> Callers) -> Result<()> {
    let mut complaints = String::new();
    for call in calls.iter().filter(|call| call.effect) {
        for change in Change::all(call)? {
            let callers = wrong(call, &change);
            if !callers.is_empty() {
                let (seq, operation) = (call.seq, call.operation());
                complaints.push_str(&format!("\ncall {seq}, {operation}, {verb}:\n{callers}"));
            }
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    bail!("writes {verb} whom they must not have:{complaints}")
}

impl fmt::Display for Callers {
    /// A line per caller, in the text form that [`Callers::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.let_in.iter().try_for_each(|caller| writeln!(f, "  {caller}"))?;
        self.denials.iter().try_for_each(|statement| writeln!(f, "  by a denial: {statement}"))
    }
}

#[cfg(test)]
mod tests;
