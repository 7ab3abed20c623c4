//! Text with the statistics of language, in a language of its own: nobody's words, but the frequencies, lengths and
//! repetitions by which programs compress and index what people write.
//!
//! Words have the frequencies of the Zipf–Mandelbrot law, frequent words are short, forms share stems, some words like
//! to follow each other, and a good part of all messages are the same few short replies.

use std::collections::HashSet;

use crate::random::{Random, Zipf};

/// How many forms of words a language has.
pub const WORDS: usize = 40_000;
/// How many words like to follow a word.
const FOLLOWERS: usize = 4;

const ONSETS: &[&str] = &[
    "t", "t", "t", "s", "s", "w", "w", "h", "h", "m", "m", "b", "b", "d", "d", "n", "n", "r", "l", "l", "c", "f", "p",
    "g", "th", "th", "st", "sh", "ch", "tr", "pr", "br", "gr", "pl", "k", "v", "j", "qu", "", "",
];
const NUCLEI: &[&str] = &[
    "e", "e", "e", "e", "e", "e", "a", "a", "a", "a", "a", "o", "o", "o", "o", "i", "i", "i", "i", "u", "u", "ea",
    "ou", "ai", "ee", "oo",
];
const CODAS: &[&str] = &[
    "", "", "", "", "", "", "n", "n", "n", "r", "r", "r", "t", "t", "t", "s", "s", "d", "d", "l", "m", "nd", "st",
    "ng", "ck", "nt", "rt", "ll", "ss",
];
const SUFFIXES: &[&str] = &["s", "s", "s", "ed", "ed", "ing", "ing", "er", "ly", "en", "e", "es", "ness", "ment"];

/// What people answer, the most frequent first.
const REPLIES: &[&str] = &[
    "ok",
    "Ok",
    "👍",
    "yes",
    "haha",
    "😂",
    "no",
    "Yes",
    "thanks",
    "😂😂😂",
    "Thanks!",
    "Ok 👍",
    "sure",
    "❤️",
    "lol",
    "good morning",
    "where are you?",
    "hahaha",
    "Good night",
    "😘",
    "on my way",
    "?",
    "cool",
    "great",
    "🙏",
    "No",
    "perfect",
    "hi",
    "Good morning ☀️",
    "what?",
    "👏👏👏",
    "why?",
    "see you",
    "call me",
    "Happy birthday! 🎂🎉",
    "thank you so much",
    "nice",
    "I'm here",
    "5 minutes",
    "love you ❤️",
    "😍",
    "of course",
    "when?",
    "bye",
    "really?",
    "wow",
    "tomorrow",
    "🤷",
    "come",
    "👌",
    "done",
    "sorry",
    "what time?",
    "true",
    "not yet",
    "I know",
    "me too",
    "🎉🎉",
    "😭",
    "same",
    "oh no",
];
const EMOJI: &[&str] = &[
    "😂", "❤️", "😍", "👍", "🙏", "😘", "😊", "😭", "🤣", "🎉", "😅", "🔥", "🥰", "💪", "👏", "🙈", "😁", "🤔", "😉",
    "😎", "☀️", "🎂", "🍕", "🌹", "✨", "😢", "🤗", "🙄", "😴", "🚗", "🏠", "⚽", "💙", "🤷", "🥳", "👌", "😱", "🍻",
    "🐶", "📷",
];
const SITES: &[&str] = &[
    "youtu.be/",
    "www.instagram.com/p/",
    "maps.app.goo.gl/",
    "www.tiktok.com/@user/video/",
    "open.spotify.com/track/",
    "www.facebook.com/share/",
    "en.wikipedia.org/wiki/",
    "www.amazon.com/dp/",
];

/// The words of one language and how they follow each other.
pub struct Language {
    /// All words, one after the other, the most frequent first.
    letters: String,
    /// Where each word ends in `letters`.
    ends: Vec<u32>,
    followers: Vec<[u16; FOLLOWERS]>,
    words: Zipf,
    replies: Zipf,
    emoji: Zipf,
}

const _: () = assert!(WORDS <= 1 << 16, "followers are kept as 16-bit numbers");

fn syllables(random: &mut Random, count: u64, out: &mut String) {
    for _ in 0..count {
        out.push_str(random.pick(ONSETS));
        out.push_str(random.pick(NUCLEI));
    }
    out.push_str(random.pick(CODAS));
}

/// Returns the next word: a new one of some syllables, or a form of one of the `stems`. Frequent words are short.
fn word(random: &mut Random, stems: &[String]) -> String {
    let mut word = String::new();
    let rank = stems.len();
    if rank > 1000 && random.chance(500) {
        let stem = &stems[100 + random.below(rank as u64 - 100) as usize];
        word.push_str(stem.trim_end_matches(['e', 's']));
        word.push_str(random.pick(SUFFIXES));
    } else {
        let (least, more) = match rank {
            0..200 => (1, 1),
            200..2000 => (1, 2),
            2000..10_000 => (2, 2),
            _ => (2, 3),
        };
        let count = least + random.below(more);
        syllables(random, count, &mut word);
    }
    word
}

impl Language {
    /// Builds the language of `seed`, in some milliseconds.
    pub fn new(seed: u64) -> Language {
        let root = Random(seed).fork("language");
        let mut random = root.fork("words");
        let mut known = HashSet::new();
        let mut stems: Vec<String> = Vec::with_capacity(WORDS);
        while stems.len() < WORDS {
            let word = word(&mut random, &stems);
            if (1..=16).contains(&word.len()) && known.insert(word.clone()) {
                stems.push(word);
            }
        }
        let words = Zipf::new(WORDS as u32, 2.7);
        let mut random = root.fork("followers");
        let followers = (0..WORDS).map(|_| std::array::from_fn(|_| words.rank(&mut random) as u16)).collect();
        let mut end = 0;
        let ends = stems.iter().map(|word| {
            end += word.len() as u32;
            end
        });
        Language {
            ends: ends.collect(),
            letters: stems.concat(),
            followers,
            words,
            replies: Zipf::new(REPLIES.len() as u32, 1.0),
            emoji: Zipf::new(EMOJI.len() as u32, 1.0),
        }
    }

