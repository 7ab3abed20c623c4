//! Durations and sizes as people write them.

use std::time::Duration;

use daykeep_engine::{CalendarSpan, ReadData};

/// Reads a duration: `90`, `30s`, `5m`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let parsed: Option<jiff::SignedDuration> = text.parse().ok();
    parsed.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| "write it as 30s, 5m or 1h30m".to_owned())
}

/// Reads a size in bytes: `134217728`, `128M`, `128MiB`, `1G`.
pub fn size(text: &str) -> Result<usize, String> {
    let refused = || "write it as 128M or 1G".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(refused()),
    };
    let number: usize = number.parse().map_err(|_| refused())?;
    number.checked_mul(1 << shift).ok_or_else(|| "more than this machine can address".to_owned())
}

/// Reads the name of a file, without a folder.
pub fn file_name(text: &str) -> Result<std::ffi::CString, String> {
    let refused = || "give a name without a folder, such as .nobackup".to_owned();
    if text.is_empty() || text.contains('/') || text == "." || text == ".." {
        return Err(refused());
    }
    std::ffi::CString::new(text).map_err(|_| refused())
}

/// Reads a span of the calendar: `1y5m7d3h`.
pub fn span(text: &str) -> Result<CalendarSpan, String> {
    CalendarSpan::parse(text)
        .map_err(|_| "write it as 1y5m7d3h or some of that, in this order and above zero".to_owned())
}

/// Reads a share in whole percent: `5%`, `5`.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok();
    number.filter(|percent| *percent <= 100).ok_or_else(|| "write it as 5%, from 0% to 100%".to_owned())
}

/// Reads a share of which there is something: `5%`, `all`.
pub fn share(text: &str) -> Result<u8, String> {
    let number = if text == "all" { Ok(100) } else { percent(text) };
    number.ok().filter(|percent| *percent > 0).ok_or_else(|| "write it as 5%, from 1%, or all".to_owned())
}

/// Reads which packs to read: `5%`, `500M`, `1/7`.
pub fn subset(text: &str) -> Result<ReadData, String> {
    let refused = || "write it as 5%, 500M or 1/7".to_owned();
    if let Some((number, of)) = text.split_once('/') {
        let (number, of): (u32, u32) = (number.parse().map_err(|_| refused())?, of.parse().map_err(|_| refused())?);
        return match of {
            0 => Err("there are no parts to choose from".to_owned()),
            _ if (1..=of).contains(&number) => Ok(ReadData::Part { number, of }),
            _ => Err(format!("there is no part {number} of {of}; give 1/{of} to {of}/{of}")),
        };
    }
    let subset = match text.ends_with('%') {
        true => ReadData::Percent(percent(text).map_err(|_| "write it as 5%, from 1% to 100%".to_owned())?),
        false => ReadData::Bytes(size(text).map_err(|_| refused())? as u64),
    };
    match subset {
        ReadData::Percent(0) | ReadData::Bytes(0) => Err("this reads nothing; leave it out for that".to_owned()),
        _ => Ok(subset),
    }
}

/// Reads a tag. Lists of them are shown with commas between.
pub fn tag(text: &str) -> Result<String, String> {
    match text {
        _ if text.trim().is_empty() => Err("a tag cannot be empty".to_owned()),
        _ if text.contains(',') => Err("a tag has no comma; give the option once for each tag".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Reads a tag, or nothing for none.
pub fn tag_or_none(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { tag(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for bad in ["", "-5s", "soon", "5 parsecs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares() {
        assert_eq!(percent("5%"), Ok(5));
        assert_eq!(percent("0"), Ok(0));
        assert_eq!(percent("100%"), Ok(100));
        for bad in ["", "%", "-1%", "101%", "5.5%", "5 %"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subsets() {
        assert_eq!((share("all"), share("1%")), (Ok(100), Ok(1)));
        assert!(share("0%").is_err() && share("none").is_err() && share("").is_err());
        assert_eq!(subset("5%"), Ok(ReadData::Percent(5)));
        assert_eq!(subset("500M"), Ok(ReadData::Bytes(500 << 20)));
        assert_eq!(subset("7/7"), Ok(ReadData::Part { number: 7, of: 7 }));
        for bad in ["", "%", "0%", "101%", "0", "0M", "0/7", "8/7", "1/", "/7", "1/0", "0/0", "some"] {
            assert!(subset(bad).is_err(), "{bad}");
        }
        assert_eq!(subset("8/7"), Err("there is no part 8 of 7; give 1/7 to 7/7".to_owned()));
    }

    #[test]
    fn tags() {
        assert_eq!((tag("a b"), tag_or_none("")), (Ok("a b".to_owned()), Ok(String::new())));
        for bad in [" ", "a,b", ","] {
            assert!(tag(bad).is_err() && tag_or_none(bad).is_err(), "{bad}");
        }
        assert!(tag("").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!(size("134217728"), Ok(128 << 20));
        assert_eq!(size("128M"), Ok(128 << 20));
        assert_eq!(size("128MiB"), Ok(128 << 20));
        assert_eq!(size("1g"), Ok(1 << 30));
        for bad in ["", "M", "-1M", "1.5G", "12X", "99999999999999999999", "18446744073709551615K"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
