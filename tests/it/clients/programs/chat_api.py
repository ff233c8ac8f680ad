"""A client of the chat API, written to its documentation: register, sign in, chat, stream, WebSocket, history.

Knows nothing about this implementation. Prints what it received as one JSON object.
"""

import json
import os

import requests
from websockets.sync.client import connect

BASE = os.environ.get("CHAT_API", "http://127.0.0.1:8000")
EMAIL = "user@example.com"
PASSWORD = "SuperSecret123!"


def checked(response):
    response.raise_for_status()
    return response.json()


def register():
    return checked(requests.post(f"{BASE}/api/auth/register", json={"email": EMAIL, "password": PASSWORD}))


def login():
    return checked(requests.post(f"{BASE}/api/auth/login", data={"username": EMAIL, "password": PASSWORD}))


def login_as_typed():
    """Sends the form as in the documentation's command, without encoding."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"username={EMAIL}&password={PASSWORD}"
    return checked(requests.post(f"{BASE}/api/auth/login", data=body, headers=form))


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def me(token):
    return checked(requests.get(f"{BASE}/api/users/me", headers=bearer(token)))


def chat(token, message, session_id=None):
    body = {"message": message, "session_id": session_id}
    return checked(requests.post(f"{BASE}/api/chat", json=body, headers=bearer(token)))


def stream(token, message, session_id=None):
    """Returns the events of a streamed reply in order: name and data."""
    headers = {**bearer(token), "Accept": "text/event-stream"}
    body = {"message": message, "session_id": session_id}
    events, name = [], "message"
    with requests.post(f"{BASE}/api/chat/stream", json=body, headers=headers, stream=True) as response:
        response.raise_for_status()
        assert response.headers["Content-Type"].startswith("text/event-stream"), response.headers
        for line in response.iter_lines(decode_unicode=True):
            if line.startswith("event:"):
                name = line[len("event:") :].strip()
            elif line.startswith("data:"):
                events.append((name, json.loads(line[len("data:") :])))
                name = "message"
    return events


def talk(message, address, headers=None):
    """Returns the frames of a reply over a WebSocket, up to the last one."""
    frames = []
    url = BASE.replace("http", "ws", 1) + address
    with connect(url, additional_headers=headers) as socket:
        socket.send(json.dumps({"message": message, "session_id": None}))
        while not frames or frames[-1]["type"] not in ("reply.done", "reply.failed", "error"):
            frames.append(json.loads(socket.recv(timeout=20)))
    return frames


def history(token):
    page = {"page": 1, "per_page": 20}
    return checked(requests.get(f"{BASE}/api/history", params=page, headers=bearer(token)))


def refusal(method, path, **more):
    response = requests.request(method, BASE + path, **more)
    return [response.status_code, response.json()["detail"]]


def main():
    registered = register()
    token = login()["access_token"]
    first = chat(token, "Hello, how are you?")
    second = chat(token, "And now?", first["session_id"])
    saw = {
        "registered": registered,
        "login": login_as_typed(),
        "me": me(token),
        "first": first,
        "second": second,
        "stream": stream(token, "Stream me a poem about autumn"),
        "socket": talk("Tell me a short story about a curious fox", f"/api/chat/ws?token={token}"),
        "socket_by_header": talk("And another", "/api/chat/ws", bearer(token)),
        "history": history(token),
        "refused": {
            "short password": refusal("POST", "/api/auth/register", json={"email": "b@example.com", "password": "short"}),
            "no address": refusal("POST", "/api/auth/register", json={"email": "nobody", "password": PASSWORD}),
            "no password": refusal("POST", "/api/auth/register", json={"email": "b@example.com"}),
            "malformed login": refusal("POST", "/api/auth/login", data={"username": "a@b", "password": PASSWORD}),
            "wrong login": refusal("POST", "/api/auth/login", data={"username": EMAIL, "password": "WrongSecret123!"}),
            "no token": refusal("GET", "/api/users/me"),
            "bad token": refusal("POST", "/api/chat", json={"message": "x"}, headers=bearer("no.such.token")),
        },
    }
    print(json.dumps(saw))


if __name__ == "__main__":
    main()
