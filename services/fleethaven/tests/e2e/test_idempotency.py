"""A call whose answer was lost is tried again by the SDK, and carried out once."""

import json
import socket
import threading

import boto3
import pytest
from botocore.config import Config

from device import ALLOW_ALL
from instance import address, eventually


class LosingProxy:
    """Carries bytes to `target` and back, but loses what the server answers on the first connection: once the client has
    sent its second flight (the end of its handshake, and the request), nothing comes back until `release` closes it."""

    def __init__(self, target):
        self.target, self.released = target, threading.Event()
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self.target)
            lossy = self.connections == 1
            mute = threading.Event()
            threading.Thread(target=self._up, args=(client, server, mute if lossy else None), daemon=True).start()
            threading.Thread(target=self._down, args=(server, client, mute), daemon=True).start()
            if lossy:
                threading.Thread(target=self._cut, args=(client, server), daemon=True).start()

    def _up(self, client, server, mute):
        flights = 0
        while data := _read(client):
            flights += 1
            if mute and flights == 2:
                mute.set()
            server.sendall(data)

    def _down(self, server, client, mute):
        while data := _read(server):
            if not mute.is_set():
                client.sendall(data)

    def _cut(self, client, server):
        self.released.wait(30)
        for end in (client, server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def _read(end):
    try:
        return end.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def lossy(fleet):
    proxy = LosingProxy(address(fleet.ready["iot_endpoint"].removeprefix("https://")))
    yield proxy
    proxy.released.set()
    proxy.listener.close()


def test_the_sdk_tries_again_and_gets_the_first_answer(fleet, iot, lossy, name):
    through = boto3.client(
        "iot",
        endpoint_url=f"https://localhost:{lossy.port}",
        region_name=fleet.ready["region"],
        aws_access_key_id=fleet.ready["access_key_id"],
        aws_secret_access_key=fleet.ready["secret_access_key"],
        verify=fleet.ready["ca_file"],
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )
    answers = []
    document = json.dumps(ALLOW_ALL)
    caller = threading.Thread(
        target=lambda: answers.append(through.create_policy(policyName=name, policyDocument=document))
    )
    caller.start()
    # The policy is there, its maker does not know: a second CreatePolicy of this name would be a conflict.
    eventually(lambda: name in [p["policyName"] for p in iot.list_policies()["policies"]], "the policy is made")
    lossy.released.set()
    caller.join(30)
    assert lossy.connections >= 2, "the SDK did not try again: the test shows nothing"
    assert answers and answers[0]["policyName"] == name
    assert answers[0]["policyVersionId"] == "1"
    assert len(iot.list_policy_versions(policyName=name)["policyVersions"]) == 1
