//! Who writes to whom: contacts and chats, as they follow from the seed.

use crate::random::{Random, Zipf};

/// How many people the owner of the phone knows.
const CONTACTS: u64 = 400;
/// How many chats there are.
pub(super) const CHATS: u64 = 160;
/// How many of a thousand chats are groups.
const GROUPS_PER_MILLE: u64 = 350;
/// The most members of a group beside the owner of the phone.
const MEMBERS_MAX: u64 = 60;

/// One row of `jid`, whose number is its place in the list plus one.
pub(super) struct Jid {
    pub(super) user: String,
    pub(super) server: &'static str,
}

/// One row of `chat`, whose number is its place in the list plus one.
pub(super) struct Chat {
    pub(super) row: i64,
    pub(super) jid_row: i64,
    /// The rows in `jid` of all but the owner of the phone; exactly one if this is no group.
    pub(super) members: Vec<i64>,
    pub(super) group: bool,
    /// What the full-text table knows the chat by.
    pub(super) tag: String,
    /// What WhatsApp calls the hash of the participants, if this is a group.
    pub(super) hash: Option<String>,
    pub(super) created: i64,
}

/// Everybody, and how busy each chat is.
pub(super) struct People {
    pub(super) jids: Vec<Jid>,
    pub(super) chats: Vec<Chat>,
    busy: Zipf,
}

impl People {
    /// Everybody the phone with this seed knows, since before `start` (milliseconds since 1970).
    pub(super) fn new(root: &Random, start: i64) -> People {
        let mut random = root.fork("people");
        // The last digits differ, so that no two have the same number.
        let number = |random: &mut Random, last: u64| {
            format!("{}{:06}{last:03}", random.pick(&["49", "44", "1", "55"]), random.below(1_000_000))
        };
        let contacts = (0..CONTACTS).map(|last| Jid { user: number(&mut random, last), server: "s.whatsapp.net" });
        let mut jids: Vec<Jid> = contacts.collect();
        let mut chats: Vec<Chat> = Vec::new();
        for row in 1..=CHATS as i64 {
            let group = random.chance(GROUPS_PER_MILLE);
            let created = start - random.below(1 << 35) as i64;
            let (jid_row, members) = if group {
                jids.push(Jid {
                    user: format!("{}-{}", number(&mut random, jids.len() as u64), created / 1000),
                    server: "g.us",
                });
                let most = 1 + random.below(MEMBERS_MAX - 2);
                let count = 3 + random.below(most);
                (jids.len() as i64, some_contacts(&mut random, count))
            } else {
                // The contact of the same number, so that nobody has two chats.
                (row, vec![row])
            };
            let tag = jids[jid_row as usize - 1].user.replace('-', "");
            let hash = group.then(|| format!("2:{}", super::media::base64(&mut random, 8)));
            chats.push(Chat { row, jid_row, members, group, tag, hash, created });
        }
        People { jids, chats, busy: Zipf::new(CHATS as u32, 3.0) }
    }

    /// Returns a chat, busy ones more often.
    pub(super) fn chat(&self, random: &mut Random) -> &Chat {
        &self.chats[self.busy.rank(random)]
    }
}

/// Returns the rows of `count` different contacts, at most all, in rising order.
fn some_contacts(random: &mut Random, count: u64) -> Vec<i64> {
    let mut left = count.min(CONTACTS);
    let mut members = Vec::with_capacity(left as usize);
    // Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
    for contact in 0..CONTACTS {
        if random.below(CONTACTS - contact) < left {
            members.push(contact as i64 + 1);
            left -= 1;
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_different_members_and_everybody_is_someone() {
        let people = People::new(&Random(3), 1_700_000_000_000);
        let groups = people.chats.iter().filter(|chat| chat.group).count();
        assert!((30..80).contains(&groups), "{groups} groups");
        for chat in &people.chats {
            assert!(chat.members.is_sorted_by(|left, right| left < right));
            assert!(chat.members.iter().all(|&row| row >= 1 && row <= people.jids.len() as i64));
            assert_eq!(chat.group, chat.members.len() > 1);
            assert!(chat.members.len() as u64 <= MEMBERS_MAX);
        }
    }
}
