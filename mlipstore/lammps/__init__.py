"""LAMMPS: as a calculator inside this process, its frame of a cell, its commands taken apart, SNAP rows from it."""
