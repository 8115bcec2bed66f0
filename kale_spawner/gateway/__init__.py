"""The gateway: the only door of a server's pod.

nginx moves the bytes; this small process decides who may pass and what is passed on. It needs
nginx and the standard library, and of this package nothing but `kale_spawner.wire`: there is one
in every user's pod, and every import costs memory there.

A request goes: nginx -> "auth" (app.py asks decision.py, which asks hub.py) -> the app; or, when
the answer is no, nginx -> "deny", where the same decision is turned into a page, a redirect to
the hub or a JSON error. nginx asks by SCGI (scgi.py).
"""
