"""Django's own ``tests/runtests.py`` with a record of what became of each test, plain or ``--wrapped busy-outermost``.

It is run in the folder above the suite's own: ``run_django.py report.json handlers middleware``.
"""

from __future__ import annotations

import argparse
import runpy
import sys

import recording_django

# Django itself is not imported here: the suite chooses its settings first.
sys.path.insert(0, "tests")

import test_sqlite

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("report")
    parser.add_argument("--wrapped")
    chosen, labels = parser.parse_known_args()

    test_sqlite.TEST_RUNNER = "recording_django.Recorder"
    if chosen.wrapped:
        import wrapping_django

        wrapping_django.install(chosen.wrapped, test_sqlite)
    recording_django.report = chosen.report
    sys.argv = ["tests/runtests.py", "--parallel=1", *labels]
    runpy.run_path(sys.argv[0], run_name="__main__")
