//! What people want undone: orders that wait, why they do, and why some came to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crds::ChangeSet;
use engine::approval::ChangeSetName;
use engine::kind::Cell;
use engine::tenancy::Namespace;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::journal::cell;
use crate::store::Objects;

/// The pause after the first try in vain. It doubles with each further one.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// A person's word to undo a change set.
#[derive(Clone, Debug)]
pub struct Order {
    /// The change set as it was when the word was heard.
    pub set: ChangeSet,
    /// Uid of the approval that says so.
    pub uid: String,
    /// Name of the approval.
    pub approval: String,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// How long the findings then stand.
    pub exempt_for: SignedDuration,
}

/// Orders that wait, and why some came to nothing.
#[derive(Debug, Default)]
pub struct Orders(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    waiting: BTreeMap<Cell, Vec<Waiting>>,
    /// By the uid of the approval, until that says so.
    refused: BTreeMap<String, String>,
}

/// An order that waits, or was tried in vain.
#[derive(Clone, Debug)]
struct Waiting {
    order: Order,
    why: Option<String>,
    pause: SignedDuration,
    due: Timestamp,
}

impl Orders {
    /// Takes an order, unless it is known.
    pub fn take(&self, order: Order) {
        let Book { waiting, refused } = &mut *self.lock();
        if refused.contains_key(&order.uid) {
            return;
        }
        let Some(cell) = cell(&order.set) else {
            let why = format!("this version does not know the kind {:?} of its baseline", order.set.spec.baseline.kind);
            refused.insert(order.uid, why);
            return;
        };
        let waiting = waiting.entry(cell).or_default();
        if waiting.iter().all(|other| other.order.uid != order.uid) {
            waiting.push(Waiting { order, why: None, pause: FIRST_PAUSE, due: Timestamp::MIN });
        }
    }

    /// Why an order came to nothing.
    pub fn refusal(&self, uid: &str) -> Option<String> {
        self.lock().refused.get(uid).cloned()
    }

    /// Forgets why an order came to nothing: its approval says so.
    pub fn forget_refusal(&self, uid: &str) {
        self.lock().refused.remove(uid);
    }

    /// What an order waits for, if it was tried.
    pub fn waits_for(&self, uid: &str) -> Option<String> {
        let book = self.lock();
        book.waiting.values().flatten().find(|waiting| waiting.order.uid == uid)?.why.clone()
    }

    /// Where orders wait.
    pub fn cells(&self) -> Vec<Cell> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// How many orders wait in a cell.
    pub fn waiting(&self, cell: &Cell) -> usize {
        self.lock().waiting.get(cell).map_or(0, Vec::len)
    }

    /// How long it is until an order of a cell is to be tried.
    pub fn next_due(&self, cell: &Cell, now: Timestamp) -> Option<std::time::Duration> {
        let book = self.lock();
        let due = book.waiting.get(cell)?.iter().map(|waiting| waiting.due).min()?;
        Some(now.duration_until(due).try_into().unwrap_or_default())
    }

    /// The change sets that may be undone in a cell right now.
    pub fn approved(&self, cell: &Cell, objects: &Objects) -> BTreeSet<ChangeSetName> {
        let name = |order: Order| Some(ChangeSetName { namespace: order.set.namespace()?, name: order.set.name_any() });
        let orders = self.due(cell, Timestamp::MAX).into_iter();
        orders.filter(|order| objects.has_approval(&order.uid)).filter_map(name).collect()
    }

    /// The namespaces in which somebody wants something undone in a cell, as they are right now.
    pub fn namespaces(&self, cell: &Cell, objects: &Objects) -> Vec<Namespace> {
        let orders = self.due(cell, Timestamp::MAX);
        let names: BTreeSet<String> = orders.iter().filter_map(|order| order.set.namespace()).collect();
        names.iter().map(|name| objects.namespace(name)).collect()
    }

    /// What is to be put back in a cell.
    pub fn resources(&self, cell: &Cell) -> BTreeSet<String> {
        let orders = self.due(cell, Timestamp::MAX);
        orders.iter().flat_map(|order| &order.set.spec.edits).map(|edit| edit.resource.clone()).collect()
    }

    /// The orders of a cell that are to be tried now.
    pub(super) fn due(&self, cell: &Cell, now: Timestamp) -> Vec<Order> {
        let book = self.lock();
        let waiting = book.waiting.get(cell).into_iter().flatten();
        waiting.filter(|waiting| waiting.due <= now).map(|waiting| waiting.order.clone()).collect()
    }

    /// Ends an order: it was carried out, or refused for this reason.
    pub(super) fn end(&self, order: &Order, refused: Option<String>) {
        let book = &mut *self.lock();
        for orders in book.waiting.values_mut() {
            orders.retain(|other| other.order.uid != order.uid);
        }
        book.waiting.retain(|_, orders| !orders.is_empty());
        book.refused.extend(refused.map(|why| (order.uid.clone(), why)));
    }

    /// Puts an order off, each time for longer.
    pub(super) fn put_off(&self, order: &Order, why: String, now: Timestamp) {
        let mut book = self.lock();
        let mut waiting = book.waiting.values_mut().flatten();
        if let Some(waiting) = waiting.find(|waiting| waiting.order.uid == order.uid) {
            waiting.why = Some(why);
            waiting.due = now.saturating_add(waiting.pause).unwrap_or(Timestamp::MAX);
            waiting.pause = (waiting.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(uid: &str) -> Order {
        let mut set = ChangeSet::new("edge-1", Default::default());
        set.spec.baseline.kind = "SecurityGroupBaseline".to_owned();
        set.spec.account = "111122223333".to_owned();
        let text = |text: &str| text.to_owned();
        let (by, reason) = (text("ana"), text("INC-77"));
        Order { set, uid: text(uid), approval: text("word"), by, reason, exempt_for: SignedDuration::from_hours(24) }
    }

    #[test]
    fn an_order_in_vain_is_tried_again_after_ever_longer_pauses_and_says_why_it_waits() {
        let (orders, order) = (Orders::default(), order("u"));
        let (place, at) = (cell(&order.set).unwrap(), |second| Timestamp::from_second(second).unwrap());
        orders.take(order.clone());
        orders.take(order.clone());
        assert_eq!((orders.waiting(&place), orders.waits_for("u")), (1, None));
        let due = |second| orders.due(&place, at(second)).len();
        orders.put_off(&order, "writes are stopped".to_owned(), at(0));
        assert_eq!((due(4), due(5), orders.waits_for("u").as_deref()), (0, 1, Some("writes are stopped")));
        (0..20).for_each(|_| orders.put_off(&order, String::new(), at(5)));
        assert_eq!((due(604), due(605)), (0, 1), "at most ten minutes");
    }

    #[test]
    fn an_order_that_was_refused_is_not_taken_again_until_its_approval_says_so() {
        let (orders, order) = (Orders::default(), order("u"));
        orders.take(order.clone());
        orders.end(&order, Some("it was changed since".to_owned()));
        orders.take(order.clone());
        assert_eq!((orders.cells().len(), orders.refusal("u").is_some()), (0, true));
        orders.forget_refusal("u");
        assert_eq!(orders.refusal("u"), None);
    }
}
