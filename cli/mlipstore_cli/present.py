"""What people see: progress on stderr, results on stdout, the same facts as JSON."""

from __future__ import annotations

import json as jsonlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import numpy as np

from mlipstore.units import GPA, LAMMPS_BAR_PER_EV_A3

#: Factor and name of the unit of each kind of error.
UNITS = {
    "standard": {"energy": (1e3, "meV/atom"), "force": (1e3, "meV/Å"), "stress": (1.0 / GPA, "GPa")},
    "fitsnap": {"energy": (1.0, "eV/atom"), "force": (1.0, "eV/Å"), "stress": (LAMMPS_BAR_PER_EV_A3, "bar")},
}
KINDS = ("energy", "force", "stress")


class Result(Protocol):
    """Anything that can say itself in plain values."""

    def to_json(self) -> dict[str, Any]: ...


def emit(result: Result, as_json: bool, show: Callable[[], None]) -> None:
    """JSON on stdout, or the form for people."""
    emit_facts(result.to_json(), as_json, show)


def emit_facts(facts: Any, as_json: bool, show: Callable[[], None]) -> None:
    """Plain values as JSON, or the form for people."""
    if as_json:
        print(jsonlib.dumps(_finite(facts), indent=1, ensure_ascii=False, default=str))
    else:
        show()


