//! From the layout of an older program to this one's, a step at a time, each in one batch.

use super::{Change, Key, SCHEMA, Store, StoreError, Table, schema_is};

/// What brings a store from one layout to the next.
struct Step {
    from: u32,
    changes: fn(&Store) -> Result<Vec<Change>, StoreError>,
}

/// All steps that there are, in order; the last one leads to [`SCHEMA`].
const STEPS: &[Step] = &[
    Step { from: 1, changes: every_group_has_its_number },
    // Schema 2 packed nothing; what it wrote is read as it is.
    Step { from: 2, changes: |_| Ok(Vec::new()) },
];

impl Store {
    /// Brings the records to [`SCHEMA`]. Interrupted, it goes on with the next call.
    ///
    /// # Errors
    /// [`StoreError`] if the store is older than any that this program knows, or the disk refuses.
    pub fn upgrade(&self) -> Result<(), StoreError> {
        loop {
            let found = self.schema()?;
            if found == SCHEMA {
                return Ok(());
            }
            let step = STEPS.iter().find(|step| step.from == found);
            let step = step.ok_or_else(|| StoreError::TooOld {
                path: self.path.clone(),
                found,
                known: STEPS[0].from,
            })?;
            let mut changes = (step.changes)(self)?;
            changes.push(schema_is(step.from + 1));
            self.write(&changes)?;
        }
    }
}

/// Schema 1 named the steps of a masked round's first group without its number.
fn every_group_has_its_number(store: &Store) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    for (key, payload) in store.table(Table::Masked)? {
        if key.len() == 1 {
            changes.push(Change::Delete(Key::new(Table::Masked, &key)));
            changes.push(Change::Put(Key::new(Table::Masked, [key[0], 0, 0, 0, 0]), payload));
        }
    }
    Ok(changes)
}
