//! WhatsApp's encrypted backups: what is opened, what is refused and why.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use aws_lc_rs::aead;
use daykeep_engine::CancelToken;
use daykeep_engine::internals::whatsapp::{Kind, Refused, WhatsAppKey, gcm as streamed, open};
use daykeep_tests::noise;
use daykeep_tests::whatsapp::{Encoder, field, gcm, iv_of, stored, varint};
use proptest::prelude::*;

const KINDS: [Kind; 3] = [Kind::Crypt12, Kind::Crypt14, Kind::Crypt15];

fn key(bytes: [u8; 32]) -> WhatsAppKey {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    WhatsAppKey::parse(&digits).unwrap()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Opens and reads a backup, `piece_bytes` at a time. Reading what was verified never fails.
fn opened_with(bytes: &[u8], key: &WhatsAppKey, piece_bytes: usize) -> Result<(Kind, Vec<u8>), Refused> {
    let file = file_of(bytes);
    let mut opened = open(&file, bytes.len() as u64, key, &CancelToken::new())?;
    let (mut plain, mut piece) = (Vec::new(), vec![0; piece_bytes]);
    loop {
        match opened.read(&mut piece).unwrap() {
            0 => return Ok((opened.kind(), plain)),
            count => plain.extend(&piece[..count]),
        }
    }
}

fn opened(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    opened_with(bytes, &key([7; 32]), 100_000).map(|(_, plain)| plain)
}

fn text(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * at / 13 % 251) as u8).collect()
}

/// Returns every layout that is known.
fn encoders() -> Vec<Encoder> {
    let mut all = Vec::new();
    for kind in KINDS {
        for has_md5 in [true, false] {
            let plain = Encoder { has_md5, ..Encoder::new(kind) };
            // Short messages with a flag, and long ones, the second byte of whose length is no flag.
            all.push(Encoder { has_flag: true, about_bytes: 5, ..plain.clone() });
            all.push(Encoder { about_bytes: 150, ..plain.clone() });
            all.push(Encoder { about_bytes: 10_000, ..plain.clone() });
            if kind != Kind::Crypt12 {
                all.push(Encoder { iv: vec![9; 12], ..plain.clone() });
            }
            all.push(plain);
        }
    }
    all
}

#[test]
fn every_layout_is_opened() {
    for encoder in encoders() {
        for plain in [text(0), text(1), text(5000), text(3_000_000)] {
            let (kind, found) = opened_with(&encoder.encode(&plain), &key([7; 32]), 65_536).unwrap();
            assert_eq!(kind, encoder.kind);
            assert!(found == plain, "{} bytes by {encoder:?}", plain.len());
        }
    }
}

#[test]
fn ciphertexts_of_every_length_about_the_blocks_and_buffers_are_opened() {
    let around = |at: usize, by: usize| at - by..=at + by;
    let lengths = (12..=80).chain(around(256 * 1024, 50)).chain(around(512 * 1024 + 32, 2));
    for bytes in lengths {
        for has_md5 in [true, false] {
            let (stream, plain) = stored(bytes);
            let encoder = Encoder { has_md5, ..Encoder::new(Kind::Crypt15) };
            assert!(opened(&encoder.seal(&stream)).unwrap() == plain, "{bytes} bytes, MD5: {has_md5}");
        }
    }
}

#[test]
fn another_key_is_told_from_damage() {
    for encoder in encoders() {
        let bytes = encoder.encode(&text(20_000));
        match opened_with(&bytes, &key([8; 32]), 1000) {
            Err(Refused::WrongKey { kind, is_intact }) => {
                assert_eq!((kind, is_intact), (encoder.kind, encoder.has_md5));
            }
            other => panic!("{other:?}"),
        }
        let mut damaged = bytes.clone();
        damaged[bytes.len() - 45] ^= 1;
        assert!(matches!(opened(&damaged), Err(Refused::Damaged { .. })), "{encoder:?}");
        let Err(refused) = opened_with(&damaged, &key([8; 32]), 1000) else { panic!("opened") };
        assert!(matches!(refused, Refused::WrongKey { is_intact: false, .. }), "{refused}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for encoder in encoders().into_iter().filter(|encoder| encoder.about_bytes < 10_000) {
        let plain = text(300);
        let bytes = encoder.encode(&plain);
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut damaged = bytes.clone();
                damaged[at] ^= bit;
                match opened(&damaged) {
                    // The MD5 covers all that precedes; without it, what describes the program is covered by nothing, as
                    // are the digits at the end of crypt12.
                    Ok(found) => {
                        let is_covered = encoder.has_md5 && at < bytes.len() - 4;
                        assert!(!is_covered && found == plain, "byte {at} of {encoder:?}");
                        assert!(at < encoder.head().len() || at >= bytes.len() - 4, "byte {at} of {encoder:?}");
                    }
                    Err(refused) => assert!(refused.to_string().contains("saved as it is"), "{refused}"),
                }
            }
        }
    }
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused() {
    for encoder in encoders().into_iter().filter(|encoder| encoder.about_bytes < 10_000) {
        let plain = text(300);
        let bytes = encoder.encode(&plain);
        for length in 0..bytes.len() {
            match opened(&bytes[..length]) {
                // Without its MD5 it is a file of a backup of several files.
                Ok(found) => {
                    assert!(encoder.has_md5 && length == bytes.len() - 16 && found == plain, "{length} of {encoder:?}");
                }
                Err(refused) => assert!(refused.to_string().contains("saved as it is"), "{refused}"),
            }
        }
        let longer = [bytes.as_slice(), b"-"].concat();
        assert!(opened(&longer).is_err(), "{encoder:?}");
    }
}

