//! Writes WhatsApp's encrypted backups, from their description and by the book: GCM bit by bit as NIST SP 800-38D has it,
//! HKDF as two HMACs.

use std::io::Write;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aws_lc_rs::hmac;
use daykeep_engine::internals::whatsapp::Kind;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use md5::{Digest, Md5};

/// A backup to be written.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The layout.
    pub kind: Kind,
    /// The user's key.
    pub key: [u8; 32],
    /// The initialisation vector.
    pub iv: Vec<u8>,
    /// Whether the MD5 follows the tag.
    pub has_md5: bool,
    /// Whether a byte 1 stands between the length and the message.
    pub has_flag: bool,
    /// How many bytes the message describes the program in.
    pub about_bytes: usize,
    /// The level of zlib, 0 to 9.
    pub level: u32,
}

impl Encoder {
    /// Returns an encoder of the usual layout of `kind`.
    pub fn new(kind: Kind) -> Self {
        let iv = (100..116).collect();
        Self { kind, key: [7; 32], iv, has_md5: true, has_flag: false, about_bytes: 40, level: 1 }
    }

    /// Compresses and seals `plain`.
    pub fn encode(&self, plain: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(self.level));
        encoder.write_all(plain).unwrap();
        self.seal(&encoder.finish().unwrap())
    }

    /// Seals `content` as it is.
    pub fn seal(&self, content: &[u8]) -> Vec<u8> {
        let mut file = self.head();
        let (text, tag) = gcm(&self.cipher_key(), &self.iv, &[], content);
        file.extend(text);
        file.extend(tag);
        if self.has_md5 {
            let md5 = Md5::digest(&file);
            file.extend(md5);
        }
        if self.kind == Kind::Crypt12 {
            file.extend(b"--42");
        }
        file
    }

    /// Returns what stands before the ciphertext.
    pub fn head(&self) -> Vec<u8> {
        if self.kind == Kind::Crypt12 {
            return [&[0, 1, 2], [3; 32].as_slice(), &[4; 16], &self.iv].concat();
        }
        let about = [field(1, b"2.22.5.13"), field(3, &vec![b'x'; self.about_bytes])].concat();
        let cipher = match self.kind {
            Kind::Crypt14 => field(
                2,
                &[field(1, &[0, 1]), field(2, b"1"), field(3, &[3; 32]), field(4, &[4; 16]), field(5, &self.iv)]
                    .concat(),
            ),
            _ => field(3, &field(1, &self.iv)),
        };
        // A number, the cipher, a text, and numbers of fixed lengths that nobody knows.
        let unknown = [varint((9 << 3) | 5), vec![1, 2, 3, 4], varint((900 << 3) | 1), vec![0xff; 8]].concat();
        let message = [vec![1 << 3, 1], cipher, field(4, &about), unknown].concat();
        let flag: &[u8] = if self.has_flag { &[1] } else { &[] };
        [varint(message.len() as u64).as_slice(), flag, &message].concat()
    }

    /// Returns the key of the cipher.
    pub fn cipher_key(&self) -> [u8; 32] {
        if self.kind != Kind::Crypt15 {
            return self.key;
        }
        let root = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]), &self.key);
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, root.as_ref()), b"backup encryption\x01");
        key.as_ref().try_into().unwrap()
    }
}

/// Returns a number as protobuf writes it.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Returns a field of bytes as protobuf writes it.
pub fn field(number: u64, value: &[u8]) -> Vec<u8> {
    [varint((number << 3) | 2), varint(value.len() as u64), value.to_vec()].concat()
}

/// Returns a zlib stream of exactly `bytes` bytes, at least 12, and what it holds: blocks that are stored as they are.
pub fn stored(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let blocks = (bytes - 6).div_ceil(5 + 65535);
    let plain: Vec<u8> = (0..bytes - 6 - 5 * blocks).map(|at| (at * at / 7) as u8).collect();
    let mut stream = vec![0x78, 0x01];
    for (number, block) in (1..).zip(plain.chunks(plain.len().div_ceil(blocks))) {
        stream.push(u8::from(number == blocks));
        stream.extend((block.len() as u16).to_le_bytes());
        stream.extend((!(block.len() as u16)).to_le_bytes());
        stream.extend(block);
    }
    let (mut low, mut high) = (1u32, 0u32);
    for &byte in &plain {
        low = (low + u32::from(byte)) % 65521;
        high = (high + low) % 65521;
    }
    stream.extend(((high << 16) | low).to_be_bytes());
    assert_eq!(stream.len(), bytes);
    (stream, plain)
}

/// Returns ciphertext and tag, by the definitions of NIST SP 800-38D.
pub fn gcm(key: &[u8; 32], iv: &[u8], associated: &[u8], plain: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let aes = aes::Aes256::new(key.into());
    let encrypt = |block: u128| {
        let mut bytes = block.to_be_bytes();
        aes.encrypt_block((&mut bytes).into());
        u128::from_be_bytes(bytes)
    };
    let h = encrypt(0);
    let first = match <[u8; 12]>::try_from(iv) {
        Ok(iv) => u128::from_be_bytes([iv.as_slice(), &[0, 0, 0, 1]].concat().try_into().unwrap()),
        Err(_) => ghash(h, &[(iv, 0), (&[], iv.len() as u128 * 8)]),
    };
    let mut counter = first;
    let mut text = plain.to_vec();
    for block in text.chunks_mut(16) {
        counter = (counter & !0xffff_ffff) | u128::from((counter as u32).wrapping_add(1));
        block.iter_mut().zip(encrypt(counter).to_be_bytes()).for_each(|(byte, key)| *byte ^= key);
    }
    let lengths = ((associated.len() as u128 * 8) << 64) | (text.len() as u128 * 8);
    let tag = encrypt(first) ^ ghash(h, &[(associated, 0), (&text, 0), (&[], lengths)]);
    (text, tag.to_be_bytes())
}

/// Returns the IV of 16 bytes whose first counter block is `first`.
pub fn iv_of(key: &[u8; 32], first: u128) -> [u8; 16] {
    let mut h = [0; 16];
    aes::Aes256::new(key.into()).encrypt_block((&mut h).into());
    // The inverse of x is x to the power of 2^128 - 2.
    let mut square = u128::from_be_bytes(h);
    let mut inverse = 1 << 127;
    for _ in 1..128 {
        square = multiply(square, square);
        inverse = multiply(inverse, square);
    }
    let iv = multiply(multiply(first, inverse) ^ 128, inverse).to_be_bytes();
    assert_eq!(ghash(u128::from_be_bytes(h), &[(&iv, 0), (&[], 128)]), first);
    iv
}

/// Hashes each of `parts`: bytes, padded to whole blocks, or if there are none, one block.
fn ghash(h: u128, parts: &[(&[u8], u128)]) -> u128 {
    let mut hash = 0;
    for (bytes, block) in parts {
        for chunk in bytes.chunks(16) {
            let mut padded = [0; 16];
            padded[..chunk.len()].copy_from_slice(chunk);
            hash = multiply(hash ^ u128::from_be_bytes(padded), h);
        }
        if *block != 0 {
            hash = multiply(hash ^ block, h);
        }
    }
    hash
}

/// Multiplies in GF(2^128), where the first bit is the highest.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if (x >> bit) & 1 == 1 {
            z ^= v;
        }
        v = (v >> 1) ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    z
}
