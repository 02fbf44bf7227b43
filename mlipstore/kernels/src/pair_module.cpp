// Python face of compiled pair potentials; `mlipstore.kernels.pair` uses it.
#include <nanobind/stl/vector.h>

#include "batch_arrays.hpp"
#include "pair_zbl.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using mlipstore::BatchView;
using mlipstore::In;
using mlipstore::Out;
using mlipstore::need;
using mlipstore::Zbl;

namespace {

void evaluate(const Zbl& zbl, const In<std::int64_t, 1>& atom_start, const In<std::int32_t, 1>& type,
              const In<double, 2>& position, const In<double, 3>& cell, const In<std::uint8_t, 2>& pbc, Out<1> energy,
              Out<2> force, Out<2> stress) {
    const BatchView batch = mlipstore::view(zbl.n_types(), atom_start, type, position, cell, pbc);
    const std::size_t n = std::size_t(batch.n), atoms = type.shape(0);
    need(energy.shape(0) == n, "energy must be (configurations)");
    need(force.shape(0) == atoms && force.shape(1) == 3, "force must be (atoms, 3)");
    need(stress.shape(0) == n && stress.shape(1) == 6, "stress must be (configurations, 6)");
    const nb::gil_scoped_release release;
    zbl.evaluate(batch, energy.data(), force.data(), stress.data());
}

}  // namespace

NB_MODULE(MLIPSTORE_MODULE, m) {
    mlipstore::translate_errors();
    nb::class_<Zbl>(m, "Zbl")
        .def(
            "__init__",
            [](Zbl* self, int n_types, const std::vector<double>& zi, const std::vector<double>& zj, double inner,
               double outer) {
                const std::size_t pairs = n_types > 0 ? std::size_t(n_types) * std::size_t(n_types) : 0;
                need(pairs > 0 && zi.size() == pairs && zj.size() == pairs, "zi and zj must be (types x types)");
                need(0.0 < inner && inner < outer, "radii must be 0 < inner < outer");
                new (self) Zbl(n_types, zi, zj, inner, outer);
            },
            "n_types"_a, "zi"_a, "zj"_a, "inner"_a, "outer"_a)
        .def("evaluate", &evaluate, "atom_start"_a, "type"_a, "position"_a, "cell"_a, "pbc"_a, "energy"_a, "force"_a,
             "stress"_a);
}
