//! Words that are the same in every account.

use crate::emulator::Seeded;

/// The names of what AWS has named otherwise in every account.
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn of(account: &str, seeded: &Seeded) -> Self {
        let of_seed = seeded.groups.iter().chain(&seeded.prefix_lists).chain(&seeded.code_signing_configs);
        let of_seed = of_seed.map(|(name, id)| (id.clone(), name.clone()));
        // Last: the ids of others hold it.
        Self(of_seed.chain([(account.to_owned(), "account".to_owned())]).collect())
    }

    pub(super) fn translate(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }
}
