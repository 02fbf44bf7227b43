// Energy, forces and stress of given coefficients, and gradients of single pairs.
#include <algorithm>

#include "snap_rows.hpp"

namespace mlipstore {

namespace {

// Energy of an atom from its components.
double energy_of(const double* b, const double* coefficients, int n, bool quadratic) {
    double energy = 0.0;
    for (int m = 0; m < n; m++) energy += coefficients[m] * b[m];
    if (!quadratic) return energy;
    const double* square = coefficients + n;
    for (int m = 0; m < n; m++) {
        double sum = 0.5 * b[m] * *square++;
        for (int k = m + 1; k < n; k++) sum += b[k] * *square++;
        energy += b[m] * sum;
    }
    return energy;
}

}  // namespace

void SnapKernel::evaluate(const BatchView& batch, const double* coefficients, bool quadratic, const Evaluation& out) {
    Lease lease(*this);
    Workspace& ws = *lease;
    SnapEngine& engine = ws.engine;
    const bool gradients = out.force != nullptr;
    const std::size_t n = std::size_t(plan.n_columns), per_type = quadratic ? n + n * (n + 1) / 2 : n;
    std::fill_n(out.energy, batch.n, 0.0);
    if (gradients) {
        std::fill_n(out.force, 3 * batch.atom_start[batch.n], 0.0);
        std::fill_n(out.stress, 6 * batch.n, 0.0);
    }
    struct Place {
        std::int64_t configuration, atom;
    } place[W];

    auto flush = [&] {
        if (gradients)
            engine.compute_energy(coefficients, quadratic);
        else
            engine.compute_components(false);
        for (int a = 0; a < engine.size(); a++) {
            const SnapEngine::Atom& atom = engine.atom(a);
            const auto [i, k] = place[a];
            const double energy = gradients ? engine.energy(a)
                                            : energy_of(engine.components(a), coefficients + std::size_t(atom.type) * per_type,
                                                        plan.n_columns, quadratic);
            out.energy[i] += energy;
            if (out.atom_energy != nullptr) out.atom_energy[k] = energy;
            if (!gradients) continue;
            const PairList& pairs = engine.pairs();
            double *force = out.force, *stress = out.stress + 6 * i, own[3] = {0, 0, 0}, virial[6] = {0, 0, 0, 0, 0, 0};
            const std::size_t pairs_end = atom.first + std::size_t(atom.n);
            for (std::size_t p = atom.first; p < pairs_end; p++) {
                const double dx = engine.slope(0)[p], dy = engine.slope(1)[p], dz = engine.slope(2)[p];
                const double x = pairs.x[p], y = pairs.y[p], z = pairs.z[p];
                double* other = force + 3 * (batch.atom_start[i] + pairs.atom[p]);
                other[0] -= dx;
                other[1] -= dy;
                other[2] -= dz;
                own[0] += dx;
                own[1] += dy;
                own[2] += dz;
                virial[0] += x * dx;
                virial[1] += y * dy;
                virial[2] += z * dz;
                virial[3] += z * dy;
                virial[4] += z * dx;
                virial[5] += y * dx;
            }
            for (int c = 0; c < 3; c++) force[3 * k + c] += own[c];
            for (int c = 0; c < 6; c++) stress[c] += virial[c];
        }
        engine.clear();
    };
    for (std::int64_t i = 0; i < batch.n; i++) {
        prepare(ws.finder, batch, i, plan.cutoffs.longest);
        const std::int64_t start = batch.atom_start[i], stop = batch.atom_start[i + 1];
        for (std::int64_t k = start; k < stop; k++) {
            place[engine.size()] = {i, k};
            engine.add(ws.finder, k - start, batch.type[k]);
            if (engine.full()) flush();
        }
    }
    flush();
    if (!gradients) return;
    for (std::int64_t i = 0; i < batch.n; i++) {
        const double scale = inverse_volume(batch.cell + 9 * i, batch.pbc + 3 * i);
        for (int c = 0; c < 6; c++) out.stress[6 * i + c] *= scale;
    }
}

std::int64_t SnapKernel::count_pairs(const BatchView& batch, std::int64_t* pair_start) {
    Lease lease(*this);
    Workspace& ws = *lease;
    PairList list;
    std::int64_t total = 0;
    pair_start[0] = 0;
    for (std::int64_t i = 0; i < batch.n; i++) {
        prepare(ws.finder, batch, i, plan.cutoffs.longest);
        for (std::int64_t k = batch.atom_start[i]; k < batch.atom_start[i + 1]; k++) {
            list.clear();
            total += ws.finder.find(k - batch.atom_start[i], plan.cutoffs, false, list, nullptr);
            pair_start[k + 1] = total;
        }
    }
    return total;
}

void SnapKernel::pair_gradients(const BatchView& batch, const std::int64_t* pair_start, std::int64_t* neighbour,
                                double* vector, double* gradient, double* components) {
    Lease lease(*this);
    Workspace& ws = *lease;
    SnapEngine& engine = ws.engine;
    const std::size_t columns = std::size_t(plan.n_columns), padded = std::size_t(plan.padded), block = 3 * padded;
    struct Place {
        std::int64_t configuration, atom;
    } place[W];

    auto flush = [&] {
        const std::size_t n_pairs = engine.pairs().size;
        double* rows = ws.rows.zeroed(n_pairs * block);
        for (std::size_t p = 0; p < n_pairs; p++) engine.target(p) = rows + p * block;
        engine.compute_components(true);
        engine.compute_gradients();
        for (int a = 0; a < engine.size(); a++) {
            const SnapEngine::Atom& atom = engine.atom(a);
            const auto [i, k] = place[a];
            if (pair_start[k + 1] - pair_start[k] != atom.n)
                throw ConfigurationError("pair_start does not belong to this batch", i);
            std::copy_n(engine.components(a), columns, components + std::size_t(k) * columns);
            for (int q = 0; q < atom.n; q++) {
                const std::size_t p = atom.first + std::size_t(q), to = std::size_t(pair_start[k] + q);
                neighbour[to] = batch.atom_start[i] + engine.pairs().atom[p];
                vector[3 * to] = engine.pairs().x[p];
                vector[3 * to + 1] = engine.pairs().y[p];
                vector[3 * to + 2] = engine.pairs().z[p];
                for (std::size_t c = 0; c < 3; c++)
                    std::copy_n(rows + p * block + c * padded, columns, gradient + (3 * to + c) * columns);
            }
        }
        engine.clear();
    };
    for (std::int64_t i = 0; i < batch.n; i++) {
        prepare(ws.finder, batch, i, plan.cutoffs.longest);
        const std::int64_t start = batch.atom_start[i], stop = batch.atom_start[i + 1];
        for (std::int64_t k = start; k < stop; k++) {
            place[engine.size()] = {i, k};
            engine.add(ws.finder, k - start, batch.type[k]);
            if (engine.full()) flush();
        }
    }
    flush();
}

}  // namespace mlipstore
