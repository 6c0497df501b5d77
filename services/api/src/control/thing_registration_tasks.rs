//! Bulk registration tasks (provisioning.md section 7.5): starting, stopping and looking at them. What works on them: `bulk`.

use fleethaven_registry::shapes::{
    RegistrationTaskStatus, ReportLink, ReportType, StartThingRegistrationTask,
};
use fleethaven_registry::{Action, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::Scope;
use http::Method;
use http::request::Parts;
use serde_json::Value;

use super::endpoint::host_of;
use super::expect_reply;
use crate::answer::{Answer, Outcome, seconds, word};
use crate::api::State;
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

/// Path of what the links to reports lead to.
const REPORTS: &str = "/thing-registration-reports/";

pub(super) async fn start(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::StartThingRegistrationTask(Box::new(StartThingRegistrationTask {
        template_body: body.required_string("templateBody")?,
        input_file_bucket: body.required_string("inputFileBucket")?,
        input_file_key: body.required_string("inputFileKey")?,
        role_arn: body.required_string("roleArn")?,
    }));
    let id = expect_reply!(call.execute(action).await?, Reply::RegistrationTask(id) => id);
    Ok(Answer::of([("taskId", id.into())]))
}

pub(super) async fn stop(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::StopThingRegistrationTask(call.input.label("taskId")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeThingRegistrationTask(call.input.label("taskId")?);
    let task = expect_reply!(call.query(query).await?, QueryReply::RegistrationTask(task) => *task);
    let StartThingRegistrationTask { template_body, input_file_bucket, input_file_key, role_arn } =
        task.started_with;
    Ok(Answer::of([
        ("taskId", task.task_id.into()),
        ("creationDate", seconds(task.created_at)),
        ("lastModifiedDate", seconds(task.modified_at)),
        ("templateBody", template_body.into()),
        ("inputFileBucket", given(input_file_bucket)),
        ("inputFileKey", given(input_file_key)),
        ("roleArn", given(role_arn)),
        ("status", word(task.status)),
        ("message", task.message.into()),
        ("successCount", task.success_count.into()),
        ("failureCount", task.failure_count.into()),
        ("percentageProgress", task.percentage_progress.into()),
    ]))
}

/// What a task whose input was uploaded was not given is left out.
fn given(text: String) -> Value {
    Some(text).filter(|text| !text.is_empty()).into()
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let status: Option<RegistrationTaskStatus> = call.input.query_enumeration("status")?;
    let query = QueryKind::ListThingRegistrationTasks { status, page: call.input.next_token_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::Names(page) => page);
    Ok(Answer::of([("taskIds", page.items.into()), ("nextToken", page.next.into())]))
}

pub(super) async fn reports(call: &Call<'_>) -> Outcome {
    let report_type: ReportType =
        call.input.query_enumeration("reportType")?.ok_or_else(|| missing("reportType"))?;
    let task_id = call.input.label("taskId")?;
    let page = call.input.next_token_page()?;
    let query = QueryKind::ListThingRegistrationTaskReports { task_id, report_type, page };
    let page = expect_reply!(call.query(query).await?, QueryReply::RegistrationReports(page) => page);
    let links: Vec<String> = page.items.iter().map(|link| url(call, link)).collect();
    Ok(Answer::of([
        ("resourceLinks", links.into()),
        ("reportType", word(report_type)),
        ("nextToken", page.next.into()),
    ]))
}

/// The address of a piece of a report, which needs no signature but its own.
fn url(call: &Call<'_>, link: &ReportLink) -> String {
    let (endpoints, Scope { account, region }) = (&call.state.config.endpoints, call.scope);
    let at = host_of("data", &endpoints.data, endpoints, account);
    let report = report_word(link.report_type);
    format!(
        "https://{at}{REPORTS}{account}/{region}/{}/{report}/{}?expires={}&signature={}",
        link.task_id, link.piece, link.expires, link.signature
    )
}

fn report_word(report: ReportType) -> &'static str {
    match report {
        ReportType::Errors => "ERRORS",
        ReportType::Results => "RESULTS",
    }
}

/// The link that a request follows, if it follows one.
pub(crate) fn link(head: &Parts) -> Option<(Scope, ReportLink)> {
    let path = head.uri.path().strip_prefix(REPORTS).filter(|_| head.method == Method::GET)?;
    let parts: Vec<&str> = path.split('/').collect();
    let [account, region, task_id, report, piece] = parts.as_slice() else { return None };
    let query = head.uri.query().unwrap_or_default();
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let report_type =
        [ReportType::Errors, ReportType::Results].into_iter().find(|known| report_word(*known) == *report)?;
    let link = ReportLink {
        task_id: (*task_id).to_owned(),
        report_type,
        piece: piece.parse().ok()?,
        expires: value("expires")?.parse().ok()?,
        signature: value("signature")?.to_owned(),
    };
    Some((Scope { account: account.parse().ok()?, region: region.parse().ok()? }, link))
}

/// What a link leads to: a line of JSON for each line of the task's input.
pub(crate) async fn follow(state: &State, scope: Scope, link: ReportLink) -> Outcome {
    let query = Query::new(scope, QueryKind::RegistrationReport(Box::new(link)));
    let found =
        expect_reply!(state.metadata.query(query).await?, QueryReply::RegistrationReport(found) => found);
    found
        .map(Answer::Lines)
        .ok_or_else(|| Error::Forbidden("the link is not good, or not any more".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_as_they_are_written() {
        let read = |uri: &str| {
            let (head, ()) = http::Request::get(uri).body(()).unwrap().into_parts();
            link(&head)
        };
        let good = "/thing-registration-reports/123456789012/eu-west-1/t/ERRORS/3?expires=5&signature=ab";
        let (scope, found) = read(good).unwrap();
        assert_eq!(
            (scope.account.to_string().as_str(), scope.region.as_str()),
            ("123456789012", "eu-west-1")
        );
        assert_eq!((found.report_type, found.piece, found.expires), (ReportType::Errors, 3, 5));
        assert_eq!((found.task_id.as_str(), found.signature.as_str()), ("t", "ab"));
        for bad in [
            "/things/a",
            &good.replace("ERRORS", "OTHERS"),
            &good.replace("expires", "x"),
            &good.replace("/3", ""),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
