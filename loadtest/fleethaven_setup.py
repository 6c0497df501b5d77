"""Registers client certificates in Fleethaven through its AWS API.

With boto3 where it is installed (here, or in the repository's .venv); otherwise the same four calls are signed by
hand (AWS Signature Version 4) with the standard library alone.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import site
import ssl
import sys
import urllib.parse
from pathlib import Path

POLICY_NAME = "load-test"
POLICY = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}],
})


def register(ready, certificates):
    """Registers and activates each PEM certificate, and attaches one policy that permits everything."""
    client = boto3_client(ready) or SignedClient(ready)
    client.create_policy(policyName=POLICY_NAME, policyDocument=POLICY)
    for certificate in certificates:
        answer = client.register_certificate_without_ca(certificatePem=certificate, status="ACTIVE")
        client.attach_policy(policyName=POLICY_NAME, target=answer["certificateArn"])


def boto3_client(ready):
    """boto3's own client, or None when it is not installed."""
    for packages in (Path(__file__).resolve().parent.parent / ".venv/lib").glob("python3*/site-packages"):
        if packages.parent.name == f"python3.{sys.version_info.minor}":
            site.addsitedir(str(packages))
    try:
        import boto3
    except ImportError:
        return None
    return boto3.client(
        "iot",
        region_name=ready["region"],
        endpoint_url=ready["iot_endpoint"],
        aws_access_key_id=ready["access_key_id"],
        aws_secret_access_key=ready["secret_access_key"],
        verify=ready["ca_file"],
    )


class SignedClient:
    """The calls that `register` makes, signed by hand."""

    def __init__(self, ready):
        self.ready = ready
        self.endpoint = urllib.parse.urlsplit(ready["iot_endpoint"])
        self.context = ssl.create_default_context(cafile=ready["ca_file"])

    def create_policy(self, policyName, policyDocument):
        return self.call("POST", f"/policies/{policyName}", {"policyDocument": policyDocument})

    def register_certificate_without_ca(self, certificatePem, status):
        body = {"certificatePem": certificatePem, "status": status}
        return self.call("POST", "/certificate/register-no-ca", body)

    def attach_policy(self, policyName, target):
        return self.call("PUT", f"/target-policies/{policyName}", {"target": target})

    def connection(self):
        return http.client.HTTPSConnection(
            self.endpoint.hostname, self.endpoint.port or 443, timeout=30, context=self.context
        )

    def call(self, method, path, body):
        connection = self.connection()
        try:
            return self.call_on(connection, method, path, body)
        finally:
            connection.close()

    def call_on(self, connection, method, path, body):
        """One call on a connection that is kept for more."""
        payload = json.dumps(body).encode()
        connection.request(method, path, payload, self.signed_headers(method, path, payload))
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text or "{}")

    def signed_headers(self, method, path, payload):
        now = datetime.datetime.now(datetime.timezone.utc)
        headers = {
            "content-type": "application/json",
            "host": self.endpoint.netloc,
            "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
        }
        names = ";".join(sorted(headers))
        canonical = "\n".join([
            method,
            path,
            "",
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            hashlib.sha256(payload).hexdigest(),
        ])
        scope = f"{now:%Y%m%d}/{self.ready['region']}/iot/aws4_request"
        to_sign = "\n".join([
            "AWS4-HMAC-SHA256",
            headers["x-amz-date"],
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        ])
        signature = self.signature(scope, to_sign)
        credential = f"{self.ready['access_key_id']}/{scope}"
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def signature(self, scope, to_sign):
        key = ("AWS4" + self.ready["secret_access_key"]).encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, to_sign.encode(), "sha256").hex()
