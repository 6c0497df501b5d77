//! A request's members where AWS's models bind them: labels of the path, the query, headers and the JSON
//! body.

use bytes::Bytes;
use fleethaven_registry::shapes::{PageRequest, Tag};
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::members::{enumerated, missing};
use crate::operations::Labels;

/// The members of one request.
#[derive(Debug)]
pub(crate) struct Input {
    labels: Labels,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    /// The body as it came.
    pub(crate) body: Bytes,
}

impl Input {
    /// `query` is what follows the `?`, as on the wire.
    pub(crate) fn new(labels: Labels, query: &str, headers: HeaderMap, body: Bytes) -> Result<Self, Error> {
        Ok(Self { labels, query: pairs(query)?, headers, body })
    }

    /// A label of the path.
    pub(crate) fn label(&self, name: &str) -> Result<String, Error> {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| missing(name))
    }

    /// A member of the query; the first when it is repeated.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn query_string(&self, name: &str) -> Option<String> {
        self.query(name).map(str::to_owned)
    }

    /// `false` when absent.
    pub(crate) fn query_boolean(&self, name: &str) -> Result<bool, Error> {
        Ok(self.query_optional_boolean(name)?.unwrap_or(false))
    }

    pub(crate) fn query_optional_boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.query(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Error::invalid(format!("'{name}' must be true or false"))),
        }
    }

    pub(crate) fn query_integer<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let parse =
            |text: &str| text.parse().map_err(|_| Error::invalid(format!("'{name}' must be a number")));
        self.query(name).map(parse).transpose()
    }

    pub(crate) fn query_enumeration<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        self.query(name).map(|text| enumerated(name, text)).transpose()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Error> {
        let text =
            |value: &http::HeaderValue| std::str::from_utf8(value.as_bytes()).map(str::trim).ok().is_some();
        match self.headers.get(name) {
            None => Ok(None),
            Some(value) if !text(value) => Err(Error::invalid(format!("the header '{name}' is not text"))),
            Some(value) => Ok(std::str::from_utf8(value.as_bytes()).ok().map(str::trim)),
        }
    }

    pub(crate) fn required_header(&self, name: &str) -> Result<String, Error> {
        let value = self.header(name)?.filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| missing(name))
    }

    /// The body as a JSON object; an empty body is an empty object.
    pub(crate) fn json(&self) -> Result<Map<String, Value>, Error> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Map::new());
        }
        let malformed =
            |error: serde_json::Error| Error::invalid(format!("the request body is no JSON: {error}"));
        match serde_json::from_slice(&self.body).map_err(malformed)? {
            Value::Object(object) => Ok(object),
            _ => Err(Error::invalid("the request body must be a JSON object")),
        }
    }

    /// The body as a form: what the query protocol sends.
    pub(crate) fn form(&self) -> Result<Vec<(String, String)>, Error> {
        let text = std::str::from_utf8(&self.body).map_err(|_| Error::invalid("the form is not UTF-8"))?;
        pairs(text)
    }

    /// The page of the registry's family of listings.
    pub(crate) fn next_token_page(&self) -> Result<PageRequest, Error> {
        self.page("nextToken", "maxResults")
    }

    /// The page of the certificates' and policies' family of listings.
    pub(crate) fn marker_page(&self) -> Result<PageRequest, Error> {
        self.page("marker", "pageSize")
    }

    fn page(&self, token: &str, limit: &str) -> Result<PageRequest, Error> {
        let token = self.query(token).filter(|token| !token.is_empty());
        Ok(PageRequest { token: token.map(str::to_owned), limit: self.query_integer(limit)? })
    }

    /// Tags of the header `x-amz-tagging`: `key1=value1&key2=value2`, percent-encoded.
    pub(crate) fn header_tags(&self) -> Result<Vec<Tag>, Error> {
        let text = self.header("x-amz-tagging")?.unwrap_or_default();
        Ok(pairs(text)?.into_iter().map(|(key, value)| Tag { key, value }).collect())
    }
}

/// Reads `a=b&c=d`: percent-decoded, `+` being a space.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, Error> {
    let pieces = text.split('&').filter(|piece| !piece.is_empty());
    pieces
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

fn decoded(text: &str) -> Result<String, Error> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Error::invalid(format!("'{text}' is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(query: &str, body: &'static str) -> Input {
        Input::new(vec![("thingName", "t".to_owned())], query, HeaderMap::new(), Bytes::from(body)).unwrap()
    }

    #[test]
    fn queries_are_typed() {
        let input = input("a=true&n=7&s=x%20y+z%2B&bad=maybe&e", "");
        assert_eq!(input.query("s"), Some("x y z+"));
        assert_eq!(input.query("e"), Some(""));
        assert!(input.query_boolean("a").unwrap() && !input.query_boolean("absent").unwrap());
        assert_eq!(input.query_integer::<u32>("n").unwrap(), Some(7));
        assert_eq!(input.query_boolean("bad").unwrap_err().to_string(), "'bad' must be true or false");
        assert_eq!(input.query_integer::<u32>("bad").unwrap_err().to_string(), "'bad' must be a number");
        assert_eq!(input.label("thingName").unwrap(), "t");
        assert_eq!(input.label("ruleName").unwrap_err().to_string(), "'ruleName' is required");
    }

    #[test]
    fn bodies_are_objects() {
        assert!(input("", "").json().unwrap().is_empty());
        assert!(input("", " \n").json().unwrap().is_empty());
        assert_eq!(input("", r#"{"a":1}"#).json().unwrap().len(), 1);
        for bad in ["[]", "1", "{", "{\"a\":1}x", "nul"] {
            assert!(input("", bad).json().is_err(), "{bad}");
        }
        let deep = "[".repeat(100_000).leak();
        assert!(input("", deep).json().is_err());
    }

    #[test]
    fn tags_come_in_a_header() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-tagging", http::HeaderValue::from_static("team=a%20b&env=prod"));
        let input = Input::new(Vec::new(), "", headers, Bytes::new()).unwrap();
        let tags = input.header_tags().unwrap();
        assert_eq!(
            tags.iter().map(|t| (t.key.as_str(), t.value.as_str())).collect::<Vec<_>>(),
            [("team", "a b"), ("env", "prod")]
        );
    }
}
