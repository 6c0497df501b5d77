//! provisioning.md section 7.1.

use crate::command::{Action, Reply};
use crate::error::ErrorCode::*;
use crate::query::{QueryKind, QueryReply};
use crate::requests::*;
use crate::shapes::*;
use crate::testing::Registry;

const BODY: &str = r#"{"Parameters":{"Serial":{"Type":"String"}},"Resources":{"certificate":{"Type":"AWS::IoT::Certificate",
    "Properties":{"CertificateId":{"Ref":"AWS::IoT::Certificate::Id"},"Status":"ACTIVE"}}}}"#;
const ROLE: &str = "arn:aws:iam::123456789012:role/provisioning";

fn template(name: &str) -> CreateProvisioningTemplate {
    CreateProvisioningTemplate {
        template_name: name.to_owned(),
        description: Some("d".to_owned()),
        template_body: BODY.to_owned(),
        enabled: false,
        provisioning_role_arn: ROLE.to_owned(),
        pre_provisioning_hook: None,
        template_type: TemplateType::FleetProvisioning,
        tags: vec![tag("k", "v")],
    }
}

fn create(registry: &mut Registry, template: CreateProvisioningTemplate) -> Result<Reply, crate::Error> {
    registry.run(Action::CreateProvisioningTemplate(Box::new(template)))
}

fn described(registry: &Registry) -> ProvisioningTemplateDescription {
    match registry.ask(QueryKind::DescribeProvisioningTemplate("t".to_owned())).unwrap() {
        QueryReply::ProvisioningTemplate(template) => *template,
        other => panic!("{other:?}"),
    }
}

fn version(registry: &mut Registry, set_as_default: bool) -> Result<Reply, crate::Error> {
    let (template_name, template_body) = ("t".to_owned(), BODY.to_owned());
    let args = CreateTemplateVersion { template_name, template_body, set_as_default };
    registry.run(Action::CreateProvisioningTemplateVersion(Box::new(args)))
}

#[test]
fn the_life_of_a_template() {
    let mut registry = registry();
    let made = create(&mut registry, template("t")).unwrap();
    let Reply::TemplateVersion(created) = made else { panic!("{made:?}") };
    assert_eq!((created.version_id, created.template_arn), (1, arn("provisioningtemplate", "t")));
    assert_eq!(refusal(create(&mut registry, template("t"))), (ResourceAlreadyExistsException, 409));
    let found = described(&registry);
    assert_eq!((found.default_version_id, found.enabled), (1, false));
    assert_eq!(found.template_body.as_deref(), Some(BODY));
    let hook = ProvisioningHook {
        payload_version: "2020-04-01".to_owned(),
        target_arn: "arn:aws:lambda".to_owned(),
    };
    let update = UpdateProvisioningTemplate {
        template_name: "t".to_owned(),
        enabled: Some(true),
        pre_provisioning_hook: Some(hook.clone()),
        ..UpdateProvisioningTemplate::default()
    };
    registry.wait(1);
    let run = |registry: &mut Registry, update: UpdateProvisioningTemplate| {
        registry.run(Action::UpdateProvisioningTemplate(Box::new(update)))
    };
    assert!(is_done(run(&mut registry, update.clone())));
    let found = described(&registry);
    assert_eq!((found.enabled, found.pre_provisioning_hook.as_ref()), (true, Some(&hook)));
    assert_eq!((found.description.as_deref(), found.modified_at), (Some("d"), registry.now));
    let remove = UpdateProvisioningTemplate {
        pre_provisioning_hook: None,
        remove_pre_provisioning_hook: true,
        enabled: None,
        ..update.clone()
    };
    assert!(is_done(run(&mut registry, remove.clone())));
    assert_eq!((described(&registry).pre_provisioning_hook, described(&registry).enabled), (None, true));
    let both = UpdateProvisioningTemplate { pre_provisioning_hook: Some(hook), ..remove };
    assert_eq!(refusal(run(&mut registry, both)), (InvalidRequestException, 400));
    let unknown = UpdateProvisioningTemplate { default_version_id: Some(2), ..update };
    assert_eq!(refusal(run(&mut registry, unknown)), (ResourceNotFoundException, 404));
    let delete = || Action::DeleteProvisioningTemplate("t".to_owned());
    assert!(is_done(registry.run(delete())));
    assert_eq!(refusal(registry.run(delete())), (ResourceNotFoundException, 404));
    let left = |key: &bytes::Bytes| String::from_utf8_lossy(key).contains("provisioning");
    assert!(!registry.view.entries().keys().any(left), "versions and tags are gone, too");
}

