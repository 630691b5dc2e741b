# JupyterLab behind linkgate: it believes a header, so nobody but linkgate may reach it.

from jupyter_server.auth import IdentityProvider, User

c = get_config()  # noqa: F821


class Linkgate(IdentityProvider):
    """Whom linkgate names is signed in; there is no other way in, no token and no password."""

    def get_user(self, handler):
        email = handler.request.headers.get("X-Forwarded-Email")
        return User(username=email) if email else None


c.ServerApp.identity_provider_class = Linkgate
c.Linkgate.token = ""

# This machine only. On any other address, whoever reaches it is whom they say they are.
c.ServerApp.ip = "127.0.0.1"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
# linkgate answers for the names of the site; without this JupyterLab knows no name but localhost.
c.ServerApp.allow_remote_access = True
# X-Forwarded-For and X-Forwarded-Proto are linkgate's: the address in the log, `Secure` for cookies.
c.ServerApp.trust_xheaders = True

c.ServerApp.root_dir = "target/jupyterlab/notebooks"
c.ServerApp.open_browser = False
