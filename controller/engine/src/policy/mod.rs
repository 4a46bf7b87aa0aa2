//! Resource-based policies of AWS: whom the policy of a function, a layer, a repository, a queue, a topic or a key lets
//! in, and whether those are trusted.
//!
//! A policy is understood whole or not at all: an element that the grammar of IAM does not know is an error, since what
//! it means for the rest is unknown. Whatever is in doubt counts as wide. What is public follows section 3.6 of the
//! control catalogue. Two comparisons that never look at trust prove that an edit of a policy widened nothing.

mod condition;
mod document;
mod judge;
mod statement;
mod trust;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use judge::Class;
pub use statement::{Effect, Statement};
pub use trust::Trust;

/// The elements around the statements ("IAM JSON policy elements reference").
const ELEMENTS: [&str; 3] = ["Version", "Id", "Statement"];

/// The version that a policy without one is of. In it `${…}` is literal text, in the later one a variable.
const OLD_VERSION: &str = "2008-10-17";

const VERSIONS: [&str; 2] = [OLD_VERSION, "2012-10-17"];

/// Why a text is no policy. Nothing of the text is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not JSON, is nested too deeply, or has an element twice.
    #[error("the policy is not JSON as policies are written: {0}")]
    NotJson(String),
    /// The elements around the statements are wrong.
    #[error("the policy cannot be read: {0}")]
    Document(&'static str),
    /// One of the statements is wrong.
    #[error("statement {position} of the policy cannot be read: {problem}")]
    Statement {
        /// Which one, the first being 1.
        position: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A resource-based policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Everything but the statements, as it was written.
    frame: Map<String, Value>,
    statements: Vec<Statement>,
}

impl Policy {
    /// Reads a policy document. There is no policy without statements: a resource that has none has no document.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let Value::Object(mut frame) = document::read(text)? else {
            return Err(PolicyError::Document("it is not an object"));
        };
        check_frame(&frame).map_err(PolicyError::Document)?;
        let statements = match frame.remove("Statement") {
            Some(Value::Array(statements)) if !statements.is_empty() => statements,
            Some(statement @ Value::Object(_)) => vec![statement],
            _ => return Err(PolicyError::Document("it has no statements")),
        };
        let read = |(index, raw)| {
            Statement::parse(raw).map_err(|problem| PolicyError::Statement { position: index + 1, problem })
        };
        let statements = statements.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { frame, statements })
    }

    /// The statements in the order of the document.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The class of every Allow statement, by its index.
    ///
    /// One that a Deny takes back whole lets nobody in and is [`Class::Ok`]. No other Deny is an excuse: what it leaves
    /// open would have to be worked out.
    pub fn judge(&self, trust: &Trust) -> Vec<(usize, Class)> {
        let allowed = self.statements.iter().enumerate().filter(|(_, statement)| statement.effect() == Effect::Allow);
        let class = |statement: &Statement| {
            let taken_back = self.statements.iter().any(|other| other.takes_back(statement));
            if taken_back { Class::Ok } else { statement.class(trust) }
        };
        allowed.map(|(index, statement)| (index, class(statement))).collect()
    }

    /// Whether it is proven that whatever this policy allows, the other allows too: each Allow is no wider than one of
    /// the other's, and each Deny of the other is no wider than one that is here. `false` is no proof of the contrary.
    pub fn is_no_wider_than(&self, other: &Self) -> bool {
        self.version() == other.version()
            && self.with_effect(Effect::Allow).all(|allowed| other.covers(allowed))
            && other.with_effect(Effect::Deny).all(|denied| self.covers(denied))
    }

    /// Whether both say the same, however they spell and order it.
    pub fn is_equivalent_to(&self, other: &Self) -> bool {
        self.is_no_wider_than(other) && other.is_no_wider_than(self)
    }

    /// The policy without one of its statements. Without its last one it lets nobody in, but can no longer be stored.
    #[must_use]
    pub fn without(&self, index: usize) -> Self {
        let kept = self.statements.iter().enumerate().filter(|(position, _)| *position != index);
        Self { frame: self.frame.clone(), statements: kept.map(|(_, statement)| statement.clone()).collect() }
    }

    /// The document, each statement as it was written.
    pub fn document(&self) -> Value {
        let statements = self.statements.iter().map(|statement| statement.raw().clone()).collect();
        let mut document = self.frame.clone();
        document.insert("Statement".to_owned(), Value::Array(statements));
        Value::Object(document)
    }

    fn with_effect(&self, effect: Effect) -> impl Iterator<Item = &Statement> {
        self.statements.iter().filter(move |statement| statement.effect() == effect)
    }

    fn covers(&self, narrow: &Statement) -> bool {
        self.statements.iter().any(|wide| narrow.is_no_wider_than(wide))
    }

    fn version(&self) -> &str {
        self.frame.get("Version").and_then(Value::as_str).unwrap_or(OLD_VERSION)
    }
}

fn check_frame(frame: &Map<String, Value>) -> Result<(), &'static str> {
    if frame.keys().any(|name| !ELEMENTS.contains(&name.as_str())) {
        return Err("it has an element that policies do not have");
    }
    match frame.get("Version").map(|version| version.as_str().is_some_and(|version| VERSIONS.contains(&version))) {
        Some(false) => Err("its Version is unknown"),
        Some(true) | None => Ok(()),
    }
}
