# SPDX-License-Identifier: Apache-2.0
"""What is read and typed: help, manual pages and bash completion tell the same."""

import re
import subprocess
from typing import TYPE_CHECKING

from cdc import ROOT
from machine import run

if TYPE_CHECKING:
    from run import World

COMMANDS = ("", "doctor", "journal")


def said(world: "World", command: str) -> str:
    return run(world.tree() / "usr/bin/milvus-cdc", *command.split(), "--help")


def options(world: "World", command: str) -> set[str]:
    return set(re.findall(r"(?m)^  (?:-\w, |    )(--[\w-]+)", said(world, command)))


def page(world: "World", name: str) -> str:
    """As a reader sees it, without hyphens at the ends of lines."""
    done = subprocess.run(
        ["man", "--warnings", "--no-hyphenation", "--local-file", str(world.tree() / f"usr/share/man/{name}.gz")],
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "200"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def completed(world: "World", *words: str) -> set[str]:
    """What the tabulator offers after these words."""
    file = world.tree() / "usr/share/bash-completion/completions/milvus-cdc"
    script = (
        f'. /usr/share/bash-completion/bash_completion; . "{file}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; _milvus_cdc; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(run("bash", "-c", script, "bash", "milvus-cdc", *words).split())


def test_the_tabulator_offers_what_the_help_tells(world: "World") -> None:
    assert completed(world, "") == {command for command in COMMANDS if command}
    for command in COMMANDS:
        assert len(options(world, command)) >= 2
        assert completed(world, *command.split(), "--") == options(world, command), command
    assert completed(world, "--config", str(ROOT / "packaging") + "/c") == {str(ROOT / "packaging/cdc.yaml")}


def test_the_manual_has_every_command_option_and_exit_status(world: "World") -> None:
    manual = page(world, "man8/milvus-cdc.8")
    for command in COMMANDS:
        assert command in manual
        for option in options(world, command):
            assert option in manual, option
    told = re.findall(r"\b(\d+) [a-z]", said(world, "").partition("Exit codes:")[2])
    assert len(told) == 5
    status = manual.partition("EXIT STATUS")[2]
    for code in told:
        assert re.search(rf"(?m)^ +{code}\b", status), code


def test_the_manual_of_the_configuration_has_every_key_and_its_default(world: "World") -> None:
    table = (ROOT / "src/base/conf.def").read_text()
    keys = re.findall(r'(?m)^CONF\("([^"]+)", \w+, [\w.]+, (?:"([^"]*)"|NULL)', table)
    manual = page(world, "man5/cdc.yaml.5")
    told = re.findall(r"(?m)^ {7}([a-z]\w*(?:\.\w+)*)$", manual.partition("\nKEYS\n")[2])
    assert len(keys) >= 30 and set(told) >= {key for key, _ in keys}, {key for key, _ in keys} - set(told)
    for key, default in keys:
        text = re.split(r"\n\s*\n", manual.partition(f"\n       {key}\n")[2])[0]
        assert not default or f"default: {default})" in text, (key, text)
        assert f"  {key} " in said(world, ""), key


def test_wrong_arguments_end_with_64_and_the_usage(world: "World") -> None:
    for words in ([], ["--nonsense"], ["nonsense"], ["doctor", "nonsense"], ["journal", "--nonsense"]):
        done = subprocess.run([world.tree() / "usr/bin/milvus-cdc", *words], capture_output=True, text=True)
        assert done.returncode == 64 and "Usage: milvus-cdc" in done.stderr and not done.stdout, (words, done)
