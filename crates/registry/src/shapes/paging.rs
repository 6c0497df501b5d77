//! Pages of listings (provisioning.md section 10).

use serde::{Deserialize, Serialize};

/// Which page: `nextToken`/`maxResults` or `marker`/`pageSize` of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageRequest {
    /// The token of the page before; `None` for the first page.
    pub token: Option<String>,
    /// Most items wanted: 1 to 250; `None`: 250.
    pub limit: Option<u32>,
}

/// A page: may be short or empty and still have a successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// `nextToken` or `nextMarker`; `None` on the last page.
    pub next: Option<String>,
}
