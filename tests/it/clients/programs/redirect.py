"""Runs a program that knows the service at one fixed address, and lets its requests go to where the service is in the test.

The program itself is not touched: `elsewhere.py PROGRAM`.
"""

import os
import runpy
import sys

import requests

KNOWN = "http://127.0.0.1:8000"
HERE = os.environ["CHAT_API"]

send = requests.Session.request


def redirected(session, method, url, **more):
    assert url.startswith(KNOWN), url
    return send(session, method, HERE + url[len(KNOWN) :], **more)


requests.Session.request = redirected
runpy.run_path(sys.argv[1], run_name="__main__")
