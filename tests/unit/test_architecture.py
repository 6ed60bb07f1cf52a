"""The structure of the code: imports run in one direction, and few modules import heavy packages."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fork_server
from bnopt.files import fingerprints

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bnopt"
OPEN_FOLDERS = {"datasets", "tasks", "norms", "probes", "quantities", "figures"}
WINGS = {"files", "study", "run"}
# From the lowest to the highest. A module imports from lower layers and from its own folder.
LAYERS = (
    {"runtime"},
    {"plugins"},
    {"files"},
    {"study", "run", "theory", "summaries", "verdicts"},
    {"judged", "evidence"},
    {"latex", "effects"},
    {"comparison", "part_texts", "changes"},
    {"findings"},
    {"report_tables"},
    OPEN_FOLDERS,
    {"data", "train", "probe", "statistics", "claims", "figure", "report"}
    | {"rate_spread", "tau", "random_layers", "theorem_table", "gather", "compile", "page", "provenance"}
    | {"compare", "specifications"},
)
MOST_MODULES, MOST_PARAMETERS = 54, 8


def module_name(file):
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def imported(module):
    """Return the absolute names that a module imports at any level; `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import; this package uses absolute ones"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


GRAPH = {module: {name for name in imported(module) if name in FILES} - {"bnopt"} for module in FILES}
PACKAGES = {
    module: {name.split(".")[0] for name in imported(module)} - {"bnopt", *sys.stdlib_module_names}
    for module in FILES
}


def kind(module):
    """Return the name of an open folder or a wing, "stage" (run by `python -m`), or "shared"."""
    parts = module.split(".")
    if len(parts) > 2:
        return parts[1]
    return "stage" if 'if __name__ == "__main__":' in FILES[module].read_text(encoding="utf-8") else "shared"


def room(module):
    """Return the folder of a module, or the module's own name if it is in the top folder."""
    return module.split(".")[1]


def reach(module):
    """Return a module and all first-party modules that it imports, directly or indirectly."""
    found, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(GRAPH[name])
    return found


def of_kind(*kinds):
    return {module for module in FILES if kind(module) in kinds and module != "bnopt"}


# The stages that compute with nets and layers, and the modules they load by name; then all other stages.
TRAINING_SIDE = {"bnopt.train", "bnopt.probe", "bnopt.random_layers"} | of_kind("tasks", "norms", "probes")
OTHER_SIDE = (of_kind("stage") | of_kind("quantities", "figures")) - TRAINING_SIDE


def reach_of(modules):
    return set().union(*map(reach, modules))


def test_the_package_is_where_these_tests_look():
    stages = {"data", "train", "probe", "statistics", "claims", "figure", "report"}
    assert {f"bnopt.{stage}" for stage in stages} <= of_kind("stage")
    assert {kind(module) for module in FILES} == {"stage", "shared", *OPEN_FOLDERS, *WINGS}


def test_imports_run_from_higher_layers_to_lower_ones():
    layer_of = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    modules = set(FILES) - {"bnopt"}
    assert {room(module) for module in modules} == set(layer_of)
    wrong = {
        (module, name)
        for module in modules
        for name in GRAPH[module]
        if room(module) != room(name) and layer_of[room(module)] <= layer_of[room(name)]
    }
    assert wrong == set()


def test_the_house_has_few_rooms():
    assert len([m for m in FILES if m != "bnopt" and kind(m) not in OPEN_FOLDERS]) <= MOST_MODULES


def test_no_function_has_many_parameters():
    many = {}
    for module, file in FILES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                many[f"{module}.{node.name}"] = len(arguments)
    assert len(many) > 300
    assert {name: count for name, count in many.items() if count > MOST_PARAMETERS} == {}


RULES = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "workflow").glob("*.smk"))


def test_every_stage_is_called_by_a_rule_and_every_rule_calls_a_stage():
    called = set(re.findall(r'"\$python" -m (?:fork_server )?(bnopt\.\w+)', RULES))
    # Only people call these two, no rule does.
    assert called == of_kind("stage") - {"bnopt.provenance", "bnopt.compare"}


def test_the_stages_that_use_pytorch_have_the_server_that_has_imported_it():
    forked = set(re.findall(r"-m fork_server (bnopt\.\w+)", RULES))
    files = {stage: [FILES[module] for module in fingerprints.reached(stage)] for stage in forked}
    of_nets = {
        stage
        for stage, reached in files.items()
        if any(re.search(r"^(import|from) torch", file.read_text("utf-8"), re.MULTILINE) for file in reached)
    }
    assert of_nets == set(fork_server.NETS)


def test_no_stage_is_imported():
    stages = of_kind("stage")
    assert {module: GRAPH[module] & stages for module in FILES if GRAPH[module] & stages} == {}


def test_who_loads_by_name_imports_nothing_of_the_open_folders():
    """Otherwise a change of one norm, probe or figure would rerun the jobs of all others."""
    loaded = of_kind(*OPEN_FOLDERS)
    loaders = {module for module in of_kind("stage") if "bnopt.plugins" in reach(module)}
    assert {"bnopt.train", "bnopt.probe", "bnopt.statistics", "bnopt.figure"} <= loaders
    wrong = {module: reach(module) & loaded for module in loaders | of_kind("shared", *WINGS)}
    assert {module: names for module, names in wrong.items() if names} == {}


def test_a_file_of_an_open_folder_imports_shared_modules_and_its_own_folder_at_most():
    shared = of_kind("shared", *WINGS)
    for module in of_kind(*OPEN_FOLDERS):
        assert GRAPH[module] <= shared | of_kind(kind(module)), module


def test_no_module_imports_itself_by_a_detour():
    for module in FILES:
        for name in GRAPH[module]:
            assert module not in reach(name), f"{module} and {name} import each other"


def test_modules_are_loaded_by_name_in_one_place_only():
    dynamic = re.compile(r"importlib\.import_module|__import__\(|import_module\(|runpy|exec\(")
    found = {module for module, file in FILES.items() if dynamic.search(file.read_text(encoding="utf-8"))}
    assert found == {"bnopt.plugins"}


def test_matplotlib_is_for_figures():
    users = {module for module, packages in PACKAGES.items() if "matplotlib" in packages}
    drawing = {"bnopt.figure"} | of_kind("figures")
    assert users
    assert users <= reach_of(drawing)
    assert users & reach_of(set(FILES) - drawing - users) == set()


@pytest.mark.parametrize("stage", ["statistics", "claims", "theorem_table", "figure", "report", "page"])
def test_no_job_waits_for_scipys_statistics(stage):
    """Importing scipy.stats takes longer than all other imports of such a job together."""
    program = f"""
import sys
import bnopt.{stage}
from bnopt import plugins
for name in plugins.names("figures") if {stage!r} == "figure" else []:
    plugins.load("figures", name)
print("scipy.stats" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_torch_is_for_training_and_probing():
    users = {module for module, packages in PACKAGES.items() if "torch" in packages}
    assert {"bnopt.train", "bnopt.run.device", "bnopt.run.snapshots", "bnopt.run.streams"} <= users
    assert not any(kind(module) == "study" for module in users)
    assert users <= reach_of(TRAINING_SIDE)
    assert users & reach_of(OTHER_SIDE) == set()


START_AND_COMPUTE = """
import json, sys
from pathlib import Path
from bnopt import probe, random_layers, train
from bnopt.run import device
from bnopt.run.run import Run

def imported():
    return [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]

data, folder, runs, layers = json.loads(sys.argv[1])
for number, (of_run, measured) in enumerate(runs):
    own = Path(folder, str(number))
    run = Run(data, **of_run, seed=0, device=device.choose())
    train.train(run, lr=1e-6, steps=2, test_every=1, snapshot_every=1, folder=own)
    for name, settings in measured.items():
        assert probe.probe(run, own, lr=1e-6, probe=name, settings=settings) is not None
        assert not imported(), (of_run, name)
random_layers.random_layers(**layers)
print(imported())
"""


def test_no_job_waits_for_pytorchs_compiler(small_config, prepared, sizes_of, probe_settings, tmp_path):
    """No job uses the compiler. Its import takes as long as everything else before the first step."""
    runs = []
    for task, norm in [("vgg", "batch"), ("deep_linear", "batch"), ("vgg", "weight_norm"), ("vgg", "frozen")]:
        measured = {n: probe_settings(n, task) for n, of in small_config["probes"].items() if task in of}
        runs.append([sizes_of(task) | {"norm": norm}, measured])
    told = [str(prepared), str(tmp_path), runs, {"draws": 2, "seed": 0}]
    done = subprocess.run(
        [sys.executable, "-c", START_AND_COMPUTE, json.dumps(told)],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_few_modules_need_torchvision_scikit_learn_and_pillow():
    users = {"torchvision": ["datasets.cifar10"], "sklearn": ["datasets.digits"], "PIL": ["data", "page"]}
    for package, names in users.items():
        found = {module for module, packages in PACKAGES.items() if package in packages}
        assert found == {f"bnopt.{name}" for name in names}
        # Each import is inside a function: torchvision takes seconds, and most jobs do not need it.
        for module in found:
            top = ast.parse(FILES[module].read_text(encoding="utf-8")).body
            imports = {ast.unparse(node) for node in top if isinstance(node, ast.Import | ast.ImportFrom)}
            assert not any(package in text for text in imports)


@pytest.mark.parametrize("module", sorted(of_kind("study") | {"bnopt.plugins", "bnopt.provenance"}))
def test_planning_is_light(module):
    """Planning imports neither numpy nor torch, so a dry run starts in a second or two."""
    for name in reach(module):
        assert PACKAGES[name] <= {"jsonschema", "yaml"}, name


def test_fingerprints_need_nothing_of_the_package():
    assert reach("bnopt.files.fingerprints") == {"bnopt.files.fingerprints"}


TRAINING_REACHES = [
    "bnopt",
    "bnopt.files.artefacts",
    "bnopt.files.fingerprints",
    "bnopt.files.records",
    "bnopt.plugins",
    "bnopt.run.checkpoint",
    "bnopt.run.device",
    "bnopt.run.graphs",
    "bnopt.run.run",
    "bnopt.run.snapshots",
    "bnopt.runtime",
    "bnopt.train",
]


def test_what_training_reaches_changes_only_on_purpose():
    assert list(fingerprints.reached("bnopt.train")) == TRAINING_REACHES, (
        "Every module that bnopt.train reaches is a vote to retrain: any change in its code reruns all runs, "
        "days at the paper's scale. Import less, or, if training really needs it, add it to this list."
    )


def test_a_runs_fingerprint_covers_its_task_its_norm_and_what_they_import():
    reached = fingerprints.reached("bnopt.train", "bnopt.tasks.vgg", "bnopt.norms.noisy_batch")
    more = {"bnopt.files.images", "bnopt.run.streams", "bnopt.tasks._convolution", "bnopt.tasks.vgg"}
    more |= {f"bnopt.norms.{name}" for name in ("batch", "noise", "noisy_batch")}
    packages = {"bnopt.tasks", "bnopt.norms"} & set(reached)
    assert set(reached) == {*TRAINING_REACHES, *more, *packages}


@pytest.mark.parametrize("module", [m for m in FILES if m != "bnopt"])
def test_fingerprints_reach_what_imports_reach(module):
    assert set(fingerprints.reached(module)) & set(FILES) - {"bnopt"} == reach(module)


# -- files written by people ----------------------------------------------------------------------

WRITTEN = ("src", "workflow", "tests", "profiles", "paper", "docs", "bench", ".ci", ".github")
SUFFIXES = (
    *(".py", ".smk", ".yaml", ".yml", ".toml", ".txt", ".md", ".rst", ".tex", ".bib", ".sh", ".cff"),
    *(".json", ".mplstyle", ".cfg", ".ini", ""),
)
# Files of Python, git and file managers. In a worktree .git is a file.
LEFT = ("__pycache__", ".git", ".DS_Store")


def written_files():
    """Yield the files of the repository that people wrote, without results and caches."""
    folders = [ROOT / name for name in WRITTEN if (ROOT / name).is_dir()]
    for file in [*ROOT.iterdir(), *(f for folder in folders for f in folder.rglob("*"))]:
        if file.is_file() and file.suffix in SUFFIXES and not set(LEFT) & {*file.relative_to(ROOT).parts}:
            yield file


def lines_with(pattern):
    found = []
    for file in written_files():
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_the_files_that_people_wrote_are_found():
    found = {str(file.relative_to(ROOT)) for file in written_files()}
    assert {
        "Snakefile",
        "config.yaml",
        "requirements.txt",
        "src/bnopt/train.py",
        "workflow/train.smk",
    } <= found


def test_no_file_names_a_folder_of_one_machine():
    homes = "home|root|work|Users|mnt|opt|scratch|data|srv"
    assert lines_with(re.compile(rf"(?<![\w.~}}\])*>-])/(?:{homes})/\w|[A-Z]:\\\\")) == []


def test_no_file_names_a_package_registry_or_a_mirror():
    """A lock file that names one ties every user to the network of its author."""
    hosts = [
        *(f"{name}." for name in ("pypi", "pythonhosted", "anaconda", "npmjs", "ghcr")),
        *("artifactory", "nexus.", "devpi", "index-url", "find-links", "trusted-host", "localhost:"),
    ]
    pattern = (
        "|".join(map(re.escape, hosts))
        + r"|(?<![=.\d])(?:10|127|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d+){2,3}\b"
    )
    own = f"{Path(__file__).relative_to(ROOT)}:"
    assert [line for line in lines_with(re.compile(pattern)) if not line.startswith(own)] == []
