# SPDX-License-Identifier: Apache-2.0
"""The same tree gives the same package."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cdc import ROOT

if TYPE_CHECKING:
    from run import World


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_another_folder_another_time_the_same_package(world: "World") -> None:
    to = world.folder / "again" / "elsewhere"
    elsewhere = os.environ | {"TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["sh", "-c", 'umask 027; exec packaging/deb.sh "$0"', str(to)],
        cwd=ROOT, env=elsewhere, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert digest(to / world.deb.name) == digest(world.deb), "two builds of one tree differ"
