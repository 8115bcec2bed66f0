"""What nginx asks for: a decision, or what to say instead of the app."""

from __future__ import annotations

from collections.abc import Mapping

from kale_spawner.gateway import pages
from kale_spawner.gateway.cookies import strip_token
from kale_spawner.gateway.decision import Decision, Request, Verdict
from kale_spawner.gateway.errors import HubUnavailable
from kale_spawner.gateway.handler import Gateway, Handler
from kale_spawner.gateway.login import Callback, Logout, redirect_to_hub
from kale_spawner.gateway.scgi import Answer
from kale_spawner.wire import READY_WAIT_MAX


class Auth(Handler):
    """auth_request: 200 with what to pass on, or 403. Never a redirect, never a page."""

    async def respond(self) -> None:
        gateway = self.gateway
        if not gateway.watch.started:
            self.set_status(403)
            return
        try:
            decision = await gateway.door.decide(self.asked)
        except HubUnavailable:
            self.set_status(403)
            return
        if decision.verdict is not Verdict.ALLOW or shows_token(self.asked, decision):
            self.set_status(403)
            return
        gateway.activity.saw_request(self.asked)
        self.set_header("X-Kale-Cookie", decision.cookie)
        self.set_header("X-Kale-Authorization", decision.authorization)
        self.set_header("X-Kale-XSRF", decision.xsrf)
        self.set_header("X-Kale-Query", f"?{decision.query}" if decision.query else "")


class Deny(Handler):
    """The same decision again, put into words."""

    async def respond(self) -> None:
        gateway, asked = self.gateway, self.asked
        if not gateway.watch.started:
            self.answer(pages.STARTING)
            return
        try:
            decision = await gateway.door.decide(asked)
        except HubUnavailable:
            self.answer(pages.HUB_DOWN)
            return
        match decision.verdict:
            case Verdict.ALLOW:
                self._redirect_without_token(asked, decision)
            case Verdict.NOT_ALLOWED:
                self.answer(pages.NOT_ALLOWED)
            case Verdict.CROSS_SITE:
                self.answer(pages.CROSS_SITE)
            case Verdict.NOBODY if asked.navigation:
                redirect_to_hub(self, asked)
            case Verdict.NOBODY:
                self.answer(pages.NOBODY)

    def _redirect_without_token(self, asked: Request, decision: Decision) -> None:
        """Keep the token in a cookie and take it out of the address.

        Also reached when a decision changed for the better since nginx asked: try again.
        """
        if decision.url_token:
            self.log_in(decision.url_token)
        path = asked.uri.partition("?")[0]
        query = strip_token(asked.query, decision.url_token)
        self.redirect(self.own_address(f"{path}?{query}" if query else path), status=307)


class Down(Handler):
    """nginx could not get an answer from the app for a request that was allowed."""

    async def respond(self) -> None:
        self.gateway.watch.look()
        self.answer(pages.DOWN)


class Ready(Handler):
    """204 once the app answers, else 503; needs no credentials and tells nothing else."""

    async def respond(self) -> None:
        try:
            seconds = float(self.argument("wait") or "0")
        except ValueError:
            seconds = 0.0
        seconds = min(seconds, READY_WAIT_MAX) if seconds > 0 else 0.0
        if await self.gateway.watch.wait(seconds):
            self.set_status(204)
        else:
            self.set_status(503)
            self.set_header("Retry-After", "1")


def shows_token(asked: Request, decision: Decision) -> bool:
    """Whether a browser's address bar holds the token that let it in."""
    page = "text/html" in asked.headers.get("Accept", "")
    return bool(decision.url_token) and asked.navigation and page


_FOR_NGINX: Mapping[str, type[Handler]] = {"auth": Auth, "deny": Deny, "down": Down}
_FOR_BROWSERS: Mapping[str, type[Handler]] = {
    "ready": Ready,
    "oauth_callback": Callback,
    "logout": Logout,
}


async def answer(gateway: Gateway, question: Mapping[str, str]) -> Answer:
    """`question` is what nginx.py has nginx say; header names in it are those of HTTP."""
    ask, method = question["ask"], question["method"]
    asked = Request(method, question["uri"], question.get("upgrade", ""), question)
    if handler := _FOR_NGINX.get(ask):
        return await handler(gateway, asked).run()
    if method not in ("GET", "HEAD"):
        return Answer(405, (("Allow", "GET, HEAD"),))
    return await _FOR_BROWSERS[ask](gateway, asked).run()
