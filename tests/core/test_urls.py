"""URLs in messages."""

from __future__ import annotations

import pytest

from autoopt.core.urls import without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("cannot reach http://me:s3cr:et@host:80/x, tried twice", "cannot reach http://me@host:80/x, tried twice"),
        ("a://u:p@h and b://v:q@h", "a://u@h and b://v@h"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
        ("http://host:5000/path@x", "http://host:5000/path@x"),
    ],
)
def test_a_password_is_not_shown(text: str, shown: str) -> None:
    """The password of every URL in a text is left out; the user, the port and all else stay."""
    assert without_password(text) == shown
