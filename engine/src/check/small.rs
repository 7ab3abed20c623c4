//! Looks at what is stored twice, and gives the store both copies again where one is hurt.

use crate::base::{ObjectKind, ObjectName};
use crate::check::options::CheckReport;
use crate::error::{Result, StoreError};
use crate::format::twice::twice;
use crate::repo::Repository;
use crate::small;

impl Repository {
    /// Looks at both copies of everything that has two. What has lost both was told where it is used.
    pub(super) fn check_small(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        if self.codec.parity_percent == 0 {
            return Ok(());
        }
        let (mut written, mut failure) = (Vec::new(), None);
        for kind in small::KINDS {
            for (id, _) in self.store.list(kind)? {
                let name = ObjectName::new(kind, id);
                let Some(healed) = self.healed_small(&name) else { continue };
                if repair {
                    match self.store.replace(&name, &healed) {
                        Ok(()) => written.push(name),
                        Err(error) => failure = failure.or(Some(error)),
                    }
                } else {
                    report.objects_healable += 1;
                    let advice = "the other is whole: run `daykeep check --repair`";
                    report.errors.push(format!("{name}: one of its two copies is damaged; {advice}"));
                }
            }
        }
        if !written.is_empty() {
            failure = failure.or(self.store.sync().err());
        }
        report.errors.extend(failure.as_ref().map(StoreError::to_string));
        if failure.is_none() {
            report.objects_healed += written.len() as u64;
            let note = |name| format!("{name}: one of its two copies healed; it is as it was written again");
            report.notes.extend(written.into_iter().map(note));
        }
        Ok(())
    }

    /// Returns what is to be stored of an object if that is not what is, and one copy of it is whole.
    fn healed_small(&self, name: &ObjectName) -> Option<Vec<u8>> {
        let stored = small::get(self.store.as_ref(), name, small::PLAIN_BYTES_MAX).ok()?;
        let healed = if name.kind == ObjectKind::Key {
            let (slot, is_intact) = self.slot(name.id).ok()?;
            is_intact.then(|| twice(&slot.object))?
        } else {
            twice(small::open_copy(&self.codec, name, &stored, small::PLAIN_BYTES_MAX).ok()?.0)
        };
        (healed != stored).then_some(healed)
    }
}
