"""Renders the chart and checks what comes out: helm/lint.sh runs it with one helm after the other.

- every values file, each of helm/cases on top of the defaults, and what `make kind-up` installs, for the oldest and the newest
  Kubernetes
- manifests against Kubernetes' own schemas
- policies: what every pod must have (Pod Security "restricted", limits, probes, no token)
- what must be refused, with the words that say why
- alerts have tests and runbooks, dashboards hold PromQL
- what upgrades look up in a cluster: how many pods there are, volumes that cannot change, a CA that is there already
- the default rendering against helm/golden/default.yaml (`helm/lint.sh --update` writes it)
"""

from __future__ import annotations

import difflib
import functools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubernetes_validate
import promql_parser
import yaml

import dashboards
from cluster import Cluster

HERE = Path(__file__).resolve().parent
CHART = HERE / "fleethaven"
GOLDEN = HERE / "golden" / "default.yaml"
OLDEST, NEWEST = "1.27", "1.37"
# Kinds that Kubernetes' schemas do not know, by the APIs that bring them.
FOREIGN = {"Issuer", "Certificate", "PodMonitor", "ServiceMonitor", "PrometheusRule", "TLSRoute"}
# The pods that speak with Kubernetes' API, and so mount a token.
SPEAKS = {"secrets", "account"}

# Arguments of `helm template`, and words of the refusal.
REFUSED = [
    ("--set gateway.replica=3", "replica"),
    ("--set config.regoin=eu-west-1", "regoin"),
    ("--set-string config.account-id=12", "account-id"),
    ("--set gateway.replicas=0", "replicas"),
    ("--set image.pullPolicy=Sometimes", "pullPolicy"),
    ("--set gateway.resources.limits=null", "resources"),
    ("--set gateway.autoscaling.enabled=true,gateway.autoscaling.minReplicas=12", r"minReplicas (12) is above maxReplicas (10)"),
    ("--set rulesWorker.autoscaling.enabled=true,rulesWorker.autoscaling.cpu=0", "rulesWorker.autoscaling has no target"),
    ("--set api.autoscaling.enabled=true,api.resources.requests.cpu=null", "api.resources.requests.cpu, which is not set"),
    ("--set metastore.replicas=4", "must be odd, it is 4"),
    ("--set metastore.replicas=1", "replicas"),
    ("--set metastore.store=fleethaven", "another name"),
    ("--set metastore.backup.schedule=@daily", "count only together"),
    ("--set metastore.backup.schedule=daily,metastore.backup.claimName=backups", "schedule"),
    ("--set usageExport.schedule=@monthly", "usageExport: schedule and claimName count only together"),
    ("--set usageExport.schedule=@monthly,usageExport.claimName=usage,usageExport.by={year}", "usageExport"),
    ("--set router.podDisruptionBudget.maxUnavailable=0", "keep every node drain waiting"),
    ("--set gateway.drain.grace-period=55", "gateway.drain takes up to 65 s"),
    ("--set api.terminationGracePeriodSeconds=20", "api.drain takes up to 25 s"),
    ("--set redis.external.url=redis://r", "both asked for"),
    ("--set redis.bundled.enabled=false", "set either redis.external.url"),
    ("--set redis.durability=replica:1", "the bundled Redis has none"),
    ("--set redis.durability=everysec", "durability"),
    ("--set tls.internal.source=secrets", "needs tls.internal.secretPrefix"),
    ("--set tls.internal.secretPrefix=iot", "counts only with"),
    ("--set tls.server.secretName=a,tls.server.certManager.issuerRef.name=b", "not both"),
    ("--set tls.server.serviceNames=false,tls.server.names={a.example}", "the test's pod cannot connect"),
    ("--set tls.server.serviceNames=false,tests.enabled=false", "without serviceNames needs names"),
    ("--set traces.ratio=2", "ratio"),
    ("--set traces.endpoint=collector:4317", "endpoint"),
    ("--set traces.headers.secretName=token", "count only with traces.endpoint"),
    ("--set traces.endpoint=http://c:4318,traces.ca.configMap=a", "for an endpoint of https"),
    ("--set gateway.service.nodePorts.https=30443", "nodePorts needs type"),
    ("--set gateway.service.loadBalancerClass=a", "need type LoadBalancer"),
    ("--set gateway.service.ports.https=8443", "must differ"),
    ("--set api.ingress.enabled=true", "api.ingress needs hosts"),
    ("--set api.tlsRoute.enabled=true", "needs parentRefs and hostnames"),
    ("--set monitoring.podMonitor.enabled=true,monitoring.serviceMonitor.enabled=true", "count everything twice"),
]




