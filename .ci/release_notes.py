"""Print a version's section of CHANGELOG.md; fail unless tag, pyproject.toml and it agree.

python3 .ci/release_notes.py v0.2.0
"""

import re
import sys
import tomllib
from pathlib import Path

root = Path(__file__).resolve().parents[1]
tag = sys.argv[1]
version = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
if tag != f"v{version}":
    sys.exit(f"the tag is {tag}, the version in pyproject.toml is {version}")
text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
section = re.search(heading + r"(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
if section is None:
    sys.exit(f"CHANGELOG.md has no dated section [{version}]")
print(section[1].strip())
