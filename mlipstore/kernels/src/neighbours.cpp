#include "neighbours.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace mlipstore {

namespace {

constexpr std::size_t max_points = std::size_t(1) << 31;  // images of atoms of one configuration
constexpr double coincident = 1e-20;                      // squared distance, in Å^2, below which atoms are one

void cross(const double* a, const double* b, double* c) {
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void scaled(const double* a, double factor, double* out) {
    for (int k = 0; k < 3; k++) out[k] = a[k] * factor;
}

// The periodic cell vectors, completed by unit vectors normal to them: what the other cell vectors say is irrelevant.
void complete_basis(const double* cell, const std::uint8_t* pbc, double basis[3][3]) {
    for (int a = 0; a < 3; a++)
        for (int k = 0; k < 3; k++) basis[a][k] = cell[3 * a + k];
    const int periodic = int(pbc[0] != 0) + int(pbc[1] != 0) + int(pbc[2] != 0);
    if (periodic == 3) return;
    if (periodic == 0) {
        for (int a = 0; a < 3; a++)
            for (int k = 0; k < 3; k++) basis[a][k] = a == k ? 1.0 : 0.0;
        return;
    }
    if (periodic == 2) {
        const int c = pbc[0] == 0 ? 0 : pbc[1] == 0 ? 1 : 2;
        cross(basis[(c + 1) % 3], basis[(c + 2) % 3], basis[c]);
        scaled(basis[c], 1.0 / std::sqrt(dot(basis[c], basis[c])), basis[c]);
        return;
    }
    const int a = pbc[0] != 0 ? 0 : pbc[1] != 0 ? 1 : 2;
    const double* v = basis[a];
    int smallest = 0;
    for (int k = 1; k < 3; k++)
        if (std::fabs(v[k]) < std::fabs(v[smallest])) smallest = k;
    double axis[3] = {0, 0, 0};
    axis[smallest] = 1.0;
    double* b = basis[(a + 1) % 3];
    double* c = basis[(a + 2) % 3];
    cross(v, axis, b);
    scaled(b, 1.0 / std::sqrt(dot(b, b)), b);
    cross(v, b, c);
    scaled(c, 1.0 / std::sqrt(dot(c, c)), c);
}

// inverse[k][a]: fractional coordinate a = sum_k position[k] inverse[k][a]; its columns are the plane normals.
void invert(const double basis[3][3], double inverse[3][3]) {
    double normal[3];
    for (int a = 0; a < 3; a++) {
        cross(basis[(a + 1) % 3], basis[(a + 2) % 3], normal);
        const double volume = dot(basis[a], normal);
        if (!(std::fabs(volume) > 0.0) || !std::isfinite(volume))
            throw std::invalid_argument("the periodic cell vectors are not linearly independent");
        for (int k = 0; k < 3; k++) inverse[k][a] = normal[k] / volume;
    }
}

}  // namespace

void PairList::reserve(std::size_t n) {
    x.extend(n, size);
    y.extend(n, size);
    z.extend(n, size);
    atom.extend(n, size);
    type.extend(n, size);
}

void NeighbourFinder::prepare(std::int64_t n_atoms, const double* position, const std::int32_t* type, const double* cell,
                              const std::uint8_t* pbc, double cutoff) {
    n_atoms_ = n_atoms;
    type_ = type;
    squared_ = cutoff * cutoff;
    if (n_atoms == 0) return;  // nobody will ask
    double basis[3][3], inverse[3][3];
    complete_basis(cell, pbc, basis);
    invert(basis, inverse);
    double* w = wrapped_.need(3 * std::size_t(n_atoms) + 1);
    for (std::int64_t i = 0; i < n_atoms; i++) {
        const double* r = position + 3 * i;
        double p[3] = {r[0], r[1], r[2]};
        for (int a = 0; a < 3; a++) {
            if (pbc[a] == 0) continue;
            const double whole = std::floor(r[0] * inverse[0][a] + r[1] * inverse[1][a] + r[2] * inverse[2][a]);
            if (whole != 0.0)
                for (int k = 0; k < 3; k++) p[k] -= whole * basis[a][k];
        }
        if (!(std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2])))
            throw std::invalid_argument("a position is not finite");
        for (int k = 0; k < 3; k++) w[3 * i + k] = p[k];
    }
    add_images(basis, inverse, pbc, cutoff);
    sort_into_bins(cutoff);
}

