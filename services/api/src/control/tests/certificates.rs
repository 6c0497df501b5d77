use fleethaven_daemon::clock;
use fleethaven_pki::{Authority, Certificate, Serial, SigningRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::testing::{House, authority, csr};

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap()
}

/// A certificate with the common name `name`, issued by `ca`.
fn issued(ca: &Authority, name: &str) -> Certificate {
    let request = SigningRequest::parse_pem(&csr(name)).unwrap();
    ca.issue_device(&request, Serial(*Uuid::new_v4().as_bytes()), clock::now().as_secs()).unwrap()
}

/// Registers `ca` in DEFAULT mode, active.
async fn register_ca(house: &House, ca: &Authority) -> Value {
    let code = house.call("GET", "/registrationcode", "").await.ok();
    let body = json!({
        "caCertificate": ca.certificate().pem(),
        "verificationCertificate": issued(ca, text(&code, "registrationCode")).pem(),
    });
    house.call("POST", "/cacertificate?setAsActive=true", &body.to_string()).await.ok()
}

#[tokio::test]
async fn keys_and_certificate() {
    let house = House::new();
    let made = house.call("POST", "/keys-and-certificate?setAsActive=true", "").await.ok();
    let certificate = Certificate::parse_pem(text(&made, "certificatePem")).unwrap();
    let id = text(&made, "certificateId");
    assert_eq!(certificate.id.to_string(), id);
    assert_eq!(text(&made, "certificateArn"), format!("arn:aws:iot:us-east-1:123456789012:cert/{id}"));
    assert_eq!(certificate.subject.common_name(), Some("AWS IoT Certificate"));
    assert!(text(&made["keyPair"], "PrivateKey").starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    assert!(text(&made["keyPair"], "PublicKey").starts_with("-----BEGIN PUBLIC KEY-----"));

    let described = house.call("GET", &format!("/certificates/{id}"), "").await.ok();
    let description = &described["certificateDescription"];
    assert_eq!(description["status"], "ACTIVE");
    assert_eq!(description["ownedBy"], "123456789012");
    assert_eq!(description["certificateMode"], "DEFAULT");
    assert_eq!(description["customerVersion"], 1);
    assert_eq!(description["validity"]["notAfter"], 2_524_607_999.0);
    assert_eq!(description["transferData"], json!({}));
    assert_eq!(description["certificatePem"], made["certificatePem"]);
    assert_eq!(description.get("caCertificateId"), None);
    assert!(description["creationDate"].is_f64() && description["lastModifiedDate"].is_f64());
}

#[tokio::test]
async fn a_request_gives_another_certificate_each_time() {
    let house = House::new();
    let body = json!({"certificateSigningRequest": csr("sensor01")}).to_string();
    let first = house.call("POST", "/certificates", &body).await.ok();
    let second = house.call("POST", "/certificates?setAsActive=false", &body).await.ok();
    assert_ne!(first["certificateId"], second["certificateId"]);
    assert_eq!(first.get("keyPair"), None);
    let certificate = Certificate::parse_pem(text(&first, "certificatePem")).unwrap();
    assert_eq!(certificate.subject.common_name(), Some("sensor01"));
    let id = text(&first, "certificateId");
    let described = house.call("GET", &format!("/certificates/{id}"), "").await.ok();
    assert_eq!(described["certificateDescription"]["status"], "INACTIVE");

    let long = "x".repeat(4097);
    for bad in
        [json!({}), json!({"certificateSigningRequest": "no"}), json!({"certificateSigningRequest": long})]
    {
        let told = house.call("POST", "/certificates", &bad.to_string()).await;
        assert_eq!(told.error(), (400, "InvalidRequestException"));
    }
}

#[tokio::test]
async fn statuses_and_deletion() {
    let house = House::new();
    let made = house.call("POST", "/keys-and-certificate?setAsActive=true", "").await.ok();
    let target = format!("/certificates/{}", text(&made, "certificateId"));
    let told = house.call("DELETE", &target, "").await;
    assert_eq!(told.error(), (406, "CertificateStateException"));
    for (status, expected) in [
        ("?newStatus=SLEEPING", (400, "InvalidRequestException")),
        ("?newStatus=PENDING_TRANSFER", (400, "InvalidRequestException")),
        ("", (400, "InvalidRequestException")),
    ] {
        assert_eq!(house.call("PUT", &format!("{target}{status}"), "").await.error(), expected, "{status}");
    }
    house.call("PUT", &format!("{target}?newStatus=REVOKED"), "").await.done();
    let told = house.call("PUT", &format!("{target}?newStatus=ACTIVE"), "").await;
    assert_eq!(told.error(), (406, "CertificateStateException"));
    house.call("DELETE", &format!("{target}?forceDelete=true"), "").await.done();
    assert_eq!(house.call("GET", &target, "").await.error(), (404, "ResourceNotFoundException"));
    assert_eq!(house.call("GET", "/certificates/zz", "").await.error(), (400, "InvalidRequestException"));
}

#[tokio::test]
async fn certificates_in_their_order() {
    let house = House::new();
    let body = json!({"certificateSigningRequest": csr("d")}).to_string();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(house.call("POST", "/certificates", &body).await.ok()["certificateId"].clone());
    }
    let first = house.call("GET", "/certificates?pageSize=2&isAscendingOrder=true", "").await.ok();
    let items = first["certificates"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let members: Vec<_> = items[0].as_object().unwrap().keys().collect();
    assert_eq!(members, ["certificateArn", "certificateId", "status", "certificateMode", "creationDate"]);
    assert!(first["nextMarker"].is_string());
    let all = house.call("GET", "/certificates", "").await.ok();
    assert_eq!(all["certificates"].as_array().unwrap().len(), 3);
    assert_eq!(all.get("nextMarker"), None);
    let told = house.call("GET", "/certificates?isAscendingOrder=up", "").await;
    assert_eq!(told.error(), (400, "InvalidRequestException"));
}

#[tokio::test]
async fn registration_with_a_ca() {
    let house = House::new();
    let (ca, stranger) = (authority("Factory CA"), authority("Factory CA"));
    let device = issued(&ca, "d1");
    let body = json!({"certificatePem": device.pem()}).to_string();
    let early = house.call("POST", "/certificate/register", &body).await;
    assert_eq!(early.error(), (400, "CertificateValidationException"));

    let ca_id = register_ca(&house, &ca).await["certificateId"].clone();
    let forged = json!({"certificatePem": issued(&stranger, "d2").pem()}).to_string();
    let told = house.call("POST", "/certificate/register", &forged).await;
    assert_eq!(told.error(), (400, "CertificateValidationException"));
    let wrong = json!({"certificatePem": device.pem(), "caCertificatePem": stranger.certificate().pem()});
    let told = house.call("POST", "/certificate/register", &wrong.to_string()).await;
    assert_eq!(told.error(), (400, "CertificateValidationException"));

    let made = house.call("POST", "/certificate/register?setAsActive=true", &body).await.ok();
    assert_eq!(text(&made, "certificateId"), device.id.to_string());
    let target = format!("/certificates/{}", device.id);
    let described = house.call("GET", &target, "").await.ok();
    assert_eq!(described["certificateDescription"]["caCertificateId"], ca_id);
    assert_eq!(described["certificateDescription"]["status"], "ACTIVE");
    let again = house.call("POST", "/certificate/register", &body).await;
    assert_eq!(again.error(), (409, "ResourceAlreadyExistsException"));
    assert_eq!(text(&again.json(), "resourceId"), device.id.to_string());
    let by_ca = house.call("GET", &format!("/certificates-by-ca/{}", ca_id.as_str().unwrap()), "").await.ok();
    assert_eq!(by_ca["certificates"][0]["certificateId"], made["certificateId"]);

    register_ca(&house, &stranger).await;
    let third = json!({"certificatePem": issued(&ca, "d3").pem()}).to_string();
    let told = house.call("POST", "/certificate/register", &third).await;
    assert_eq!(told.error(), (409, "CertificateConflictException"));
}

#[tokio::test]
async fn registration_without_a_ca() {
    let house = House::new();
    let device = issued(&authority("Somebody's CA"), "d");
    let body = json!({"certificatePem": device.pem(), "status": "ACTIVE"}).to_string();
    house.call("POST", "/certificate/register-no-ca", &body).await.ok();
    let described = house.call("GET", &format!("/certificates/{}", device.id), "").await.ok();
    assert_eq!(described["certificateDescription"]["certificateMode"], "SNI_ONLY");
    assert_eq!(described["certificateDescription"]["status"], "ACTIVE");
    let told = house.call("POST", "/certificate/register-no-ca", r#"{"certificatePem":"x"}"#).await;
    assert_eq!(told.error(), (400, "CertificateValidationException"));
}

#[tokio::test]
async fn the_life_of_a_ca_certificate() {
    let house = House::new();
    let ca = authority("Factory CA");
    let made = register_ca(&house, &ca).await;
    let id = text(&made, "certificateId");
    assert_eq!(text(&made, "certificateArn"), format!("arn:aws:iot:us-east-1:123456789012:cacert/{id}"));
    let target = format!("/cacertificate/{id}");
    let described = house.call("GET", &target, "").await.ok();
    let description = &described["certificateDescription"];
    assert_eq!(description["status"], "ACTIVE");
    assert_eq!(description["autoRegistrationStatus"], "DISABLE");
    assert_eq!(description["certificateMode"], "DEFAULT");
    assert!(description["validity"]["notBefore"].is_f64());

    let body = r#"{"Resources": {"thing": {"Type": "AWS::IoT::Thing", "Properties": {"ThingName": "t"}}}}"#;
    let config = json!({"templateBody": body, "roleArn": "arn:aws:iam::123456789012:role/onboard"});
    let body = json!({"registrationConfig": config}).to_string();
    let update = format!("{target}?newStatus=INACTIVE&newAutoRegistrationStatus=ENABLE");
    house.call("PUT", &update, &body).await.done();
    let described = house.call("GET", &target, "").await.ok();
    assert_eq!(described["registrationConfig"], config);
    assert_eq!(described["certificateDescription"]["autoRegistrationStatus"], "ENABLE");
    let listed = house.call("GET", "/cacertificates", "").await.ok();
    assert_eq!(listed["certificates"][0]["certificateId"], id);
    assert_eq!(listed["certificates"][0]["status"], "INACTIVE");
    assert_eq!(house.call("DELETE", &target, "").await.ok(), json!({}));
    assert_eq!(house.call("GET", &target, "").await.error(), (404, "ResourceNotFoundException"));
    assert_eq!(house.call("DELETE", "/registrationcode", "").await.ok(), json!({}));
}

#[tokio::test]
async fn ca_certificates_that_are_refused() {
    let house = House::new();
    let ca = authority("Factory CA");
    let pem = ca.certificate().pem();
    house.call("GET", "/registrationcode", "").await.ok();
    let wrong_name = issued(&ca, "not the code").pem();
    let wrong_key = issued(&authority("Factory CA"), "x").pem();
    let leaf = issued(&ca, "leaf").pem();
    for (body, name) in [
        (json!({"caCertificate": pem}), "InvalidRequestException"),
        (json!({"verificationCertificate": pem}), "InvalidRequestException"),
        (json!({"caCertificate": "x"}), "CertificateValidationException"),
        (json!({"caCertificate": leaf}), "CertificateValidationException"),
        (
            json!({"caCertificate": pem, "verificationCertificate": wrong_key}),
            "CertificateValidationException",
        ),
        (
            json!({"caCertificate": pem, "verificationCertificate": wrong_name}),
            "RegistrationCodeValidationException",
        ),
        (json!({"caCertificate": pem, "certificateMode": "SNI"}), "InvalidRequestException"),
    ] {
        let told = house.call("POST", "/cacertificate", &body.to_string()).await;
        assert_eq!(told.error(), (400, name), "{}", told.message());
    }
    let sni_only = json!({"caCertificate": pem, "certificateMode": "SNI_ONLY"}).to_string();
    house.call("POST", "/cacertificate", &sni_only).await.ok();
}
