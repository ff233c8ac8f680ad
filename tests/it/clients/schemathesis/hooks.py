"""Hooks that teach schemathesis about this API.

Schemathesis generates requests from the description alone. So that valid requests succeed, the hooks replace generated ids by ids
of existing resources, and create accounts for requests that would close one. Response statuses are recorded, so that the test can
check that each operation succeeded at least once.
"""

import itertools
import json
import os
import struct
import unicodedata
import zlib

import requests
import schemathesis
from hypothesis import strategies as st

API = os.environ["SCHEMATHESIS_API"]
# Token of the owner of the resources in requests: an administrator.
OWNER = os.environ["SCHEMATHESIS_OWNER"]
# Ids of the users whose tokens the run depends on: requests must not change their accounts.
PROTECTED = os.environ["SCHEMATHESIS_PROTECTED"].split(",")
# Password-reset tokens, each of another account.
RESETS = os.environ["SCHEMATHESIS_RESETS"].split(",")
# Whether requests carry the owner's token.
SIGNED_IN = os.environ["SCHEMATHESIS_SIGNED_IN"] == "yes"
# File that records the response statuses.
ANSWERED = os.environ["SCHEMATHESIS_ANSWERED"]
PASSWORD = "correct horse 1"

numbers = itertools.count(1)
session = requests.Session()


def send(method, path, token=OWNER, **more):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = session.request(method, API + path, headers=headers, timeout=20, **more)
    answer.raise_for_status()
    return answer


# Formats of this API: a schema cannot express which letters a name may have.

LETTERS = st.characters(categories=["Lu", "Ll", "Lo", "Nd"], codec="utf-8") | st.sampled_from("._-")


def is_name(text):
    """Returns whether the name is valid after normalisation, in which names are compared."""
    normalized = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return 3 <= len(normalized) <= 32 and all(c.isalnum() or c in "._-" for c in normalized)


NAMES = st.text(LETTERS, min_size=3, max_size=32).filter(is_name)
PASSWORDS = st.builds(
    lambda text, letter, digit, cut: (text[:cut] + letter + digit + text[cut:])[:128],
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=6, max_size=126),
    st.sampled_from("abcxyzABCXYZ"),
    st.sampled_from("0123456789"),
    st.integers(0, 120),
)

schemathesis.openapi.format("user-name", NAMES)
schemathesis.openapi.format("login-name", NAMES | st.emails().filter(lambda address: len(address) <= 254))
schemathesis.openapi.format("password", PASSWORDS)


# Existing resources.


def person():
    """Creates an account; returns the response with its tokens."""
    body = {"email": f"made-{next(numbers)}-{os.getpid()}@mail.example", "password": PASSWORD}
    return send("POST", "/api/auth/register", token=None, json=body).json()


def say(text="hello"):
    return send("POST", "/api/chat", json={"message": text}).json()


def slow_reply():
    """Returns the id of a reply in progress."""
    body = {"message": "a " * 200}
    stream = send("POST", "/api/chat/stream", json=body, stream=True)
    for line in stream.iter_lines():
        if line.startswith(b"id: "):
            stream.close()
            return line[4:].split(b":")[0].decode()
    raise AssertionError("a stream without ids")


def chatkit(kind, params, token=OWNER):
    return send("POST", "/chatkit", token=token, json={"type": kind, "params": params})


def text_file():
    parts = {"file": ("note.txt", NOTE, "text/plain")}
    return send("POST", "/files", files=parts).json()["id"]


def image():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    return send("POST", "/files", files={"file": ("dot.png", pixel, "image/png")}).json()


def announced(size):
    """Announces a file of this size; returns its id and the query of its upload link."""
    params = {"name": "note.txt", "size": size, "mime_type": "text/plain"}
    link = chatkit("attachments.create", params).json()["upload_descriptor"]["url"]
    path, query = link.split("?")
    return path.split("/")[-2], dict(pair.split("=") for pair in query.split("&"))


class World:
    """Resources that are created once, on first use."""

    def __getattr__(self, name):
        value = {
            "chat": say,
            "quiz": lambda: send("POST", "/api/quizzes", json={"topic": "rust"}).json(),
            "note": text_file,
            "image": image,
            "account": person,
            "model": lambda: send("GET", "/api/models").json()["models"][0]["name"],
        }[name]()
        setattr(self, name, value)
        return value


world = World()


# Functions that make a generated request valid, by operation id.


def into_path(name):
    def feed(case):
        case.path_parameters["id"] = name()

    return feed


def conversation():
    return world.chat["session_id"]


def into_chat(case):
    if case.body.get("session_id"):
        case.body["session_id"] = conversation()
    with_a_model(case)


def with_a_model(case):
    if isinstance(case.body, dict) and case.body.get("model") is not None:
        case.body["model"] = world.model


