"""`autoopt target`: the machine that measures, where that is another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from autoopt.measure.remote.link import Hello
    from autoopt.measure.remote.listening import Heard

BUSY = 0.1
"""A share of the cores that is worth a word."""
UNSTEADY = 0.1

target = typer.Typer(
    no_args_is_help=True, help="The machine that measures, where that is another one: see docs/target.md."
)
Where = Annotated[str, typer.Argument(help="Where it is: ssh://HOST, ssh://USER@HOST or ssh://USER@HOST:PORT.")]


@target.command()
def check(
    address: Where,
    seconds: Annotated[float, typer.Option(help="How long to listen to how quiet it is.", min=0)] = 60.0,
) -> None:
    """Say whether a search can measure there: versions, room, and how quiet it is, a sentence each."""
    from autoopt.measure.remote.address import Address
    from autoopt.measure.remote.link import PipeLink
    from autoopt.measure.remote.listening import Heard
    from autoopt.measure.target import LocalTarget

    with PipeLink(Address.of(address), LocalTarget().host.versions) as link:
        for sentence in told_of(link.hello()):
            typer.echo(sentence)
        if seconds:
            typer.echo(heard_in_words(Heard(**link.ask("noise", {"seconds": seconds}).answer)))


@target.command()
def pack(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made if need be.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="A runtime to install there: openvino or onnxruntime; may be given twice. [default: openvino]"
        ),
    ] = None,
) -> None:
    """Write what to install on a target: autoopt as a wheel, and the versions of what it needs."""
    from autoopt.core.store import write_atomic
    from autoopt.deploy.slim_wheel import REQUIREMENTS, requirements, write_wheel
    from autoopt.inference.runtimes import BASELINE

    lines = requirements(runtime or [BASELINE])
    out.mkdir(parents=True, exist_ok=True)
    wheel = write_wheel(out)
    write_atomic(out / REQUIREMENTS, ("\n".join(lines) + "\n").encode())
    typer.echo(f"wrote {wheel.name} and {REQUIREMENTS} to {out}. On the target:")
    typer.echo(f"  pip install -r {REQUIREMENTS} && pip install --no-deps {wheel.name}")


@target.command()
def forget(address: Where) -> None:
    """Remove what searches sent to a target: models, the cases of patients, results."""
    from autoopt.measure.remote.address import Address
    from autoopt.measure.remote.link import PipeLink
    from autoopt.measure.target import LocalTarget

    with PipeLink(Address.of(address), LocalTarget().host.versions) as link:
        removed = link.ask("forget", {}).answer["removed_bytes"]
    typer.echo(f"{address} keeps nothing any more: {removed / 1e6:.1f} MB were removed")


def told_of(hello: Hello) -> list[str]:
    """What a target is, a sentence each."""
    host = hello.host
    versions = ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))
    return [
        f"it answers: {host.cpu}, {host.cores} cores, {host.memory_bytes / 1e9:.1f} GB of memory, {host.system}",
        f"its versions fit: {versions}",
        f"it has {hello.free_bytes / 1e9:.1f} GB free, and keeps {hello.kept_bytes / 1e6:.1f} MB of earlier searches",
        f"no energy can be read: {hello.why_no_energy}" if hello.why_no_energy else "its energy can be read",
    ]


def heard_in_words(heard: Heard) -> str:
    """How quiet a target was."""
    parts = [
        f"{words} took {share:.0%} of its cores"
        for share, words in ((heard.foreign_share, "other programs"), (heard.steal_share, "other guests of its host"))
        if share is not None and share > BUSY
    ]
    parts += ["its processor was slowed because it was hot"] if heard.throttles else []
    parts += [f"equal computations differ by {heard.spread:.0%}"] if heard.spread > UNSTEADY else []
    listened = f"in {heard.seconds:.0f} s"
    if not parts:
        return f"it is quiet: {listened} equal computations differed by {heard.spread:.1%}"
    return f"it is not quiet ({listened}): {', '.join(parts)}; trials will be measured again, or be noisy"
