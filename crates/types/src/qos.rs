//! Quality of Service levels [MQTT5 section 4.3].

/// How often an application message may arrive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "u8", into = "u8")]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: at most once; not acknowledged, not stored.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: at least once.
    AtLeastOnce = 1,
    /// QoS 2: exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The level that `bits` names; `None` for 3 and above.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The level as the number on the wire.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

impl From<QoS> for u8 {
    fn from(qos: QoS) -> Self {
        qos.bits()
    }
}

impl TryFrom<u8> for QoS {
    type Error = String;

    fn try_from(level: u8) -> Result<Self, String> {
        Self::from_bits(level).ok_or_else(|| format!("{level} is no QoS: 0, 1 or 2 is expected"))
    }
}
