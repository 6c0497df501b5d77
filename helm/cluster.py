"""As much of a Kubernetes API server as a chart can look up: which kinds there are, and the objects that a test puts into it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Kinds of what the chart makes and looks up, by their group and version: name in paths.
KINDS = {
    "v1": {"Secret": "secrets", "ConfigMap": "configmaps", "Service": "services", "ServiceAccount": "serviceaccounts", "Pod": "pods"},
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "batch/v1": {"CronJob": "cronjobs", "Job": "jobs"},
    "cert-manager.io/v1": {"Certificate": "certificates", "Issuer": "issuers"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
}


class Cluster:
    """Answers on a loopback port until it is closed: `with Cluster(version, objects) as address`."""

    def __init__(self, version: str, *objects: dict):
        major, minor = version.split(".")
        self.pages = {
            "/version": {"major": major, "minor": minor, "gitVersion": f"v{version}.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(api) for api in KINDS if "/" in api]},
        }
        for api, kinds in KINDS.items():
            names = [
                {"name": name, "kind": kind, "namespaced": True, "verbs": ["get", "list"]} for kind, name in kinds.items()
            ]
            self.pages[root(api)] = {"kind": "APIResourceList", "groupVersion": api, "resources": names}
        for found in objects:
            meta = found["metadata"]
            plural = KINDS[found["apiVersion"]][found["kind"]]
            self.pages[f"{root(found['apiVersion'])}/namespaces/{meta['namespace']}/{plural}/{meta['name']}"] = found

    def __enter__(self) -> str:
        pages = self.pages

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                page = pages.get(self.path.partition("?")[0])
                absent = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(page or absent).encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def root(api: str) -> str:
    return f"/apis/{api}" if "/" in api else f"/api/{api}"


def group(api: str) -> dict:
    name, version = api.split("/")
    version = {"groupVersion": api, "version": version}
    return {"name": name, "versions": [version], "preferredVersion": version}
