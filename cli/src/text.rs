//! How sizes, times, names and tables look to people.

use std::fmt::Write;
use std::time::Duration;

use daykeep_engine::{ObjectId, Timestamp};

/// Digits of an id that people see and type.
const SHORT_ID_DIGITS: usize = 8;

/// Returns a size with a binary unit: `0 B`, `4.0 KiB`, `1.2 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 would be written as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns a number with its thousands set apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns `1 file`, `2 files`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Returns a span of time: `0.8 s`, `12 s`, `3:05`, `1:02:03`.
pub fn duration(span: Duration) -> String {
    if span < Duration::from_secs(10) { format!("{:.1} s", span.as_secs_f64()) } else { clock(span) }
}

/// Returns a span of time in whole seconds: `8 s`, `3:05`, `1:02:03`.
pub fn clock(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

fn instant(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(time.seconds, i32::try_from(time.nanos).ok()?).ok()
}

/// Returns a point in time by the user's clock, to the second.
pub fn local_time(time: Timestamp) -> String {
    match instant(time) {
        Some(instant) => {
            instant.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        None => format!("@{}", time.seconds),
    }
}

/// Returns by how many seconds the user's clock is ahead of UTC at a time.
pub fn utc_offset(time: Timestamp) -> i32 {
    instant(time).map_or(0, |instant| jiff::tz::TimeZone::system().to_offset(instant).seconds())
}

/// Returns a point in time as RFC 3339 writes it, in UTC; seconds since 1970 for years that it cannot write.
pub fn utc_time(time: Timestamp) -> String {
    instant(time).map_or_else(|| format!("@{}", time.seconds), |instant| instant.to_string())
}

/// Returns the first digits of an id.
pub fn short_id(id: &ObjectId) -> String {
    let mut digits = id.to_string();
    digits.truncate(SHORT_ID_DIGITS);
    digits
}

/// Whether a character could move the cursor or turn the direction of the text around it.
fn is_unsafe(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Returns `text` with everything escaped that could do more on a terminal than be read.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns a name for people: escaped, and bytes that are not UTF-8 as `\xNN`.
pub fn name(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// Returns bytes in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rows of cells in columns as wide as their widest cell.
pub struct Table {
    right_aligned: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Begins a table; a heading that begins with `>` has its column aligned to the right.
    pub fn new(headings: &[&str]) -> Self {
        let right_aligned = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { right_aligned, rows: vec![headings] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.right_aligned.len(), "one cell for each heading");
        self.rows.push(cells);
    }

    /// Returns the lines, headings first.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let columns = 0..self.right_aligned.len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = columns.map(width).collect();
        self.rows.iter().map(move |row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
                let (before, after) =
                    if self.right_aligned[column] { (padding, String::new()) } else { (String::new(), padding) };
                line.extend([if column > 0 { "  " } else { "" }, &before, cell, &after]);
            }
            line.truncate(line.trim_end().len());
            line
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "file", "files"), "1 file");
    }

    #[test]
    fn times() {
        assert_eq!(duration(Duration::from_millis(840)), "0.8 s");
        assert_eq!(duration(Duration::from_secs(185)), "3:05");
        assert_eq!(duration(Duration::from_secs(3723)), "1:02:03");
        assert_eq!(utc_time(Timestamp { seconds: 0, nanos: 5 }), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(utc_time(Timestamp { seconds: -1, nanos: 500_000_000 }), "1969-12-31T23:59:59.5Z");
        assert_eq!(utc_time(Timestamp { seconds: i64::MAX, nanos: 0 }), "@9223372036854775807");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(name(b"plain \xc3\xa4"), "plain \u{e4}");
        assert_eq!(name(b"a\x1b[2Jb\n\x7f"), "a\\u{1b}[2Jb\\n\\u{7f}");
        assert_eq!(name(b"a\xff\xfeb"), "a\\xff\\xfeb");
        assert_eq!(name("x\u{202e}gpj.exe".as_bytes()), "x\\u{202e}gpj.exe");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["ID", ">SIZE", "PATH"]);
        table.row(vec!["abc".into(), "1".into(), "/a".into()]);
        table.row(vec!["d".into(), "12345".into(), "".into()]);
        let lines: Vec<String> = table.lines().collect();
        assert_eq!(lines, ["ID    SIZE  PATH", "abc      1  /a", "d    12345"]);
    }
}
