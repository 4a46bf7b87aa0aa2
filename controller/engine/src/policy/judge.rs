//! The class of a statement, and the sentence that says why.

use serde_json::Value;

use super::statement::{Effect, Extent, Principal, Statement};
use super::trust::{Reach, Trust, is_fixed};

/// The longest that a name out of a policy gets in a sentence.
const LONGEST_NAME: usize = 120;

static EVERYONE: Principal = Principal::Everyone;

/// What is wrong with whom a statement lets in. The order is that of severity; a statement has one class, the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing: only those who are trusted.
    Ok,
    /// A service, on behalf of whichever account asks it to.
    ConfusedDeputy,
    /// Somebody in particular who is not trusted.
    Untrusted,
    /// Everyone.
    Public,
}

impl Statement {
    /// The class of the statement by itself. A Deny lets nobody in.
    pub fn class(&self, trust: &Trust) -> Class {
        self.classes(trust).into_iter().map(|(_, class)| class).max().unwrap_or(Class::Ok)
    }

    /// Why the statement is not [`Class::Ok`] by itself: one sentence for a finding.
    pub fn why(&self, trust: &Trust) -> Option<String> {
        let worst = self.class(trust);
        let classes = self.classes(trust);
        let mut blamed = classes.iter().filter(|(_, class)| *class == worst && worst != Class::Ok);
        let (principal, _) = blamed.next()?;
        let statement = match self.sid() {
            Some(sid) => format!("statement {:?}", short(sid)),
            None => "a statement without Sid".to_owned(),
        };
        let others = match blamed.count() {
            0 => String::new(),
            others => format!(" (and {others} more)"),
        };
        Some(format!("{statement}: {}{others}", accusation(principal, worst, &self.deed())))
    }

    /// The class of each principal. All but some are everyone: nobody is sure who the rest is.
    fn classes(&self, trust: &Trust) -> Vec<(&Principal, Class)> {
        if self.effect() == Effect::Deny {
            return Vec::new();
        }
        let reach = self.conditions.reach(trust);
        let judged = |principal| (principal, class(principal, reach, trust));
        match &self.principals {
            Extent::Only(principals) => principals.iter().map(judged).collect(),
            Extent::AllBut(_) => vec![judged(&EVERYONE)],
        }
    }

    /// What it lets them do, as it was written.
    fn deed(&self) -> String {
        let (actions, otherwise) = match self.raw().get("NotAction") {
            Some(actions) => (Some(actions), "do everything but "),
            None => (self.raw().get("Action"), ""),
        };
        let actions: Vec<&str> = match actions {
            Some(Value::Array(actions)) => actions.iter().filter_map(Value::as_str).collect(),
            actions => actions.and_then(Value::as_str).into_iter().collect(),
        };
        let first = actions.first().copied().map(short).unwrap_or_default();
        match actions.len() {
            0 | 1 => format!("{otherwise}{first}"),
            all => format!("{otherwise}{first} and {} more", all - 1),
        }
    }
}

/// The class of one principal, given who meets the conditions.
fn class(principal: &Principal, reach: Reach, trust: &Trust) -> Class {
    let named = match principal {
        Principal::Everyone => Reach::Anyone,
        Principal::Service(service) if is_fixed(service) => return service_class(service, reach, trust),
        Principal::Service(_) => Reach::Anyone,
        Principal::Aws(principal) => trust.aws_principal(principal),
        Principal::Federated(identity) | Principal::CanonicalUser(identity) => trust.identity(identity),
    };
    match named.and(reach) {
        Reach::Ours => Class::Ok,
        Reach::Source | Reach::Foreign => Class::Untrusted,
        Reach::Anyone => Class::Public,
    }
}

/// A service acts for others: only the conditions tell for whom.
fn service_class(service: &str, reach: Reach, trust: &Trust) -> Class {
    match reach {
        Reach::Ours | Reach::Source => Class::Ok,
        Reach::Foreign => Class::Untrusted,
        Reach::Anyone if trust.exempt_services.contains(service) => Class::Ok,
        Reach::Anyone => Class::ConfusedDeputy,
    }
}

fn accusation(principal: &Principal, class: Class, deed: &str) -> String {
    match (class, principal) {
        (Class::Public, _) => format!("anyone may {deed}"),
        (Class::ConfusedDeputy, principal) => format!("{} may {deed} on behalf of any account", name(principal)),
        (_, Principal::Service(service)) if is_fixed(service) => {
            format!("{} may {deed} on behalf of somebody who is not trusted", short(service))
        }
        (_, Principal::Everyone | Principal::Service(_)) => {
            format!("whoever meets its conditions may {deed}, and these name somebody who is not trusted")
        }
        (_, principal) => format!("{}, who is not trusted, may {deed}", name(principal)),
    }
}

fn name(principal: &Principal) -> String {
    match principal {
        Principal::Everyone => "everyone".to_owned(),
        Principal::Aws(name)
        | Principal::Service(name)
        | Principal::Federated(name)
        | Principal::CanonicalUser(name) => short(name),
    }
}

/// A name out of a policy, without what could break a line of output.
fn short(name: &str) -> String {
    let mut printable = name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    let start: String = printable.by_ref().take(LONGEST_NAME).collect();
    if printable.next().is_some() { format!("{start}…") } else { start }
}
