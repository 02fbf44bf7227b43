// Python face of the columns of extended XYZ frames; `mlipstore.readers._xyz_columns` uses it.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "owned_array.hpp"
#include "xyz_frames.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using mlipstore::array;
using mlipstore::XyzFrames;
using mlipstore::XyzPattern;
using mlipstore::XyzPiece;

nb::tuple read_frames(const XyzPattern& pattern, const nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig>& data,
               std::size_t start, std::size_t stop, std::size_t max_atoms, std::size_t max_frames) {
    if (start > data.shape(0)) throw nb::value_error("start is beyond the data");
    XyzFrames found;
    {
        const nb::gil_scoped_release release;
        const std::string_view bytes(reinterpret_cast<const char*>(data.data()), data.shape(0));
        found = pattern.read(bytes, start, stop, max_atoms, max_frames);
    }
    const std::size_t n = found.n_atoms.size(), atoms = found.numbers.size();
    nb::list texts;
    for (auto& text : found.texts) {
        nb::list each;
        for (const std::string& value : text.each) each.append(nb::bytes(value.data(), value.size()));
        texts.append(nb::make_tuple(each, array(std::move(text.which), n)));
    }
    const std::size_t columns = std::size_t(pattern.n_columns), heads = n == 0 ? 1 : found.heads.size() / n;
    return nb::make_tuple(found.next, array(std::move(found.n_atoms), n), array(std::move(found.numbers), atoms),
                          array(std::move(found.columns), atoms, columns), array(std::move(found.heads), n, heads), texts);
}

}  // namespace

NB_MODULE(MLIPSTORE_MODULE, m) {
    nb::class_<XyzPattern>(m, "XyzPattern")
        .def(
            "__init__",
            [](XyzPattern* self, const std::vector<int>& kinds, const std::vector<nb::bytes>& bytes,
               const std::vector<int>& counts, std::vector<int> fields, std::vector<std::string> symbols) {
                if (kinds.size() != bytes.size() || kinds.size() != counts.size())
                    throw nb::value_error("kinds, bytes and counts must have one entry for each piece");
                std::vector<XyzPiece> pieces;
                for (std::size_t i = 0; i < kinds.size(); i++)
                    pieces.push_back({kinds[i], std::string(bytes[i].c_str(), bytes[i].size()), counts[i]});
                int species = 0, columns = 0;
                for (const int field : fields) {
                    species += field == mlipstore::symbol || field == mlipstore::atomic_number;
                    columns += field >= 0;
                }
                if (species != 1 || columns == 0) throw nb::value_error("an atom line has one species, and numbers");
                new (self) XyzPattern(std::move(pieces), std::move(fields), std::move(symbols));
            },
            "kinds"_a, "bytes"_a, "counts"_a, "fields"_a, "symbols"_a)
        .def("read", &read_frames, "data"_a, "start"_a, "stop"_a, "max_atoms"_a, "max_frames"_a,
             "Next byte, n_atoms (n), atomic numbers (N), real columns (N, columns), numbers of the comment lines (n, "
             "heads), and for each text of the comment line its values and which one each frame has (n).");
}