    /// Returns the word of a rank below [`WORDS`]; 0 is the most frequent.
    pub fn word(&self, rank: usize) -> &str {
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] as usize };
        &self.letters[start..self.ends[rank] as usize]
    }

    /// Appends a chat message: mostly one to three sentences, often a short reply, sometimes with emoji or a link.
    pub fn message(&self, random: &mut Random, out: &mut String) {
        if random.chance(230) {
            out.push_str(REPLIES[self.replies.rank(random)]);
            return;
        }
        let sentences = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3][random.below(10) as usize];
        let careful = random.chance(600);
        for sentence in 0..sentences {
            if sentence > 0 {
                out.push(' ');
            }
            let more = random.below(14);
            let count = 2 + random.below(4) + random.below(1 + more);
            self.sentence(random, count, careful, out);
            match random.below(16) {
                0..4 if careful => out.push('.'),
                4..6 => out.push('?'),
                6..8 => out.push('!'),
                8 => out.push_str("..."),
                // Every sentence but the last ends somehow.
                _ if sentence + 1 < sentences => out.push('.'),
                _ => {}
            }
        }
        if random.chance(180) {
            out.push(' ');
            let emoji = EMOJI[self.emoji.rank(random)];
            (0..=random.skewed(4)).for_each(|_| out.push_str(emoji));
        }
        if random.chance(25) {
            out.push(' ');
            self.link(random, out);
        }
    }

    /// Appends paragraphs of prose until `out` is at least `bytes` long.
    pub fn prose(&self, random: &mut Random, bytes: usize, out: &mut String) {
        while out.len() < bytes {
            let more = random.below(20);
            let count = 5 + random.below(8) + random.below(1 + more);
            self.sentence(random, count, true, out);
            out.push_str(if random.chance(120) { ".\n\n" } else { ". " });
        }
    }

    /// Appends `count` words, the first with a capital letter if `capital` says so.
    fn sentence(&self, random: &mut Random, count: u64, capital: bool, out: &mut String) {
        let start = out.len();
        let mut rank = self.words.rank(random);
        out.push_str(self.word(rank));
        if capital && let Some(first) = out.get_mut(start..start + 1) {
            first.make_ascii_uppercase();
        }
        for _ in 1..count {
            let bits = random.next();
            // What likes to follow is taken two times in five; of every thirty words one has a comma before it.
            rank = match bits % 5 {
                0 | 1 => usize::from(self.followers[rank][(bits >> 8) as usize % FOLLOWERS]),
                _ => self.words.rank(random),
            };
            out.push_str(if (bits >> 16).is_multiple_of(30) { ", " } else { " " });
            if (bits >> 24).is_multiple_of(80) {
                let number = bits >> 40;
                push_number(number % [10, 24, 60, 100, 2030][(bits >> 32) as usize % 5], out);
            } else {
                out.push_str(self.word(rank));
            }
        }
    }

    fn link(&self, random: &mut Random, out: &mut String) {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
        out.push_str("https://");
        out.push_str(random.pick(SITES));
        let bits = random.next();
        (0..10).for_each(|at| out.push(char::from(LETTERS[(bits >> (6 * at)) as usize % 64])));
    }
}

fn push_number(number: u64, out: &mut String) {
    if number >= 10 {
        push_number(number / 10, out);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(seed: u64, count: usize) -> Vec<String> {
        let (language, mut random) = (Language::new(seed), Random(seed));
        let message = |_| {
            let mut out = String::new();
            language.message(&mut random, &mut out);
            out
        };
        (0..count).map(message).collect()
    }

    #[test]
    fn the_same_seed_says_the_same() {
        assert_eq!(messages(1, 100), messages(1, 100));
        assert_ne!(messages(1, 100), messages(2, 100));
    }

    #[test]
    fn words_are_distinct_and_frequent_ones_short() {
        let language = Language::new(5);
        let all: HashSet<&str> = (0..WORDS).map(|rank| language.word(rank)).collect();
        assert_eq!(all.len(), WORDS);
        let mean = |from: usize, to: usize| {
            (from..to).map(|rank| language.word(rank).len()).sum::<usize>() as f64 / (to - from) as f64
        };
        assert!(mean(0, 100) < 4.5 && mean(20_000, 40_000) > 6.0, "{} {}", mean(0, 100), mean(20_000, 40_000));
    }

    #[test]
    fn messages_have_the_lengths_and_repetitions_of_chats() {
        let all = messages(3, 20_000);
        assert!(all.iter().all(|message| !message.is_empty()));
        let mean = all.iter().map(String::len).sum::<usize>() / all.len();
        assert!((25..60).contains(&mean), "{mean} bytes a message");
        let ok = all.iter().filter(|message| message.eq_ignore_ascii_case("ok")).count();
        assert!((300..2000).contains(&ok), "{ok} times ok");
        let links = all.iter().filter(|message| message.contains("https://")).count();
        assert!((200..800).contains(&links), "{links} links");
    }

    #[test]
    fn prose_has_the_length_asked_for() {
        let mut out = String::new();
        Language::new(3).prose(&mut Random(1), 10_000, &mut out);
        assert!((10_000..10_400).contains(&out.len()));
    }
}