def into_message(case):
    """Each message is edited or regenerated only once, since it may be on an inactive branch afterwards."""
    said = say()
    case.path_parameters.update(id=said["session_id"], message_id=said["user_message_id"])
    with_a_model(case)
    # Only a message with files may have an empty text.
    if isinstance(case.body, dict) and not case.body.get("message", "text").strip():
        case.body["message"] = "hello"


def into_branch(case):
    case.path_parameters.update(id=conversation(), branch=0)


def into_login(case):
    name = "username" if "username" in case.body else "email"
    if next(numbers) % 4 == 0:
        case.body[name], case.body["password"] = world.account["email"], PASSWORD


def into_registration(case):
    local, _, domain = case.body["email"].rpartition("@")
    if len(local) < 50 and len(case.body["email"]) < 240:
        case.body["email"] = f"{next(numbers)}.{local}@{domain}"
    if len(case.body.get("username") or "") > 16:
        case.body["username"] = f"{next(numbers)}{case.body['username']}"[:32]


def into_refresh(case):
    if next(numbers) % 4 == 0:
        case.body["refresh_token"] = person()["refresh_token"]


def as_new_user(case):
    if SIGNED_IN:
        case.headers["Authorization"] = f"Bearer {person()['access_token']}"


def with_right_password(case):
    for field in ("password", "current_password"):
        if isinstance(case.body, dict) and field in case.body:
            case.body[field] = PASSWORD


def into_reset(case):
    if RESETS and next(numbers) % 4 == 0:
        case.body["token"] = RESETS.pop()


def into_own_login(case):
    if SIGNED_IN:
        token = case.headers["Authorization"].split(" ")[1]
        case.path_parameters["id"] = send("GET", "/api/auth/logins", token=token).json()["items"][0]["id"]


def into_new_address(case):
    into_registration(case)
    with_right_password(case)


def into_new_name(case):
    case.body["username"] = f"{next(numbers)}{case.body['username']}"[:32]


def into_resumed(case):
    case.path_parameters["id"] = world.chat["reply_id"]
    if "Last-Event-ID" in case.headers:
        case.headers["Last-Event-ID"] = f"{world.chat['reply_id']}:1:0"


def into_quiz(case):
    if case.body.get("topic") is not None:
        case.body["topic"] = "web"
    if not in_stateful(case):
        into_chat(case)


def into_action(case):
    case.path_parameters["id"] = world.quiz["quiz_id"]
    question = world.quiz["question"]
    case.body["question_id"] = question["id"]
    if case.body.get("answer") is not None:
        case.body["answer"] = question["options"][0]["value"]


NOTE = "low water"


def into_file(case):
    case.body = {"file": NOTE}
    case.multipart_content_types = {"file": "text/plain"}


def into_announced(case):
    if case.media_type == "multipart/form-data":
        into_file(case)
    else:
        case.body = NOTE.encode()
    case.path_parameters["id"], case.query = announced(len(NOTE))


def into_preview(case):
    path, query = world.image["preview_url"].split("?")
    case.path_parameters["id"] = path.split("/")[-2]
    case.query = dict(pair.split("=") for pair in query.split("&"))


FEEDS = {
    "login": into_login,
    "sign_in": into_login,
    "register": into_registration,
    "sign_up": into_registration,
    "refresh": into_refresh,
    "reset_password": into_reset,
    "change_email": into_new_address,
    "change_username": into_new_name,
    "end_login": into_own_login,
    "admin_user": into_path(lambda: world.account["id"]),
    "grant_role": into_path(lambda: person()["id"]),
    "admin_deactivate": into_path(lambda: person()["id"]),
    "admin_end_logins": into_path(lambda: person()["id"]),
    "change_password": with_right_password,
    "deactivate": with_right_password,
    "chat": into_chat,
    "chat_stream": into_chat,
    "resume_stream": into_resumed,
    "messages": into_path(conversation),
    "change_conversation": into_path(conversation),
    "regenerate": into_message,
    "edit_message": into_message,
    "branches": into_path(conversation),
    "activate_branch": into_branch,
    "delete_conversation": into_path(lambda: say()["session_id"]),
    "reply": into_path(lambda: world.chat["reply_id"]),
    "cancel_reply": into_path(slow_reply),
    "start_quiz": into_quiz,
    "quiz": into_path(lambda: world.quiz["quiz_id"]),
    "act_on_quiz": into_action,
    "store_file": into_file,
    "fill_file": into_announced,
    "put_file": into_announced,
    "file": into_path(lambda: world.note),
    "file_preview": into_preview,
    "delete_file": into_path(text_file),
}


# The sixteen request types of the ChatKit operation.


def message(text="hello"):
    content = [{"type": "input_text", "text": text}]
    return {"content": content, "attachments": [], "inference_options": {}}


