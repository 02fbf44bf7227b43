#include "batch.hpp"

#include <cmath>

namespace mlipstore {

void prepare(NeighbourFinder& finder, const BatchView& batch, std::int64_t i, double cutoff) {
    const std::int64_t first = batch.atom_start[i];
    try {
        finder.prepare(batch.atom_start[i + 1] - first, batch.position + 3 * first, batch.type + first,
                       batch.cell + 9 * i, batch.pbc + 3 * i, cutoff);
    } catch (const std::logic_error& error) {
        throw ConfigurationError(error.what(), i);
    }
}

double inverse_volume(const double* h, const std::uint8_t* pbc) {
    if (pbc[0] == 0 || pbc[1] == 0 || pbc[2] == 0) return 0.0;
    const double det = h[0] * (h[4] * h[8] - h[5] * h[7]) - h[1] * (h[3] * h[8] - h[5] * h[6]) +
                       h[2] * (h[3] * h[7] - h[4] * h[6]);
    return 1.0 / std::fabs(det);
}

}  // namespace mlipstore
