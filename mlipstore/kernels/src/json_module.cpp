// Python face of the columns of FitSNAP JSON files; `mlipstore.readers._fitsnap_runs` uses it.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "json_files.hpp"
#include "owned_array.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using mlipstore::array;
using mlipstore::JsonFiles;
using mlipstore::JsonReader;

nb::tuple read_files(const JsonReader& reader, const std::vector<nb::bytes>& names, std::size_t max_atoms) {
    std::vector<std::string> paths;
    for (const nb::bytes& name : names) paths.emplace_back(name.c_str(), name.size());
    JsonFiles found;
    {
        const nb::gil_scoped_release release;
        found = reader.read(paths, max_atoms);
    }
    const std::size_t n = found.n_atoms.size(), atoms = found.numbers.size();
    nb::list styles, labels;
    for (std::size_t k = 0; k < found.styles.name.size(); k++)
        styles.append(found.styles.given[k] ? nb::object(nb::cast(found.styles.name[k])) : nb::none());
    for (const std::string& label : found.labels) labels.append(nb::cast(label));
    return nb::make_tuple(array(std::move(found.n_atoms), n), array(std::move(found.numbers), atoms),
                          array(std::move(found.positions), atoms, 3), array(std::move(found.forces), atoms, 3),
                          array(std::move(found.cells), n, 9), array(std::move(found.stresses), n, 9),
                          array(std::move(found.energies), n), labels, array(std::move(found.label), n), styles);
}

}  // namespace

NB_MODULE(MLIPSTORE_MODULE, m) {
    nb::class_<JsonReader>(m, "JsonReader")
        .def(nb::init<std::vector<std::string>>(), "symbols"_a)
        .def("read", &read_files, "paths"_a, "max_atoms"_a,
             "Of the first files that look alike: n_atoms (n), atomic numbers (N), positions and forces (N, 3), cells and "
             "stresses (n, 9), energies (n), labels, which one each file has (n, -1: none), and the styles of Lattice, "
             "Positions, Energy, Forces, Stress.");
}
