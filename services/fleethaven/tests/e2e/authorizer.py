"""Custom authorizers for tests: the webhook that decides, the authorizer, and clients that bring tokens."""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from instance import Fleethaven, binary
from mqtt_client import Client
from webhook import Webhook

NAME, SIGNATURE = "x-amz-customauthorizer-name", "x-amz-customauthorizer-signature"


def statement(actions, resource="*", effect="Allow") -> dict:
    return {"Effect": effect, "Action": actions, "Resource": resource}


def document(*statements: dict) -> dict:
    return {"Version": "2012-10-17", "Statement": list(statements) or [statement("iot:*")]}


def answer(*statements: dict, **more) -> dict:
    """An answer that lets the client in, with what the statements allow: everything unless there are any."""
    return {
        "isAuthenticated": True,
        "principalId": "tester1",
        "policyDocuments": [document(*statements)],
        "disconnectAfterInSeconds": 86_400,
        "refreshAfterInSeconds": 86_400,
    } | more


class Key:
    """A key that tokens are signed with."""

    def __init__(self):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self._key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()

    def sign(self, token: str) -> str:
        signature = self._key.sign(token.encode(), padding.PKCS1v15(), hashes.SHA256())
        return base64.b64encode(signature).decode()


class Authorizer:
    """An authorizer of the instance's account and the webhook behind its function."""

    def __init__(self, fleet: Fleethaven, name: str, decide=lambda event: answer(), key: Key | None = None, **settings):
        self.fleet, self.name, self.key = fleet, name, key
        self.hook = Webhook(decide)
        self.arn = f"arn:aws:lambda:{fleet.region}:{fleet.account}:function:{name}"
        signing = {"signingDisabled": True}
        if key:
            signing = {"tokenKeyName": "token", "tokenSigningPublicKeys": {"first": key.pem}}
        settings = {"status": "ACTIVE", "authorizerFunctionArn": self.arn} | signing | settings
        fleet.iot.create_authorizer(authorizerName=name, **settings)
        self.map(self.hook.url)

    def map(self, url: str):
        """What is called from now on."""
        command = [binary(), "function", "put", self.arn, "--url", url, "--admin", self.fleet.ready["admin"]]
        command += ["--account", self.fleet.account]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    @property
    def events(self) -> list[dict]:
        return [json.loads(body) for _, body in self.hook.seen]

    def query(self, token: str = "t", signature: str | None = None) -> str:
        """What a user name or a query needs to have this authorizer asked."""
        values = {NAME: self.name}
        if self.key:
            values |= {"token": token, SIGNATURE: signature or self.key.sign(token)}
        return urllib.parse.urlencode(values, quote_via=urllib.parse.quote, safe="")

    def close(self):
        self.hook.close()
        self.fleet.iot.update_authorizer(authorizerName=self.name, status="INACTIVE")
        self.fleet.iot.delete_authorizer(authorizerName=self.name)


def by_password(
    fleet: Fleethaven, client_id: str, username: str | None, password: bytes | None = None, **options
) -> Client:
    """A paho client by ALPN `mqtt`, without a certificate, not connected yet."""
    client = Client(fleet, None, client_id, listener="https", **options)
    context = ssl.create_default_context(cafile=fleet.ca_file)
    context.set_alpn_protocols(["mqtt"])
    client.paho.tls_set_context(context)
    client.paho.username_pw_set(username, password)
    return client
