# SPDX-License-Identifier: Apache-2.0
"""The source package, and its own tests (debian/tests), which autopkgtest runs on the built one in the container."""

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cdc import ROOT
from machine import run

if TYPE_CHECKING:
    from run import World

SOME_TEST_FAILED = 4  # exit status of autopkgtest


def source(world: "World") -> Path:
    """The .dsc."""
    to = world.folder / "source"
    if not to.exists():
        run(ROOT / "packaging/deb.sh", to, "source")
    (dsc,) = to.glob("*.dsc")
    return dsc


def test_lintian_finds_nothing_in_the_source_package(world: "World") -> None:
    found = run("lintian", "--allow-root", "--pedantic", "--fail-on", "error,warning,info,pedantic", source(world))
    assert not found.strip(), found


def tested(world: "World", deb: Path) -> tuple[int, dict[str, str], str]:
    """autopkgtest on the package: its status, the verdict of each test, and all it said."""
    m, tree, out = world.machine, world.folder / "tried/tree", world.folder / f"tried/{deb.parent.name}"
    if not tree.exists():
        tree.parent.mkdir()
        run("dpkg-source", "-x", source(world), tree)
        (tree / "debian/files").touch()  # as after a build: the package is given
    m.sh("dpkg --purge milvus-cdc")
    run_in = m.inside('exec "$@"', DEBIAN_FRONTEND="noninteractive") + ["sh"]
    done = subprocess.run(
        ["autopkgtest", "--output-dir", str(out), "--summary-file", str(out) + ".summary", str(deb), str(tree),
         "--", str(ROOT / "tests/system/testbed.py"), *run_in],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )  # fmt: skip
    lines = Path(str(out) + ".summary").read_text().splitlines()
    return done.returncode, dict(line.split(maxsplit=1) for line in lines), done.stdout


def test_its_own_tests_all_pass_and_none_is_skipped(world: "World") -> None:
    status, verdicts, said = tested(world, world.deb)
    control = (ROOT / "packaging/debian/tests/control").read_text()
    named = [name for line in control.splitlines() if line.startswith("Tests:") for name in line.split()[1:]]
    assert (status, verdicts) == (0, dict.fromkeys(named, "PASS")) and named, said[-3000:]


def test_its_own_tests_fail_when_the_program_does_not_run(world: "World") -> None:
    broken = world.folder / "broken"
    broken.mkdir()
    run("dpkg-deb", "-R", world.deb, broken / "tree")
    shutil.copy("/bin/false", broken / "tree/usr/bin/milvus-cdc")
    run("dpkg-deb", "--root-owner-group", "-b", broken / "tree", broken / world.deb.name)
    status, verdicts, said = tested(world, broken / world.deb.name)
    assert status == SOME_TEST_FAILED and verdicts["smoke"].startswith("FAIL"), said[-3000:]
    world.machine.sh("dpkg --purge milvus-cdc")
