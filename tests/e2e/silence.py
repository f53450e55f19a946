"""What the end-to-end tests watch: a process that looks up a name, or reaches for anything but this machine, tells it.

A hospital's network forbids connections to the outside, and its patients' data must not be in them. The watch is a
`sitecustomize`, which Python imports first in every process that has its folder on the path: the commands, and all
children of theirs. It does not see what libraries do without Python.
"""

from __future__ import annotations

from pathlib import Path

PROXY = "127.0.0.1:9"
"""Where the commands are told that a proxy is: nothing listens there, and who asks it wants to get out."""
PROXIES = {
    **{f"{kind}_proxy": f"http://{PROXY}" for kind in ("http", "https", "all")},
    "no_proxy": "127.0.0.1,localhost",
}
STARTED, OUTSIDE = "started.txt", "outside.txt"
"""The files with a line for each process that was watched, and for each one that wanted to get out."""

WATCH = """
import os, sys

FOLDER, PROXY = {folder!r}, {proxy!r}
PLACES = {{"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}}
NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")
HERE = ("127.", "::1", "localhost", "::ffff:127.")

def tell(file, text):
    with open(os.path.join(FOLDER, file), "a") as stream:
        stream.write(f"{{os.getpid()}} {{' '.join(sys.orig_argv)[:300]}}: {{text}}\\n")

def watch(event, arguments):
    if event in PLACES or event in NAMES:
        place = arguments[PLACES.get(event, 0)]
        host, port = (*place[:2], None, None)[:2] if isinstance(place, tuple) else (place, None)
        if isinstance(place, (str, bytes)) and event in PLACES:
            return  # a socket in the file system
        if host is None or f"{{host}}:{{port}}" != PROXY and str(host).startswith(HERE):
            return
        tell({outside!r}, f"{{event}} {{place!r}}")

sys.addaudithook(watch)
tell({started!r}, "watched")
"""


def write_watch(folder: Path) -> None:
    """Write the `sitecustomize` that watches to `folder`, which gets the two files as well."""
    folder.mkdir(parents=True, exist_ok=True)
    source = WATCH.format(folder=str(folder), proxy=PROXY, outside=OUTSIDE, started=STARTED)
    (folder / "sitecustomize.py").write_text(source)


def told(folder: Path, file: str) -> list[str]:
    """The lines of `STARTED` or `OUTSIDE` so far."""
    path = folder / file
    return path.read_text().splitlines() if path.exists() else []