#[test]
fn other_files_are_not_taken_for_backups() {
    let huge = [varint(u64::MAX), vec![0; 1000]].concat();
    let too_long = [varint(16 * 1024 + 1), vec![0x0a; 20_000]].concat();
    let endless = vec![0xff; 1000];
    let other_message = [varint(4), field(5, b"ab")].concat();
    let nothing_after = Encoder::new(Kind::Crypt15).head();
    let font = [&[0, 1, 0, 0], text(1000).as_slice()].concat();
    let like_crypt12 = [&[0, 1, 2], text(1000).as_slice()].concat();
    let others: [&[u8]; 11] = [
        b"",
        b"\0",
        b"SQLite format 3\0 and so on",
        b"PK\x03\x04 and so on, a long text with letters",
        b"\x01\x01\x01",
        &huge,
        &too_long,
        &endless,
        &other_message,
        &font,
        &like_crypt12,
    ];
    for bytes in others {
        assert!(matches!(opened(bytes), Err(Refused::NotOne)), "{:?}", &bytes[..bytes.len().min(20)]);
    }
    assert!(matches!(opened(&nothing_after), Err(Refused::Damaged { .. })));
}

#[test]
fn what_is_newer_than_this_is_said_so() {
    let message = |fields: &[Vec<u8>]| {
        let message = fields.concat();
        [varint(message.len() as u64), message, vec![0; 100]].concat()
    };
    let iv = field(5, &[1; 16]);
    let version_2 = message(&[field(2, &[field(1, &[0, 2]), iv].concat())]);
    let long_iv = message(&[field(3, &field(1, &[1; 24]))]);
    let no_iv = message(&[field(3, b"")]);
    let other_cipher = message(&[field(7, b"cipher"), field(4, b"2.30.1")]);
    for bytes in [version_2, long_iv, no_iv, other_cipher] {
        assert!(matches!(opened(&bytes), Err(Refused::Unknown { .. })));
    }
}

#[test]
fn what_is_sealed_without_being_compressed_is_given_as_it_is() {
    // Stickers and wallpapers are sealed as ZIP files.
    for content in [b"PK\x03\x04 and so on".as_slice(), &noise::random(1, 900_000), b""] {
        for kind in [Kind::Crypt12, Kind::Crypt14, Kind::Crypt15] {
            let bytes = Encoder::new(kind).seal(content);
            let file = file_of(&bytes);
            let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
            let mut found = Vec::new();
            opened.read_to_end(&mut found).unwrap();
            assert!(found == content);
        }
    }
}

#[test]
fn what_is_sealed_but_is_no_whole_zlib_stream_ends_in_an_error() {
    let (stream, _) = stored(100_000);
    let cut = &stream[..50_000];
    let mut wrong_sum = stream.clone();
    wrong_sum[99_999] ^= 1;
    let longer = [stream.as_slice(), b"more"].concat();
    for content in [cut, &wrong_sum, &longer] {
        let bytes = Encoder::new(Kind::Crypt14).seal(content);
        let file = file_of(&bytes);
        let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
        let error = opened.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        assert!(opened.read(&mut [0; 100]).is_err(), "it stays an error");
    }
}

#[test]
fn a_change_after_the_file_was_verified_ends_in_an_error() {
    let (stream, plain) = stored(1_000_000);
    let bytes = Encoder::new(Kind::Crypt15).seal(&stream);
    let head = Encoder::new(Kind::Crypt15).head().len() as u64;
    // In the stored bytes of a block, the first one and a late one.
    for at in [100, 999_000] {
        let file = file_of(&bytes);
        let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
        file.write_all_at(&[bytes[(head + at) as usize] ^ 1], head + at).unwrap();
        assert!(opened.read_to_end(&mut Vec::new()).is_err());
    }
    let file = file_of(&bytes);
    let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
    file.set_len(600_000).unwrap();
    assert!(opened.read_to_end(&mut Vec::new()).is_err());
    // What follows the sealed part is not looked at again.
    let file = file_of(&bytes);
    let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
    file.set_len(bytes.len() as u64 - 16).unwrap();
    let mut found = Vec::new();
    opened.read_to_end(&mut found).unwrap();
    assert!(found == plain);
}

