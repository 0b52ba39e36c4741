#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""autopkgtest's testbed: a container that is booted already. The arguments are the words that run a command in it.

Nothing of autopkgtest is installed in there: what it would bring along could stand in for a dependency that the
package forgot.
"""

import sys

sys.path.insert(0, "/usr/share/autopkgtest/lib")

import VirtSubproc  # noqa: E402


# VirtSubproc finds these by their names in the program.
def hook_open() -> None:
    VirtSubproc.auxverb = sys.argv[1:]


def hook_downtmp(path: str) -> str:
    return str(VirtSubproc.downtmp_mktemp(path))


def hook_cleanup() -> None:
    VirtSubproc.downtmp_remove()


def hook_capabilities() -> list[str]:
    return ["isolation-container", "root-on-testbed"]


VirtSubproc.main()
