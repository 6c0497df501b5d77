//! What an HTTP answer of a function means.

use bytes::Bytes;
use fleethaven_fabric::FunctionError;
use fleethaven_registry::shapes::FunctionKind;
use http::{Response, StatusCode};

use super::{Kind, Tried};

/// Characters of a failed function's answer that are told.
const SHOWN: usize = 256;

/// Reads the answer of a target.
pub(super) fn read(target: &FunctionKind, kind: Kind, response: Response<Bytes>) -> Tried {
    let status = response.status();
    if status.is_success() {
        let failed = matches!(target, FunctionKind::Lambda { .. })
            && response.headers().contains_key("x-amz-function-error");
        let answer = response.into_body();
        return match (failed, kind) {
            (true, Kind::RequestResponse) => Tried::Failed(FunctionError::Failed(shown(&answer))),
            _ => Tried::Answered(answer),
        };
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => Tried::Again(FunctionError::Throttled),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Tried::Again(FunctionError::Unavailable(format!("it answered {status}")))
        }
        _ => {
            Tried::Failed(FunctionError::Failed(format!("it answered {status}: {}", shown(response.body()))))
        }
    }
}

fn shown(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}
