//! Any bytes as a tree: read or refused, and what was read is written and read again as the same.
#![no_main]

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::tree::{
    Class, Entry, Metadata, Node, OwnerName, Timestamp, Tree, Xattr, is_valid_name,
};
use libfuzzer_sys::fuzz_target;

fn seed() -> Vec<u8> {
    let id = ShortId::from_bytes([5; 16]);
    let content = Content { level: 0, parts: vec![Part::Chunk { id, bytes: 700 }, Part::Hole { bytes: 4096 }] };
    let nodes = [
        Node::File { content: content.clone(), class: Class::Media, capture: None },
        Node::Directory { content },
        Node::Symlink { target: b"../over/there".to_vec() },
        Node::Fifo,
        Node::CharDevice { device: 259 },
        Node::BlockDevice { device: 2049 },
    ];
    let entry = |(number, node): (usize, Node)| Entry {
        name: format!("entry {number}").into_bytes(),
        metadata: Metadata {
            mode: 0o4755,
            uid: 1000,
            gid: 100,
            mtime: Timestamp { seconds: -1, nanos: 999_999_999 },
            ctime: Timestamp { seconds: 1_700_000_000, nanos: 1 },
            inode: 77,
            link_device: (number % 2 == 0).then_some(64_769),
            xattrs: vec![Xattr { name: b"user.note".to_vec(), value: vec![0; number] }],
            flags: number as u32,
            birth: (number % 3 == 0).then_some(Timestamp { seconds: -2, nanos: 5 }),
            ..Metadata::default()
        },
        node,
    };
    let owner = |id, name: &str| OwnerName { id, name: name.as_bytes().to_vec() };
    let entries = nodes.into_iter().enumerate().map(entry).collect();
    let (users, groups) = (vec![owner(1000, "me")], vec![owner(100, "users")]);
    Tree { users, groups, entries, ..Tree::default() }.encode()
}

fuzz_target!(init: daykeep_fuzz::plant_seeds(&[seed(), Tree::default().encode()]), |bytes: &[u8]| {
    let Ok(tree) = Tree::decode(bytes) else { return };
    assert!(tree.entries.iter().all(|entry| is_valid_name(&entry.name)), "names are path components");
    assert!(tree.entries.is_sorted_by(|a, b| a.name < b.name), "names ascend");
    let encoded = tree.encode();
    assert!(encoded.len() <= bytes.len(), "nothing is written longer than it was read");
    assert_eq!(Tree::decode(&encoded), Ok(tree));
});
