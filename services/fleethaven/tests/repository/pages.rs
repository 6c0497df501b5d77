//! The pages below `docs/` that list what the code has are held against the code.

#![expect(clippy::panic, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fleethaven_api::operations::{Operation, Service};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The section of a page that begins with `heading`, up to the next heading of any level.
fn section<'p>(page: &'p str, heading: &str) -> &'p str {
    let (_, after) =
        page.split_once(&format!("{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    after.split("\n#").next().unwrap_or(after)
}

/// First and second cell of a table's rows whose first cell is code.
fn rows(section: &str) -> Vec<(String, String)> {
    let cells = section.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        Some((cells.next()?.trim_end_matches('`').to_owned(), cells.next()?.to_owned()))
    });
    cells.collect()
}

/// What stands between `before` and `after` in a text, each time.
fn between<'t>(text: &'t str, before: &'t str, after: char) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
}

fn same(page: &str, listed: &BTreeSet<String>, found: &BTreeSet<String>) {
    let missing: Vec<_> = found.difference(listed).collect();
    let stale: Vec<_> = listed.difference(found).collect();
    assert!(missing.is_empty() && stale.is_empty(), "{page}: add {missing:?}, remove {stale:?}");
}

#[test]
fn compatibility_tells_what_is_built_of_every_operation() {
    let page = read("docs/compatibility.md");
    let headings = [
        (Service::Control, "### Operations of `iot`"),
        (Service::Data, "### Operations of `iot-data`"),
        (Service::Jobs, "### Operations of `iot-jobs-data`"),
    ];
    let mut wrong = Vec::new();
    for (service, heading) in headings {
        let section = section(&page, heading);
        let mut listed: BTreeMap<_, _> = rows(section).into_iter().collect();
        let (mut built, mut all) = (0, 0);
        for operation in Operation::all(service) {
            (built, all) = (built + usize::from(operation.is_built()), all + 1);
            let expected: &[&str] = if operation.is_built() { &["done", "partial"] } else { &["not yet"] };
            match listed.remove(operation.name) {
                Some(status) if expected.contains(&status.as_str()) => {}
                status => wrong.push(format!("{}: {status:?}, expected {expected:?}", operation.name)),
            }
        }
        wrong.extend(listed.into_keys().map(|name| format!("{name} is no operation of {service:?}")));
        let sum = format!("{built} of {all} are built.");
        if !section.contains(&sum) {
            wrong.push(format!("{heading}: '{sum}'"));
        }
    }
    assert!(wrong.is_empty(), "docs/compatibility.md:\n  {}", wrong.join("\n  "));
}

#[test]
fn compatibility_lists_what_is_answered_of_iam() {
    let page = read("docs/compatibility.md");
    let listed = rows(section(&page, "### Operations of `iam`")).into_iter().map(|(name, _)| name).collect();
    let found = Operation::all(Service::Iam).map(|operation| operation.name.to_owned()).collect();
    same("docs/compatibility.md", &listed, &found);
}

#[test]
fn metrics_lists_every_metric() {
    let packages = ["services", "crates"].map(|folder| fs::read_dir(root().join(folder)).expect("packages"));
    let sources =
        packages.into_iter().flatten().map(|entry| entry.expect("an entry").path().join("src/metrics.rs"));
    let sources: String = sources.filter_map(|path| fs::read_to_string(path).ok()).collect();
    let found = between(&sources, "\"fleethaven_", '"').map(|name| format!("fleethaven_{name}")).collect();
    let listed = rows(&read("docs/metrics.md")).into_iter().map(|(name, _)| name);
    same("docs/metrics.md", &listed.filter(|name| name.starts_with("fleethaven_")).collect(), &found);
}

#[test]
fn configuration_lists_every_flag_with_its_variable() {
    let folder = fs::read_dir(root().join("services/fleethaven/src/cli")).expect("option groups");
    let groups = folder.map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a source"));
    let source: String = groups.chain([read("services/fleethaven/src/cli.rs")]).collect();
    let found =
        between(&source, "env = \"FLEETHAVEN_", '"').map(|name| format!("FLEETHAVEN_{name}")).collect();
    let page = read("docs/configuration.md");
    let listed = rows(&page).into_iter().filter(|(flag, _)| flag.starts_with("--"));
    let variable = |(flag, _): (String, String)| {
        let flag = flag.split([' ', '`']).next().unwrap_or_default().trim_start_matches("--").to_owned();
        format!("FLEETHAVEN_{}", flag.to_uppercase().replace('-', "_"))
    };
    let no_variable = ["FLEETHAVEN_PRINT_CONFIG", "FLEETHAVEN_CHECK_CONFIG"];
    let listed = listed.map(variable).filter(|name| !no_variable.contains(&name.as_str())).collect();
    same("docs/configuration.md", &listed, &found);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/decisions", "docs/labs", "docs/runbooks", "proto", "helm/fleethaven"] {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        for link in between(&text, "](", ')').filter(|link| !link.starts_with("http")) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !page.with_file_name(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn decisions_are_numbered_one_by_one() {
    let entries = fs::read_dir(root().join("docs/decisions")).expect("a folder");
    let mut pages: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    pages.sort();
    // The first is the template.
    for (number, page) in pages.iter().enumerate().skip(1) {
        let page = page.to_str().expect("a name in Unicode");
        let heading = format!("# {number:04}: ");
        assert!(
            page.starts_with(&format!("{number:04}-"))
                && read(&format!("docs/decisions/{page}")).starts_with(&heading),
            "docs/decisions/{page} is no number {number}"
        );
    }
}

/// The tests that the page on simulation names as holding a scenario, each with the file that has it.
fn tests_of_scenarios(page: &str) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for row in
        section(page, "## Which scenarios are held by what").lines().filter(|line| line.starts_with("| "))
    {
        let mut file = String::new();
        for code in row.split('`').skip(1).step_by(2) {
            match code.contains('/') {
                true => code.clone_into(&mut file),
                false => named.push((file.clone(), code.to_owned())),
            }
        }
    }
    named
}

#[test]
fn the_tests_that_hold_a_scenario_exist() {
    let named = tests_of_scenarios(&read("docs/simulation.md"));
    assert!(named.len() > 20, "{named:?}");
    let is_there = |(file, test): &&(String, String)| {
        let source = read(file);
        ["fn", "def"].iter().any(|word| source.contains(&format!("{word} {test}(")))
    };
    let missing: Vec<_> = named.iter().filter(|named| !is_there(named)).collect();
    assert!(missing.is_empty(), "docs/simulation.md names tests that are not there: {missing:?}");
}
