"""The pages below `docs/labs/` work as they stand: each is run from top to bottom in one shell.

Of a page's blocks, `sh` is run, `python` is saved under the name that its first line tells, and `output` is what the block before it
prints. `console` is what a person types at the start; here it is the environment. A page with `html` is for a browser:
`test_browser.py` has it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from instance import binary

LABS = Path(__file__).resolve().parents[4] / "docs" / "labs"
SECONDS = 240
MARK = "--- the end of block"


def blocks(page: Path) -> list[tuple[str, str]]:
    """Kind and text of a page's blocks, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


PAGES = [page for page in sorted(LABS.glob("*.md")) if "html" not in dict(blocks(page))]


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_lab(fleethaven, tmp_path, page):
    fleet = fleethaven("--allow-outbound", "127.0.0.0/8", "--https-mtls", "127.0.0.1:0")
    host, port = fleet.mqtt_tls
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "fleethaven").symlink_to(binary().resolve())
    environment = {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AWS_PROFILE": "fleethaven",
        "AWS_CONFIG_FILE": fleet.ready["aws_config_file"],
        "FLEETHAVEN_CA": fleet.ca_file,
        "FLEETHAVEN_HTTPS": "{}:{}".format(*fleet.https),
        "FLEETHAVEN_HOST": host,
        "FLEETHAVEN_PORT": str(port),
    }
    # What a page leaves in the background when it fails would keep its output open.
    script, shown = ["set -e -o pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"], []
    for kind, text in blocks(page):
        if kind == "sh":
            script += [text, f"echo '{MARK}'"]
            shown.append(None)
        elif kind == "python":
            name = re.match(r"# (\w+\.py)\n", text)[1]
            script += [f"cat > {name} <<'END OF PROGRAM'", text + "END OF PROGRAM"]
        elif kind == "output":
            shown[-1] = text
        else:
            assert kind in ("console", "hcl"), f"{page.name}: nobody runs a block of {kind}"
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.split(f"{MARK}\n")
    assert any(shown), "a lab shows something"
    for output, text in zip(printed, shown):
        assert text is None or output == text
