"""A client that registers with a username, signs in with it, and renews its login with refresh tokens."""

import json
import os

import requests

BASE = os.environ.get("CHAT_API", "http://localhost:8000")


def checked(response):
    response.raise_for_status()
    return response.json()


def me(token):
    return checked(requests.get(f"{BASE}/api/auth/me", headers={"Authorization": f"Bearer {token}"}))


def main():
    account = {"email": "test@example.com", "username": "testuser", "password": "password123"}
    registered = checked(requests.post(f"{BASE}/api/auth/register", json=account))
    form = {"username": "testuser", "password": "password123"}
    login = checked(requests.post(f"{BASE}/api/auth/login", data=form))
    refreshed = checked(
        requests.post(f"{BASE}/api/auth/refresh", json={"refresh_token": login["refresh_token"]})
    )
    next_one = checked(
        requests.post(f"{BASE}/api/auth/refresh", json={"refresh_token": refreshed["refresh_token"]})
    )
    stolen = requests.post(f"{BASE}/api/auth/refresh", json={"refresh_token": login["refresh_token"]})
    print(
        json.dumps(
            {
                "registered": registered,
                "login": login,
                "refreshed": refreshed,
                "next": next_one,
                "me": [me(registered["access_token"]), me(registered["access_token"])],
                "stolen": [stolen.status_code, stolen.json()["detail"]],
                "pages": [requests.get(f"{BASE}{page}").status_code for page in ("/", "/health", "/docs", "/redoc")],
            }
        )
    )


if __name__ == "__main__":
    main()
