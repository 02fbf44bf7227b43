#include "snap_engine.hpp"

#include <algorithm>
#include <utility>

namespace mlipstore {

SnapEngine::SnapEngine(const SnapPlan& plan) : plan_(plan) {
    const int top = plan.settings.twojmax;
    level_.need(std::size_t(4) * groups_per_pass * level_storage(top));
    const std::size_t matrices = std::size_t(plan.n_densities) * plan.n_matrix;
    sums_.need(matrices);
    u_.need(2 * matrices);
    scratch_.zeroed(std::size_t(plan.scratch_size) + 1);  // one more for what is not kept
    b_lanes_.need(std::size_t(plan.padded));
    b_.need(std::size_t(W) * plan.padded);
    q_.zeroed(std::size_t(top + 1) * (top + 1) * 3 * groups_per_pass * W + W);
    segment_.need(std::size_t(W) * (plan.settings.n_elements + 1));
}

void SnapEngine::clear() {
    n_atoms_ = 0;
    pairs_.clear();
}

SnapEngine::Atom& SnapEngine::add(NeighbourFinder& finder, std::int64_t i, int type) {
    const int n_elements = plan_.settings.n_elements;
    const std::size_t first = pairs_.size;
    std::int32_t* segment = segment_.data() + std::size_t(n_atoms_) * (n_elements + 1);
    const int n = finder.find(i, plan_.cutoffs, plan_.settings.chem, pairs_, segment);
    if (kind_.size() < pairs_.size + W) kind_.extend(2 * pairs_.size + 1024, first);
    if (target_.size() < pairs_.size) target_.extend(2 * pairs_.size + 1024, first);
    for (std::size_t p = first; p < pairs_.size; p++) {
        kind_[p] = type * n_elements + pairs_.type[p];
        target_[p] = nullptr;
    }
    Atom& atom = atoms_[n_atoms_++];
    atom = {type, first, n, nullptr, nullptr};
    return atom;
}

void SnapEngine::prepare_block(bool gradients) {
    pairs_.reserve(pairs_.size + W);  // harmless pairs up to a whole vector
    if (kind_.size() < pairs_.size + W) kind_.extend(pairs_.size + W, pairs_.size);
    for (std::size_t p = pairs_.size; p < pairs_.size + W; p++) {
        pairs_.x[p] = pairs_.y[p] = 0.0;
        pairs_.z[p] = 1.0;
        kind_[p] = 0;
    }
    geometry_.compute(plan_, pairs_, kind_.data(), gradients);
    sum_densities();
    unpack_densities();
}

void SnapEngine::compute_components(bool gradients) {
    prepare_block(gradients);
    if (gradients) g_.need(plan_.g_size);
    for (const Product& product : plan_.products) couple(product, gradients ? Keep::rows_of_atoms : Keep::components);
    for (int a = 0; a < n_atoms_; a++) {
        double* b = b_.data() + std::size_t(a) * plan_.padded;
        const double* isolated = plan_.isolated.data() + std::size_t(atoms_[a].type) * plan_.n_columns;
        for (int m = 0; m < plan_.n_columns; m++) b[m] = b_lanes_[m][a] - isolated[m];
    }
}

// Sums of fc v over the neighbours, lanes = atoms: step n takes neighbour n of every atom.
void SnapEngine::sum_densities() {
    const int top = plan_.settings.twojmax, n_elements = plan_.settings.n_elements;
    const double* field[5];
    for (int f = 0; f < 5; f++) field[f] = geometry_.field(f);
    for (int e = 0; e < plan_.n_densities; e++) {
        vd* sums = sums_.data() + std::size_t(e) * plan_.n_matrix;
        for (int k = 0; k < plan_.n_matrix; k++) sums[k] = vd{};
        int longest = 0, begin[W], count[W];
        for (int a = 0; a < W; a++) {
            const std::int32_t* segment = segment_.data() + std::size_t(a) * (n_elements + 1);
            begin[a] = a < n_atoms_ && plan_.settings.chem ? segment[e] : 0;
            count[a] = a >= n_atoms_ ? 0 : plan_.settings.chem ? segment[e + 1] - segment[e] : atoms_[a].n;
            longest = std::max(longest, count[a]);
        }
        double* steps = steps_.zeroed(std::size_t(longest) * 5 * W);
        for (int a = 0; a < n_atoms_; a++)
            for (int n = 0; n < count[a]; n++)
                for (int f = 0; f < 5; f++)
                    steps[(std::size_t(n) * 5 + f) * W + a] = field[f][atoms_[a].first + begin[a] + n];
        for (int n = 0; n < longest; n++) {
            const double* step = steps + std::size_t(n) * 5 * W;
            const Spinor p{load(step), load(step + W), load(step + 2 * W), load(step + 3 * W)};
            vd *r0 = level_.data(), *i0 = r0 + level_storage(top), *r = i0 + level_storage(top), *i = r + level_storage(top);
            r0[0] = load(step + 4 * W);
            i0[0] = vd{};
            vd* sum = sums;
            *sum++ += r0[0];
            for (int j = 1; j <= top; j++) {
                next_level(j, p, r0, i0, r, i);
                const int elements = (j + 1) * (j + 1) / 2;  // complex ones; the rows are stored without gaps
                for (int k = 0; k < elements; k++) {
                    sum[2 * k] += r[k];
                    sum[2 * k + 1] += i[k];
                }
                if (j % 2 == 0) sum[2 * elements] += r[elements];
                sum += (j + 1) * (j + 1);
                std::swap(r0, r);
                std::swap(i0, i);
            }
        }
    }
}

// Full matrices with their factors and the atom's own contribution; sums_ becomes U / N.
void SnapEngine::unpack_densities() {
    const int top = plan_.settings.twojmax;
    for (int e = 0; e < plan_.n_densities; e++) {
        vd own{};
        for (int a = 0; a < W; a++) {
            const bool counts = !plan_.settings.chem || plan_.settings.wselfall || (a < n_atoms_ && atoms_[a].type == e);
            own[a] = counts ? 1.0 : 0.0;
        }
        vd* sum = sums_.data() + std::size_t(e) * plan_.n_matrix;
        vd* u = u_.data() + 2 * std::size_t(e) * plan_.n_matrix;
        const double* norm = plan_.norm.data();
        for (int j = 0; j <= top; j++) {
            for (int mb = 0; 2 * mb <= j; mb++)
                for (int ma = 0; ma <= (2 * mb == j ? mb : j); ma++, norm++) {
                    const bool middle = 2 * mb == j && ma == mb;
                    if (ma == mb) *sum += own;  // N = 1 on the diagonal
                    const vd r = *norm * *sum++;
                    const vd i = middle ? vd{} : *norm * *sum++;
                    u[2 * (mb * (j + 1) + ma)] = r;
                    u[2 * (mb * (j + 1) + ma) + 1] = i;
                    if (middle) continue;
                    const bool odd = ((ma + mb) & 1) != 0;
                    u[2 * ((j - mb) * (j + 1) + j - ma)] = odd ? -r : r;
                    u[2 * ((j - mb) * (j + 1) + j - ma) + 1] = odd ? i : -i;
                }
            u += 2 * (j + 1) * (j + 1);
        }
    }
}

}  // namespace mlipstore
