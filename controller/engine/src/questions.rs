//! What all baselines of a cell ask of a resource, each distinct question once: a hundred baselines that differ in one
//! field share the answers to all the others.

use crate::controls::security_group::{Compiled, Control};
use crate::desired::{ActiveControl, Desired};

/// One control with one set of parameters, and every baseline that uses it so.
pub(crate) struct Question<'d> {
    pub(crate) control: &'static Control,
    pub(crate) parameters: &'d Compiled,
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
pub(crate) fn questions(desired: &[Desired]) -> Vec<Question<'_>> {
    let mut questions: Vec<Question<'_>> = Vec::new();
    for (baseline, desired) in desired.iter().enumerate() {
        for (position, active) in desired.controls.iter().enumerate() {
            let asking = Asking { baseline, position, desired, active };
            let same = |question: &&mut Question<'_>| {
                std::ptr::eq(question.control, active.control)
                    && (active.control.alike)(question.parameters, &desired.parameters)
            };
            match questions.iter_mut().find(same) {
                Some(question) => question.askers.push(asking),
                None => questions.push(Question {
                    control: active.control,
                    parameters: &desired.parameters,
                    askers: vec![asking],
                }),
            }
        }
    }
    for question in &mut questions {
        question.askers.sort_by_key(|asking| &asking.desired.reference);
    }
    questions
}
