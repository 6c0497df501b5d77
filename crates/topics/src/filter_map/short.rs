//! Bytes that are usually few, kept without an allocation when they are.

const INLINE_MAX: usize = 22;

/// Immutable bytes; up to 22 of them lie in the value itself, which is 24 bytes large.
pub(super) enum Short {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Short {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Short {
    fn from(text: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match bytes.get_mut(..text.len()) {
            Some(head) => {
                head.copy_from_slice(text);
                Self::Inline { len: text.len() as u8, bytes }
            }
            None => Self::Heap(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_kept() {
        for len in [0, 1, 21, 22, 23, 300] {
            let text = vec![b'x'; len];
            assert_eq!(Short::from(text.as_slice()).as_bytes(), text);
        }
        assert_eq!((size_of::<Short>(), size_of::<Option<Short>>()), (24, 24));
    }
}
