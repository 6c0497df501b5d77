//! Signed requests as they come off the wire. Lines: method, path, query, then headers.

use fleethaven_sigv4::{PayloadHash, Policy, RequestParts, parse, services, verify};

use crate::lines;

const NOW: u64 = 1_440_938_160;

pub(crate) fn request(data: &[u8]) {
    let lines = lines(data, 24);
    let [method, path, query, headers @ ..] = &lines[..] else { return };
    let [Ok(method), Ok(path), Ok(query)] = [method, path, query].map(|line| std::str::from_utf8(line))
    else {
        return;
    };
    let header = |line: &&'_ [u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((std::str::from_utf8(&line[..colon]).ok()?.to_owned(), line[colon + 1..].to_vec()))
    };
    let headers: Vec<_> = headers.iter().filter_map(header).collect();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    let request = RequestParts { method, path, query, headers };
    let Ok(presented) = parse(&request) else { return };
    for payload in [PayloadHash::of(b""), PayloadHash::Unsigned] {
        let policy = Policy { allow_unsigned_payload: true, ..Policy::new(services::DATA) };
        // The secret is not in the corpus: nothing may be believed.
        assert!(verify(&presented, &request, "not the secret", payload, NOW, &policy).is_err());
    }
}
