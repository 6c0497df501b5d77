//! GetUsage: what the caller's account has used in its region. Ours: no operation of AWS's has its path.

use fleethaven_registry::usage::day_of;
use fleethaven_usage::{By, Days, summary};

use crate::answer::{Answer, Outcome, list, word};
use crate::call::Call;
use crate::error::Error;

/// GetUsage.
pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let (from, to) = (call.input.query("from"), call.input.query("to"));
    let days = Days::read(from, to, day_of(call.now)).map_err(Error::invalid)?;
    let by = by(call.input.query("by"))?;
    let rows = summary::read(&*call.state.metadata, call.scope, days).await?;
    Ok(Answer::of([("usage", list(summary::summed(rows, &by), word))]))
}

fn by(text: Option<&str>) -> Result<Vec<By>, Error> {
    let named = |name: &str| {
        let by = By::named(name);
        by.ok_or_else(|| Error::invalid("'by' must be of billing-group, day and month, parted by commas"))
    };
    text.map_or(Ok(Vec::new()), |text| text.split(',').map(named).collect())
}
