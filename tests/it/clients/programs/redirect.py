"""Runs an unmodified program with a fixed server address, and redirects its requests to the server under test.

Usage: `redirect.py PROGRAM`.
"""

import os
import runpy
import sys

import requests

FIXED = "http://127.0.0.1:8000"
ACTUAL = os.environ["CHAT_API"]

send = requests.Session.request


def redirected(session, method, url, **more):
    assert url.startswith(FIXED), url
    return send(session, method, ACTUAL + url[len(FIXED) :], **more)


requests.Session.request = redirected
runpy.run_path(sys.argv[1], run_name="__main__")
