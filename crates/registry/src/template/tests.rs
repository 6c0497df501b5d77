//! provisioning.md section 7.2 and section 14, rows 15, 17 and 18.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn template(resources: Value) -> Value {
    json!({
        "Parameters": {
            "Serial": {"Type": "String"},
            "Site": {"Type": "String", "Default": "lab"},
        },
        "Mappings": {"Sites": {"lab": {"region": "eu", "floor": 3}}},
        "Resources": resources,
    })
}

fn thing(name: Value) -> Value {
    template(json!({"t": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": name}}}))
}

fn parse(body: &Value) -> Result<Template, Error> {
    Template::parse(&body.to_string(), Purpose::Registration)
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolve(body: &Value, parameters: &[(&str, &str)]) -> Result<Plan, Error> {
    parse(body)?.resolve(&texts(parameters), &BTreeMap::new())
}

/// The thing name that an expression makes.
fn value(expression: Value) -> Result<String, String> {
    let plan = resolve(&thing(expression), &[("Serial", "a-b-c"), ("Ignored", "x")]);
    plan.map(|plan| plan.thing.unwrap().thing_name).map_err(|error| error.to_string())
}

#[test]
fn functions() {
    for (expression, expected) in [
        (json!("literal"), "literal"),
        (json!(7), "7"),
        (json!({"Ref": "Serial"}), "a-b-c"),
        (json!({"Ref": "Site"}), "lab"),
        (json!({"Fn::Join": ["_", ["x", {"Ref": "Site"}, "y"]]}), "x_lab_y"),
        (json!({"Fn::Join": ["", {"Fn::Split": ["-", {"Ref": "Serial"}]}]}), "abc"),
        (json!({"Fn::Select": ["1", {"Fn::Split": ["-", {"Ref": "Serial"}]}]}), "b"),
        (json!({"Fn::Select": [0, ["p", "q"]]}), "p"),
        (json!({"Fn::FindInMap": ["Sites", {"Ref": "Site"}, "region"]}), "eu"),
        (json!({"Fn::FindInMap": ["Sites", "lab", "floor"]}), "3"),
        (json!({"Fn::Sub": "${Site}/${Serial}!"}), "lab/a-b-c!"),
        (json!({"Fn::Sub": ["${x}-${Site}-${x}", {"x": {"Ref": "Serial"}}]}), "a-b-c-lab-a-b-c"),
        (json!({"Fn::Sub": "${!Site}"}), "${Site}"),
    ] {
        assert_eq!(value(expression.clone()), Ok(expected.to_owned()), "{expression}");
    }
}

#[test]
fn functions_that_fail_when_they_are_computed() {
    for (expression, named) in [
        (json!({"Fn::Select": ["5", ["a", "b", "c"]]}), "Fn::Select"),
        (json!({"Fn::Select": ["-1", ["a"]]}), "Fn::Select"),
        (json!({"Fn::FindInMap": ["Sites", "moon", "region"]}), "moon"),
        (json!({"Fn::FindInMap": ["None", "lab", "region"]}), "None"),
        (json!({"Ref": "AWS::IoT::Certificate::Country"}), "Country"),
        (json!(["a list"]), "list"),
        (json!({"Fn::Join": [",", "a text"]}), "list"),
    ] {
        let error = value(expression.clone()).unwrap_err();
        assert!(error.contains(named), "{expression}: {error}");
    }
    let missing = resolve(&thing(json!({"Ref": "Serial"})), &[]).unwrap_err().to_string();
    assert!(missing.contains("'Serial' has no value"), "{missing}");
}

#[test]
fn nested_functions_cannot_grow_without_bound() {
    let mut expression = json!({"Ref": "Serial"});
    for _ in 0..12 {
        expression = json!({"Fn::Sub": ["${x}${x}${x}${x}${x}${x}${x}${x}", {"x": expression}]});
    }
    assert!(value(expression).unwrap_err().contains("bytes"));
}

#[test]
fn what_is_refused_when_it_is_read() {
    let policy = |properties: Value| {
        template(json!({
            "c": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": "x"}},
            "p": {"Type": "AWS::IoT::Policy", "Properties": properties},
        }))
    };
    let certificate = |properties: Value| {
        template(json!({"c": {"Type": "AWS::IoT::Certificate", "Properties": properties}}))
    };
    let settings = |settings: Value| {
        let properties = json!({"ThingName": "x"});
        template(
            json!({"t": {"Type": "AWS::IoT::Thing", "Properties": properties, "OverrideSettings": settings}}),
        )
    };
    let of_type = |parameters: Value| json!({"Parameters": parameters, "Resources": {}});
    for (body, named) in [
        (json!([]), "object"),
        (json!({}), "Resources"),
        (json!({"Resources": {}, "More": 1}), "More"),
        (of_type(json!({"p": {"Type": "Number"}})), "'p'"),
        (of_type(json!({"p": {"Type": "String", "Default": []}})), "'p'"),
        (thing(json!({"Ref": "Unknown"})), "Unknown"),
        (thing(json!({"Fn::Sub": "${Unknown}"})), "Unknown"),
        (thing(json!({"Fn::Sub": "${Site"})), "Fn::Sub"),
        (thing(json!({"Fn::Nothing": []})), "Fn::Nothing"),
        (thing(json!({"Fn::Split": ["", "x"]})), "Fn::Split"),
        (thing(json!({"Fn::Join": ["x"]})), "Fn::Join"),
        (thing(json!({"Ref": "Site", "More": 1})), "one function"),
        (thing(Value::Null), "object"),
        (template(json!({"t": {"Type": "AWS::IoT::Thing", "Properties": {}}})), "ThingName"),
        (template(json!({"t": {"Type": "AWS::IoT::Rule"}})), "Type"),
        (settings(json!({"ThingTypeName": "MERGE"})), "ThingTypeName"),
        (settings(json!({"Status": "FAIL"})), "Status"),
        (certificate(json!({})), "exactly one"),
        (certificate(json!({"CertificateId": "x", "CertificatePem": "y"})), "exactly one"),
        (certificate(json!({"CertificateId": "x", "CACertificatePem": "y"})), "exactly one"),
        (policy(json!({"PolicyName": "p", "PolicyDocument": "{}"})), "either"),
        (policy(json!({})), "either"),
        (policy(json!({"PolicyDocument": {"Statement": [{"Resource": {"Ref": "Unknown"}}]}})), "Unknown"),
        (
            template(json!({"p": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "p"}}})),
            "no certificate",
        ),
    ] {
        let error = parse(&body).unwrap_err().to_string();
        assert!(error.contains(named), "{body}: {error}");
    }
    assert!(Template::parse("{", Purpose::Registration).unwrap_err().to_string().contains("JSON"));
    assert!(Template::parse(&" ".repeat(MAX_BODY + 1), Purpose::Registration).is_err());
}

#[test]
fn everything_together() {
    let body = json!({
        "Parameters": {"Serial": {"Type": "String"}, "Csr": {"Type": "String"}},
        "Resources": {
            "device": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Fn::Join": ["", ["pump-", {"Ref": "Serial"}]]},
                    "AttributePayload": {"serial": {"Ref": "Serial"}, "version": "v1"},
                    "ThingTypeName": "pump",
                    "ThingGroups": ["a", {"Ref": "Serial"}],
                    "BillingGroup": "money",
                },
                "OverrideSettings": {"AttributePayload": "MERGE", "THING_TYPE_NAME": "REPLACE", "ThingGroups": "FAIL"},
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateSigningRequest": {"Ref": "Csr"}, "Status": "Inactive"},
                "OverrideSettings": {"Status": "DO_NOTHING"},
            },
            "own": {
                "Type": "AWS::IoT::Policy",
                "Properties": {"PolicyDocument": {"Statement": [{"Resource": {"Fn::Sub": "topic/${Serial}"}}]}},
            },
            "shared": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": "everybody"}},
        },
        "DeviceConfiguration": {"url": {"Fn::Sub": "https://example.com/${Serial}"}},
    });
    let plan = resolve(&body, &[("Serial", "7"), ("Csr", "request")]).unwrap();
    let thing = plan.thing.unwrap();
    assert_eq!((thing.logical_name.as_str(), thing.thing_name.as_str()), ("device", "pump-7"));
    assert_eq!(thing.attributes, Some(texts(&[("serial", "7"), ("version", "v1")])));
    assert_eq!(thing.thing_groups, Some(vec!["a".to_owned(), "7".to_owned()]));
    assert_eq!(
        (thing.attributes_override, thing.thing_type_override, thing.thing_groups_override),
        (Override::Merge, Override::Replace, Override::Fail)
    );
    let certificate = plan.certificate.unwrap();
    assert_eq!(certificate.source, CertificateSource::SigningRequest("request".to_owned()));
    assert_eq!((certificate.active, certificate.status_override), (false, Override::DoNothing));
    let document = r#"{"Statement":[{"Resource":"topic/7"}]}"#.to_owned();
    let sources: Vec<PolicySource> = plan.policies.into_iter().map(|policy| policy.source).collect();
    assert_eq!(sources, [PolicySource::Document(document), PolicySource::Name("everybody".to_owned())]);
    assert_eq!(plan.device_configuration, texts(&[("url", "https://example.com/7")]));
}

