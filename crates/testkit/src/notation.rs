//! Bytes in a form to read and write.
//!
//! | written | means |
//! |---|---|
//! | `82 00ff` | bytes in hexadecimal |
//! | `'abc'` | text as it is |
//! | `"abc"` | text behind its length in two bytes: an MQTT string |
//! | `<C3 28>` | anything behind its length in two bytes |
//! | `[0001 "a"]` | anything behind its length as a variable byte integer: a packet's body, a block of properties |
//! | `("a" 00)` | anything, as one element |
//! | `'ab'*3` | the element before, so many times |
//!
//! `30 ["a" [] 'hello']` is a PUBLISH of MQTT 5 to topic `a`.

use std::iter::Peekable;
use std::str::Chars;

/// The bytes that `text` stands for.
///
/// # Errors
/// What cannot be read, in words.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut chars = text.chars().peekable();
    let bytes = sequence(&mut chars, None).map_err(|error| format!("{error} in {text}"))?;
    Ok(bytes)
}

fn sequence(chars: &mut Peekable<Chars<'_>>, end: Option<char>) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    loop {
        let element = match chars.next() {
            None if end.is_none() => return Ok(out),
            None => return Err(format!("no {end:?} at the end")),
            found if found == end => return Ok(out),
            Some(' ') => continue,
            Some('\'') => quoted(chars, '\'')?,
            Some('"') => counted(quoted(chars, '"')?)?,
            Some('(') => sequence(chars, Some(')'))?,
            Some('<') => counted(sequence(chars, Some('>'))?)?,
            Some('[') => framed(sequence(chars, Some(']'))?),
            Some(digit) => vec![hexadecimal(digit, chars.next())?],
        };
        for _ in 0..repetitions(chars)? {
            out.extend_from_slice(&element);
        }
    }
}

fn quoted(chars: &mut Peekable<Chars<'_>>, end: char) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err(format!("no {end} at the end")),
            Some(found) if found == end => return Ok(text.into_bytes()),
            Some(other) => text.push(other),
        }
    }
}

fn counted(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let len =
        u16::try_from(bytes.len()).map_err(|_| format!("{} bytes behind a two-byte length", bytes.len()))?;
    Ok([&len.to_be_bytes()[..], &bytes].concat())
}

fn framed(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes.len();
    loop {
        let low = (rest % 128) as u8;
        rest /= 128;
        out.push(if rest > 0 { low | 0x80 } else { low });
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&bytes);
    out
}

fn hexadecimal(high: char, low: Option<char>) -> Result<u8, String> {
    let digit = |c: char| c.to_digit(16).ok_or_else(|| format!("{c:?} is no hexadecimal digit"));
    let low = low.ok_or("half a byte")?;
    u8::try_from(digit(high)? * 16 + digit(low)?).map_err(|error| error.to_string())
}

fn repetitions(chars: &mut Peekable<Chars<'_>>) -> Result<usize, String> {
    if chars.next_if_eq(&'*').is_none() {
        return Ok(1);
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().map_err(|_| "a number must follow *".to_owned())
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn every_form_is_read() {
        assert_eq!(bytes("30 [\"a\" [] 'hi']"), Ok(b"\x30\x06\x00\x01a\x00hi".to_vec()));
        assert_eq!(
            bytes("00ff <C3 28> ('a' 'b')*2 [01]*2"),
            Ok(b"\x00\xff\x00\x02\xC3\x28abab\x01\x01\x01\x01".to_vec())
        );
        assert_eq!(bytes("['a'*128]").map(|b| b[..2].to_vec()), Ok(vec![0x80, 1]));
    }

    #[test]
    fn slips_are_told() {
        for slip in ["0", "0g", "[00", "'a", "'a'*", "<'a'*65536>"] {
            assert!(bytes(slip).is_err(), "{slip}");
        }
    }
}
