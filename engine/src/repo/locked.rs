//! The config, and what opens it.

use crate::base::limits::SMALL_OBJECT_BYTES_MAX;
use crate::base::{ObjectKind, ObjectName};
use crate::codec::Codec;
use crate::crypt::{Keys, MasterKey};
use crate::error::{Error, Result};
use crate::format::config::Config;
use crate::format::header::{FORMAT_VERSION, Header};
use crate::repo::{Secret, keys, new_object_id};
use crate::small;
use crate::store::Store;

/// Returns the error for a repository that has lost nothing but its config, or has lost that too.
pub(super) fn without_config(reason: &str) -> Error {
    let reason = format!("{reason}; `daykeep repair --rescue-to` saves all else into a new repository");
    Error::Damaged { object: ObjectName::CONFIG.to_string(), reason }
}

/// Returns what a repository's objects are sealed by, and its config, if `header` is that of the config.
pub(super) fn unlock(
    store: &dyn Store,
    location: &str,
    secret: &Secret,
    header: &[u8],
    stored: &[u8],
) -> Result<(Codec, MasterKey, Config)> {
    let header = Header::decode(header).map_err(|error| Error::damaged(ObjectName::CONFIG, &error))?;
    let name = header.name;
    if name.kind != ObjectKind::Config {
        return Err(Error::damaged_object(&ObjectName::CONFIG, format!("its header is that of {name}")));
    }
    if header.version > FORMAT_VERSION {
        let (found, supported) = (header.version, FORMAT_VERSION);
        return Err(Error::NewerFormat { repository: location.to_owned(), found, supported });
    }
    let master = keys::find_master(store, header.repository, location, secret)?;
    let (repository, keys, location) = (header.repository, Keys::new(&master), location.to_owned());
    let mut codec = Codec { repository, location, keys, parity_percent: 0 };
    let (object, payload) = small::open_copy(&codec, &name, stored, SMALL_OBJECT_BYTES_MAX)?;
    let config = Config::decode(&payload).map_err(|error| Error::damaged(name, &error))?;
    codec.parity_percent = config.parity_percent;
    if config.parity_percent == 0 && object.len() < stored.len() {
        let reason = format!("{} bytes follow its end", stored.len() - object.len());
        return Err(Error::damaged_object(&name, reason));
    }
    Ok((codec, master, config))
}

/// Seals a config under a new random id, and so under a key that sealed nothing before.
///
/// # Errors
/// If the system has no random numbers, or memory is short.
pub(crate) fn seal_config(codec: &Codec, config: &Config) -> Result<Vec<u8>> {
    codec.seal_object(&ObjectName::new(ObjectKind::Config, new_object_id()?), &config.encode())
}
