"""Look for known weaknesses in what requirements.txt pins; a clear skip where the data is away.

pip-audit asks a public database over the network. Offline that is no reason to fail, and none to
keep quiet: the check was not made.
"""

import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parent.parent / "requirements.txt"
PATIENCE = 60.0  # seconds for the whole audit; some 30 packages take a few


def audited() -> tuple[list[dict[str, object]], str]:
    """Return what pip-audit says of each package, and why it could say nothing."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(PINS), "--no-deps"]
    command += ["--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {PATIENCE:.0f} s"
    try:
        found: list[dict[str, object]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        return [], lines[-1]
    return found, ""


def main() -> None:
    """Print what was found; exit 1 for a known weakness."""
    packages, trouble = audited()
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        print(f"pip-audit: SKIPPED, nothing was checked: {trouble or 'it knows no package'}")
        return
    weak = [package for package in asked if package["vulns"]]
    for package in weak:
        ids = ", ".join(v["id"] for v in package["vulns"])  # type: ignore[attr-defined]
        print(f"pip-audit: {package['name']} {package['version']}: {ids}")
    unknown = len(packages) - len(asked)
    print(f"pip-audit: {len(asked)} packages checked, {unknown} unknown, {len(weak)} are weak")
    sys.exit(bool(weak))


if __name__ == "__main__":
    main()
