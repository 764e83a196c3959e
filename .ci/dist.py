"""Build wheel and sdist into dist/; `--check` builds elsewhere. Both hold what they should.

That is every file of `bridge/` and `templates/` that is in git (code, page templates, catalogs,
samples, static files, `.sql` files), what a package has by its format, and nothing else.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
DESCRIBES = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
BESIDE = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
GENERATED = {"PKG-INFO", ".gitignore"}  # hatchling adds the latter, which it reads


def tracked(*paths: str) -> set[str]:
    """Return the files that are in git, below these paths."""
    command = ["git", "ls-files", "-z", "--", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name}


def in_wheel(path: Path) -> set[str]:
    """Return the wheel's files as the repository calls them."""
    found = set()
    for name in zipfile.ZipFile(path).namelist():
        top, _, rest = name.partition("/")
        name = rest if top.endswith(".dist-info") else name
        found.add(name.replace("bridge/default_templates/", "templates/"))
    return found


def in_sdist(path: Path) -> set[str]:
    """Return the sdist's files as the repository calls them."""
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def main() -> None:
    """Build and compare; exit 1 with each file that is missing or too much."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hatchling", "build", "-d", folder]
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        [wheel], [sdist] = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        shipped = tracked("bridge", "templates")
        pairs = (
            (wheel, in_wheel(wheel), shipped | DESCRIBES),
            (sdist, in_sdist(sdist), shipped | BESIDE | GENERATED),
        )
        wrong = [f"{path.name} lacks {name}" for path, has, wants in pairs for name in wants - has]
        wrong += [
            f"{path.name} has {name}, which is not in git or no part of it"
            for path, has, wants in pairs
            for name in has - wants
        ]
        if wrong:
            sys.exit("\n".join(sorted(wrong)))
        if "--check" not in sys.argv:
            shutil.copytree(folder, ROOT / "dist", dirs_exist_ok=True)
    print(f"{wheel.name}, {sdist.name}: {len(shipped)} files of the repository, and nothing else")


main()