#[test]
fn a_file_shorter_than_said_is_an_error_of_reading() {
    let bytes = Encoder::new(Kind::Crypt15).encode(&text(100_000));
    let file = file_of(&bytes);
    let outcome = open(&file, bytes.len() as u64 + 1, &key([7; 32]), &CancelToken::new());
    assert!(matches!(outcome, Err(Refused::Io(_))));
}

#[test]
fn a_content_that_inflates_a_thousandfold_is_read_piece_by_piece() {
    let plain = vec![0; 64 << 20];
    let bytes = Encoder { level: 9, ..Encoder::new(Kind::Crypt15) }.encode(&plain);
    assert!(bytes.len() < 100_000);
    let file = file_of(&bytes);
    let mut opened = open(&file, bytes.len() as u64, &key([7; 32]), &CancelToken::new()).unwrap();
    assert_eq!(io::copy(&mut opened, &mut io::sink()).unwrap(), plain.len() as u64);
}

#[test]
fn a_cancelled_token_ends_it() {
    let cancel = CancelToken::new();
    cancel.cancel();
    let bytes = Encoder::new(Kind::Crypt15).encode(&text(1000));
    let file = file_of(&bytes);
    let outcome = open(&file, bytes.len() as u64, &key([7; 32]), &cancel);
    assert!(matches!(outcome, Err(Refused::Cancelled)));
}

/// An array as Java serializes it.
fn java(array: &[u8]) -> Vec<u8> {
    let class = b"\xac\xed\0\x05ur\0\x02[B\xac\xf3\x17\xf8\x06\x08T\xe0\x02\0\0xp";
    [class.as_slice(), &(array.len() as u32).to_be_bytes(), array].concat()
}

#[test]
fn keys_are_read_in_each_form_that_people_have() {
    let bytes: Vec<u8> = (0..32).map(|byte| byte * 7 + 3).collect();
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    let in_groups: Vec<&str> = (0..16).map(|group| &digits[group * 4..][..4]).collect();
    let array = [&[0, 1, 2], [5; 96].as_slice(), &bytes].concat();
    assert_eq!(java(&array).len(), 158);
    let forms = [
        WhatsAppKey::parse(&digits),
        WhatsAppKey::parse(&in_groups.join(" ").to_lowercase()),
        WhatsAppKey::from_file(&bytes),
        WhatsAppKey::from_file(format!("{}\r\n", in_groups.join("\n")).as_bytes()),
        WhatsAppKey::from_file(&java(&array)),
        WhatsAppKey::from_file(&array),
        WhatsAppKey::from_file(&java(&bytes)),
    ];
    for kind in KINDS {
        let sealed = Encoder { key: bytes.clone().try_into().unwrap(), ..Encoder::new(kind) }.encode(b"content");
        for key in &forms {
            assert_eq!(opened_with(&sealed, key.as_ref().unwrap(), 100).unwrap().1, b"content");
        }
    }
    assert_eq!(format!("{:?}", forms[0].as_ref().unwrap()), "WhatsAppKey(..)");
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    let digits = "0123456789abcdef".repeat(4);
    for text in ["", "abc", &digits[1..], &format!("{digits}0"), &digits.replace('a', "g"), &digits.replace('a', "é")]
    {
        let error = WhatsAppKey::parse(text).unwrap_err().to_string();
        assert!(error.contains("expected the 64 hexadecimal digits"), "{error}");
        assert!(text.is_empty() || !error.contains(text), "{error}");
        assert!(WhatsAppKey::from_file(text.as_bytes()).is_err());
    }
    let long = " ".repeat(5000) + &digits;
    let files: [&[u8]; 9] = [
        &[],
        &[9; 31],
        &[9; 33],
        &[9; 131],
        &digits.as_bytes()[..32],
        &java(&[9; 31]),
        &java(&[9; 32])[..58],
        &[java(&[9; 32]), vec![0]].concat(),
        long.as_bytes(),
    ];
    for bytes in files {
        assert!(WhatsAppKey::from_file(bytes).is_err(), "{} bytes", bytes.len());
    }
}