#[test]
fn templates_that_are_refused() {
    let mut registry = registry();
    let with = |change: fn(&mut CreateProvisioningTemplate)| {
        let mut template = template("t");
        change(&mut template);
        template
    };
    for template in [
        with(|template| template.template_name = "x".repeat(37)),
        with(|template| template.template_name = "a b".to_owned()),
        with(|template| template.template_body = "{}".to_owned()),
        with(|template| template.provisioning_role_arn = "role".to_owned()),
        with(|template| template.description = Some("x".repeat(501))),
        with(|template| {
            let payload_version = "2020-04-02".to_owned();
            let target_arn = "arn:aws:lambda".to_owned();
            template.pre_provisioning_hook = Some(ProvisioningHook { payload_version, target_arn });
        }),
    ] {
        assert_eq!(
            refusal(create(&mut registry, template.clone())),
            (InvalidRequestException, 400),
            "{template:?}"
        );
    }
    let hook = ProvisioningHook {
        payload_version: "2020-04-01".to_owned(),
        target_arn: "arn:aws:lambda".to_owned(),
    };
    let jitp = with(|template| template.template_type = TemplateType::Jitp);
    let hooked = CreateProvisioningTemplate { pre_provisioning_hook: Some(hook.clone()), ..jitp.clone() };
    assert_eq!(refusal(create(&mut registry, hooked)), (InvalidRequestException, 400), "nobody would ask it");
    registry.limits.provisioning_templates = 1;
    create(&mut registry, jitp).unwrap();
    let later = UpdateProvisioningTemplate {
        template_name: "t".to_owned(),
        pre_provisioning_hook: Some(hook),
        ..UpdateProvisioningTemplate::default()
    };
    let later = Action::UpdateProvisioningTemplate(Box::new(later));
    assert_eq!(refusal(registry.run(later)), (InvalidRequestException, 400));
    assert_eq!(refusal(create(&mut registry, template("u"))), (LimitExceededException, 410));
}

#[test]
fn versions_of_a_template() {
    let mut registry = registry();
    create(&mut registry, template("t")).unwrap();
    for number in 2..=5 {
        let reply = version(&mut registry, number == 3).unwrap();
        let Reply::TemplateVersion(created) = reply else { panic!("{reply:?}") };
        assert_eq!((created.version_id, created.is_default_version), (number, number == 3));
    }
    assert_eq!(refusal(version(&mut registry, false)), (VersionsLimitExceededException, 409));
    let delete = |version_id| {
        let template_name = "t".to_owned();
        Action::DeleteProvisioningTemplateVersion(Box::new(TemplateVersionName { template_name, version_id }))
    };
    assert_eq!(refusal(registry.run(delete(3))), (DeleteConflictException, 409));
    assert_eq!(refusal(registry.run(delete(9))), (ResourceNotFoundException, 404));
    registry.run(delete(5)).unwrap();
    let Reply::TemplateVersion(sixth) = version(&mut registry, false).unwrap() else {
        panic!("another reply")
    };
    assert_eq!(sixth.version_id, 6, "numbers are not used again");
    let (template_name, page) = ("t".to_owned(), PageRequest::default());
    let listed = registry.ask(QueryKind::ListProvisioningTemplateVersions { template_name, page }).unwrap();
    let QueryReply::TemplateVersions(page) = listed else { panic!("{listed:?}") };
    let versions: Vec<(u64, bool)> =
        page.items.iter().map(|version| (version.version_id, version.is_default_version)).collect();
    assert_eq!(versions, [(1, false), (2, false), (3, true), (4, false), (6, false)]);
    let (template_name, version_id) = ("t".to_owned(), 2);
    let found = registry.ask(QueryKind::DescribeProvisioningTemplateVersion { template_name, version_id });
    let Ok(QueryReply::TemplateVersion(found)) = found else { panic!("{found:?}") };
    assert_eq!(found.template_body.as_deref(), Some(BODY));
}
