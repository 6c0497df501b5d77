//! Attributes of things and thing groups (provisioning.md section 8).

use crate::error::Error;
use crate::limits::Limits;
use crate::shapes::Attributes;
use crate::syntax;

/// Checks names and values by themselves.
pub(crate) fn check_syntax(attributes: &Attributes) -> Result<(), Error> {
    attributes.iter().try_for_each(|(name, value)| {
        syntax::attribute_name(name)?;
        syntax::attribute_value(value)
    })
}

/// Puts `given` in the place of the stored attributes, or, with `merge`, on top of them; an empty value removes.
pub(crate) fn change(stored: &mut Attributes, given: &Attributes, merge: bool) {
    if !merge {
        stored.clear();
    }
    for (name, value) in given {
        if value.is_empty() {
            stored.remove(name);
        } else {
            stored.insert(name.clone(), value.clone());
        }
    }
}

/// Checks the size of all of them together.
pub(crate) fn check_bytes(attributes: &Attributes, limits: &Limits) -> Result<(), Error> {
    let bytes: usize = attributes.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
    let most = limits.attribute_bytes;
    if bytes > most {
        return Err(Error::invalid(format!("the attributes have {bytes} bytes, {most} are allowed")));
    }
    Ok(())
}
