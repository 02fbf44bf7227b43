"""What people see: progress on stderr, results on stdout, the same facts as JSON."""

from __future__ import annotations

import json as jsonlib
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from .error_tables import show_errors
from .progress import Meter, duration
from .tables import counted, next_step, number, say, table

#: Small segments from which on it is time to merge them.
_MANY_SMALL = 200

__all__ = ["Meter", "duration", "emit", "emit_facts", "number", "say", "table"]


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


# --------------------------------------------------------------------- results
def show_ingest(result: Any, store: str, hint: bool = True) -> None:
    """What came in, what was assumed, what was met."""
    c = result.checks
    say(f"  {counted(result.read, 'configuration')} read · {duration(result.seconds)}")
    if result.known:
        say(f"  {counted(result.known, 'was', 'were')} there already")
    if result.removed:
        say(f"  of these, {counted(result.removed, 'was', 'were')} removed or replaced, which stays so; see restore")
    if result.left_out:
        say(f"  {result.left_out:,} left out: not in the groups asked for")
    if result.added:
        say(f"  {result.added:,} added · {counted(result.atoms, 'atom')} · {counted(len(result.groups), 'group')}")
    if result.relabelled:
        say(
            f"  {counted(result.relabelled, 'configuration')} of geometries that are stored already, with other labels:"
            " both stay and count"
        )
        say("    to have only the new labels, ingest into a new store")
    zero = ""
    if c.zero_stress:
        how = "kept as zero pressure" if c.zero_stress_kept else "taken as missing; --zero-stress value keeps them"
        zero = f" ({c.zero_stress:,} all-zero tensors {how})"
    say(f"  labels: energy {c.with_energy:,} · forces {c.with_forces:,} · stress {c.with_stress:,}{zero}")
    if c.zero_forces:
        zeros = counted(c.zero_forces, "configuration")
        say(f"  all forces are zero in {zeros} (by symmetry, or lost: the audit tells)")
    if c.left_handed:
        say(f"  {counted(c.left_handed, 'left-handed cell')} (computed correctly; some other codes refuse them)")
    if c.partly_periodic:
        say(f"  no stress rows for {counted(c.partly_periodic, 'configuration')}: not periodic in all directions")
    if c.copies:
        say(
            f"  {counted(c.copies, 'exact copy', 'exact copies')} in the store "
            f"({counted(c.copied_geometries, 'geometry', 'geometries')}, "
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
    elif result.known:
        say("  nothing to add: the store holds all of it")
    if result.merged:
        say(f"  {result.merged:,} small segments were merged into larger ones")
    elif result.small_segments >= _MANY_SMALL:
        say(f"  {result.small_segments:,} small segments make the store slow: mlipstore compact {shlex.quote(store)}")
    if hint:
        next_step("featurize", store, "--descriptor", "FILE.toml", or_else="   (or -d snap --set rcutfac=4.7)")


def show_featurize_plan(plan: Any, feature: Any, workers: int) -> None:
    from mlipstore.memory import human

    say(f"  {feature.alias}   {plan.columns:,} columns x {plan.rows:,} rows = {human(plan.bytes_on_disk)} on disk")
    say(f"  to do: {counted(plan.configurations_missing, 'configuration')} · {counted(plan.atoms_missing, 'atom')} in "
        f"{plan.segments_missing} of {counted(plan.segments, 'segment')}")  # fmt: skip
    say(f"  {counted(workers, 'worker')} · {human(plan.bytes_per_worker)} each")


def show_featurize(result: Any, store: str, hint: bool = True) -> None:
    names = " and ".join(x.alias for x in (result.feature, result.baseline) if x is not None)
    if result.segments == 0:
        say(f"  nothing to do: {names} complete for all configurations")
    else:
        rate = result.atoms / result.seconds if result.seconds else 0.0
        say(f"  {names}: {counted(result.configurations, 'configuration')} · {counted(result.atoms, 'atom')} · "
            f"{duration(result.seconds)}{_device(result, ' on ')} · "
            f"{rate:,.0f} atoms/s · committed {result.snapshot[:8]}")  # fmt: skip
    if hint:
        next_step("fit", store, or_else="   (--config FIT.toml: weights, test sets, solver)")


def _device(result: Any, before: str) -> str:
    """What computed rows or a factor, if it was not the processor, and in how many workers."""
    return "" if result.device == "cpu" else f"{before}{result.device} ({counted(result.workers, 'worker')})"


def show_fit_plan(planned: Any) -> None:
    from mlipstore.memory import human

    from .planning import show_forecast

    plan = planned.plan
    say(f"  {plan.feature}   {plan.rows:,} rows x {plan.columns:,} columns · reads {human(plan.bytes_read)} twice")
    show_forecast(planned)
    if plan.note:
        say(f"  {plan.note}")


def show_fit(result: Any, store: str, units: str, hint: bool = True) -> None:
    """The error table and what to type next."""
    columns = len(result.columns) + len(result.constants)
    if not result.new:
        names = " and ".join(map(repr, [result.name, *result.also]))
        say(f"  nothing to do: the model called {names} is this fit of these data")
    elif result.provenance.get("factors"):
        full = result.provenance["factors"]["full"]
        how = "one pass over the rows for the errors" if full else "no rows read; --full adds mean absolute errors"
        if result.rows_not_kept:
            how = f"{counted(result.rows_not_kept, 'row')} read, whose factors are above the limit; see factor --plan"
        say(f"  {result.rows:,} rows x {columns:,} from kept factors · {duration(result.seconds)} ({how})")
    else:
        where = _device(result, " · on ")
        if where and result.rows_made_by:
            where += " with its rows" if result.rows_made_by == result.device else ", rows made on the processor"
        say(f"  streamed {result.rows:,} rows x {columns:,} · {duration(result.seconds)}{where}")
    show_errors(result.errors, units)
    say(f"  condition number {result.condition:.1e} · rank {result.rank}/{columns} · weighted residual norm "
        f"{result.residual_norm:.10g}")  # fmt: skip
    say(f'  model "{result.name}" ({result.id})')
    if hint:
        next_step("plot", store, result.name, or_else="   (likewise: export, predict, replay)")


def after_run(result: Any) -> None:
    """What to type after a run: the next thing that its run file did not ask for."""
    if result.fit is None:
        next_step("show", result.store)
    elif not result.plots:
        next_step("plot", result.store, result.fit.name, or_else="   (likewise: export, predict, replay)")
    elif not result.exports:
        next_step("export", result.store, result.fit.name, "--format", "lammps-snap")
    else:
        next_step("predict", result.store, result.fit.name, "NEW.xyz")


def show_replay(result: Any) -> None:
    if result.equal:
        say(f'  "{result.stored.name}" repeated: equal bits ({duration(result.repeated.seconds)})')
        return
    say(f'  "{result.stored.name}" repeated: NOT equal, largest relative difference {result.largest_difference:.1e}')
    for name, (then, now) in result.changed_versions.items():
        say(f"  {name}: {then} then, {now} now")


def show_predict(result: Any, units: str) -> None:
    where = f" · wrote {result.output}" if result.output else ""
    say(f"  {counted(result.configurations, 'configuration')} · {counted(result.atoms, 'atom')} predicted{where}")
    for what, n in result.report.assumed.items():
        say(f"  assumed for {n:,}: {what}")
    if result.checks.zero_stress and not result.checks.zero_stress_kept:
        say(f"  {result.checks.zero_stress:,} all-zero stresses taken as missing; --zero-stress value counts them")
    if result.errors:
        show_errors(result.errors, units)
    else:
        say("  no labels in the file, so no errors")


def show_data_export(result: Any) -> None:
    """What was written, what the format could not hold, and how it is read back."""
    groups = len(result.groups)
    say(f"  {result.path}: {counted(result.configurations, 'configuration')} of {counted(groups, 'group')}")
    for why, n in result.left_out.items():
        say(f"  {n:,} left out: {why}")
    for what, n in result.lost.items():
        say(f"  {n:,} without or with another: {what}")
    options = [word for k, v in result.options.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    next_step("ingest", "STORE", result.path, *options)


def show_export(result: Any) -> None:
    say("  " + " ".join(str(f) for f in result.files))
    if result.check:
        c = result.check
        say(f"  checked in {c['program']} on {counted(c['configurations'], 'configuration')}: max |dE| "
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
            if self.settings.export.prefix is None:
                say(f"  in {Path.cwd()} (prefix in [export] says where else)")
        else:
            emit_paths(result, False)
        sys.stdout.flush()

    def meter(self, stage: str, done: int, total: int) -> None:
        """Progress of the present stage."""
        self.current.stage(stage, done, total)
