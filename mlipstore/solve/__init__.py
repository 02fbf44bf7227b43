"""Factor algebra and solvers on the triangular factor."""
