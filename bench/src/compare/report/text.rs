//! Figures as people read them.

/// Returns seconds with three significant digits, but at most three decimals.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.9995 => format!("{s:.3} s"),
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 99.95 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// Returns bytes in decimal units with three significant digits.
pub fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", units[unit])
}

/// Returns a ratio.
pub fn times(ratio: f64) -> String {
    match ratio {
        r if r < 9.95 => format!("{r:.2} ×"),
        r if r < 99.5 => format!("{r:.1} ×"),
        r => format!("{r:.0} ×"),
    }
}

/// Returns a number with commas between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns a number of files with its word.
pub fn files(number: u64) -> String {
    if number == 1 { "1 file".into() } else { format!("{} files", count(number)) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn figures_read_well() {
        assert_eq!(super::seconds(0.0481), "0.048 s");
        assert_eq!(super::seconds(1.094), "1.09 s");
        assert_eq!(super::seconds(58.52), "58.5 s");
        assert_eq!(super::seconds(9.996), "10.0 s");
        assert_eq!(super::bytes(999), "999 B");
        assert_eq!(super::bytes(668_100_000), "668 MB");
        assert_eq!(super::bytes(1_572_864_000), "1.57 GB");
        assert_eq!(super::bytes(999_999), "1.00 MB");
        assert_eq!(super::bytes(u64::MAX), "18.4 EB");
        assert_eq!(super::times(4.267), "4.27 ×");
        assert_eq!(super::count(200_000), "200,000");
        assert_eq!(super::count(17), "17");
    }
}
