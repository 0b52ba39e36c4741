# SPDX-License-Identifier: Apache-2.0
"""The model workload: random operations of every kind by several clients at once, a pause and a SIGKILL on the
way, then everything compared (tests/model). MODEL_SECONDS: of each seed (60)."""

import os
import sys
from pathlib import Path

from cdc import Cdc

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "model"))

from soak import one_round  # noqa: E402

SECONDS = float(os.environ.get("MODEL_SECONDS", "60"))


def run(cdc: Cdc, seed: int) -> None:
    print("#", one_round(cdc, seed, SECONDS, 3, os.environ.get("TARGET_TT") == "true"), flush=True)


def test_model_seed_1(cdc: Cdc) -> None:
    run(cdc, 1)


def test_model_seed_2(cdc: Cdc) -> None:
    run(cdc, 2)


def test_model_seed_3(cdc: Cdc) -> None:
    run(cdc, 3)
