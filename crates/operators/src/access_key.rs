//! Long-term access keys.

use fleethaven_registry::shapes::{AccessKey, Secret};

/// Bytes of randomness in an id, and in a secret.
const ID: usize = 8;
const SECRET: usize = 20;

/// An access key for a user, or for the account itself: twenty characters that begin as AWS's long-term keys do, and a secret of
/// forty. `random`: 28 bytes that nobody else knows.
pub fn new_access_key(random: &[u8], user_name: Option<String>) -> AccessKey {
    let (id, secret) = random.split_at_checked(ID).unwrap_or_default();
    let secret = secret.get(..SECRET).unwrap_or_default();
    AccessKey {
        access_key_id: format!("AKIA{}", hex::encode_upper(id)),
        secret_access_key: Secret(hex::encode(secret)),
        user_name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_as_awss() {
        let key = new_access_key(&[0xab; 32], None);
        assert_eq!(key.access_key_id, "AKIAABABABABABABABAB");
        assert_eq!((key.access_key_id.len(), key.secret_access_key.0.len()), (20, 40));
    }
}
