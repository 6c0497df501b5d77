//! Percent-encoding of paths and query strings in SigV4's manner: upper-case hex, only unreserved bytes bare.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// RFC 3986 unreserved characters stay; all others are encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const RESERVED_BUT_SLASH: &AsciiSet = &RESERVED.remove(b'/');

/// Encodes one path segment, query name or query value.
pub(crate) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// Encodes the wire path once more, as every service but S3 has it.
pub(crate) fn encode_again(path: &str) -> String {
    percent_encode(path.as_bytes(), RESERVED_BUT_SLASH).to_string()
}

/// Brings the wire path's own encoding into canonical form without adding a layer.
pub(crate) fn encode_once(path: &str) -> String {
    let segments = path.split('/').map(|segment| encode(&decode(segment)));
    segments.collect::<Vec<_>>().join("/")
}

/// Undoes percent-encoding; a `%` that begins no valid escape stands for itself.
pub(crate) fn decode(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

/// The path without empty, `.` and `..` segments, as RFC 3986 section 5.2.4 and AWS's signers have it.
pub(crate) fn normalize(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let trailing = !kept.is_empty() && path.ends_with('/');
    format!("/{}{}", kept.join("/"), if trailing { "/" } else { "" })
}

/// The pairs of a query string, still encoded. A name without `=` has an empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = query.split('&').filter(|field| !field.is_empty());
    fields.map(|field| field.split_once('=').unwrap_or((field, "")))
}

/// The canonical query: pairs re-encoded, then sorted by name and value. Names in `without` are left out.
pub(crate) fn canonical_query(query: &str, without: &[&str]) -> String {
    let mut encoded: Vec<(String, String)> = pairs(query)
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .filter(|(name, _)| !without.contains(&name.as_str()))
        .collect();
    encoded.sort_unstable();
    let fields = encoded.iter().map(|(name, value)| format!("{name}={value}"));
    fields.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_paths() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("//", "/"),
            ("//example//", "/example/"),
            ("/example/..", "/"),
            ("/./example", "/example"),
            ("/a/../../b", "/b"),
        ];
        for (path, expected) in cases {
            assert_eq!(normalize(path), expected, "{path}");
        }
    }

    #[test]
    fn a_slash_inside_a_segment_stays_encoded() {
        assert_eq!(encode_once("/topics/a%2fb:c"), "/topics/a%2Fb%3Ac");
        assert_eq!(encode_again("/topics/a%2Fb:c"), "/topics/a%252Fb%3Ac");
    }

    #[test]
    fn queries_sort_by_name_before_value() {
        assert_eq!(canonical_query("a-b=1&a=2&&a=1&c&%7e=x%zz", &["c"]), "a=1&a=2&a-b=1&~=x%25zz");
    }
}
