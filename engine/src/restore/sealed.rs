//! Restores what was inside one of WhatsApp's encrypted files as such a file again.

use crate::error::{Error, Result};
use crate::format::tree::{Entry, Node};
use crate::restore::files::{Spot, Step};
use crate::restore::run::Restore;
use crate::source::whatsapp::{self, Envelope, NotSealed};

/// The name of an encrypted file, and what goes around its content.
pub(super) struct Seal {
    name: Vec<u8>,
    envelope: Envelope,
}

impl Seal {
    /// Returns the name of the encrypted file.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Restore<'_> {
    /// Returns how an entry is sealed, if it is to be.
    pub(super) fn seal_of(&self, entry: &Entry) -> Option<Seal> {
        if self.options.whatsapp_seal.is_empty() {
            return None;
        }
        let envelope = Envelope::from_bytes(entry.metadata.crypt_header.as_deref()?)?;
        let name = [entry.name.as_slice(), whatsapp::ending(&envelope)?.as_bytes()].concat();
        Some(Seal { name, envelope })
    }

    /// Restores a file sealed; false, with a warning, if that cannot be done.
    pub(super) fn sealed(&self, entry: &Entry, step: &Step, spot: Spot<'_>, seal: &Seal) -> Result<bool> {
        let Spot { path, dir, owners, .. } = spot;
        let Node::File { content, class, .. } = &entry.node else { return Ok(false) };
        if matches!(step, Step::Keep) {
            self.kept(content.bytes());
            return Ok(true);
        }
        self.check_fits(content, dir, path)?;
        // In clear for a moment, for its owner alone and under a name that the next restore removes.
        let plain = dir.create_replacement(&entry.name)?;
        let told = self.write(plain.file(), content, *class, &path())?;
        let sealed = dir.create_replacement(&seal.name)?;
        let keys = &self.options.whatsapp_seal;
        match whatsapp::seal(plain.file(), sealed.file(), &seal.envelope, keys, &self.options.cancel) {
            Ok(_) => {}
            Err(NotSealed::Cancelled) => return Err(Error::Cancelled),
            Err(NotSealed::Io(source)) => {
                return Err(Error::File { path: dir.path_of(&seal.name), action: "seal the file", source });
            }
            Err(why @ (NotSealed::OtherKey | NotSealed::Unknown)) => {
                self.warn(&path(), format!("is restored in clear: {why}"));
                return Ok(false);
            }
        }
        for problem in self.applier.new_file(dir, sealed.file(), &entry.metadata, owners) {
            self.warn(&path(), problem.to_string());
        }
        drop(plain);
        let spot = Spot { companions: &Vec::new, ..spot };
        self.finish(sealed, content.bytes(), step, spot, told)?;
        Ok(true)
    }
}
