#!/usr/bin/env bash
# Makes container images without a registry and without root: deploy/image.sh fleethaven|redis
#
# Leaves docker-archives below target/image (or $CARGO_TARGET_DIR/image), which `docker load`, `podman load`, `buildah pull
# docker-archive:…`, `ctr images import` and `kind load image-archive` take. deploy/Containerfile makes the same image from pinned bases
# where a registry can be reached.
#
# The same sources, compiler and C compiler give the same bytes: paths of this machine are mapped away, times are those of the commit
# (SOURCE_DATE_EPOCH).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "deploy/image.sh: $*" >&2; exit 1; }

root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
out=$target/image
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Bytes that an image may have.
most=60000000
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || revision=$revision-dirty
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$out" "$scratch/root"

archive() { # name, further arguments of archive.py
    local name=$1
    shift
    python3 deploy/archive.py --root "$scratch/root" --output "$out/$name.tar" --name "localhost/$name:$version" \
        --label "org.opencontainers.image.version=$version" "$@"
    # Small, and noticed when it is not any more.
    [ "$(stat --format %s "$out/$name.tar")" -le "$most" ] || die "$name.tar is larger than $((most / 1000000)) MB"
}

fleethaven() {
    local triple cargo=${CARGO_HOME:-$HOME/.cargo}
    triple=$(rustc -vV | sed -n 's/^host: //p')
    case $triple in *-linux-gnu) ;; *) die "the image is for Linux with glibc, this is $triple: use deploy/Containerfile" ;; esac
    # The target is named, so that what runs while building (which is loaded as libraries) is not linked statically.
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$root=/src --remap-path-prefix=$cargo=/cargo" \
        CFLAGS="-ffile-prefix-map=$cargo=/cargo" \
        cargo build --locked --release --package fleethaven --features jemalloc --target "$triple"
    cp "$target/$triple/release/fleethaven" "$scratch/root/fleethaven"
    # A fifth of it would be names of functions. They stay beside the image: `addr2line -fe fleethaven.debug` names what a backtrace has.
    objcopy --only-keep-debug "$scratch/root/fleethaven" "$out/fleethaven.debug"
    strip --strip-all "$scratch/root/fleethaven"
    ! readelf --program-headers "$scratch/root/fleethaven" | grep -q INTERP || die "the binary is not static"
    cp LICENSE-APACHE LICENSE-MIT "$scratch/root/"
    python3 deploy/sbom.py "$triple" >"$scratch/root/sbom.cdx.json"
    cp "$scratch/root/sbom.cdx.json" "$out/fleethaven.cdx.json"
    mkdir -p "$scratch/root/etc/ssl/certs"
    printf 'fleethaven:x:10001:10001::/:/sbin/nologin\n' >"$scratch/root/etc/passwd"
    # For Redis behind TLS, and whatever else is called by HTTPS, without a CA of one's own.
    ! [ -f /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$scratch/root/etc/ssl/certs/"
    mkdir "$scratch/root/data"
    archive fleethaven --owned data \
        --entrypoint /fleethaven --command dev --volume /data --port 8883/tcp --port 8443/tcp --port 9090/tcp \
        --env FLEETHAVEN_DATA_DIR=/data/fleethaven --env FLEETHAVEN_MQTT_TLS=0.0.0.0:8883 \
        --env FLEETHAVEN_HTTPS=0.0.0.0:8443 --env FLEETHAVEN_ADMIN=0.0.0.0:9090 \
        --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
        --label org.opencontainers.image.title=Fleethaven --label "org.opencontainers.image.revision=$revision" \
        --label 'org.opencontainers.image.description=Self-hosted AWS IoT Core' \
        --label 'org.opencontainers.image.licenses=Apache-2.0 OR MIT'
}

# Redis as this Debian has it, and the libraries that it is linked with.
redis() {
    .ci/debian redis-server=redis-server redis-cli=redis-tools
    local program library
    mkdir -p "$scratch/root/usr/bin" "$scratch/root/etc" "$scratch/root/data" "$scratch/root/tmp"
    for program in redis-server redis-cli; do
        # Debian has links to one program; a copy is the program.
        cp -L "$(command -v "$program")" "$scratch/root/usr/bin/$program"
        for library in $(ldd "$(command -v "$program")" | grep -o '/[^ ]*'); do
            mkdir -p "$scratch/root$(dirname "$library")"
            cp -L "$library" "$scratch/root$library"
        done
    done
    printf 'redis:x:10001:10001::/:/sbin/nologin\n' >"$scratch/root/etc/passwd"
    # The same Redis is the same image whatever was committed here: nobody has to restart it then.
    SOURCE_DATE_EPOCH=$(stat --dereference --format %Y "$(command -v redis-server)")
    archive fleethaven-redis --owned data --command redis-server --env PATH=/usr/bin --volume /data --port 6379/tcp \
        --label "org.opencontainers.image.title=Redis for trials of Fleethaven" \
        --label "org.opencontainers.image.description=$(redis-server --version | cut -d' ' -f1-3) of Debian"
}

case ${1:-} in
    fleethaven | redis) "$1" ;;
    *) die "which image? fleethaven or redis" ;;
esac
