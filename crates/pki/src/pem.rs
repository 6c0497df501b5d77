//! Strict PEM (RFC 7468): one block, or a chain of them, of the label expected, of bounded size.
//!
//! Text before and after the block is let through, since `openssl ca` and `openssl x509 -text` write some.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::Error;

/// The longest PEM or DER read, in bytes: the API's limit on `certificatePem`.
pub const MAX_LEN: usize = 65_536;

/// Decodes the one PEM block in `text`, whose label must be among `labels` (the first names it in errors).
///
/// # Errors
///
/// [`Error::TooLong`], [`Error::NoPemBlock`], [`Error::PemLabel`], [`Error::SeveralPemBlocks`],
/// [`Error::PemNotClosed`] and [`Error::PemBase64`].
pub fn decode(text: &str, labels: &[&'static str]) -> Result<Vec<u8>, Error> {
    let expected = labels.first().copied().unwrap_or_default();
    if text.len() > MAX_LEN {
        return Err(Error::TooLong(text.len()));
    }
    let mut lines = text.lines().map(str::trim);
    let Some(label) = lines.by_ref().find_map(begin_label) else {
        return Err(Error::NoPemBlock(expected));
    };
    let shown = || label.chars().take(64).collect::<String>();
    if !labels.contains(&label) {
        return Err(Error::PemLabel { found: shown(), expected });
    }
    let mut body = String::with_capacity(text.len());
    let end = format!("-----END {label}-----");
    loop {
        match lines.next() {
            Some(line) if line == end => break,
            Some(line) if !line.starts_with("-----") => body.push_str(line),
            _ => return Err(Error::PemNotClosed(shown())),
        }
    }
    if lines.any(|line| line.starts_with("-----BEGIN ")) {
        return Err(Error::SeveralPemBlocks);
    }
    STANDARD.decode(&body).map_err(|_| Error::PemBase64(shown()))
}

/// Decodes all PEM blocks in `text`, each of which must have this label; at least one.
///
/// # Errors
///
/// Those of [`decode`] but for [`Error::SeveralPemBlocks`].
pub fn decode_all(text: &str, label: &'static str) -> Result<Vec<Vec<u8>>, Error> {
    if text.len() > MAX_LEN {
        return Err(Error::TooLong(text.len()));
    }
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let (_, from) = rest.split_at(begin);
        // The next block begins after this one's first line.
        let next = from.get(1..).and_then(|after| after.find("-----BEGIN ")).map_or(from.len(), |at| at + 1);
        let (block, after) = from.split_at(next);
        blocks.push(decode(block, &[label])?);
        rest = after;
    }
    if blocks.is_empty() { Err(Error::NoPemBlock(label)) } else { Ok(blocks) }
}

fn begin_label(line: &str) -> Option<&str> {
    line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")
}

/// Writes `der` as a PEM block with lines of 64 characters and a final line feed.
pub fn encode(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (i, character) in STANDARD.encode(der).chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for len in [1, 47, 48, 49, 1000] {
            let der = vec![7; len];
            assert_eq!(decode(&encode("X", &der), &["X"]), Ok(der));
        }
        let windows = encode("X", b"abc").replace('\n', "\r\n");
        assert_eq!(decode(&format!("Certificate:\n  Data\n{windows}\n"), &["Y", "X"]).unwrap(), b"abc");
    }

    #[test]
    fn several_blocks() {
        let text = format!("about\n{}between\n{}", encode("X", b"abc"), encode("X", &[7; 100]));
        assert_eq!(decode_all(&text, "X").unwrap(), [b"abc".to_vec(), vec![7; 100]]);
        assert_eq!(decode_all("none", "X"), Err(Error::NoPemBlock("X")));
        let other = format!("{}{}", encode("X", b"abc"), encode("Y", b"abc"));
        assert_eq!(decode_all(&other, "X"), Err(Error::PemLabel { found: "Y".into(), expected: "X" }));
        let open = encode("X", b"abc").replace("-----END X-----", "");
        assert_eq!(decode_all(&open, "X"), Err(Error::PemNotClosed("X".into())));
    }

    #[test]
    fn refuses_what_is_not_one_block() {
        let whole = encode("X", b"abc");
        let cases: [(String, Error); 7] = [
            (String::new(), Error::NoPemBlock("X")),
            ("YWJj".into(), Error::NoPemBlock("X")),
            (encode("Y", b"abc"), Error::PemLabel { found: "Y".into(), expected: "X" }),
            (format!("{whole}{whole}"), Error::SeveralPemBlocks),
            (whole.replace("END X", "END Y"), Error::PemNotClosed("X".into())),
            (whole.replace("YWJj", "YW!j"), Error::PemBase64("X".into())),
            ("a".repeat(MAX_LEN + 1), Error::TooLong(MAX_LEN + 1)),
        ];
        for (text, error) in cases {
            assert_eq!(decode(&text, &["X"]), Err(error));
        }
    }
}
