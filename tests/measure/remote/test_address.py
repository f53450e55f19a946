"""Addresses of targets: no part of one can become an option of ssh."""

from __future__ import annotations

import pytest

from autoopt.errors import UsageError
from autoopt.measure.remote.address import Address


def test_the_command() -> None:
    """User, host and port go where ssh expects them, the host behind the end of its options."""
    command = Address.of("ssh://me@clinic-1:2222").command
    assert command[-3:] == ("--", "clinic-1", "autoopt-keeper")
    assert command[command.index("-l") : command.index("-l") + 2] == ("-l", "me")
    assert command[command.index("-p") : command.index("-p") + 2] == ("-p", "2222")
    assert "BatchMode=yes" in command and Address.of("ssh://[fe80::1]").command[-2] == "fe80::1"


@pytest.mark.parametrize(
    "text",
    [
        "clinic-1",
        "ssh://",
        "ssh://-oProxyCommand=id",
        "ssh://-l@host",
        "ssh://host name",
        "ssh://host;id",
        "ssh://host:0",
        "ssh://host:70000",
        "ssh://host/path",
        "tls://host",
        "ssh://$(id)",
    ],
)
def test_refused(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(UsageError, match="a target must be ssh://HOST"):
        Address.of(text)
