"""The house keeps its own rules: sizes, formatting, tests that mirror the package, no test that reaches inside."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source import tree_of

ROOT = Path(__file__).parent.parent
PACKAGE, TESTS = ROOT / "autoopt", ROOT / "tests"
FILES = sorted(PACKAGE.rglob("*.py"))
TEST_FILES = sorted(TESTS.rglob("*.py"))

MOST_LINES, MOST_FUNCTION_LINES, MOST_FACE_FILES = 400, 60, 12
LONGER_FILES: dict[str, str] = {}
"""Files with more lines, and why."""
NAMED_ELSEWHERE = {
    "__main__.py": "tests/test_cli.py runs it",
    "commands/check.py": "tests/deploy/test_check.py runs it",
    "commands/predict.py": "tests/deploy/test_slim.py runs it",
    "commands/diff.py": "tests/report/test_trial_diff_text.py runs it",
    "commands/fleet.py": "tests/fleet/test_hello.py and every fleet of tests/fleet/cluster.py run it",
    "commands/members.py": "tests/fleet/test_hello.py runs it",
    "commands/pull.py": "tests/e2e/test_search.py runs it",
    "commands/register.py": "tests/tracking/test_register_command.py runs it",
    "commands/sign.py": "tests/deploy/test_check.py runs it",
    "commands/remeasure.py": "tests/deploy/test_remeasure.py runs it",
    "commands/training_study.py": "tests/report/test_training_text.py and tests/compress/test_training_study.py run it",
    "compress/training_study_process.py": "a child process: tests/compress/test_training_study.py runs it",
    "commands/shared.py": "every command of it is run in the tests of the commands",
    "commands/target.py": "tests/e2e/test_target.py and tests/deploy/test_slim_wheel.py run it",
    "compress/chain.py": "tests/study/trial/test_evaluate.py and tests/compress/test_matrix.py make artifacts by it",
    "compress/matrix_process.py": "a child process: tests/compress/test_matrix.py runs it",
    "compress/quantize_ort.py": "a line of TOOLS: tests/compress/test_quantize.py goes over the table",
    "compress/tools.py": "tests/compress/test_quantize.py quantizes by every tool",
    "deploy/metrics.py": "tests/deploy/test_server.py reads them from a server",
    "deploy/readme.py": "tests/deploy/test_writer.py reads what it writes",
    "deploy/registry.py": "tests/tracking/test_register_command.py reads right and wrong names of models",
    "deploy/self_test_process.py": "a child process: tests/deploy/test_self_test.py runs it",
    "fleet/builder_work.py": "tests/fleet/test_builder_child.py starts a builder",
    "fleet/keeper_work.py": "tests/fleet/test_tunnel.py starts a target",
    "fleet/gate.py": "tests/fleet/test_hello.py asks with wrong certificates",
    "fleet/hub.py": "tests/fleet/cluster.py runs it",
    "inference/formats/fused_pipeline.py": "tests/compress/test_fuse_pre_post.py fuses in every format",
    "inference/formats/protobuf.py": "tests/inference/formats/test_loops.py and test_onnx_file.py read with it",
    "inference/formats/torch.py": "a line of FORMATS: tests/contracts/test_formats.py goes over the table",
    "inference/runtimes/base.py": "protocols",
    "inference/runtimes/fake.py": "a line of RUNTIMES: tests/contracts/test_runtimes.py goes over the table",
    "inference/runtimes/torch.py": "a line of RUNTIMES: tests/contracts/test_runtimes.py goes over the table",
    "measure/noise.py": "tests/test_doctor.py keeps and reads the noise of a host",
    "measure/remote/listening.py": "tests/e2e/test_target.py runs it in a keeper",
    "measure/remote/shipping.py": "tests/measure/remote/test_station.py looks at what is sent",
    "report/page/sections.py": "tests/report/page/test_page.py renders every section",
    "study/space/dimension.py": "tests/study/space/test_space.py draws from spaces of every kind of dimension",
    "study/space/points.py": "tests/study/space/test_space.py enumerates, counts and finds points",
    "study/space/values.py": "tests/study/space/test_space.py reads right and wrong values",
    "terminal/fleet_table.py": "tests/fleet/test_hello.py reads what it prints",
    "terminal/results.py": "tests/nets/test_baseline.py and tests/test_cli.py read what it prints",
    "testing/__main__.py": "tests/test_testing.py runs it",
    "testing/graph_format.py": "tests/contracts/test_formats.py is it",
    "testing/runtime.py": "tests/contracts/test_runtimes.py is it",
    "testing/sink.py": "tests/test_extension.py and tests/study/test_loop.py use it",
    "testing/step.py": "tests/contracts/test_steps.py is it",
    "testing/workload.py": "tests/test_testing.py and every built-in workload use it",
    "commands/searching.py": "tests/e2e runs `autoopt search`, on one target and on two",
    "commands/compare.py": "tests/e2e/test_two_targets.py runs it",
    "tracking/own_sinks.py": "every search of tests/e2e has them",
    "tracking/keeper.py": "tests/tracking/test_ui_server.py kills who started it",
    "tracking/registries.py": "tests/tracking/test_register_command.py pulls from a server and from a database",
    "workloads/demo/brain_phantom.py": "tests/workloads/demo/test_brain_demo.py looks at what it draws",
    "workloads/models/bundle_answers.py": "tests/workloads/models/test_bundle_equal.py compares with MONAI's own",
    "workloads/models/bundle_chain.py": "tests/workloads/models/test_bundle_equal.py compares with MONAI's own",
    "workloads/models/bundle_objects.py": "tests/workloads/models/test_bundle_settings.py holds it against text",
    "workloads/models/bundle_transforms.py": "tests/workloads/models/test_bundle_equal.py compares with MONAI's own",
}
"""Modules that no test imports by name, and what tests them."""
PRIVATE_WORDS = [
    "chances",
    "laid_out",
    "twins?",
    "yardsticks?",
    "bears",
    "borne",
    "school",
    "exam",
    "surround(ed|s)?",
    "parted",
    "quarantine",
    "level_s",
    "as_int8",
    "coarsen",
]
"""Words that meant something here only; the field has better ones. (Two files of core/ read what used to be stored.)"""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_is_short(path: Path) -> None:
    """A file has at most 400 lines, unless a reason is given here."""
    lines = path.read_text().count("\n")
    assert lines <= MOST_LINES or name_of(path) in LONGER_FILES, f"{lines} lines: which second subject is in it?"


def test_reasons_for_long_files_are_needed() -> None:
    """A file that became short needs no reason any more."""
    for name in LONGER_FILES:
        assert (PACKAGE / name).read_text().count("\n") > MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_is_short(path: Path) -> None:
    """A function has at most 60 lines, its docstring included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_FUNCTION_LINES, f"{node.name} has {lines} lines"


