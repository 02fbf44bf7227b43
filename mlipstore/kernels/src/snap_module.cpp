// Python face of the SNAP kernel: checks shapes, releases the interpreter lock, calls. One extension module for each
// instruction set; `mlipstore.kernels` chooses.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "batch_arrays.hpp"
#include "snap_rows.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using mlipstore::BatchView;
using mlipstore::In;
using mlipstore::need;
using mlipstore::Out;
using mlipstore::SnapKernel;
using mlipstore::SnapSettings;
using mlipstore::view;

void rows(SnapKernel& kernel, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
          const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc, Out<2> energy,
          std::optional<Out<2>> force, std::optional<Out<2>> stress, bool quadratic) {
    const BatchView batch = view(kernel.plan.settings.n_elements, atom_start, type, position, cell, pbc);
    const std::size_t columns = std::size_t(kernel.plan.n_columns);
    const std::size_t width =
        std::size_t(kernel.plan.settings.n_elements) * (quadratic ? columns + columns * (columns + 1) / 2 : columns);
    need(energy.shape(0) == std::size_t(batch.n) && energy.shape(1) == width, "energy must be (configurations, features)");
    need(force.has_value() == stress.has_value(), "give both force and stress, or neither");
    need(!force || (force->shape(0) == 3 * type.shape(0) && force->shape(1) == width), "force must be (3 atoms, features)");
    need(!stress || (stress->shape(0) == 6 * std::size_t(batch.n) && stress->shape(1) == width),
         "stress must be (6 configurations, features)");
    double* const force_data = force ? force->data() : nullptr;
    double* const stress_data = stress ? stress->data() : nullptr;
    const nb::gil_scoped_release release;
    if (quadratic)
        kernel.quadratic_rows(batch, energy.data(), force_data, stress_data);
    else
        kernel.linear_rows(batch, energy.data(), force_data, stress_data);
}

void atom_components(SnapKernel& kernel, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
                     const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc, Out<2> out) {
    const BatchView batch = view(kernel.plan.settings.n_elements, atom_start, type, position, cell, pbc);
    need(out.shape(0) == type.shape(0) && out.shape(1) == std::size_t(kernel.plan.n_columns), "out must be (atoms, columns)");
    const nb::gil_scoped_release release;
    kernel.atom_components(batch, out.data());
}

void evaluate(SnapKernel& kernel, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
              const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc,
              const In<double, 2>& coefficients, bool quadratic, Out<1> energy, std::optional<Out<1>> atom_energy,
              std::optional<Out<2>> force, std::optional<Out<2>> stress) {
    const BatchView batch = view(kernel.plan.settings.n_elements, atom_start, type, position, cell, pbc);
    const std::size_t columns = std::size_t(kernel.plan.n_columns), n = std::size_t(batch.n), atoms = type.shape(0);
    need(coefficients.shape(0) == std::size_t(kernel.plan.settings.n_elements) &&
             coefficients.shape(1) == (quadratic ? columns + columns * (columns + 1) / 2 : columns),
         "coefficients must be (elements, columns of one element)");
    need(energy.shape(0) == n, "energy must be (configurations)");
    need(!atom_energy || atom_energy->shape(0) == atoms, "atom_energy must be (atoms)");
    need(force.has_value() == stress.has_value(), "give both force and stress, or neither");
    need(!force || (force->shape(0) == atoms && force->shape(1) == 3), "force must be (atoms, 3)");
    need(!stress || (stress->shape(0) == n && stress->shape(1) == 6), "stress must be (configurations, 6)");
    const mlipstore::Evaluation out{energy.data(), atom_energy ? atom_energy->data() : nullptr,
                                    force ? force->data() : nullptr, stress ? stress->data() : nullptr};
    const nb::gil_scoped_release release;
    kernel.evaluate(batch, coefficients.data(), quadratic, out);
}

std::int64_t count_pairs(SnapKernel& kernel, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
                         const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc,
                         Out<1, std::int64_t> pair_start) {
    const BatchView batch = view(kernel.plan.settings.n_elements, atom_start, type, position, cell, pbc);
    need(pair_start.shape(0) == type.shape(0) + 1, "pair_start must be (atoms + 1)");
    const nb::gil_scoped_release release;
    return kernel.count_pairs(batch, pair_start.data());
}

