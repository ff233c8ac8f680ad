"""A mail server for tests, based on aiosmtpd. The first argument is the configuration as JSON. Events are reported on standard
output, one JSON object a line. The server ends when its standard input closes.

Configuration: tls ("off", "starttls", "smtps"), user and password (if given, authentication is required), answers (to the first
messages: a line such as "451 4.3.0 later", "drop" to hang up, or "take").
"""

import asyncio
import datetime
import email
import email.policy
import ipaddress
import json
import ssl
import sys
import tempfile

from aiosmtpd.smtp import SMTP, AuthResult

CONFIG = json.loads(sys.argv[1])


def report(**fields):
    print(json.dumps(fields), flush=True)


def certificate():
    """Makes a self-signed certificate for 127.0.0.1; it is reported to the test, which has to trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of the tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    public = signed.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(public + private)
        file.flush()
        context.load_cert_chain(file.name)
    return context, public.decode()


class Handler:
    def __init__(self):
        self.answers = list(CONFIG.get("answers", []))

    async def handle_DATA(self, server, session, envelope):
        answer = self.answers.pop(0) if self.answers else "take"
        report(event="attempt", answer=answer)
        if answer == "drop":
            server.transport.abort()
            return "421 bye"
        if answer != "take":
            return answer
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        report(
            event="mail",
            envelope_from=envelope.mail_from,
            envelope_to=envelope.rcpt_tos,
            tls=server.transport.get_extra_info("ssl_object") is not None,
            user=session.auth_data,
            headers={name.lower(): str(value) for name, value in message.items()},
            text=message.get_content(),
        )
        return "250 OK"


def authenticator(_server, _session, _envelope, _mechanism, data):
    user, password = data.login.decode(), data.password.decode()
    valid = (user, password) == (CONFIG["user"], CONFIG["password"])
    return AuthResult(success=valid, auth_data=user if valid else None, handled=False)


async def main():
    loop = asyncio.get_running_loop()
    tls = CONFIG.get("tls", "off")
    context, public = certificate() if tls != "off" else (None, None)
    handler = Handler()
    auth_required = "user" in CONFIG

    def smtp():
        return SMTP(
            handler,
            hostname="tests.example",
            loop=loop,
            tls_context=context if tls == "starttls" else None,
            require_starttls=tls == "starttls",
            authenticator=authenticator if auth_required else None,
            auth_required=auth_required,
            auth_require_tls=tls == "starttls",
            # Without accounts these mechanisms must not be offered.
            auth_exclude_mechanism=() if auth_required else ("LOGIN", "PLAIN"),
        )

    server = await loop.create_server(smtp, "127.0.0.1", 0, ssl=context if tls == "smtps" else None)
    report(event="ready", port=server.sockets[0].getsockname()[1], certificate=public)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
