#include "snap_rows.hpp"

#include <algorithm>

namespace mlipstore {

namespace {

// Whole configurations are computed together until they have this many atoms: enough that the last, partly filled
// block of atoms does not matter, few enough that their rows stay in the cache.
constexpr std::int64_t chunk_atoms = 128;

// Scratch memory of a very large configuration is not kept for the next call (in doubles: 128 MB).
constexpr std::size_t largest_idle = std::size_t(1) << 24;

}  // namespace

std::int64_t chunk_end(const BatchView& batch, std::int64_t begin, std::int64_t atoms) {
    std::int64_t end = begin + 1;
    while (end < batch.n && batch.atom_start[end + 1] - batch.atom_start[begin] <= atoms) end++;
    return end;
}

std::unique_ptr<Workspace> SnapKernel::take() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!idle_.empty()) {
            auto workspace = std::move(idle_.back());
            idle_.pop_back();
            return workspace;
        }
    }
    return std::make_unique<Workspace>(plan);
}

void SnapKernel::give_back(std::unique_ptr<Workspace> workspace) {
    if (workspace->rows.size() + workspace->virial.size() + workspace->own.size() > largest_idle) return;
    workspace->engine.clear();
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(workspace));
}

void SnapKernel::linear_rows(const BatchView& batch, double* energy, double* force, double* stress) {
    Lease lease(*this);
    Workspace& ws = *lease;
    SnapEngine& engine = ws.engine;
    const int n_types = plan.settings.n_elements, columns = plan.n_columns, padded = plan.padded;
    const std::size_t width = std::size_t(n_types) * columns;
    const std::size_t block = std::size_t(3) * padded;  // rows of one atom for one element of the centre
    const bool gradients = force != nullptr;
    double* energy_of[W];

    for (std::int64_t begin = 0; begin < batch.n;) {
        const std::int64_t end = chunk_end(batch, begin, chunk_atoms);
        const std::int64_t first = batch.atom_start[begin], last = batch.atom_start[end];
        double *rows = nullptr, *virial = nullptr;
        if (gradients) {
            rows = ws.rows.zeroed(std::size_t(last - first) * n_types * block);
            virial = ws.virial.zeroed(std::size_t(end - begin) * n_types * 2 * block);
        }
        std::memset(energy + std::size_t(begin) * width, 0, std::size_t(end - begin) * width * sizeof(double));
        auto flush = [&] {
            engine.compute_components(gradients);
            for (int a = 0; a < engine.size(); a++) {
                const double* b = engine.components(a);
                for (int m = 0; m < columns; m++) energy_of[a][m] += b[m];
            }
            if (gradients) engine.compute_gradients();
            engine.clear();
        };
        for (std::int64_t i = begin; i < end; i++) {
            prepare(ws.finder, batch, i, plan.cutoffs.longest);
            const std::int64_t start = batch.atom_start[i], n_atoms = batch.atom_start[i + 1] - start;
            for (std::int64_t k = 0; k < n_atoms; k++) {
                const int type = batch.type[start + k];
                SnapEngine::Atom& atom = engine.add(ws.finder, k, type);
                energy_of[engine.size() - 1] = energy + std::size_t(i) * width + std::size_t(type) * columns;
                if (gradients) {
                    auto rows_of = [&](std::int64_t j) {
                        return rows + (std::size_t(start - first + j) * n_types + type) * block;
                    };
                    atom.own = rows_of(k);
                    atom.virial = virial + (std::size_t(i - begin) * n_types + type) * 2 * block;
                    const std::size_t pairs_end = atom.first + std::size_t(atom.n);
                    for (std::size_t p = atom.first; p < pairs_end; p++) engine.target(p) = rows_of(engine.pairs().atom[p]);
                }
                if (engine.full()) flush();
            }
        }
        flush();
        if (gradients) {
            for (std::int64_t j = first; j < last; j++)
                for (int t = 0; t < n_types; t++)
                    for (int k = 0; k < 3; k++) {
                        const double* from = rows + (std::size_t(j - first) * n_types + t) * block + std::size_t(k) * padded;
                        double* to = force + std::size_t(3 * j + k) * width + std::size_t(t) * columns;
                        for (int m = 0; m < columns; m++) to[m] = -from[m];
                    }
            for (std::int64_t i = begin; i < end; i++) {
                const double scale = inverse_volume(batch.cell + 9 * i, batch.pbc + 3 * i);
                for (int t = 0; t < n_types; t++)
                    for (int k = 0; k < 6; k++) {
                        const double* from =
                            virial + (std::size_t(i - begin) * n_types + t) * 2 * block + std::size_t(k) * padded;
                        double* to = stress + std::size_t(6 * i + k) * width + std::size_t(t) * columns;
                        for (int m = 0; m < columns; m++) to[m] = scale * from[m];
                    }
            }
        }
        begin = end;
    }
}

void SnapKernel::atom_components(const BatchView& batch, double* out) {
    Lease lease(*this);
    Workspace& ws = *lease;
    std::int64_t done = 0;
    auto flush = [&] {
        ws.engine.compute_components(false);
        for (int a = 0; a < ws.engine.size(); a++)
            std::memcpy(out + std::size_t(done++) * plan.n_columns, ws.engine.components(a),
                        std::size_t(plan.n_columns) * sizeof(double));
        ws.engine.clear();
    };
    for (std::int64_t i = 0; i < batch.n; i++) {
        prepare(ws.finder, batch, i, plan.cutoffs.longest);
        const std::int64_t start = batch.atom_start[i], n_atoms = batch.atom_start[i + 1] - start;
        for (std::int64_t k = 0; k < n_atoms; k++) {
            ws.engine.add(ws.finder, k, batch.type[start + k]);
            if (ws.engine.full()) flush();
        }
    }
    flush();
}

}  // namespace mlipstore