def _finite(value: Any) -> Any:
    """NaN and infinities as null: they are not JSON."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def say(text: str) -> None:
    """A line of the result."""
    print(text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, title: str | None = None) -> None:
    """Aligned columns, the first ``left`` of them to the left; never cut when the output is a file."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", header_style="bold")
    for i, name in enumerate(columns):
        grid.add_column(name, justify="left" if i < left else "right", no_wrap=i >= left, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    console.print(grid)


# -------------------------------------------------------------------- progress
class Meter:
    """Rate and time left on a terminal; one line a minute elsewhere. Call it with (done, total)."""

    def __init__(self, what: str, unit: str, quiet: bool = False) -> None:
        self.what, self.unit, self.quiet = what, unit, quiet
        self.terminal = sys.stderr.isatty()
        self.began = self.told = time.monotonic()
        self.last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self.quiet or now - self.told < (0.1 if self.terminal else 60.0):
            return
        self.told = now
        spent = now - self.began
        rate = done / spent if spent else 0.0
        left = (total - done) / rate if rate else 0.0
        text = f"{self.what}  {done:,} of {total:,} {self.unit}  {rate:,.0f}/s  {duration(left)} left"
        if self.terminal:
            bar = int(30 * done / total) if total else 0
            sys.stderr.write(f"\r\x1b[K  {'█' * bar}{'░' * (30 - bar)} {text}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self.last = text

    def stage(self, name: str, done: int, total: int) -> None:
        """As a call, for work of several passes."""
        if name != self.what:
            self.what, self.began = name, time.monotonic()
        self(done, total)

    def clear(self) -> None:
        """Remove the bar."""
        if self.terminal and self.last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours} h {m:02d} min" if hours else f"{m} min {s:02d} s"


# --------------------------------------------------------------------- results
def show_ingest(result: Any, store: str, hint: bool = True) -> None:
    """What came in, what was assumed, what was met."""
    c = result.checks
    groups = len(result.groups)
    say(f"  {result.read:,} configurations read · {duration(result.seconds)}")
    if result.known:
        say(f"  {result.known:,} were there already")
    if result.left_out:
        say(f"  {result.left_out:,} left out: not in the groups asked for")
    if result.added:
        say(f"  {result.added:,} added · {result.atoms:,} atoms · {groups} group{'s' * (groups != 1)}")
    if result.relabelled:
        say(
            f"  {result.relabelled:,} configurations have geometries that are stored already, with other labels: both "
            "stay and both count in fits"
        )
        say("    to have only the new labels, ingest into a new store")
    zero = ""
    if c.zero_stress:
        how = "kept as zero pressure" if c.zero_stress_kept else "taken as missing; --zero-stress value keeps them"
        zero = f" ({c.zero_stress:,} all-zero tensors {how})"
    say(f"  labels: energy {c.with_energy:,} · forces {c.with_forces:,} · stress {c.with_stress:,}{zero}")
    if c.zero_forces:
        say(f"  {c.zero_forces:,} configurations have all forces zero (by symmetry, or lost: the audit tells)")
    if c.left_handed:
        say(f"  {c.left_handed:,} left-handed cells (computed correctly; some other codes refuse them)")
    if c.partly_periodic:
        say(f"  {c.partly_periodic:,} configurations are not periodic in all directions: no stress rows for them")
    if c.copies:
        say(
            f"  {c.copies:,} exact copies in the store ({c.copied_geometries:,} geometries, "
            f"{c.geometries_in_several_groups:,} in more than one group); they stay and count"
        )
    for what, n in result.report.assumed.items():
        say(f"  assumed for {n:,}: {what}")
    for what, n in result.report.observed.items():
        example = result.report.examples.get(what)
        say(f"  {n:,} x {what}" + (f" (first: {example[0]})" if example else ""))
    for text in result.report.refused[:20]:
        say(f"  left out: {text}")
    if len(result.report.refused) > 20:
        say(f"  ... and {len(result.report.refused) - 20:,} more (--json lists all)")
    if result.added:
        say(f"  committed {result.snapshot[:8]}")
    else:
        say("  nothing to add: the store holds all of it")
    if hint:
        say(f"next: mlipstore featurize {store} --descriptor FILE.toml")


def show_featurize_plan(plan: Any, feature: Any, workers: int) -> None:
    from mlipstore.memory import human

    say(f"  {feature.alias}   {plan.columns:,} columns x {plan.rows:,} rows = {human(plan.bytes_on_disk)} on disk")
    say(f"  to do: {plan.configurations_missing:,} configurations · {plan.atoms_missing:,} atoms in "
        f"{plan.segments_missing} of {plan.segments} segments")  # fmt: skip
    say(f"  {workers} worker{'s' * (workers != 1)} · {human(plan.bytes_per_worker)} each")


def show_featurize(result: Any, store: str, hint: bool = True) -> None:
    names = " and ".join(x.alias for x in (result.feature, result.baseline) if x is not None)
    if result.segments == 0:
        say(f"  nothing to do: {names} complete for all configurations")
    else:
        rate = result.atoms / result.seconds if result.seconds else 0.0
        say(f"  {names}: {result.configurations:,} configurations · {result.atoms:,} atoms · "
            f"{duration(result.seconds)} · {rate:,.0f} atoms/s · committed {result.snapshot[:8]}")  # fmt: skip
    if hint:
        say(f"next: mlipstore fit {store} --config FIT.toml")


def show_fit_plan(plan: Any) -> None:
    from mlipstore.memory import human

    m = plan.memory
    say(f"  {plan.feature}   {plan.rows:,} rows x {plan.columns:,} columns · reads {human(plan.bytes_read)} twice")
    say(f"  memory {human(m.total)} of {human(plan.allowance)} allowed: program {human(m.imported)}, factor "
        f"{human(m.factor)}, blocks {human(m.blocks)}, solving {human(m.solve)}")  # fmt: skip


def show_fit(result: Any, store: str, units: str, hint: bool = True) -> None:
    """The error table and what to type next."""
    columns = len(result.columns) + len(result.constants)
    if not result.new:
        say(f"  nothing to do: model {result.name!r} is this fit of these data")
    elif result.provenance.get("factors"):
        full = result.provenance["factors"]["full"]
        how = "one pass over the rows for the errors" if full else "no rows read; --full adds mean absolute errors"
        say(f"  {result.rows:,} rows x {columns:,} from kept factors · {duration(result.seconds)} ({how})")
    else:
        say(f"  streamed {result.rows:,} rows x {columns:,} · {duration(result.seconds)}")
    show_errors(result.errors, units)
    say(f"  condition number {result.condition:.1e} · rank {result.rank}/{columns} · weighted residual norm "
        f"{result.residual_norm:.10g}")  # fmt: skip
    say(f'  model "{result.name}" ({result.id})')
    if hint:
        say(f"next: mlipstore plot | export | replay {store} {result.name}")


def show_errors(entries: Sequence[Any], units: str, groups: bool = True) -> None:
    """MAE and RMSE per group and kind, training and test side by side."""
    scale = UNITS[units]
    have = {(e.group, e.split, e.kind): e for e in entries if not e.weighted}
    names = list(dict.fromkeys(e.group for e in entries))
    names = [n for n in names if n != "*"] * groups + ["*"] * ("*" in names)
    splits = [s for s in ("train", "test") if any(k[1] == s for k in have)]
    kinds = [k for k in KINDS if any(x[2] == k for x in have)]
    absolute = any(math.isfinite(e.mae) for e in have.values())  # a fit from factors has none
    header = ["group", "configurations"]
    for kind in kinds:
        for split in splits:
            unit = scale[kind][1]
            header += [f"{kind} {split}\nMAE {unit}", "\nRMSE"] if absolute else [f"{kind} {split}\nRMSE {unit}"]
    rows = []
    for name in names:
        counts = [have[name, s, "energy"].n for s in splits if (name, s, "energy") in have]
        row = ["all" if name == "*" else name, "/".join(f"{n:,}" for n in counts)]
        for kind in kinds:
            for split in splits:
                e = have.get((name, split, kind))
                values = [] if e is None else [e.mae, e.rmse] if absolute else [e.rmse]
                row += [number(v * scale[kind][0]) for v in values] or [""] * (1 + absolute)
        rows.append(row)
    table(header, rows)


def show_errors_long(entries: Sequence[Any], units: str) -> None:
    """Every line: count, MAE, RMSE, largest error and R^2."""
    scale = UNITS[units]
    rows = [
        [e.group, e.split, e.kind, "weighted" if e.weighted else "", f"{e.n:,}"]
        + [number(v * (1.0 if e.weighted else scale[e.kind][0])) for v in (e.mae, e.rmse, e.max)]
        + ["" if e.weighted else scale[e.kind][1], f"{e.rsq:.6f}" if math.isfinite(e.rsq) else "-"]
        for e in entries
    ]
    table(["group", "split", "kind", "", "n", "MAE", "RMSE", "max", "unit", "R²"], rows, left=4)


def number(value: float) -> str:
    """Six significant digits, as tables of the field print."""
    return "-" if not math.isfinite(value) else f"{value:.6g}"


def show_replay(result: Any) -> None:
    if result.equal:
        say(f'  "{result.stored.name}" repeated: equal bits ({duration(result.repeated.seconds)})')
        return
    say(f'  "{result.stored.name}" repeated: NOT equal, largest relative difference {result.largest_difference:.1e}')
    for name, (then, now) in result.changed_versions.items():
        say(f"  {name}: {then} then, {now} now")


def show_predict(result: Any, units: str) -> None:
    where = f" · wrote {result.output}" if result.output else ""
    say(f"  {result.configurations:,} configurations · {result.atoms:,} atoms predicted{where}")
    for what, n in result.report.assumed.items():
        say(f"  assumed for {n:,}: {what}")
    if result.checks.zero_stress and not result.checks.zero_stress_kept:
        say(f"  {result.checks.zero_stress:,} all-zero stresses taken as missing; --zero-stress value counts them")
    if result.errors:
        show_errors(result.errors, units)
    else:
        say("  no labels in the file, so no errors")


def show_export(result: Any) -> None:
    say("  " + " ".join(str(f) for f in result.files))
    if result.check:
        c = result.check
        say(f"  checked in {c['program']} on {c['configurations']} configurations: max |dE| "
            f"{c['max_energy_difference']:.1e} eV/atom, max |dF| {c['max_force_difference']:.1e} eV/Å")  # fmt: skip


def emit_paths(paths: Sequence[Any], as_json: bool) -> None:
    """Files that were written."""
    if as_json:
        print(jsonlib.dumps([str(p) for p in paths], indent=1))
    else:
        for path in paths:
            say(f"  {path}")


class RunObserver:
    """Tells the stages of ``run`` as they come."""

    def __init__(self, settings: Any, quiet: bool, as_json: bool) -> None:
        self.settings, self.quiet, self.as_json = settings, quiet, as_json
        self.current = Meter("run", "", quiet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.current.clear()

    def tell(self, stage: str, result: Any) -> None:
        """A stage begins (result None) or ends."""
        if self.as_json:
            return
        if result is None:
            self.current = Meter(stage, {"ingest": "files", "featurize": "atoms"}.get(stage, "rows"), self.quiet)
            say(stage)
            sys.stdout.flush()
            return
        self.current.clear()
        store = self.settings.store
        if stage == "ingest":
            show_ingest(result, store, hint=False)
        elif stage == "featurize":
            show_featurize(result, store, hint=False)
        elif stage == "fit":
            show_fit(result, store, self.settings.evaluate.units, hint=False)
        elif stage == "export":
            for export in result:
                show_export(export)
        else:
            emit_paths(result, False)
        sys.stdout.flush()

    def meter(self, stage: str, done: int, total: int) -> None:
        """Progress of the present stage."""
        self.current.stage(stage, done, total)


# --------------------------------------------------------------------- looking
def show_facts(facts: dict[str, Any], units: str) -> None:
    """A store or one thing in it."""
    kind = facts["kind"]
    if kind == "store":
        _show_store(facts)
    elif kind == "model":
        _show_model(facts, units)
    else:
        for key, value in facts.items():
            if key not in ("columns", "column_elements", "kind"):
                say(f"  {key}: {_short(value)}")
        if "columns" in facts:
            say(f"  columns: {len(facts['columns']):,}, from {facts['columns'][0]!r} to {facts['columns'][-1]!r}")


def _short(value: Any) -> str:
    return jsonlib.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)


def _show_store(facts: dict[str, Any]) -> None:
    say(f"{facts['path']} at {facts['snapshot'][:8]}")
    say(f"  {facts['configurations']:,} configurations · {facts['atoms']:,} atoms · {' '.join(facts['elements'])} · "
        f"{len(facts['groups'])} groups · {facts['segments']} segments")  # fmt: skip
    if facts["groups"]:
        table(["group", "configurations"], [[g, f"{n:,}"] for g, n in facts["groups"].items()])
    if facts["features"]:
        table(
            ["features", "id", "columns", "configurations", "missing"],
            [[f["alias"], f["id"], f"{f['columns']:,}", f"{f['configurations']:,}", f"{f['configurations_missing']:,}"]
             for f in facts["features"]],
            left=2,
        )  # fmt: skip
    for b in facts["baselines"]:
        say(f"  baseline {b['alias']} ({b['id']})")
    for s in facts["studies"]:
        say(f"  study {s['alias']} ({s['id']}): {s['trials']:,} trials")
    if facts["models"]:
        rows = []
        for m in facts["models"]:
            cells = []
            for kind in KINDS:
                factor, _ = UNITS["standard"][kind]
                both = [m["rmse"].get(f"{kind}_{s}") for s in ("train", "test")]
                cells.append(" / ".join(number(v * factor) for v in both if v is not None))
            rows.append([m["alias"], m["id"], m["feature"], *cells])
        header = ["model", "id", "features"]
        header += [f"{k} RMSE {UNITS['standard'][k][1]}\ntrain / test" for k in KINDS]
        table(header, rows, left=3)


def _show_model(facts: dict[str, Any], units: str) -> None:
    from mlipstore.metrics import Entry

    provenance = facts["provenance"]
    say(f"model {facts['name']} ({facts['model']})")
    say(f"  made by: {provenance['command']}")
    say(f"  data: snapshot {provenance['data_snapshot']}, digest {provenance['data_digest']}")
    say(f"  features: {provenance['feature']['alias']} ({provenance['feature']['id']})")
    if provenance["baseline"]:
        say(f"  baseline: {provenance['baseline']['alias']} ({provenance['baseline']['id']})")
    say(f"  solver: {_short(provenance['fit']['solver'])}")
    say(f"  versions: {_short(provenance['versions'])}")
    say(f"  {facts['rows']:,} rows x {facts['columns']:,} · rank {facts['rank']} · condition {facts['condition']:.1e}")
    say(f"  weighted residual norm {facts['weighted_residual_norm']:.10g}")
    show_errors_long([Entry(**e) for e in facts["errors"]], units)


def emit_log(commits: Sequence[Any], full: bool, as_json: bool) -> None:
    """Versions; commits of one run of a command count as one line unless ``full``."""
    if as_json:
        print(jsonlib.dumps(
            [{"id": c.id, "time": c.time.isoformat(), "message": c.message, **c.metadata} for c in commits], indent=1
        ))  # fmt: skip
        return
    if full:
        for c in commits:
            say(f"{c.id}  {c.time:%Y-%m-%d %H:%M:%S}  {c.message}")
            say(f"    {c.metadata.get('command', '')}")
            say(f"    {_short(c.metadata.get('versions', {}))}")
        return
    runs: dict[str, list[Any]] = {}
    for c in commits:
        runs.setdefault(c.metadata.get("run") or c.id, []).append(c)
    for group in runs.values():
        c = group[0]
        say(f"{c.id[:8]}  {c.time:%Y-%m-%d %H:%M}  {c.metadata.get('verb', ''):10s} {_summary(group)}")


def _summary(commits: Sequence[Any]) -> str:
    """One line on what a run of a command changed."""
    first = commits[-1].message
    verb = commits[0].metadata.get("verb")
    if verb == "ingest":
        n = sum(c.metadata.get("summary", {}).get("configurations", 0) for c in commits)
        return f"{n:,} configurations"
    if verb == "fit":
        s = commits[0].metadata.get("summary", {})
        parts = []
        for kind in KINDS:
            factor, unit = UNITS["standard"][kind]
            for split in ("train", "test"):
                value = s.get(f"{kind}_{split}_rmse")
                if value is not None:
                    parts.append(f"{kind} {split} {number(value * factor)} {unit}")
        return f"{commits[0].message.removeprefix('fit ')}  {' · '.join(parts)}"
    return f"{first}" + (f" ({len(commits)} versions)" if len(commits) > 1 else "")