def found(kind: str, name: str, data: list[str] | None = None, **spec) -> dict:
    """An object in a cluster."""
    api = {"Secret": "v1", "ServiceAccount": "v1", "Certificate": "cert-manager.io/v1"}.get(kind, "apps/v1")
    name = f"t-fleethaven-{name}".removesuffix("-")
    held = {} if data is None else {"data": {key: "eA==" for key in data}}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "iot"}, "spec": spec, **held}


def volumes(size: str) -> list[dict]:
    return [{"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}}}]


SHRINK, KEPT = "name: t-fleethaven-shrink\n", "  replicas: 7\n"
FIVE = found("StatefulSet", "metastore", replicas=5, volumeClaimTemplates=volumes("10Gi"))
SCALED = "--set gateway.autoscaling.enabled=true"
# What an upgrade finds, its arguments, and text that it renders, or does not (None: it is refused with that).
UPGRADES = [
    ([FIVE], "", SHRINK, True),
    ([FIVE], "--set metastore.replicas=5", SHRINK, False),
    # The StatefulSet was deleted, to restore a backup: nobody could answer.
    ([found("ServiceAccount", "")], "", SHRINK, False),
    ([FIVE], "--set metastore.replicas=7", SHRINK, False),
    ([FIVE], "--set metastore.persistence.size=10240Mi", SHRINK, True),
    ([FIVE], "--set metastore.persistence.size=20Gi", "does not change a StatefulSet's volumes of 10Gi", None),
    ([FIVE], "--set metastore.persistence.storageClassName=fast", "does not change a StatefulSet's volumes of ''", None),
    ([found("StatefulSet", "redis", volumeClaimTemplates=volumes("1Gi"))], "", "redis.bundled.persistence.size is 5Gi", None),
    ([found("Deployment", "gateway", replicas=7)], SCALED, KEPT, True),
    ([found("Deployment", "gateway", replicas=7)], "", KEPT, False),
    # The CA of the services that there is goes on, whose ever it is.
    ([found("Secret", "ca", ["ca-key.pem", "trust.pem"])], "", "kind: Certificate", False),
    ([found("Secret", "ca", ["server-ca.pem", "server-ca-key.pem"])], "", "kind: Certificate", True),
    ([found("Certificate", "ca"), found("Secret", "ca", ["ca-key.pem", "trust.pem"])], "", "kind: Certificate", True),
    ([], "", "kind: Certificate", True),
]

# Versions of TLSRoute that a cluster serves, and which of them the chart takes.
TLS_ROUTES = [([], "v1"), (["v1alpha2"], "v1alpha2"), (["v1alpha2", "v1alpha3"], "v1alpha3"), (["v1alpha2", "v1alpha3", "v1"], "v1")]


class Wrong(Exception):
    """What is wrong with the chart."""


def template(helm: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [helm, "template", "t", str(CHART), "--namespace", "iot", *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def rendered(helm: str, *arguments: str) -> str:
    done = template(helm, *arguments)
    if done.returncode:
        raise Wrong(f"{' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def pods(manifest: dict):
    """The pod templates of a manifest, whatever kind it is."""
    spec = manifest.get("spec", {})
    match manifest["kind"]:
        case "Pod":
            yield manifest
        case "CronJob":
            yield spec["jobTemplate"]["spec"]["template"]
        case "Deployment" | "StatefulSet" | "Job":
            yield spec["template"]


def violations(manifest: dict):
    """What a pod lacks of what every pod must have."""
    kind = manifest["kind"]
    if kind == "ServiceAccount" and manifest.get("automountServiceAccountToken") is not False:
        yield "mounts its token everywhere"
    for pod in pods(manifest):
        spec = pod["spec"]
        role = pod["metadata"]["labels"].get("app.kubernetes.io/component")
        security = spec.get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("runAsUser", 0) < 1000:
            yield "may run as root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not (role in SPEAKS):
            yield "says wrongly whether it mounts a token"
        if spec.get("enableServiceLinks") is not False:
            yield "would take Services' variables for settings"
        soft = [c for c in spec.get("topologySpreadConstraints", []) if c["whenUnsatisfiable"] == "ScheduleAnyway"]
        if any(constraint["topologyKey"] != "kubernetes.io/hostname" for constraint in soft):
            yield "is spread over nothing where nodes lack one of the labels"
        if any(volume.get("hostPath") for volume in spec.get("volumes", [])) or spec.get("hostNetwork"):
            yield "reaches into its node"
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield "may become more than it is"
            if own.get("readOnlyRootFilesystem") is not True:
                yield "may write its root"
            if own.get("capabilities", {}).get("drop") != ["ALL"]:
                yield "keeps capabilities"
            resources = container.get("resources", {})
            if not resources.get("limits", {}).get("memory") or not resources.get("requests", {}).get("cpu"):
                yield "has no memory limit or no CPU request"
            if kind in ("Deployment", "StatefulSet"):
                missing = {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys()
                if missing:
                    yield f"has no {', '.join(sorted(missing))}"
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            if mounted - {v["name"] for v in [*spec.get("volumes", []), *volume_claims(manifest)]}:
                yield "mounts what there is not"
            for many in ("ports", "env"):
                names = [one["name"] for one in container.get(many, [])]
                if len(set(names)) != len(names):
                    yield f"has two {many} of one name"


def volume_claims(manifest: dict) -> list[dict]:
    return [claim["metadata"] for claim in manifest.get("spec", {}).get("volumeClaimTemplates", [])]


def check_selectors(manifests: list[dict]):
    """Services, budgets and policies select pods that there are, and ports by names that these have."""
    every = [pod for manifest in manifests for pod in pods(manifest)]

    def selected(selector: dict) -> list[dict]:
        return [pod for pod in every if selector.items() <= pod["metadata"]["labels"].items()]

    for manifest in manifests:
        name, spec = f"{manifest['kind']} {manifest['metadata']['name']}", manifest.get("spec", {})
        match manifest["kind"]:
            case "Service":
                chosen, ports = selected(spec["selector"]), [port["targetPort"] for port in spec["ports"]]
            case "PodDisruptionBudget":
                chosen, ports = selected(spec["selector"]["matchLabels"]), []
            case "NetworkPolicy":
                chosen = selected(spec["podSelector"]["matchLabels"])
                ports = [port["port"] for rule in spec["ingress"] for port in rule.get("ports", [])]
            case "HorizontalPodAutoscaler":
                names = {m["metadata"]["name"] for m in manifests if m["kind"] == spec["scaleTargetRef"]["kind"]}
                chosen, ports = [spec] if spec["scaleTargetRef"]["name"] in names else [], []
            case _:
                continue
        if not chosen:
            raise Wrong(f"{name} is for pods that there are not")
        for pod in chosen if ports else []:
            named = {p["name"] for c in pod["spec"]["containers"] for p in c.get("ports", [])}
            if set(ports) - named:
                raise Wrong(f"{name} names ports that its pods do not have: {set(ports) - named}")


# The same object comes out of many renderings; against one schema it is looked at once.
@functools.cache
def validate(text: str, version: str):
    manifest = yaml.load(text, Loader)
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise Wrong(f"{manifest['kind']} {manifest['metadata']['name']}, Kubernetes {version}: {error.message}") from None


Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def check_rendering(helm: str, version: str, files: list[Path], *more: str):
    named = [argument for file in files for argument in ("--values", str(file))]
    text = rendered(helm, "--kube-version", f"{version}.0", *named, *more)
    manifests = [manifest for manifest in yaml.load_all(text, Loader) if manifest]
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["metadata"].get("namespace") != "iot":
            raise Wrong(f"{name} is in no namespace")
        if manifest["kind"] not in FOREIGN:
            validate(yaml.dump(manifest, Dumper=Dumper), version)
        found = sorted(set(violations(manifest)))
        if found:
            raise Wrong(f"{name} {'; '.join(found)}")
    check_selectors(manifests)
    return len(manifests)


def check_refusal(helm: str, arguments: str, words: str):
    done = template(helm, *arguments.split())
    if not done.returncode:
        raise Wrong(f"not refused: {arguments}")
    if words not in done.stderr:
        raise Wrong(f"{arguments}: refused without '{words}': {done.stderr.strip()}")


def check_upgrade(helm: str, objects: list[dict], arguments: str, text: str, wanted: bool | None):
    with Cluster(NEWEST, *objects) as address:
        server = ["--dry-run=server", "--disable-openapi-validation", "--kube-apiserver", address]
        # Helm 3 does not ask for these when it only renders.
        server += ["--api-versions", "cert-manager.io/v1"]
        done = template(helm, "--is-upgrade", *server, *arguments.split())
    there = ", ".join(f"{object['kind']} {object['metadata']['name']}" for object in objects)
    name = f"an upgrade of {there or 'nothing'} {arguments}"
    if (done.returncode != 0) is not (wanted is None):
        raise Wrong(f"{name}: {done.stderr.strip() or 'not refused'}")
    if (text in done.stdout + done.stderr) is (wanted is False):
        raise Wrong(f"{name}: '{text}' is {'there' if wanted is False else 'not there'}: {done.stderr.strip()}")


def check_tls_route(helm: str, offered: list[str], wanted: str):
    """A TLSRoute is of the best version that the cluster's Gateway API serves."""
    api = "gateway.networking.k8s.io/"
    known = [argument for version in offered for argument in ("--api-versions", f"{api}{version}/TLSRoute")]
    text = rendered(helm, "--values", str(HERE / "cases" / "everything.yaml"), *known)
    versions = {m["apiVersion"] for m in yaml.load_all(text, Loader) if m and m["kind"] == "TLSRoute"}
    if versions != {api + wanted}:
        raise Wrong(f"a TLSRoute where {offered} are served is of {versions}")


def check_server_names(helm: str):
    """What a server certificate by cert-manager is for: what the job's is for, unless a public CA is to sign it."""

    def names(*arguments: str) -> tuple[list, list]:
        text = rendered(helm, "--api-versions", "cert-manager.io/v1", *arguments)
        made = {m["metadata"]["name"]: m["spec"] for m in yaml.load_all(text, Loader) if m and m["kind"] == "Certificate"}
        server = made["t-fleethaven-server"]
        return server["dnsNames"], server.get("ipAddresses", [])

    private = names("--set", "tls.server.certManager.issuerRef.name=own")
    if not {"localhost", "t-fleethaven-api.iot.svc"} <= set(private[0]) or private[1] != ["127.0.0.1", "::1"]:
        raise Wrong(f"a certificate of one's own cert-manager is for {private}")
    public = names("--values", str(HERE / "cases" / "cert-manager.yaml"))
    if any("iot.example" not in name for name in public[0]) or public[1] != ["192.0.2.7"]:
        raise Wrong(f"a certificate of a public CA is to be for {public}")


def check_golden(helm: str, update: bool):
    text = rendered(helm, "--kube-version", f"{NEWEST}.0")
    # Versions of helm part documents differently.
    text = "---\n".join(part.strip() + "\n" for part in text.split("---\n") if part.strip())
    if update:
        GOLDEN.write_text(text)
        return
    lines = difflib.unified_diff(GOLDEN.read_text().splitlines(), text.splitlines(), "golden", "rendered", lineterm="", n=2)
    changed = "\n".join(lines)
    if changed:
        raise Wrong(f"the default rendering has changed (`helm/lint.sh --update` if that is meant):\n{changed}")


def check_alerts():
    """Each alert has a runbook and a test that sees it fire, and no page is of none."""
    groups = yaml.load((CHART / "rules.yaml").read_text(), Loader)["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    cases = yaml.load((HERE / "alerts.test.yaml").read_text(), Loader)["tests"]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case.get("exp_alerts")}
    pages = {page.stem for page in (HERE.parent / "docs" / "runbooks").glob("*.md")}
    for what, others in ("a case in alerts.test.yaml", fired), ("a page in docs/runbooks", pages):
        if alerts != others:
            raise Wrong(f"alerts without {what}: {alerts - others}; the other way round: {others - alerts}")


def check_dashboards():
    """They are what dashboards.py writes, and their queries are PromQL."""
    for name in dashboards.DASHBOARDS:
        text = (CHART / "dashboards" / f"{name}.json").read_text()
        if text != dashboards.dashboard(name):
            raise Wrong(f"dashboards/{name}.json is not what helm/dashboards.py writes: run it")
        for panel in json.loads(text)["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "5m")
                try:
                    promql_parser.parse(expression)
                except ValueError as error:
                    raise Wrong(f"dashboards/{name}.json: {panel['title']}: {error}") from None


def lint(helm: str, files: list[Path]):
    named = [argument for file in files for argument in ("--values", str(file))]
    done = subprocess.run([helm, "lint", "--strict", "--quiet", str(CHART), *named], capture_output=True, text=True)
    if done.returncode:
        raise Wrong(f"helm lint {' '.join(named)}: {done.stdout}{done.stderr}")


def main() -> int:
    helm, update = sys.argv[1], "--update" in sys.argv[2:]
    if update:
        check_golden(helm, update)
    alone = [[file] for file in sorted(CHART.glob("values*.yaml"))]
    cases = [[file] for file in sorted(HERE.glob("cases/*.yaml"))]
    # As `make kind-up` installs it, without and with Prometheus.
    kind = [CHART / "values-kind.yaml", *(HERE.parent / "deploy" / "kind" / f"values{more}.yaml" for more in ("", "-monitoring"))]
    cases += [kind[:2], kind]
    work = [functools.partial(lint, helm, files) for files in alone + cases]
    for version in (OLDEST, NEWEST):
        work += [functools.partial(check_rendering, helm, version, files) for files in alone + cases]
        work.append(functools.partial(check_rendering, helm, version, [], "--api-versions", "cert-manager.io/v1"))
        work.append(functools.partial(check_rendering, helm, version, [], "--is-upgrade"))
    work += [functools.partial(check_refusal, helm, arguments, words) for arguments, words in REFUSED]
    work += [functools.partial(check_upgrade, helm, *case) for case in UPGRADES]
    work += [functools.partial(check_tls_route, helm, *case) for case in TLS_ROUTES]
    work.append(functools.partial(check_server_names, helm))
    work += [functools.partial(check_golden, helm, False), check_alerts, check_dashboards]
    wrong = []
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(piece) for piece in work]:
            try:
                future.result()
            except Wrong as error:
                wrong.append(str(error))
    for text in wrong:
        print(text, file=sys.stderr)
    version = subprocess.run([helm, "version", "--short"], capture_output=True, text=True).stdout.strip()
    print(f"{version}: {len(work)} checks of the chart, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
