// Rows: the products Z of two density matrices, projected on the levels they couple to.
#include <algorithm>
#include <array>
#include <utility>

#include "snap_engine.hpp"

namespace mlipstore {

namespace {

// Z for one (sb, sa) = (mb1 + mb2, ma1 + ma2) and the NQ highest levels of a coupling: first over mb, then over ma.
// Matrix elements are pairs (re, im); strides lead from one term to the next.
struct Term {
    const vd *u1, *u2;
    const double* cg;  // of the mb
    std::ptrdiff_t row1, row2, cg_step;
};

// One term of the sum over mb: the product of two elements, weighted for each level.
template <int NQ>
inline void add_term(const vd* u1, const vd* u2, const double* cg, vd* wr, vd* wi) {
    const vd x = in_register(u1[0]), y = in_register(u1[1]), u = in_register(u2[0]), v = in_register(u2[1]);
    const vd tr = x * u - y * v, ti = x * v + y * u;
    for (int q = 0; q < NQ; q++) {
        wr[q] += cg[q] * tr;
        wi[q] += cg[q] * ti;
    }
}

// NB terms over mb, unrolled; NB = 0: as many as `count` says.
template <int NQ, int NB>
inline void sum_mb(const Term& t, std::ptrdiff_t ma1, std::ptrdiff_t ma2, int count, vd* wr, vd* wi) {
    const vd *u1 = t.u1 + 2 * ma1, *u2 = t.u2 + 2 * ma2;
    const double* cg = t.cg;
    if constexpr (NB > 0) {
#pragma GCC unroll 16
        for (int b = 0; b < NB; b++) add_term<NQ>(u1 + b * t.row1, u2 - b * t.row2, cg + b * t.cg_step, wr, wi);
    } else {
        for (int b = 0; b < count; b++) {
            add_term<NQ>(u1, u2, cg, wr, wi);
            u1 += t.row1;
            u2 -= t.row2;
            cg += t.cg_step;
        }
    }
}

// Where the result for each level goes: scratch[re[q]] and scratch[im[q]], times weight[q].
struct Destination {
    vd* scratch;
    int re[max_products], im[max_products];
    double weight[max_products];
};

// The sum over ma1 = begin..end of one (sb, sa), stored or added times `factor`. cg_ma: coefficients of ma1 = begin.
template <int NQ, int NB>
void sum_ma(const Term& t, int begin, int end, int sa, int count, const double* cg_ma, const Destination& to,
            double factor, bool add) {
    vd sr[NQ], si[NQ];
    for (int q = 0; q < NQ; q++) sr[q] = si[q] = vd{};
    for (int ma1 = begin; ma1 <= end; ma1++) {
        vd wr[NQ], wi[NQ];
        for (int q = 0; q < NQ; q++) wr[q] = wi[q] = vd{};
        sum_mb<NQ, NB>(t, ma1, sa - ma1, count, wr, wi);
        for (int q = 0; q < NQ; q++) {
            sr[q] += cg_ma[q] * wr[q];
            si[q] += cg_ma[q] * wi[q];
        }
        cg_ma += t.cg_step;
    }
    for (int q = 0; q < NQ; q++) {
        const double weight = factor * to.weight[q];
        vd &re = to.scratch[to.re[q]], &im = to.scratch[to.im[q]];
        re = add ? re + weight * sr[q] : weight * sr[q];
        im = add ? im + weight * si[q] : weight * si[q];
    }
}

using SumMa = void (*)(const Term&, int, int, int, int, const double*, const Destination&, double, bool);
#ifndef MLIPSTORE_UNROLLED_TERMS  // fewer make a build quicker (CMakeLists.txt: the one with sanitizers)
#define MLIPSTORE_UNROLLED_TERMS 9
#endif
constexpr int unrolled_levels = 5, unrolled_terms = MLIPSTORE_UNROLLED_TERMS;  // twojmax 8 and below run unrolled

template <int NQ, std::size_t... NB>
constexpr std::array<SumMa, sizeof...(NB)> sum_ma_row(std::index_sequence<NB...>) {
    return {sum_ma<NQ, (NQ <= unrolled_levels ? int(NB) : 0)>...};
}

template <std::size_t... NQ>
constexpr auto sum_ma_table(std::index_sequence<NQ...>) {
    return std::array<std::array<SumMa, unrolled_terms + 1>, sizeof...(NQ)>{
        sum_ma_row<int(NQ) + 1>(std::make_index_sequence<unrolled_terms + 1>())...};
}

constexpr auto sum_ma_for = sum_ma_table(std::make_index_sequence<max_products>());

}  // namespace

// Rows of one product, and what is to be kept of them.
void SnapEngine::couple(const Product& product, Keep keep) {
    const Coupling& c = plan_.couplings[std::size_t(product.coupling)];
    const int levels = keep == Keep::components ? c.n_top : c.n_levels;
    if (levels == 0) return;
    const std::size_t at1 = std::size_t(product.a) * plan_.n_matrix + plan_.level_offset[c.j1];
    const std::size_t at2 = std::size_t(product.b) * plan_.n_matrix + plan_.level_offset[c.j2];
    const int n1 = c.j1 + 1, n2 = c.j2 + 1, sum = c.j1 + c.j2;
    const bool same = c.j1 == c.j2 && product.a == product.b;
    const double* cg = plan_.cg.data() + c.cg;
    Term term{nullptr, nullptr, nullptr, 2 * n1, 2 * n2, std::ptrdiff_t(c.j2) * c.n_levels};
    Destination to{};
    // In rows_ the element that is not kept falls on rows that come later.
    vd* const scratch = to.scratch = keep == Keep::rows_of_lanes ? rows_.data() + product.offset / W : scratch_.data();
    for (int sb = c.shift; 2 * sb <= sum; sb++) {
        const int last = 2 * sb == sum ? sb : sum - c.shift;
        const int b0 = std::max(0, sb - c.j2), count = std::min(c.j1, sb) - b0 + 1;
        const int unrolled = count <= unrolled_terms ? count : 0;
        term.u1 = u_.data() + 2 * (at1 + std::size_t(b0) * n1);
        term.u2 = u_.data() + 2 * (at2 + std::size_t(sb - b0) * n2);
        term.cg = cg + std::ptrdiff_t(b0 * n2 + sb - b0) * c.n_levels;
        for (int sa = c.shift; sa <= last; sa++) {
            // Level q needs |projection| <= level on both sides: a prefix of the levels.
            const int nq = std::min(levels, std::min(std::min(sb, sa), sum - sa) - c.shift + 1);
            const bool middle = 2 * sb == sum && sa == sb;  // real
            for (int q = 0; q < nq; q++) {
                const int j = c.level[q], mb = sb - c.shift - q, ma = sa - c.shift - q, k = mb * (j + 1) + ma;
                to.weight[q] = plan_.row_weight[std::size_t(plan_.element_offset[j]) + k];
                to.re[q] = c.offset[q] + 2 * k;
                to.im[q] = middle ? plan_.scratch_size : to.re[q] + 1;
            }
            const int a0 = std::max(0, sa - c.j2), a1 = std::min(c.j1, sa);
            const auto& sum_ma_nq = sum_ma_for[std::size_t(nq - 1)];
            const double* cg_ma = cg + std::ptrdiff_t(a0 * n2 + sa - a0) * c.n_levels;
            if (!same) {
                sum_ma_nq[unrolled](term, a0, a1, sa, count, cg_ma, to, 1.0, false);
                continue;
            }
            // Exchanging the two equal factors gives every term twice, except the one at ma1 = ma2, mb1 = mb2.
            const int half = sa / 2;
            const double* cg_equal = cg_ma + (half - a0) * term.cg_step;
            sum_ma_nq[unrolled](term, a0, sa % 2 == 0 ? half - 1 : half, sa, count, cg_ma, to, 2.0, false);
            if (sa % 2 != 0) continue;
            sum_ma_nq[0](term, half, half, sa, count / 2, cg_equal, to, 2.0, true);
            if (sb % 2 != 0) continue;
            Term equal = term;
            const std::ptrdiff_t b = sb / 2 - b0;
            equal.u1 += b * term.row1;
            equal.u2 -= b * term.row2;
            equal.cg += b * term.cg_step;
            sum_ma_nq[1](equal, half, half, sa, 1, cg_equal, to, 1.0, true);
        }
    }
    if (keep == Keep::weighted_sum) {
        add_weighted(product, scratch);
        return;
    }
    for (int q = 0; q < c.n_top; q++) {
        const int j = c.level[q], row = product.first_row + q;
        for (int e = 0; e < plan_.n_densities; e++) {
            const vd* v = sums_.data() + std::size_t(e) * plan_.n_matrix + plan_.level_offset[j];
            const vd* g = scratch + c.offset[q];
            const int K = (j + 1) * (j + 1);
            vd part[4] = {vd{}, vd{}, vd{}, vd{}};
            int k = 0;
            for (; k + 4 <= K; k += 4)
                for (int i = 0; i < 4; i++) part[i] += g[k + i] * v[k + i];
            for (; k < K; k++) part[0] += g[k] * v[k];
            const vd b = (part[0] + part[1]) + (part[2] + part[3]);
            const std::size_t at = std::size_t(row) * plan_.n_densities + e;
            for (int t = plan_.component_start[at]; t < plan_.component_start[at + 1]; t++) {
                const Target& target = plan_.component_list[std::size_t(t)];
                b_lanes_[target.column] = target.factor * b;
            }
        }
    }
    if (keep != Keep::rows_of_atoms) return;
    const int n = (c.offset[c.n_levels] + W - 1) / W;
    const std::size_t stride = std::size_t(n) * W;
    for (int k = 0; k < n; k++) {
        vd t[W];
        for (int l = 0; l < W; l++) t[l] = scratch[k * W + l];
        transpose(t);
        double* g = g_.data() + product.offset + std::size_t(k) * W;
        for (int l = 0; l < W; l++) store(g + l * stride, t[l]);
    }
}

}  // namespace mlipstore
