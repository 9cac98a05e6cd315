"""Runs many commands of the OpenStack command line in one process: each start of it costs seconds.

Reads one command per line from standard input, as a JSON list of its words; writes for each one line of
JSON: {"code": …, "out": …, "err": …}. The commands are the real ones, entry points and all.
"""
import contextlib
import io
import json
import sys

from openstackclient import shell


def run(words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        app = shell.OpenStackShell()
        app.stdout, app.stderr = out, err
        try:
            code = app.run(words)
        except SystemExit as end:
            code = end.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
