"""A mail server for the stories, on aiosmtpd: says what happens as JSON lines on stderr, ends with its stdin.

The one argument is JSON: port, security ("starttls", "tls" or "none"), certificate and key (files), password (of the
account "linkgate"; null where none is wanted), refused (an address), busy (an address that is told to wait once).
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
import threading

from aiosmtpd.smtp import AuthResult, SMTP

settings = json.loads(sys.argv[1])
busy = {settings["busy"]} - {None}


def say(event, **facts):
    print(json.dumps({"event": event, **facts}), file=sys.stderr, flush=True)


def authenticate(server, session, envelope, mechanism, data):
    right = (data.login, data.password) == (b"linkgate", settings["password"].encode())
    say("login", right=right, tls=is_encrypted(server))
    return AuthResult(success=right, handled=False)


def is_encrypted(server):
    return server.transport.get_extra_info("ssl_object") is not None


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        say("hello", name=hostname)
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address == settings["refused"]:
            say("refused")
            return f"550 5.1.1 <{address}>: no such user"
        if address in busy:
            busy.remove(address)
            say("busy")
            return f"451 4.7.1 <{address}>: try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        parts = {part.get_content_type(): part.get_content() for part in message.walk() if not part.is_multipart()}
        say(
            "mail",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            tls=is_encrypted(server),
            account=session.authenticated is True,
            headers=[[name, str(value)] for name, value in message.items()],
            name=message["from"].addresses[0].display_name,
            defects=[str(defect) for part in message.walk() for defect in part.defects],
            type=message.get_content_type(),
            parts=parts,
            raw=envelope.original_content.decode(),
        )
        return "250 2.0.0 accepted"


async def main():
    context = None
    if settings["security"] != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings["certificate"], settings["key"])
    implicit = settings["security"] == "tls"

    def connected():
        say("connection")
        with_login = settings["password"] is not None
        return SMTP(
            Handler(),
            hostname="localhost",
            tls_context=None if implicit else context,
            require_starttls=not implicit,
            authenticator=authenticate if with_login else None,
            auth_required=with_login,
            auth_require_tls=not implicit,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(
        connected, "127.0.0.1", settings["port"], ssl=context if implicit else None
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True).start()
    say("listening", port=server.sockets[0].getsockname()[1])
    await ended.wait()


asyncio.run(main())
