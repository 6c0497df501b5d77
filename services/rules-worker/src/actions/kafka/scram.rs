//! SCRAM-SHA-512 (RFC 5802) as Kafka has it: no channel binding, names and passwords as they are.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Rounds of the password that a broker may ask for: fewer are no protection, more would be an attack on this machine.
const ROUNDS: std::ops::RangeInclusive<u32> = 4096..=200_000;
/// Bytes of a SHA-512 digest.
const DIGEST: usize = 64;

/// An exchange whose first message has been made.
pub(super) struct Exchange {
    nonce: String,
    first_bare: String,
}

impl Exchange {
    /// With a random nonce of ours, which is printable and has no comma.
    pub(super) fn new(user: &str, nonce: String) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { first_bare: format!("n={user},r={nonce}"), nonce }
    }

    /// The client's first message.
    pub(super) fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The client's last message after the server's first, and the signature by which the server proves that it knows the password
    /// too. This takes milliseconds of computing.
    pub(super) fn last(&self, server_first: &str, password: &str) -> Result<(String, Proof), String> {
        let attribute = |name: &str| {
            let mut attributes = server_first.split(',');
            attributes.find_map(|attribute| attribute.strip_prefix(name)).ok_or("it is incomplete")
        };
        let nonce = attribute("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("its nonce does not begin with ours".to_owned());
        }
        let salt = STANDARD.decode(attribute("s=")?).map_err(|_| "its salt cannot be read")?;
        let rounds: u32 = attribute("i=")?.parse().map_err(|_| "its rounds are no number")?;
        let allowed = NonZeroU32::new(rounds).filter(|_| ROUNDS.contains(&rounds));
        let allowed = allowed.ok_or_else(|| format!("it asks for {rounds} rounds"))?;

        let mut salted = [0; DIGEST];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, allowed, &salt, password.as_bytes(), &mut salted);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA512, client_key.as_ref());
        let server_key = sign(&salted, b"Server Key");
        let last_bare = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{last_bare}", self.first_bare);
        let client_signature = sign(stored_key.as_ref(), signed.as_bytes());
        let mixed = client_key.as_ref().iter().zip(client_signature.as_ref());
        let proof: Vec<u8> = mixed.map(|(key, signature)| key ^ signature).collect();
        let server = sign(server_key.as_ref(), signed.as_bytes());
        Ok((format!("{last_bare},p={}", STANDARD.encode(proof)), Proof(server)))
    }
}

/// What the server's last message must prove.
pub(super) struct Proof(hmac::Tag);

impl Proof {
    /// Whether it does.
    pub(super) fn check(&self, server_last: &str) -> Result<(), String> {
        if let Some(error) = server_last.strip_prefix("e=") {
            return Err(error.to_owned());
        }
        let signature = server_last.split(',').find_map(|attribute| attribute.strip_prefix("v="));
        let signature = signature.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        constant_time::verify_slices_are_equal(self.0.as_ref(), &signature)
            .map_err(|_| "the broker does not know the password itself".to_owned())
    }
}

fn sign(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, key), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An exchange that Python's hashlib and hmac computed.
    #[test]
    fn the_proof_is_that_of_the_rfc() {
        let exchange = Exchange::new("us,er=", "abc".to_owned());
        assert_eq!(exchange.first(), "n,,n=us=2Cer=3D,r=abc");
        let (last, proof) = exchange.last("r=abcdef,s=c2FsdHNhbHQ=,i=4096", "pencil").unwrap();
        assert_eq!(last, LAST);
        proof.check(SERVER).unwrap();
        assert!(proof.check("v=AAAA").is_err() && proof.check("").is_err());
        assert_eq!(proof.check("e=invalid-proof").unwrap_err(), "invalid-proof");
    }

    const LAST: &str = "c=biws,r=abcdef,p=kkDOX9WXAkQxvfxSiaMa8lnMBPq1W/G2JBrYHEwPAsS2eZyO5u2hkkdlfQ9jmFgMIJg7pV2Z/Uf0Xf4lqVNhow==";
    const SERVER: &str =
        "v=6BGP1nzDIHzhigbWosgeuJo+XCosCGshSw1d1oPu5mye6tR9RzmR19UrWCYh/xD6ejBFbQjROvqITvc90nOK3Q==";

    #[test]
    fn a_server_that_asks_for_too_much_or_answers_somebody_else_is_refused() {
        let exchange = Exchange::new("user", "abc".to_owned());
        for answer in [
            "r=abcd,s=c2FsdA==,i=1",
            "r=abcd,s=c2FsdA==,i=2000000000",
            "r=xyz,s=c2FsdA==,i=4096",
            "r=abc,s=c2FsdA==,i=4096",
            "r=abcd,s=?,i=4096",
            "r=abcd,i=4096",
            "",
        ] {
            assert!(exchange.last(answer, "pencil").is_err(), "{answer}");
        }
    }
}