void pair_gradients(SnapKernel& kernel, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
                    const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc,
                    const In<std::int64_t, 1>& pair_start, Out<1, std::int64_t> neighbour, Out<2> vector, Out<3> gradient,
                    Out<2> components) {
    const BatchView batch = view(kernel.plan.settings.n_elements, atom_start, type, position, cell, pbc);
    const std::size_t atoms = type.shape(0), columns = std::size_t(kernel.plan.n_columns);
    need(pair_start.shape(0) == atoms + 1, "pair_start must be (atoms + 1)");
    const std::size_t pairs = std::size_t(pair_start.data()[atoms]);
    for (std::size_t k = 0; k < atoms; k++)
        need(pair_start.data()[k] >= 0 && pair_start.data()[k] <= pair_start.data()[k + 1], "pair_start must not decrease");
    need(neighbour.shape(0) == pairs && vector.shape(0) == pairs && vector.shape(1) == 3,
         "neighbour and vector must be (pairs) and (pairs, 3)");
    need(gradient.shape(0) == pairs && gradient.shape(1) == 3 && gradient.shape(2) == columns,
         "gradient must be (pairs, 3, columns)");
    need(components.shape(0) == atoms && components.shape(1) == columns, "components must be (atoms, columns)");
    const nb::gil_scoped_release release;
    kernel.pair_gradients(batch, pair_start.data(), neighbour.data(), vector.data(), gradient.data(), components.data());
}

std::vector<std::string> supported() {
    std::vector<std::string> names{"baseline"};
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd");
    if (v3) names.emplace_back("avx2");
    if (v3 && v4) names.emplace_back("avx512");
#endif
    return names;
}

}  // namespace

NB_MODULE(MLIPSTORE_MODULE, m) {
    m.attr("isa") = MLIPSTORE_ISA;
    m.attr("width") = MLIPSTORE_WIDTH;
    m.def("supported", &supported, "Instruction sets of this processor, narrowest first.");

    mlipstore::translate_errors();
    nb::class_<SnapKernel>(m, "SnapKernel")
        .def(
            "__init__",
            [](SnapKernel* self, int twojmax, double rcutfac, std::vector<double> radius, std::vector<double> weight,
               double rfac0, double rmin0, bool switching, std::vector<double> sinner, std::vector<double> dinner,
               bool bzero, bool chem, bool bnorm, bool wselfall) {
                SnapSettings s;
                s.n_elements = int(radius.size());
                s.twojmax = twojmax;
                s.rcutfac = rcutfac;
                s.rfac0 = rfac0;
                s.rmin0 = rmin0;
                s.radius = std::move(radius);
                s.weight = std::move(weight);
                s.sinner = std::move(sinner);
                s.dinner = std::move(dinner);
                s.switching = switching;
                s.bzero = bzero;
                s.chem = chem;
                s.bnorm = bnorm;
                s.wselfall = wselfall;
                new (self) SnapKernel(s);
            },
            "twojmax"_a, "rcutfac"_a, "radius"_a, "weight"_a, "rfac0"_a, "rmin0"_a, "switching"_a, "sinner"_a,
            "dinner"_a, "bzero"_a, "chem"_a, "bnorm"_a, "wselfall"_a)
        .def_prop_ro("n_columns", [](const SnapKernel& k) { return k.plan.n_columns; }, "Columns of one element.")
        .def("rows", &rows, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a, "energy"_a,
             "force"_a.none() = nb::none(), "stress"_a.none() = nb::none(), "quadratic"_a = false)
        .def("atom_components", &atom_components, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a, "out"_a)
        .def("evaluate", &evaluate, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a, "coefficients"_a,
             "quadratic"_a, "energy"_a, "atom_energy"_a.none(), "force"_a.none(), "stress"_a.none())
        .def("count_pairs", &count_pairs, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a, "pair_start"_a)
        .def("pair_gradients", &pair_gradients, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a,
             "pair_start"_a, "neighbour"_a, "vector"_a, "gradient"_a, "components"_a);
}
