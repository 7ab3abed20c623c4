//! WhatsApp's encrypted backups and key files: any bytes, and sealed files with any content and any unknown fields.
#![no_main]

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use daykeep_engine::CancelToken;
use daykeep_engine::internals::whatsapp::{WhatsAppKey, gcm, open};
use daykeep_fuzz::{Damage, scratch};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const KEY: [u8; 32] = [7; 32];
/// So much is read of what inflates to more.
const READ_BYTES_MAX: usize = 1 << 20;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Any bytes as a key file, and as digits.
    Key(Vec<u8>),
    /// Any bytes as a backup.
    Anything(Vec<u8>),
    /// A sealed backup; its ciphertext and tag may be damaged.
    Sealed { is_crypt12: bool, iv: [u8; 16], unknown: Vec<u8>, content: Content, damage: Damage },
}

#[derive(Arbitrary, Debug)]
enum Content {
    /// Anything.
    Raw(Vec<u8>),
    /// What begins as zlib's streams do.
    Deflated(Vec<u8>),
    /// A stored block, so that its lengths and the checksum are reached.
    Stored(Vec<u8>, Vec<u8>),
}

impl Content {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Deflated(bytes) => [&[0x78, 0x9c], bytes.as_slice()].concat(),
            Self::Stored(bytes, after) => {
                let len = bytes.len() as u16;
                [&[0x78, 0x01, 1], &len.to_le_bytes()[..], &(!len).to_le_bytes(), &bytes, &after].concat()
            }
        }
    }
}

/// Returns a field of bytes as protobuf writes it.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let len = value.len();
    [&[(number << 3) | 2, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8], value].concat()
}

fn head(is_crypt12: bool, iv: &[u8; 16], unknown: &[u8]) -> Vec<u8> {
    if is_crypt12 {
        return [&[0, 1, 2], [3; 32].as_slice(), &[4; 16], iv].concat();
    }
    let cipher = field(2, &[field(1, &[0, 1]), field(5, iv)].concat());
    let message = [cipher, field(4, &field(9, unknown))].concat();
    [&[(message.len() & 0x7f) as u8 | 0x80, (message.len() >> 7) as u8], message.as_slice()].concat()
}

/// Returns what the backup holds, as far as it is read, in pieces of `piece` bytes; `None` if it is refused.
fn read(backup: &[u8], piece: usize) -> Option<Vec<u8>> {
    thread_local!(static FILE: RefCell<Option<File>> = const { RefCell::new(None) });
    FILE.with_borrow_mut(|file| {
        let file = file.get_or_insert_with(|| {
            let folder = scratch();
            let file = File::options().read(true).write(true).create_new(true).open(folder.join("backup"));
            // It needs no name.
            let _ = std::fs::remove_dir_all(folder);
            file.expect("the folder is empty")
        });
        file.set_len(0).and_then(|()| file.write_all_at(backup, 0)).expect("it can be written");
        let key = WhatsAppKey::from_file(&KEY).expect("32 bytes are a key");
        let mut opened = open(file, backup.len() as u64, &key, &CancelToken::new()).ok()?;
        let (mut out, mut buffer) = (Vec::new(), vec![0; piece]);
        while out.len() < READ_BYTES_MAX {
            match opened.read(&mut buffer).ok()? {
                0 => return Some(out),
                count => out.extend_from_slice(&buffer[..count]),
            }
        }
        Some(out[..READ_BYTES_MAX].to_vec())
    })
}

fn run(input: Input) {
    match input {
        Input::Key(bytes) => {
            let _ = WhatsAppKey::from_file(&bytes);
            let _ = WhatsAppKey::parse(&String::from_utf8_lossy(&bytes));
        }
        Input::Anything(bytes) => assert!(read(&bytes, 4096).is_none(), "nobody guesses a tag"),
        Input::Sealed { is_crypt12, iv, mut unknown, content, damage } => {
            unknown.truncate(4096);
            let mut text = content.bytes();
            text.truncate(1 << 16);
            let (mut tagger, mut cipher) = gcm::begin(&KEY, &iv);
            assert!(cipher.apply(&mut text), "it is short enough");
            tagger.update(&text);
            let sealed = [text, tagger.finish().to_vec()].concat();
            let end: &[u8] = if is_crypt12 { b"--42" } else { b"" };
            let head = head(is_crypt12, &iv, &unknown);
            let whole = read(&[&head, sealed.as_slice(), end].concat(), 65_536);
            let pieces = read(&[&head, sealed.as_slice(), end].concat(), 7);
            assert_eq!(whole, pieces, "it is the same in pieces of any length");
            let damaged = damage.apply(&sealed);
            let found = read(&[&head, damaged.as_slice(), end].concat(), 65_536);
            assert!(found.is_none() || damaged == sealed, "damage was not noticed");
        }
    }
}

fuzz_target!(|input: Input| run(input));
