//! Holds the stable contracts to what was committed: `proto/contracts.txt` lists what a peer of another release relies on, and
//! nothing of it may change or go.
//!
//! What is new is added to the list by running this test with `FLEETHAVEN_RENEW_CONTRACTS=1` in the environment. What breaks peers
//! starts a `v2`; only for a contract that nobody ever spoke may its lines be taken out of the list by hand.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

/// The packages that are held.
const STABLE: [&str; 7] = [
    "fleethaven/admin/v1/admin.proto",
    "fleethaven/connections/v1/connections.proto",
    "fleethaven/delivery/v1/delivery.proto",
    "fleethaven/membership/v1/membership.proto",
    "fleethaven/metadata/v1/metadata.proto",
    "fleethaven/raft/v1/raft.proto",
    "fleethaven/routing/v1/routing.proto",
];
const RENEW: &str = "FLEETHAVEN_RENEW_CONTRACTS";

fn proto() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// What is compared of a line: names that do not travel stand behind a `#`.
fn compared(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

fn lower(value: impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// One line for each field, value of an enum and method of the stable packages, in order.
fn contracts() -> BTreeSet<String> {
    let files = protox::compile(STABLE, [proto()]).unwrap().file;
    let mut lines = BTreeSet::new();
    for file in files {
        let package = file.package();
        for service in &file.service {
            for method in &service.method {
                let stream = |streams: bool| if streams { "stream " } else { "" };
                lines.insert(format!(
                    "{package}.{}.{} ({}{}) -> ({}{})",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type()
                ));
            }
        }
        let own = file.enum_type.iter().map(|of| (package.to_owned(), of));
        let inner = file.message_type.iter().flat_map(|message| {
            message.enum_type.iter().map(move |of| (format!("{package}.{}", message.name()), of))
        });
        for (place, of) in own.chain(inner) {
            for value in &of.value {
                lines.insert(format!("{place}.{} = {} # {}", of.name(), value.number(), value.name()));
            }
        }
        for message in &file.message_type {
            assert!(message.nested_type.is_empty(), "told apart by their place");
            for field in &message.field {
                let of = match field.oneof_index {
                    Some(_) if field.proto3_optional() => "optional ",
                    Some(_) => "oneof ",
                    None => "",
                };
                lines.insert(format!(
                    "{package}.{} {}: {of}{}{}{} # {}",
                    message.name(),
                    field.number(),
                    if lower(field.label()) == "repeated" { "repeated " } else { "" },
                    lower(field.r#type()),
                    field.type_name.as_ref().map(|name| format!(" {name}")).unwrap_or_default(),
                    field.name()
                ));
            }
        }
    }
    lines
}

/// Lines of `of` that nothing in `than` equals.
fn missing<'a>(of: &'a BTreeSet<String>, than: &BTreeSet<String>) -> Vec<&'a str> {
    let there: BTreeSet<&str> = than.iter().map(|line| compared(line)).collect();
    of.iter().map(String::as_str).filter(|line| !there.contains(compared(line))).collect()
}

#[test]
fn nothing_that_peers_rely_on_has_changed() {
    let (file, now) = (proto().join("contracts.txt"), contracts());
    let text = fs::read_to_string(&file).unwrap_or_default();
    let held: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let broken = missing(&held, &now);
    assert!(broken.is_empty(), "these break peers of another release:\n  {}", broken.join("\n  "));
    if std::env::var_os(RENEW).is_some() {
        let lines: Vec<_> = now.into_iter().collect();
        return fs::write(&file, lines.join("\n") + "\n").unwrap();
    }
    let new = missing(&now, &held);
    let renew = format!("these are not in contracts.txt yet; run this test with {RENEW}=1 to add them:");
    assert!(new.is_empty(), "{renew}\n  {}", new.join("\n  "));
}

#[test]
fn what_breaks_is_told_from_what_does_not() {
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let held = lines("p.M 1: uint64 # a\np.M 2: repeated bytes # b\np.S.Call (.p.M) -> (.p.M)");
    let renamed = lines("p.M 1: uint64 # z\np.M 2: repeated bytes # b\np.S.Call (.p.M) -> (.p.M)");
    assert!(missing(&held, &renamed).is_empty(), "names of fields do not travel");
    let mut added = held.clone();
    added.insert("p.M 3: bool # c".to_owned());
    assert!(missing(&held, &added).is_empty());
    for broken in [
        "p.M 1: uint64 # a\np.S.Call (.p.M) -> (.p.M)",
        "p.M 1: uint64 # a\np.M 3: repeated bytes # b\np.S.Call (.p.M) -> (.p.M)",
        "p.M 1: string # a\np.M 2: repeated bytes # b\np.S.Call (.p.M) -> (.p.M)",
        "p.M 1: uint64 # a\np.M 2: repeated bytes # b\np.S.Call (.p.M) -> (stream .p.M)",
        "p.M 1: uint64 # a\np.M 2: repeated bytes # b",
    ] {
        assert_eq!(missing(&held, &lines(broken)).len(), 1, "{broken}");
    }
}
