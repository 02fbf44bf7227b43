#include "pair_zbl.hpp"

#include <algorithm>
#include <cmath>

namespace mlipstore {

namespace {

constexpr double coulomb = 14.399645;  // eV Å, LAMMPS metal units
constexpr double exponent = 0.23, length = 0.46850;
constexpr double weights[4] = {0.02817, 0.28022, 0.50986, 0.18175};
constexpr double rates[4] = {0.20162, 0.40290, 0.94229, 3.19980};
const char* const not_finite = "the energy or a force is not finite; are two atoms at the same place?";

}  // namespace

Zbl::Zbl(int n_types, const std::vector<double>& zi, const std::vector<double>& zj, double inner, double outer)
    : inner_(inner), pairs_(std::size_t(n_types) * n_types) {
    cutoffs_.n_types = n_types;
    cutoffs_.squared.assign(pairs_.size(), 0.0);
    for (std::size_t p = 0; p < pairs_.size(); p++) {
        if (zi[p] == 0.0 || zj[p] == 0.0) continue;
        Pair& pair = pairs_[p];
        const double screening = (std::pow(zi[p], exponent) + std::pow(zj[p], exponent)) / length;
        for (int k = 0; k < 4; k++) {
            pair.factor[k] = coulomb * zi[p] * zj[p] * weights[k];
            pair.decay[k] = rates[k] * screening;
        }
        double energy = 0, slope = 0;
        at(pair, outer, false, energy, slope);
        const double second = curvature(pair, outer), width = outer - inner;
        pair.third = (-3.0 * slope + width * second) / (width * width) / 3.0;
        pair.fourth = (2.0 * slope - width * second) / (width * width * width) / 4.0;
        pair.shift = -energy + 0.5 * width * slope - width * width * second / 12.0;
        cutoffs_.squared[p] = outer * outer;
        cutoffs_.longest = outer;
    }
}

void Zbl::at(const Pair& pair, double r, bool switched, double& energy, double& slope) const {
    double sum = 0, rate = 0;
    for (int k = 0; k < 4; k++) {
        const double term = pair.factor[k] * std::exp(-pair.decay[k] * r);
        sum += term;
        rate += pair.decay[k] * term;
    }
    energy = sum / r;
    slope = -(rate + energy) / r;
    if (!switched) return;
    energy += pair.shift;
    if (r > inner_) {
        const double t = r - inner_, t2 = t * t;
        energy += t2 * t * (pair.third + pair.fourth * t);
        slope += t2 * (3.0 * pair.third + 4.0 * pair.fourth * t);
    }
}

double Zbl::curvature(const Pair& pair, double r) const {
    double second = 0;
    for (int k = 0; k < 4; k++) {
        const double d = pair.decay[k], term = pair.factor[k] * std::exp(-d * r);
        second += term * (d * d + 2.0 * d / r + 2.0 / (r * r));
    }
    return second / r;
}

void Zbl::evaluate(const BatchView& batch, double* energy, double* force, double* stress) const {
    NeighbourFinder finder;
    PairList list;
    for (std::int64_t i = 0; i < batch.n; i++) {
        const std::int64_t start = batch.atom_start[i], n_atoms = batch.atom_start[i + 1] - start;
        double total = 0, virial[6] = {0, 0, 0, 0, 0, 0};
        double* const f = force + 3 * start;
        std::fill_n(f, 3 * n_atoms, 0.0);
        if (cutoffs_.longest > 0.0) prepare(finder, batch, i, cutoffs_.longest);
        for (std::int64_t k = 0; k < n_atoms; k++) {
            const Pair* pairs = pairs_.data() + std::size_t(batch.type[start + k]) * cutoffs_.n_types;
            list.clear();
            const int n = cutoffs_.longest > 0.0 ? finder.find(k, cutoffs_, false, list, nullptr) : 0;
            if (list.coincident > 1) throw ConfigurationError(not_finite, i);
            for (std::size_t p = 0; p < std::size_t(n); p++) {
                const std::int64_t j = list.atom[p];
                if (j < k) continue;  // done from the other side
                const double x = list.x[p], y = list.y[p], z = list.z[p];
                const double r = std::sqrt(x * x + y * y + z * z);
                double e = 0, slope = 0;
                at(pairs[list.type[p]], r, true, e, slope);
                const double share = j == k ? 0.5 : 1.0;  // an image of itself is met from both sides
                const double pull = share * slope / r;    // along the vector to the neighbour
                total += share * e;
                const double d[3] = {pull * x, pull * y, pull * z};
                for (int c = 0; c < 3; c++) {
                    f[3 * k + c] += d[c];
                    f[3 * j + c] -= d[c];
                }
                virial[0] += d[0] * x;
                virial[1] += d[1] * y;
                virial[2] += d[2] * z;
                virial[3] += d[1] * z;
                virial[4] += d[0] * z;
                virial[5] += d[0] * y;
            }
        }
        if (!std::isfinite(total)) throw ConfigurationError(not_finite, i);
        energy[i] = total;
        const double scale = inverse_volume(batch.cell + 9 * i, batch.pbc + 3 * i);
        for (int c = 0; c < 6; c++) stress[6 * i + c] = scale * virial[c];
    }
}

}  // namespace mlipstore
