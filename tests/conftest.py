"""Fixtures shared by all rooms' tests."""

import hashlib
import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _checked(root: Path, name: str) -> None:
    """Skip unless every file at ``name`` is the one whose checksum the data folder states."""
    expected = {}
    for line in (root / "SHA256SUMS").read_text().splitlines():
        digest, _, path = line.partition("  ")
        expected[path.lstrip("*./")] = digest
    target = root / name
    files = sorted(path for path in target.rglob("*") if path.is_file()) if target.is_dir() else [target]
    for path in files:
        relative = path.relative_to(root).as_posix()
        if expected.get(relative) != hashlib.sha256(path.read_bytes()).hexdigest():
            pytest.skip(f"{path} differs from its line in SHA256SUMS")


@pytest.fixture(scope="session")
def shared_data():
    """``shared_data("permissive/bags")``: that part of the real recordings, or a skip that says what is missing."""
    root = Path(os.environ.get("L4EDGE_DATA", str(REPOSITORY.parent / "shared" / "data")))

    def find(name: str) -> Path:
        if not (root / name).exists():
            pytest.skip(f"no real recordings at {root / name} (set L4EDGE_DATA)")
        _checked(root, name)
        return root / name

    return find