#[test]
fn templates_for_devices_take_their_own_certificate_only() {
    let body = |id: Value| {
        template(json!({"c": {"Type": "AWS::IoT::Certificate", "Properties": {"CertificateId": id}}}))
            .to_string()
    };
    let own = json!({"Ref": "AWS::IoT::Certificate::Id"});
    let parsed = Template::parse(&body(own), Purpose::Provisioning).unwrap();
    let certificate = texts(&[("AWS::IoT::Certificate::Id", "c1")]);
    let given = texts(&[("AWS::IoT::Certificate::Id", "somebody else's")]);
    let plan = parsed.resolve(&given, &certificate).unwrap();
    assert_eq!(plan.certificate.unwrap().source, CertificateSource::Id("c1".to_owned()));
    let refused = Template::parse(&body(json!({"Ref": "Serial"})), Purpose::Provisioning);
    assert!(refused.unwrap_err().to_string().contains("AWS::IoT::Certificate::Id"));
}

proptest! {
    #[test]
    fn no_body_panics(body in "\\PC{0,200}", name in "\\PC{0,20}") {
        let _ = Template::parse(&body, Purpose::Registration);
        let expression = json!({"Fn::Sub": body, "Ref": name});
        let _ = parse(&thing(expression));
        let _ = value(json!({"Fn::Sub": body}));
        let _ = value(json!({"Fn::Select": [body, [name]]}));
    }
}
