//! Writing and reading DER (X.690): just what certificates and OCSP need.

use jiff::Timestamp;

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const PRINTABLE_STRING: u8 = 0x13;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// First second of 2050, from which RFC 5280 section 4.1.2.5 wants GeneralizedTime.
const YEAR_2050: u64 = 2_524_608_000;

/// Context tag `[number]`, constructed.
pub(crate) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// Context tag `[number]`, primitive.
pub(crate) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// One element: tag, length, content.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let significant: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | significant.len() as u8);
            out.extend(significant);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A SEQUENCE of elements already encoded.
pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(SEQUENCE, &elements.concat())
}

/// A BIT STRING of whole bytes.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes].concat())
}

/// UTCTime before 2050, GeneralizedTime from then on; `None` beyond the year 9999.
pub(crate) fn time(unix: u64) -> Option<Vec<u8>> {
    let instant = i64::try_from(unix).ok().and_then(|s| Timestamp::from_second(s).ok())?;
    let (tag, format) =
        if unix < YEAR_2050 { (UTC_TIME, "%y%m%d%H%M%SZ") } else { (GENERALIZED_TIME, "%Y%m%d%H%M%SZ") };
    Some(tlv(tag, instant.strftime(format).to_string().as_bytes()))
}

/// Reads elements one after the other: tags of one byte, definite lengths in as few bytes as there can be.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element: its tag, its content, and all of it.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
                let is_short = length < 0x80 || digits.first() == Some(&0);
                (Some(length).filter(|_| !is_short)?, rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len().checked_sub(after.len())?)?;
        self.0 = after;
        Some((tag, content, whole))
    }

    fn next_if(&mut self, tag: u8) -> Option<(&'a [u8], &'a [u8])> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, content, whole)| (content, whole))
    }

    /// Tag and content of the next element.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        self.next().map(|(tag, content, _)| (tag, content))
    }

    /// The content of the next element, if it has this tag; otherwise it stays the next one.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next_if(tag).map(|(content, _)| content)
    }

    /// All of the next element, if it has this tag.
    pub(crate) fn element(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next_if(tag).map(|(_, whole)| whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(tlv(4, &[1; 3]), [4, 3, 1, 1, 1]);
        assert_eq!(&tlv(4, &[0; 127])[..2], [4, 127]);
        assert_eq!(&tlv(4, &[0; 128])[..3], [4, 0x81, 128]);
        assert_eq!(&tlv(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn times_change_form_in_2050() {
        assert_eq!(time(2_524_607_999).unwrap(), b"\x17\x0d491231235959Z");
        assert_eq!(time(2_524_608_000).unwrap(), b"\x18\x0f20500101000000Z");
        assert_eq!(time(u64::MAX), None);
    }
}
