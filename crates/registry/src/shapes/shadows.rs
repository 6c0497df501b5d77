//! Device shadows.

use serde::{Deserialize, Serialize};

/// Arguments of UpdateThingShadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateThingShadow {
    /// The thing, whether or not there is one of that name.
    pub thing_name: String,
    /// The shadow; `None`: the classic one.
    pub shadow_name: Option<String>,
    /// The request as it came.
    pub payload: String,
    /// Whether the reply tells what was accepted; who asked by MQTT is told by a message.
    pub answer: bool,
}

/// Arguments of DeleteThingShadow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteThingShadow {
    /// The thing, whether or not there is one of that name.
    pub thing_name: String,
    /// The shadow; `None`: the classic one.
    pub shadow_name: Option<String>,
    /// Echoed in the answer.
    pub client_token: Option<String>,
}
