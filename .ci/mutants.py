"""Change the code that decides, one place at a time, and say how many changes the tests noticed.

Exits with 1 below the promised share. Why a survivor is no missing test is in docs/mutants.md.
"""

import fnmatch
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROMISED = 90.0  # percent
# What is changed, by mutmut's names: decoding, routing, defusing, and what an answer means. Of
# wecom.py not the client, whose waiting and sockets are tried elsewhere.
CHANGED = (
    "bridge.receiving.*",
    "bridge.messages.markdown.*",
    *(
        f"bridge.delivery.wecom.x_{name}__mutmut_*"
        for name in (
            "classify",
            "_whole",
            "_media_id",
            "_without_errcode",
            "_seconds",
            "core_message",
            "transport_failure",
        )
    ),
)
# mutmut's exit codes: failed tests, and those that did not end; 5 and 33 are "no test reaches it".
KILLED = {1, 3, 36, 24, -24, 152, 255}
UNREACHED = {5, 33}


def main() -> None:
    """Print a line for each survivor and each file."""
    command = [Path(sys.executable).parent / "mutmut", "run", *CHANGED, *sys.argv[1:]]
    # Tests that are made from sets must have the same names in all its processes.
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"})
    killed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    alive: list[str] = []
    for meta in sorted(Path("mutants").rglob("*.meta")):
        file = str(meta.relative_to("mutants")).removesuffix(".meta")
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if not any(fnmatch.fnmatch(name, pattern) for pattern in CHANGED):
                continue
            if code is None:
                sys.exit(f"{name} was not tried: run mutmut to its end")
            total[file] += 1
            killed[file] += code in KILLED
            if code not in KILLED:
                alive.append(f"{name}{' (no test reaches it)' if code in UNREACHED else ''}")
    if not total:
        sys.exit("there is nothing in mutants/: mutmut did not run")
    for name in alive:
        print(f"survived: {name}")
    for file in total:
        share = 100 * killed[file] / total[file]
        print(f"{file}: {killed[file]} of {total[file]} killed, {share:.1f} %")
    share = 100 * killed.total() / total.total()
    print(f"all: {killed.total()} of {total.total()} killed, {share:.1f} %")
    if share < PROMISED:
        sys.exit(f"that is less than {PROMISED:.0f} %")


if __name__ == "__main__":
    main()