def test_few_files_stand_beside_the_folders() -> None:
    """The face of the package is small: at most twelve files beside the folders."""
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_FACE_FILES


def test_the_formatter_formats() -> None:
    """No line of the code is kept from the formatter by hand."""
    skipped = "fmt: " + "skip"
    for path in (*FILES, *TEST_FILES, *ROOT.glob("benchmarks/*.py")):
        assert skipped not in path.read_text(), path


def test_tests_mirror_the_package() -> None:
    """A test file in a folder of the package's name tests the module of its name there, or says what it looks at."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"testing"}
    for path in TESTS.rglob("test_*.py"):
        place = path.relative_to(TESTS)
        if place.parts[0] in rooms:
            module = PACKAGE / place.parent / path.name.removeprefix("test_")
            assert module.is_file() or (PACKAGE / place.parent).is_dir(), f"{place} is in no folder of the package"


def imported_by_tests() -> set[str]:
    """Every module of the package that a test imports, or a name from it, by the path of its file."""
    found: set[str] = set()
    for path in TEST_FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found |= {name.removeprefix("autoopt.").replace(".", "/") for name in names if name.startswith("autoopt.")}
    return found


def test_every_module_is_tested_by_name() -> None:
    """A module has a test file of its own, or a test that imports it, or a line here that says what tests it."""
    imported, missing = imported_by_tests(), []
    for path in FILES:
        name = name_of(path)
        own = TESTS / path.relative_to(PACKAGE).parent / f"test_{path.name}"
        if path.name != "__init__.py" and not own.is_file() and name.removesuffix(".py") not in imported:
            missing.append(name)
    assert sorted(missing) == sorted(NAMED_ELSEWHERE)


def patches(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call of `something.setattr(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            yield node


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_patches_the_package(path: Path) -> None:
    """What a test needs to be otherwise is an argument: no test replaces a name inside a module of the package."""
    tree = tree_of(path)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "autoopt"
        for alias in node.names
    }
    for call in patches(tree):
        target = call.args[0]
        if isinstance(target, ast.Constant):
            assert not str(target.value).startswith("autoopt"), ast.unparse(call)
        else:
            assert ast.unparse(target).partition(".")[0] not in {*ours, "autoopt"}, ast.unparse(call)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_words_are_plain(path: Path) -> None:
    """Code, comments and messages use the field's words; no private one comes back."""
    if name_of(path) in ("core/records.py", "core/measurement.py"):
        return
    words = re.compile(rf"(?<![a-zA-Z])_?({'|'.join(PRIVATE_WORDS)})_?(?![a-zA-Z])", re.IGNORECASE)
    text = path.read_text()
    found = [
        (text.count("\n", 0, match.start()) + 1, match[0]) for match in words.finditer(text) if match[0].strip("_")
    ]
    assert not found, found
