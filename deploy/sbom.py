"""Prints what is linked into the binary as a CycloneDX list: deploy/sbom.py TARGET."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main():
    command = ["cargo", "tree", "--locked", "--package", "fleethaven", "--features", "jemalloc", "--target", sys.argv[1]]
    command += ["--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}\t{l}"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sums = {(p["name"], p["version"]): p.get("checksum") for p in lock["package"]}
    components = {}
    for line in lines:
        package, _, licence = line.partition("\t")
        name, version = package.split()[:2]
        version = version.removeprefix("v")
        component = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
        component["bom-ref"] = component["purl"]
        if licence:
            component["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        if sums.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
        components[name, version] = component
    own = next(component for (name, _), component in components.items() if name == "fleethaven")
    others = [components[key] for key in sorted(components) if key[0] != "fleethaven"]
    own = {**own, "type": "application"}
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": own}, "components": others}
    print(json.dumps(bom, indent=1))


if __name__ == "__main__":
    main()
