"""A ChatKit page: sign up, sign in, fetch the current user, upload a file, send a message."""

import json
import os

import requests

BASE = os.environ.get("CHAT_API", "http://localhost:8000")


def checked(response):
    response.raise_for_status()
    return response.json()


def main():
    account = {"email": "joan@example.com", "password": "password123"}
    signed_up = requests.post(f"{BASE}/auth/signup", json=account)
    signed_in = checked(requests.post(f"{BASE}/auth/signin", json=account))
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {signed_in['token']}"
    file = checked(session.post(f"{BASE}/files", files={"file": ("tides.csv", b"a;b\n", "text/csv")}))
    content = [{"type": "input_text", "text": "What does it say?"}]
    message = {"content": content, "attachments": [file["id"]], "inference_options": {}}
    body = {"type": "threads.create", "params": {"input": message}}
    events = []
    with session.post(f"{BASE}/chatkit", json=body, stream=True) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                events.append(json.loads(line[len(b"data: ") :])["type"])
    again = requests.post(f"{BASE}/auth/signup", json=account)
    print(
        json.dumps(
            {
                "signed_up": [signed_up.status_code, signed_up.json()],
                "signed_in": signed_in,
                "me": checked(session.get(f"{BASE}/auth/me")),
                "stranger": requests.get(f"{BASE}/auth/me").status_code,
                "file": file,
                "events": events,
                "again": again.status_code,
                "health": checked(requests.get(f"{BASE}/health")),
            }
        )
    )


if __name__ == "__main__":
    main()
