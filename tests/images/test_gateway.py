"""The gateway's image has what the gateway needs, and starts on a read-only root."""

from __future__ import annotations

from kale_spawner import wire


def test_starts_on_a_read_only_root_and_waits_for_the_app(image, start):
    container = start(
        image("gateway"),
        KALE_GATEWAY_KIND=wire.KINDS["plain"].to_json(),
        JUPYTERHUB_API_URL="http://127.0.0.1:1/hub/api",
        JUPYTERHUB_API_TOKEN="none",
        JUPYTERHUB_CLIENT_ID="jupyterhub-user-a",
        JUPYTERHUB_OAUTH_CALLBACK_URL="/user/a/oauth_callback",
        JUPYTERHUB_OAUTH_ACCESS_SCOPES='["access:servers!server=a/"]',
        JUPYTERHUB_SERVICE_PREFIX="/user/a/",
        JUPYTERHUB_BASE_URL="/",
        JUPYTERHUB_USER="a",
        JUPYTERHUB_SERVER_NAME="",
        JUPYTERHUB_ACTIVITY_URL="http://127.0.0.1:1/hub/api/users/a/activity",
    )
    # The app is not there: "not ready" is the gateway's own, true answer.
    container.wait("/user/a/" + wire.READY_PATH, 503, port=wire.GATEWAY_PORT)
    assert container.get("/elsewhere", port=wire.GATEWAY_PORT).status == 404
    # The kernel tells without privileges how much came over each connection: activity needs it.
    # Half a request, so that nginx waits for the rest.
    ask = "import socket; from kale_spawner.gateway.sockets import received;"
    ask += "client = socket.create_connection(('127.0.0.1', 18888)); client.send(b'GET /' + b'x' * 295);"
    ask += "print(received(18888)['%s:%d' % client.getsockname()])"
    assert container.run("/usr/bin/python3", "-c", ask) == "300\n"
    assert container.stop() < 3


def test_has_no_shell(image):
    gateway = image("gateway")
    assert not (gateway.root / "bin/sh").exists()
    assert not (gateway.root / "usr/bin/sh").exists()
