//! The request as it came off the wire, before any decoding.

/// What of a request a signature covers, except its body.
///
/// Over HTTP/2 the caller adds the `:authority` as a `host` header.
#[derive(Debug, Clone)]
pub struct RequestParts<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// The path, percent-encoded as on the wire, beginning with `/`.
    pub path: &'a str,
    /// The query without its `?`, as on the wire; empty when there is none.
    pub query: &'a str,
    /// Names in any case, values as bytes, in order of arrival.
    pub headers: Vec<(&'a str, &'a [u8])>,
}

impl<'a> RequestParts<'a> {
    /// The values of every header of that name, in order of arrival.
    pub fn header_values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The first header of that name, when it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.header_values(name).next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
    }
}
