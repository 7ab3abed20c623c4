//! The encrypted copies that WhatsApp for Android makes of its databases each night: crypt12, crypt14 and crypt15.
//!
//! Such a file is compressed first and encrypted then, under a new IV each night, so not one byte of it is found again
//! in the next. With the user's own key [`open`] gives the database inside.
//!
//! | | crypt14 and crypt15 | crypt12 |
//! |---|---|---|
//! | begins with | a varint, the length of the protobuf message that follows, which holds the IV | 67 bytes, of which the last 16 are the IV |
//! | then | a zlib stream (RFC 1950), or a ZIP, sealed by AES-256-GCM (NIST SP 800-38D), and its 16-byte tag | the same |
//! | ends with | the MD5 of all that precedes; left out in backups of several files | that MD5, and `--` with the last two digits of the phone number |
//! | key | crypt14: the last 32 bytes of the key file; crypt15: HKDF-SHA256 (RFC 5869) of the 64 digits | the last 32 bytes of the key file |

mod envelope;
pub mod gcm;
mod key;
mod prefix;
mod reader;
mod sealer;

use std::fmt;
use std::io;

pub use envelope::Envelope;
pub use key::{KeyError, WhatsAppKey};
pub use reader::{Opened, open, open_with_any};
pub use sealer::{NotSealed, Sealed, ending, seal};

/// The layouts, named as the files end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `.crypt12`, of 2016 to 2020.
    Crypt12,
    /// `.crypt14`, whose key only WhatsApp holds, and the phone's key file.
    Crypt14,
    /// `.crypt15`, end-to-end encrypted: the key is the 64 digits that the user has.
    Crypt15,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crypt12 => "crypt12",
            Self::Crypt14 => "crypt14",
            Self::Crypt15 => "crypt15",
        })
    }
}

/// Why an encrypted backup is not opened. Its bytes can still be saved as they are, and each message says so.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The content is not that of a crypt12, crypt14 or crypt15 file.
    #[error("is no WhatsApp backup of the kinds crypt12, crypt14 and crypt15; it is saved as it is")]
    NotOne,
    /// It is one, but of a kind that is not understood.
    #[error("cannot be opened: {what}; it is saved as it is, encrypted. A newer daykeep may know it")]
    Unknown {
        /// What is not understood.
        what: String,
    },
    /// The key is another one; or, if the file has no valid MD5, something in its beginning may be damaged.
    #[error(
        "no WhatsApp key that was given opens this {kind} file{}; it is saved as it is, encrypted. Give the key that was \
         in use when WhatsApp wrote it, too",
        if *.is_intact { "" } else { ", or the file is damaged" }
    )]
    WrongKey {
        /// What kind of file it is.
        kind: Kind,
        /// Whether the MD5 proves that the file is as it was written.
        is_intact: bool,
    },
    /// The key fits, or was not even needed to see that the bytes are not those that WhatsApp wrote.
    #[error("is a damaged {kind} file: {what}; it is saved as it is, encrypted")]
    Damaged {
        /// What kind of file it is.
        kind: Kind,
        /// Where and how it differs.
        what: String,
    },
    /// The file could not be read.
    #[error("could not be read to look for a WhatsApp backup: {0}; it is saved as it is, encrypted, if it can be")]
    Io(#[from] io::Error),
    /// The token was cancelled.
    #[error("interrupted")]
    Cancelled,
}
