//! Numbers as they are written in sentences: `1 point`, `12,000 points`.

/// Writes a number with a noun: `1 point`, `2 points`.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(&number.to_string()))
}

/// Groups digits in threes, from ten thousand on; a sign and decimals are left alone.
pub fn grouped(text: &str) -> String {
    let (whole, decimals) = match text.find('.') {
        Some(point) => text.split_at(point),
        None => (text, ""),
    };
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", whole),
    };
    if whole.len() < 5 {
        return text.into();
    }
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + decimals
}