void NeighbourFinder::add_images(const double basis[3][3], const double inverse[3][3], const std::uint8_t* pbc,
                                 double cutoff) {
    const std::size_t n = std::size_t(n_atoms_);
    // Box around the atoms and, along each cell vector, the range of their fractional coordinates, both widened by the
    // cutoff (1 / |plane normal| is the height of the cell): no other point can be a neighbour.
    double low[3], high[3], flow[3], fhigh[3], reach[3];
    for (int k = 0; k < 3; k++) {
        low[k] = flow[k] = INFINITY;
        high[k] = fhigh[k] = -INFINITY;
        const double normal[3] = {inverse[0][k], inverse[1][k], inverse[2][k]};
        reach[k] = cutoff * std::sqrt(dot(normal, normal)) * (1.0 + 1e-12) + 1e-12;
    }
    const double* w = wrapped_.data();
    auto fraction = [&](const double* p, int a) { return p[0] * inverse[0][a] + p[1] * inverse[1][a] + p[2] * inverse[2][a]; };
    for (std::size_t i = 0; i < n; i++) {
        for (int k = 0; k < 3; k++) {
            low[k] = std::min(low[k], w[3 * i + k]);
            high[k] = std::max(high[k], w[3 * i + k]);
            const double f = fraction(w + 3 * i, k);
            flow[k] = std::min(flow[k], f);
            fhigh[k] = std::max(fhigh[k], f);
        }
    }
    double expected = double(n);
    for (int a = 0; a < 3; a++)
        if (pbc[a] != 0) expected *= fhigh[a] - flow[a] + 2.0 * reach[a] + 1.0;
    if (!(expected < double(max_points)))
        throw std::length_error("the cell is too small for the cutoff: more than 2^31 images of atoms within reach");
    for (int k = 0; k < 3; k++) {
        low[k] -= cutoff * (1.0 + 1e-12) + 1e-12;
        high[k] += cutoff * (1.0 + 1e-12) + 1e-12;
    }
    std::size_t count = 0, room = ux_.size();
    auto add = [&](double x, double y, double z, std::size_t i) {
        if (count == room) {
            room = std::max<std::size_t>(2 * count, 1024);
            ux_.extend(room, count);
            uy_.extend(room, count);
            uz_.extend(room, count);
            uatom_.extend(room, count);
        }
        ux_[count] = x;
        uy_[count] = y;
        uz_[count] = z;
        uatom_[count++] = std::int32_t(i);
    };
    for (std::size_t i = 0; i < n; i++) {
        const double* p = w + 3 * i;
        int first[3] = {0, 0, 0}, last[3] = {0, 0, 0};
        for (int a = 0; a < 3; a++) {
            if (pbc[a] == 0) continue;
            const double f = fraction(p, a);
            first[a] = int(std::ceil(flow[a] - reach[a] - f));
            last[a] = int(std::floor(fhigh[a] + reach[a] - f));
        }
        for (int a = first[0]; a <= last[0]; a++)
            for (int b = first[1]; b <= last[1]; b++)
                for (int c = first[2]; c <= last[2]; c++) {
                    double q[3];
                    bool inside = true;
                    for (int k = 0; k < 3; k++) {
                        q[k] = p[k] + (a * basis[0][k] + b * basis[1][k] + c * basis[2][k]);
                        inside = inside && q[k] >= low[k] && q[k] <= high[k];
                    }
                    if (inside) add(q[0], q[1], q[2], i);
                }
    }
    n_points_ = count;
    for (int k = 0; k < 3; k++) {
        low_[k] = low[k];
        scale_[k] = high[k] - low[k];  // extent, turned into bins per Å by sort_into_bins
    }
}

