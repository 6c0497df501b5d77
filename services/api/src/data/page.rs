//! Pages of the data plane's listings: `maxResults` and an opaque `nextToken` that holds the last item's name.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::error::Error;
use crate::input::Input;

/// Items in a page when the request does not say (AWS: 20), and at most.
const DEFAULT: usize = 20;
const MOST: usize = 200;

/// Which page is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Items above this one.
    pub(super) after: Option<String>,
    /// At most so many.
    pub(super) limit: usize,
}

impl Page {
    pub(super) fn read(input: &Input) -> Result<Self, Error> {
        let limit: usize = input.query_integer("maxResults")?.unwrap_or(DEFAULT);
        if !(1..=MOST).contains(&limit) {
            return Err(Error::invalid(format!("'maxResults' must be between 1 and {MOST}")));
        }
        let invalid = || Error::invalid("'nextToken' is not one that an earlier answer gave");
        let decode = |token: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
            String::from_utf8(bytes).map_err(|_| invalid())
        };
        let token = input.query("nextToken").filter(|token| !token.is_empty());
        Ok(Self { after: token.map(decode).transpose()?, limit })
    }

    /// One item more than the page has tells whether there is a next one: cuts it off, and gives the token.
    pub(super) fn next_token<T>(&self, items: &mut Vec<T>, name: impl Fn(&T) -> &str) -> Value {
        if items.len() <= self.limit {
            return Value::Null;
        }
        items.truncate(self.limit);
        items.last().map(|last| URL_SAFE_NO_PAD.encode(name(last))).into()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn read(query: &str) -> Result<Page, Error> {
        Page::read(&Input::new(Vec::new(), query, HeaderMap::new(), Bytes::new()).unwrap())
    }

    #[test]
    fn limits_are_between_1_and_200() {
        assert_eq!(read("").unwrap(), Page { after: None, limit: 20 });
        assert_eq!(read("maxResults=1&nextToken=").unwrap().limit, 1);
        assert_eq!(read("maxResults=200").unwrap().limit, 200);
        for bad in [
            "maxResults=0",
            "maxResults=201",
            "maxResults=x",
            "maxResults=-1",
            "nextToken=%3F",
            "nextToken=_w",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_leads_to_the_next_page() {
        let page = read("maxResults=2").unwrap();
        let mut items = vec!["a", "b/ü", "c"];
        let token = page.next_token(&mut items, |item| item);
        assert_eq!(items, ["a", "b/ü"]);
        let next = read(&format!("nextToken={}", token.as_str().unwrap())).unwrap();
        assert_eq!(next.after.as_deref(), Some("b/ü"));
        assert_eq!(page.next_token(&mut items, |item| item), Value::Null, "there is no more");
    }
}
