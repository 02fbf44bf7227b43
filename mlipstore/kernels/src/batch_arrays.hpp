// Arrays of the Python class Batch in the extension modules.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "batch.hpp"

namespace mlipstore {

namespace nb = nanobind;

template <class T, int D>
using In = nb::ndarray<const T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <int D, class T = double>
using Out = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;

inline void need(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// A batch whose shapes and indices are consistent; keeps no reference, the caller's arrays outlive the call.
inline BatchView view(int n_types, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
                      const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc) {
    need(atom_start.shape(0) >= 1, "atom_start must have one value more than there are configurations");
    const std::size_t n = atom_start.shape(0) - 1, atoms = type.shape(0);
    need(position.shape(0) == atoms && position.shape(1) == 3, "position must be (atoms, 3)");
    need(cell.shape(0) == n && cell.shape(1) == 3 && cell.shape(2) == 3, "cell must be (configurations, 3, 3)");
    need(pbc.shape(0) == n && pbc.shape(1) == 3, "pbc must be (configurations, 3)");
    const std::int64_t* start = atom_start.data();
    need(start[0] == 0 && start[n] == std::int64_t(atoms), "atom_start must run from 0 to the number of atoms");
    for (std::size_t i = 0; i < n; i++) {
        need(start[i] <= start[i + 1], "atom_start must not decrease");
        need(start[i + 1] - start[i] < (std::int64_t(1) << 31), "more than 2^31 atoms in one configuration");
    }
    for (std::size_t i = 0; i < atoms; i++)
        need(type.data()[i] >= 0 && type.data()[i] < n_types, "an element index is out of range");
    return {std::int64_t(n), start, type.data(), position.data(), cell.data(), pbc.data()};
}

// Makes ConfigurationError a ValueError of two arguments, the message and the index of the configuration.
inline void translate_errors() {
    nb::register_exception_translator([](const std::exception_ptr& p, void*) {
        try {
            std::rethrow_exception(p);
        } catch (const ConfigurationError& error) {
            PyErr_SetObject(PyExc_ValueError, nb::make_tuple(error.what(), error.index).ptr());
        }
    });
}

}  // namespace mlipstore
