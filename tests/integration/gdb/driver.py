# SPDX-License-Identifier: MIT
"""Runs inside gdb: the commands of a plan, each with its output, its error and its time.

A command that fails is an answer; anything else that goes wrong ends gdb with 1. @plan and
@answer are set by the test.
"""
import json
import time
import traceback

import gdb


def run(command: str) -> dict:
    start = time.monotonic()
    out, error = "", None
    try:
        out = gdb.execute(command, to_string=True)
    except gdb.error as failure:
        error = str(failure)
    return {
        "command": command,
        "out": out,
        "error": error,
        "seconds": time.monotonic() - start,
    }


try:
    with open(plan) as file:  # noqa: F821
        commands = json.load(file)
    with open(answer, "w") as file:  # noqa: F821
        json.dump([run(command) for command in commands], file)
except BaseException:
    traceback.print_exc()
    gdb.execute("quit 1")