void NeighbourFinder::sort_into_bins(double cutoff) {
    const std::size_t n = n_points_;
    double total = 1.0;
    for (int k = 0; k < 3; k++) {
        const double most = std::floor(scale_[k] / (cutoff * (1.0 + 1e-9)));
        bins_[k] = int(std::min(std::max(most, 1.0), 1e6));
        if (bins_[k] < 4) bins_[k] = 1;  // a search through three of three bins finds nothing faster
        total *= bins_[k];
    }
    const double limit = 8.0 * double(n) + 64.0;  // atoms far apart: wider bins
    while (total > limit) {
        int widest = 0;
        for (int k = 1; k < 3; k++)
            if (bins_[k] > bins_[widest]) widest = k;
        total /= bins_[widest];
        bins_[widest] = std::max(1, bins_[widest] / 2);
        total *= bins_[widest];
    }
    for (int k = 0; k < 3; k++) scale_[k] = scale_[k] > 0.0 ? bins_[k] / scale_[k] : 0.0;
    px_.need(n + 1);
    py_.need(n + 1);
    pz_.need(n + 1);
    patom_.need(n + 1);
    const std::size_t n_bins = std::size_t(bins_[0]) * bins_[1] * bins_[2];
    std::int64_t* start = start_.zeroed(n_bins + 2);
    std::int32_t* bin = ubin_.need(n + 1);
    auto index = [&](double v, int k) { return std::min(bins_[k] - 1, std::max(0, int((v - low_[k]) * scale_[k]))); };
    for (std::size_t p = 0; p < n; p++) {
        bin[p] = std::int32_t((std::int64_t(index(uz_[p], 2)) * bins_[1] + index(uy_[p], 1)) * bins_[0] + index(ux_[p], 0));
        start[bin[p] + 2]++;
    }
    for (std::size_t b = 2; b < n_bins + 2; b++) start[b] += start[b - 1];
    for (std::size_t p = 0; p < n; p++) {
        const std::size_t to = std::size_t(start[bin[p] + 1]++);
        px_[to] = ux_[p];
        py_[to] = uy_[p];
        pz_[to] = uz_[p];
        patom_[to] = uatom_[p];
    }
}

std::size_t NeighbourFinder::candidates(std::int64_t i) {
    const double x = wrapped_[3 * i], y = wrapped_[3 * i + 1], z = wrapped_[3 * i + 2];
    int first[3], last[3];
    const double r[3] = {x, y, z};
    for (int k = 0; k < 3; k++) {
        const int b = std::min(bins_[k] - 1, std::max(0, int((r[k] - low_[k]) * scale_[k])));
        first[k] = std::max(0, b - 1);
        last[k] = std::min(bins_[k] - 1, b + 1);
    }
    std::size_t n = 0;
    for (int bz = first[2]; bz <= last[2]; bz++)
        for (int by = first[1]; by <= last[1]; by++) {
            const std::size_t row = (std::size_t(bz) * bins_[1] + by) * bins_[0];
            const std::int64_t begin = start_[row + first[0]], end = start_[row + last[0] + 1];
            std::int64_t* found = found_.extend(n + std::size_t(end - begin) + 1, n);
            for (std::int64_t p = begin; p < end; p++) {
                const double dx = px_[p] - x, dy = py_[p] - y, dz = pz_[p] - z;
                found[n] = p;
                n += std::size_t(dx * dx + dy * dy + dz * dz < squared_);
            }
        }
    return n;
}

int NeighbourFinder::find(std::int64_t i, const Cutoffs& cutoffs, bool by_type, PairList& list, std::int32_t* first) {
    const std::size_t n = candidates(i);
    if (list.x.size() < list.size + n + 1) list.reserve(list.size + n + 1);
    const double x = wrapped_[3 * i], y = wrapped_[3 * i + 1], z = wrapped_[3 * i + 2];
    const double* squared = cutoffs.squared.data() + std::size_t(type_[i]) * cutoffs.n_types;
    const std::size_t before = list.size;
    const int passes = by_type ? cutoffs.n_types : 1;
    for (int t = 0; t < passes; t++) {
        if (by_type) first[t] = std::int32_t(list.size - before);
        for (std::size_t k = 0; k < n; k++) {
            const std::int64_t p = found_[k];
            const std::int32_t j = patom_[p];
            const std::int32_t type = type_[j];
            if (by_type && type != t) continue;
            const double dx = px_[p] - x, dy = py_[p] - y, dz = pz_[p] - z;
            const double d2 = dx * dx + dy * dy + dz * dz;
            if (!(d2 < squared[type])) continue;
            if (!(d2 > coincident)) {
                list.coincident++;
                continue;
            }
            const std::size_t to = list.size++;
            list.x[to] = dx;
            list.y[to] = dy;
            list.z[to] = dz;
            list.atom[to] = j;
            list.type[to] = type;
        }
    }
    if (by_type) first[passes] = std::int32_t(list.size - before);
    return int(list.size - before);
}

}  // namespace mlipstore
