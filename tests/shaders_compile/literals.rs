//! No number is beyond its type: naga takes what is a little above f32's largest, Tint refuses it.

use super::checked;

/// The shader without its comments.
pub fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The numbers of a text, as they are written.
fn literals(code: &str) -> Vec<&str> {
    let bytes = code.as_bytes();
    let is_word = |c: u8| c == b'_' || c.is_ascii_alphanumeric();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let starts = bytes[at].is_ascii_digit()
            || (bytes[at] == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit));
        let start = at;
        if starts {
            let hex = code[at..].starts_with("0x") || code[at..].starts_with("0X");
            let is_exponent = |c: u8| matches!(c | 32, b'p') || (!hex && c | 32 == b'e');
            while at < bytes.len()
                && (is_word(bytes[at])
                    || bytes[at] == b'.'
                    || (matches!(bytes[at], b'+' | b'-') && at > start && is_exponent(bytes[at - 1])))
            {
                at += 1;
            }
            found.push(&code[start..at]);
        } else if is_word(bytes[at]) {
            // A name, with the digits in it.
            while at < bytes.len() && is_word(bytes[at]) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    found
}

/// What is wrong with a number.
fn fault(literal: &str) -> Option<&'static str> {
    let lower = literal.to_ascii_lowercase();
    let (digits, hex) = lower.strip_prefix("0x").map_or((&lower[..], false), |digits| (digits, true));
    let is_float = digits.contains(['.', 'p'])
        || (!hex && (digits.contains('e') || digits.ends_with('f') || digits.ends_with('h')));
    if is_float {
        let suffixed = !hex || digits.contains('p');
        let number = if suffixed { digits.trim_end_matches(['f', 'h']) } else { digits };
        let value = if hex { hex_float(number) } else { number.parse().ok() };
        let largest = if digits.ends_with('h') { 65_504.0 } else { f64::from(f32::MAX) };
        return match value {
            None => Some("is no number that this test can read"),
            Some(value) if value > largest => Some("is above the largest number of its type"),
            Some(value) if value > 0.0 && value < f64::from(f32::MIN_POSITIVE) => {
                Some("is too small for a normal number, and may count as zero")
            }
            Some(_) => None,
        };
    }
    let unsigned = digits.ends_with('u');
    let number = digits.trim_end_matches(['u', 'i']);
    match u64::from_str_radix(number, if hex { 16 } else { 10 }) {
        Err(_) => Some("is no number that this test can read"),
        Ok(value) if unsigned && value > u32::MAX.into() => Some("is above the largest u32"),
        // Without a suffix it becomes i32 if nothing says otherwise.
        Ok(value) if !unsigned && value > i32::MAX as u64 => Some("is above the largest i32"),
        Ok(_) => None,
    }
}

/// "1.8p+3", behind its 0x.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?;
    // Up to 53 bits are exact.
    (digits < 1 << 53).then_some(())?;
    Some(digits as f64 * 2f64.powi(exponent.parse::<i32>().ok()? - 4 * fraction.len() as i32))
}

#[test]
fn no_number_is_beyond_its_type() {
    let mut seen = 0;
    for shader in checked() {
        for literal in literals(&code(&shader.text)) {
            seen += 1;
            if let Some(fault) = fault(literal) {
                panic!("{}: {literal} {fault}", shader.entry.spec);
            }
        }
    }
    assert!(seen > 10_000, "only {seen} numbers were found");
}

/// The check itself.
#[test]
fn numbers_beyond_their_type_are_found() {
    assert_eq!(
        literals("vec2(1.5e-3f,x2.y)+0x1.8p+1-3u*.5-a1/0xe+1"),
        ["1.5e-3f", "0x1.8p+1", "3u", ".5", "0xe", "1"]
    );
    for fine in [
        "3.4028234e38",
        "0x1.fffffep+127",
        "0x1.fffffep+127f",
        "65504h",
        "0.0",
        "1.1754944e-38",
        "0xffffffffu",
    ] {
        assert_eq!(fault(fine), None, "{fine}");
    }
    for bad in [
        "3.4028235e38",
        "0x1.ffffffp+127",
        "0x1p128",
        "1e39f",
        "65536.0h",
        "1e-38",
        "0x1p-127",
        "4294967296u",
        "2147483648",
        "0xffffffff",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
}

#[test]
fn naga_takes_the_largest_number_in_hexadecimal() {
    let text = "const largest: f32 = 0x1.fffffep+127; @compute @workgroup_size(1) fn main() { _ = largest; }";
    naga::front::wgsl::parse_str(text).unwrap();
}