fn from_hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// Test cases 16, 17 and 18 of McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", 2005: IVs of 12, 8 and 60
/// bytes, with associated data.
#[test]
fn the_slow_gcm_gives_what_its_authors_published() {
    let key = from_hex(&"feffe9928665731c6d6a8f9467308308".repeat(2)).try_into().unwrap();
    let plain = from_hex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657\
         ba637b39",
    );
    let associated = from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let cases = [
        (
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a\
             bcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ),
        (
            "cafebabefacedbad",
            "c3762df1ca787d32ae47c13bf19844cbaf1ae14d0b976afac52ff7d79bba9de0feb582d33934a4f0954cc2363bc73f7862ac430e64abe499\
             f47c9b1f",
            "3a337dbf46a792c45e454913fe2ea8f2",
        ),
        (
            "9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57\
             a637b39b",
            "5a8def2f0c9e53f1f75d7853659e2a20eeb2b22aafde6419a058ab4f6f746bf40fc0c3b780f244452da3ebf1c5d82cdea2418997200ef82e\
             44ae7e3f",
            "a44a8266ee1c8eb0c8b5d4cf5ae9f19a",
        ),
    ];
    for (iv, text, tag) in cases {
        let found = gcm(&key, &from_hex(iv), &associated, &plain);
        assert_eq!((found.0, found.1.to_vec()), (from_hex(text), from_hex(tag)));
    }
}

fn streamed_gcm(key: &[u8; 32], iv: &[u8], text: &[u8], piece_bytes: usize) -> (Vec<u8>, [u8; 16]) {
    let (mut tagger, mut decrypter) = streamed::begin(key, iv);
    let mut plain = text.to_vec();
    for piece in plain.chunks_mut(piece_bytes) {
        tagger.update(piece);
        assert!(decrypter.apply(piece));
    }
    (plain, tagger.finish())
}

/// The counter's 32 bits begin anywhere if the IV is hashed, and wrap without a carry into the rest.
#[test]
fn the_counter_wraps() {
    let plain = text(64 * 1024);
    for first in [u128::MAX, u128::MAX - 1, u128::MAX - 4000, (7 << 32) | 0xffff_ff00] {
        let iv = iv_of(&[5; 32], first);
        let (sealed, tag) = gcm(&[5; 32], &iv, &[], &plain);
        assert!(streamed_gcm(&[5; 32], &iv, &sealed, 4096) == (plain.clone(), tag), "{first:x}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if daykeep_tests::is_long() { 2000 } else { 64 }))]

    /// The stream gives what the slow one sealed, and what AWS-LC seals under IVs of 12 bytes.
    #[test]
    fn gcm_is_gcm(
        key: [u8; 32],
        iv in prop::collection::vec(any::<u8>(), 1..70),
        plain in prop::collection::vec(any::<u8>(), 0..2000),
        blocks in 1usize..40,
    ) {
        let (text, tag) = gcm(&key, &iv, &[], &plain);
        prop_assert_eq!(streamed_gcm(&key, &iv, &text, blocks * 16), (plain.clone(), tag));
        let nonce = [iv.as_slice(), &[0; 12]].concat()[..12].try_into().unwrap();
        let other = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap());
        let mut text = plain.clone();
        let nonce_of_it = aead::Nonce::assume_unique_for_key(nonce);
        let tag = other.seal_in_place_separate_tag(nonce_of_it, aead::Aad::empty(), &mut text).unwrap();
        prop_assert_eq!(streamed_gcm(&key, &nonce, &text, blocks * 16), (plain, tag.as_ref().try_into().unwrap()));
    }

    #[test]
    fn any_content_of_any_layout_comes_back(
        which in 0usize..100,
        key_bytes: [u8; 32],
        plain in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..5000),
            (0usize..2_000_000).prop_map(text),
        ],
        level in 0u32..10,
        piece_bytes in prop_oneof![1usize..100, 1000usize..300_000],
        iv_bytes in prop_oneof![Just(12usize), Just(16usize)],
    ) {
        let encoder = encoders()[which % encoders().len()].clone();
        let iv = if encoder.kind == Kind::Crypt12 { key_bytes[..16].to_vec() } else { key_bytes[..iv_bytes].to_vec() };
        let encoder = Encoder { key: key_bytes, level, iv, ..encoder };
        let (kind, found) = opened_with(&encoder.encode(&plain), &key(key_bytes), piece_bytes).unwrap();
        prop_assert_eq!(kind, encoder.kind);
        prop_assert!(found == plain);
    }

    /// Whatever a file begins with, it is refused and nothing panics.
    #[test]
    fn hostile_beginnings_are_refused(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        message in prop::collection::vec(any::<u8>(), 0..200),
        at in 0usize..120,
        byte: u8,
    ) {
        prop_assert!(opened(&noise).is_err());
        prop_assert!(opened(&[varint(message.len() as u64), message.clone(), noise.clone()].concat()).is_err());
        prop_assert!(opened(&[varint(message.len() as u64 + 2), field(3, &message), noise.clone()].concat()).is_err());
        let mut head = Encoder::new(Kind::Crypt14).head();
        let at = at % head.len();
        head[at] = byte;
        prop_assert!(opened(&[head, noise].concat()).is_err());
    }
}
