//! What all baselines of a cell ask of a resource, each distinct question once: a hundred baselines that differ in one
//! field share the answers to all the others.

use crate::controls::{Catalogue, Control};
use crate::desired::{ActiveControl, Desired};

/// One control with one set of parameters, and every baseline that uses it so.
pub struct Question<'d, C: Catalogue> {
    pub(crate) control: &'static Control<C>,
    pub(crate) parameters: &'d C::Compiled,
    pub(crate) askers: Vec<Asking<'d>>,
}

/// One control of one baseline.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'d> {
    /// Position of the baseline among those of the cell.
    pub(crate) baseline: usize,
    /// Position of the control among those that the baseline uses.
    pub(crate) position: usize,
    pub(crate) desired: &'d Desired,
    pub(crate) active: &'d ActiveControl,
}

/// Puts the controls of all baselines together by what they ask. Who asks is in the order of the references.
pub(crate) fn questions<C: Catalogue>(desired: &[Desired]) -> Vec<Question<'_, C>> {
    let catalogue: Vec<&'static Control<C>> = C::controls().collect();
    let mut questions: Vec<Question<'_, C>> = Vec::new();
    for (baseline, desired) in desired.iter().enumerate() {
        let Some(parameters) = C::compiled(&desired.parameters) else { continue };
        for (position, active) in desired.controls.iter().enumerate() {
            let is_it = |control: &&&'static Control<C>| std::ptr::eq(&raw const control.about, active.about);
            let Some(control) = catalogue.iter().find(is_it) else { continue };
            let asking = Asking { baseline, position, desired, active };
            let same = |question: &&mut Question<'_, C>| {
                std::ptr::eq(question.control, *control) && (control.alike)(question.parameters, parameters)
            };
            match questions.iter_mut().find(same) {
                Some(question) => question.askers.push(asking),
                None => questions.push(Question { control, parameters, askers: vec![asking] }),
            }
        }
    }
    for question in &mut questions {
        question.askers.sort_by_key(|asking| &asking.desired.reference);
    }
    questions
}
