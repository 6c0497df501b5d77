//! Identifiers made of the command's entropy.

/// A version 4 UUID of 16 of the 32 random bytes.
pub(crate) fn uuid(random: &[u8; 32]) -> String {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *random;
    let bytes = [a, b, c, d, e, f, (g & 0x0f) | 0x40, h, (i & 0x3f) | 0x80, j, k, l, m, n, o, p];
    let digits = hex::encode(bytes);
    let mut text = String::with_capacity(36);
    for (index, digit) in digits.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

/// An id as IAM's are: `prefix` and 16 of `A-Z2-7`.
pub(crate) fn unique(prefix: &str, random: &[u8; 32]) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digit = |byte: &u8| DIGITS.get(usize::from(byte & 31)).map_or('A', |digit| char::from(*digit));
    random.iter().take(16).map(digit).fold(prefix.to_owned(), |mut text, digit| {
        text.push(digit);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_ids_look_as_iams() {
        assert_eq!(unique("AIDA", &[0; 32]), "AIDAAAAAAAAAAAAAAAAA");
        assert_eq!(unique("AROA", &[0xff; 32]), "AROA7777777777777777");
    }

    #[test]
    fn uuids_are_of_version_4() {
        assert_eq!(uuid(&[0xff; 32]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&[0; 32]), "00000000-0000-4000-8000-000000000000");
    }
}