def events(answer):
    lines = answer.text.split("\n")
    return [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data: ")]


def thread(text="hello"):
    """Creates a thread with this message; returns its id and the events of the stream."""
    sent = events(chatkit("threads.create", {"input": message(text)}))
    return sent[0]["thread"]["id"], sent


def item(sent, kind):
    """Returns the id of the first item of a kind."""
    items = (event["item"] for event in sent if "item" in event)
    return next(item["id"] for item in items if item["type"] == kind)


def asked_questions():
    form = '{"questions":[{"question":"Sail or steam?","options":["sail","steam"]}]}'
    thread_id, sent = thread(f"call ask_user {form}")
    return thread_id, item(sent, "structured_input")


class Threads:
    def __getattr__(self, name):
        value = {"plain": thread, "quiz": lambda: thread("quiz me on rust")}[name]()
        setattr(self, name, value)
        return value


threads = Threads()


def good_message(params):
    if not any(part.get("text", "").strip() for part in params["input"]["content"]):
        params["input"] = message()
    params["input"]["attachments"] = []
    params["input"]["inference_options"] = {}


def in_thread(params):
    params["thread_id"] = threads.plain[0]
    if params.get("after") is not None:
        params["after"] = item(threads.plain[1], "user_message")


def at_card(params):
    params["thread_id"], sent = threads.quiz
    params["item_id"] = item(sent, "widget")


def add_message(params):
    in_thread(params)
    good_message(params)


def answer_questions(params):
    params["thread_id"], params["item_id"] = asked_questions()
    params["input"] = {"answers": {"question-1": {"values": ["sail"]}}}


def retry(params):
    params["thread_id"], sent = thread()
    params["item_id"] = item(sent, "user_message")


def give_feedback(params):
    in_thread(params)
    params["item_ids"] = [item(threads.plain[1], "assistant_message")]


def announce(params):
    params["name"], params["mime_type"] = "note.txt", "text/plain"


CHATKIT = {
    "threads.create": good_message,
    "threads.add_user_message": add_message,
    "threads.add_client_tool_output": in_thread,
    "threads.add_structured_input": answer_questions,
    "threads.retry_after_item": retry,
    "threads.custom_action": at_card,
    "threads.sync_custom_action": at_card,
    "threads.get_by_id": in_thread,
    "threads.list": lambda params: params.update(after=threads.plain[0]) if params.get("after") is not None else None,
    "threads.update": in_thread,
    "threads.delete": lambda params: params.update(thread_id=thread()[0]),
    "items.list": in_thread,
    "items.feedback": give_feedback,
    "attachments.create": announce,
    "attachments.delete": lambda params: params.update(attachment_id=text_file()),
    "input.transcribe": lambda params: None,
}


def into_chatkit(case):
    feed = CHATKIT.get(case.body.get("type"))
    if feed:
        feed(case.body["params"])


FEEDS["chatkit"] = into_chatkit

# Operations that use no resource of an earlier step of a sequence.
ALWAYS = (
    "login",
    "sign_in",
    "register",
    "sign_up",
    "refresh",
    "reset_password",
    "change_email",
    "change_username",
    "store_file",
    "start_quiz",
)
# Operations after which the caller is signed out, or may be locked out for a while.
SIGNS_CALLER_OUT = ("logout", "change_password", "change_email", "deactivate", "end_login", "end_other_logins")
# Operations that change the account in the path.
CHANGES_NAMED_ACCOUNT = ("grant_role", "admin_deactivate", "admin_end_logins")


def in_stateful(case):
    return case.meta.phase.name == "stateful"


def whole(value):
    """Converts whole floats: 5.0 is an integer in JSON Schema, but not in this API, and clients do not write it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(part) for part in value]
    if isinstance(value, dict):
        return {name: whole(part) for name, part in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw.get("operationId")
    if operation in SIGNS_CALLER_OUT and OWNER in str((case.headers or {}).get("Authorization")):
        as_new_user(case)
    if operation in CHANGES_NAMED_ACCOUNT and (case.path_parameters or {}).get("id") in PROTECTED:
        case.path_parameters["id"] = person()["id"]
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        case.body = whole(case.body)
    # A key used with another body is rejected, so each valid request gets its own.
    if "Idempotency-Key" in (case.headers or {}):
        key = case.headers["Idempotency-Key"]
        case.headers["Idempotency-Key"] = f"{next(numbers):012}{key}"[: max(12, len(key))]
    # Waiting for a future position is slow, so only some requests do.
    if "Verbatim-Position" in (case.headers or {}) and next(numbers) % 8:
        case.headers["Verbatim-Position"] = "1"
    # In sequences, links and earlier responses provide the ids.
    if operation in FEEDS and (operation in ALWAYS or not in_stateful(case)):
        FEEDS[operation](case)


@schemathesis.hook
def after_call(context, case, response):
    if case.method != case.operation.method.upper():
        return
    operation = case.operation.definition.raw.get("operationId")
    if operation == "chatkit" and isinstance(case.body, dict) and str(case.body.get("type")) in CHATKIT:
        operation = f"{operation}:{case.body['type']}"
    with open(ANSWERED, "a", encoding="utf-8") as file:
        file.write(f"{operation} {response.status_code}\n")
