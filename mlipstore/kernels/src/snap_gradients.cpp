// Gradients of all components by the positions of the neighbours.
#include <algorithm>
#include <utility>

#include "contract.hpp"
#include "snap_engine.hpp"

namespace mlipstore {

namespace {

constexpr int tile_rows = 4;

// Not inlined: the tile then has all registers to itself.
template <int MR, int NT>
[[gnu::noinline]] void contract_rows(const SnapPlan& plan, const double* g, int lane, const int* rows, const int* start, const double* q,
                   std::size_t ldq, int K, double* c, std::size_t ldc) {
    const double* row[MR];
    for (int r = 0; r < MR; r++) {
        const Row& in = plan.rows[std::size_t(rows[r])];
        row[r] = g + in.offset + std::size_t(lane) * in.stride;
    }
    vd acc[MR][NT];
    product_tile<MR, NT>(row, q, ldq, K, acc);
#pragma GCC unroll 4  // else the sums go through memory
    for (int r = 0; r < MR; r++)
        for (int t = start[rows[r]]; t < start[rows[r] + 1]; t++) {
            const Target& target = plan.gradient_list[std::size_t(t)];
            double* to = c + std::size_t(target.column) * ldc;
            if (target.first) {
#pragma GCC unroll 6
                for (int n = 0; n < NT; n++) store(to + n * W, target.factor * acc[r][n]);
            } else {
#pragma GCC unroll 6
                for (int n = 0; n < NT; n++) store(to + n * W, load(to + n * W) + target.factor * acc[r][n]);
            }
        }
}

template <int NT>
void contract_level(const SnapPlan& plan, const double* g, int lane, const std::vector<int>& rows, const int* start,
                    const double* q, std::size_t ldq, int K, double* c, std::size_t ldc) {
    const int n = int(rows.size());
    int r = 0;
    for (; r + tile_rows <= n; r += tile_rows)
        contract_rows<tile_rows, NT>(plan, g, lane, rows.data() + r, start, q, ldq, K, c, ldc);
    switch (n - r) {
        case 1: contract_rows<1, NT>(plan, g, lane, rows.data() + r, start, q, ldq, K, c, ldc); break;
        case 2: contract_rows<2, NT>(plan, g, lane, rows.data() + r, start, q, ldq, K, c, ldc); break;
        case 3: contract_rows<3, NT>(plan, g, lane, rows.data() + r, start, q, ldq, K, c, ldc); break;
        default: break;
    }
}

int vectors(int n_columns) { return (n_columns + W - 1) / W; }

}  // namespace

void SnapEngine::compute_gradients() {
    for (int a = 0; a < n_atoms_; a++) {
        if (!plan_.settings.chem) {
            contract(a, 0, 0, atoms_[a].n);
            distribute(a, 0, atoms_[a].n);
            continue;
        }
        const std::int32_t* segment = segment_.data() + std::size_t(a) * (plan_.settings.n_elements + 1);
        for (int e = 0; e < plan_.n_densities; e++) {
            contract(a, e, segment[e], segment[e + 1]);
            distribute(a, segment[e], segment[e + 1]);
        }
    }
}

// Doubles in a row of C for n neighbours; group g of W neighbours has its three columns at 3 W g.
static std::size_t c_stride(int n) { return std::size_t(3) * W * ((n + W - 1) / W); }

// C[column][neighbours] = sum over levels of G Q for neighbours begin..end of one atom, all of one density.
void SnapEngine::contract(int a, int element, int begin, int end) {
    const int top = plan_.settings.twojmax, n = end - begin;
    const std::size_t ldc = c_stride(n);
    double* c = c_.need(std::size_t(plan_.n_columns) * ldc + W);
    for (const int m : plan_.untouched[std::size_t(element)]) std::fill_n(c + std::size_t(m) * ldc, ldc, 0.0);
    const double* g = g_.data();
    const int* start = plan_.gradient_start.data() + std::size_t(element) * (plan_.rows.size() + 1);
    const std::size_t first = atoms_[a].first + std::size_t(begin);
    const int storage = level_storage(top);
    constexpr std::size_t ldq = std::size_t(3) * W * groups_per_pass;
    for (int from = 0; from < n; from += W * groups_per_pass) {
        const int groups = std::min(groups_per_pass, (n - from + W - 1) / W);
        int lanes[groups_per_pass], columns = 0;
        Spinor spinor[groups_per_pass];
        vd alpha[groups_per_pass][3];
        vd *r0[groups_per_pass], *i0[groups_per_pass], *r[groups_per_pass], *i[groups_per_pass];
        for (int k = 0; k < groups; k++) {
            const std::size_t p = first + std::size_t(from + k * W);
            lanes[k] = std::min(W, n - from - k * W);
            columns += vectors(3 * lanes[k]);
            spinor[k] = {load(geometry_.field(PairGeometry::SR) + p), load(geometry_.field(PairGeometry::SI) + p),
                         load(geometry_.field(PairGeometry::TR) + p), load(geometry_.field(PairGeometry::TI) + p)};
            for (int t = 0; t < 3; t++) alpha[k][t] = load(geometry_.field(PairGeometry::ALPHA + t) + p);
            r0[k] = level_.data() + std::size_t(4) * k * storage;
            i0[k] = r0[k] + storage;
            r[k] = i0[k] + storage;
            i[k] = r[k] + storage;
            r0[k][0] = load(geometry_.field(PairGeometry::FC) + p);
            i0[k][0] = vd{};
        }
        double* c_pass = c + std::size_t(3) * from;
        for (int l = 0; l <= top; l++) {
            for (int k = 0; k < groups; k++) {
                if (l > 0) {
                    next_level(l, spinor[k], r0[k], i0[k], r[k], i[k]);
                    std::swap(r0[k], r[k]);
                    std::swap(i0[k], i[k]);
                }
                tangent_columns(l, alpha[k], r0[k], i0[k], q_.data() + std::size_t(3) * W * k, ldq,
                                std::size_t(lanes[k]));
            }
            const std::vector<int>& rows = plan_.level_rows[l];
            const int K = (l + 1) * (l + 1);
            switch (columns) {
                case 1: contract_level<1>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
                case 2: contract_level<2>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
                case 3: contract_level<3>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
#if MLIPSTORE_WIDTH == 8
                case 4: contract_level<4>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
                case 5: contract_level<5>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
                case 6: contract_level<6>(plan_, g, a, rows, start, q_.data(), ldq, K, c_pass, ldc); break;
#endif
                default: break;
            }
        }
    }
}

// D_c = sum_g omega[c, g] C_g for neighbours begin..end, transposed to one row per neighbour and added to the targets.
void SnapEngine::distribute(int a, int begin, int end) {
    const Atom& atom = atoms_[a];
    const int n = end - begin, padded = plan_.padded, n_columns = plan_.n_columns;
    const std::size_t ldc = c_stride(n);
    const double* c = c_.data();
    for (int from = 0; from < n; from += W) {
        const int lanes = std::min(W, n - from);
        const std::size_t first = atom.first + std::size_t(begin + from);
        vd omega[9];
        for (int k = 0; k < 9; k++) omega[k] = load(geometry_.field(PairGeometry::OMEGA + k) + first);
        for (int m0 = 0; m0 < padded; m0 += W) {
            vd d[3][W];
            for (int l = 0; l < W; l++) {
                vd g0{}, g1{}, g2{};
                if (m0 + l < n_columns) {
                    const double* row = c + std::size_t(m0 + l) * ldc + std::size_t(3) * from;
                    g0 = load(row);
                    g1 = load(row + lanes);
                    g2 = load(row + 2 * lanes);
                }
                for (int k = 0; k < 3; k++) d[k][l] = omega[3 * k] * g0 + omega[3 * k + 1] * g1 + omega[3 * k + 2] * g2;
            }
            for (int k = 0; k < 3; k++) transpose(d[k]);
            vd own[3] = {vd{}, vd{}, vd{}}, virial[6] = {vd{}, vd{}, vd{}, vd{}, vd{}, vd{}};
            for (int l = 0; l < lanes; l++) {
                const vd dx = d[0][l], dy = d[1][l], dz = d[2][l];
                double* to = target_[first + l] + m0;
                store(to, load(to) + dx);
                store(to + padded, load(to + padded) + dy);
                store(to + 2 * padded, load(to + 2 * padded) + dz);
                own[0] += dx;
                own[1] += dy;
                own[2] += dz;
                if (atom.virial == nullptr) continue;
                const double x = pairs_.x[first + l], y = pairs_.y[first + l], z = pairs_.z[first + l];
                virial[0] += x * dx;
                virial[1] += y * dy;
                virial[2] += z * dz;
                virial[3] += z * dy;
                virial[4] += z * dx;
                virial[5] += y * dx;
            }
            if (atom.own != nullptr)
                for (int k = 0; k < 3; k++) {
                    double* to = atom.own + k * padded + m0;
                    store(to, load(to) - own[k]);
                }
            if (atom.virial != nullptr)
                for (int k = 0; k < 6; k++) {
                    double* to = atom.virial + k * padded + m0;
                    store(to, load(to) + virial[k]);
                }
        }
    }
}

}  // namespace mlipstore
