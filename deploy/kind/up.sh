#!/usr/bin/env bash
# Makes a kind cluster with Fleethaven, Prometheus and Grafana in it, tries it, and says where everything is: make kind-up
#
# Needs docker (or podman), kind, kubectl and helm in the PATH. Takes up what an earlier run left. Settings, as in `make kind-up MONITORING=`:
#   IMAGE_TAR   an archive of the image localhost/fleethaven:VERSION, such as an earlier run or CI left, instead of building it
#   MONITORING  Prometheus' chart, with further options for helm, where its repository or its images cannot be reached:
#               MONITORING='./kube-prometheus-stack-88.5.3.tgz --values mirror.yaml'. Empty: neither Prometheus nor Grafana
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { echo "deploy/kind/up.sh: $*" >&2; exit 1; }
for program in kind kubectl helm; do
    command -v "$program" >/dev/null || die "there is no $program: see https://kind.sigs.k8s.io, https://kubernetes.io/docs/tasks/tools and https://helm.sh"
done

images=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/image")
namespace=iot
monitoring=${MONITORING-kube-prometheus-stack --version 88.5.3 --repo https://prometheus-community.github.io/helm-charts}
kubectl=(kubectl --context kind-fleethaven --namespace "$namespace")

if [ -n "${IMAGE_TAR:-}" ]; then
    # Kubernetes would look for another one where there is none.
    image=localhost/fleethaven:$(sed -n 's/^appVersion: //p' helm/fleethaven/Chart.yaml)
    tar --extract --to-stdout --file "$IMAGE_TAR" manifest.json | grep -qF "\"$image\"" || die "there is no $image in $IMAGE_TAR"
else
    deploy/image.sh fleethaven
fi
deploy/image.sh redis
kind get clusters 2>/dev/null | grep -qx fleethaven || kind create cluster --config deploy/kind/cluster.yaml --wait 120s
archive=${IMAGE_TAR:-$images/fleethaven.tar}
for file in "$archive" "$images/fleethaven-redis.tar"; do
    kind load image-archive "$file" --name fleethaven
done

values=(--values helm/fleethaven/values-kind.yaml --values deploy/kind/values.yaml)
# Kubernetes does not notice that an image of the same tag is another one: what pods run stands in an annotation, so that a change of it
# starts them anew, and nothing else does.
sum() { sha256sum <"$1" | cut -c1-16; }
for role in gateway metastore router rulesWorker api; do
    values+=(--set-string "$role.podAnnotations.archive=$(sum "$archive")")
done
values+=(--set-string "redis.bundled.podAnnotations.archive=$(sum "$images/fleethaven-redis.tar")")
if [ -n "$monitoring" ]; then
    # Prometheus by its operator, with Grafana, which takes up our dashboards by their label.
    # Word splitting is meant: the chart and its options.
    # shellcheck disable=SC2086
    helm upgrade --install monitoring --kube-context kind-fleethaven --namespace monitoring --create-namespace \
        --values deploy/kind/monitoring.yaml --wait --timeout 10m $monitoring ||
        die "Prometheus could not be installed: MONITORING='…' names another chart, MONITORING= goes without (see the head of this script)"
    values+=(--values deploy/kind/values-monitoring.yaml)
fi
# As strict as Kubernetes can be about pods, which ours bear.
kubectl --context kind-fleethaven create namespace "$namespace" --dry-run=client --output yaml | kubectl --context kind-fleethaven apply --filename - >/dev/null
kubectl --context kind-fleethaven label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
helm upgrade --install iot helm/fleethaven --kube-context kind-fleethaven --namespace "$namespace" --create-namespace \
    "${values[@]}" --wait --timeout 10m
helm test iot --kube-context kind-fleethaven --namespace "$namespace" --logs

secret() { "${kubectl[@]}" get secret "$1" -o "jsonpath={.data.$2}" | base64 -d; }
mkdir -p "$images/kind"
secret iot-fleethaven-server 'ca\.crt' >"$images/kind/ca.pem"
grafana=$(kubectl --context kind-fleethaven --namespace monitoring get secret monitoring-grafana -o 'jsonpath={.data.admin-password}' 2>/dev/null | base64 -d || true)
grafana=${grafana:+"http://localhost:3000 (admin, $grafana)"}
# The operator's own Service, whatever chart brought it.
prometheus=$(kubectl --context kind-fleethaven --namespace monitoring get service/prometheus-operated --output name --ignore-not-found 2>/dev/null || true)
prometheus=${prometheus:+"http://localhost:9090, after kubectl --context kind-fleethaven -n monitoring port-forward $prometheus 9090"}
cat <<SAY

Fleethaven runs in the kind cluster 'fleethaven', namespace '$namespace'.
  API         https://localhost:8443
  devices     localhost:8883, MQTT over TLS
  Grafana     ${grafana:-not installed}
  Prometheus  ${prometheus:-not installed}
  CA          $images/kind/ca.pem

  export AWS_CA_BUNDLE=$images/kind/ca.pem AWS_REGION=$(secret iot-fleethaven-account AWS_REGION)
  export AWS_DEFAULT_REGION=\$AWS_REGION AWS_ACCESS_KEY_ID=$(secret iot-fleethaven-account AWS_ACCESS_KEY_ID)
  export AWS_SECRET_ACCESS_KEY=\$(kubectl --context kind-fleethaven -n $namespace get secret iot-fleethaven-account -o 'jsonpath={.data.AWS_SECRET_ACCESS_KEY}' | base64 -d)
  aws --endpoint-url https://localhost:8443 iot list-things

make kind-down deletes all of it.
SAY
