// Quadratic rows: all products of two components of an atom (Wood and Thompson 2018, doi:10.1063/1.5017641).
//
// The gradient of B_a B_b of atom i by the position of atom k is B_a D_b + B_b D_a with D = dB_i/dr_k: summed over i, a
// symmetrised product of matrices for every k. So the gradients D are first collected for every pair of atoms (images
// added up), and each element of the wide rows is then computed in registers and written once.
#include <algorithm>
#include <utility>

#include "snap_rows.hpp"
#include "symmetric_products.hpp"

namespace mlipstore {

namespace {

constexpr std::int64_t chunk_atoms = 32;      // few: the collected gradients should stay in the cache
constexpr std::size_t products_at_once = 64;  // atoms summed in registers before the rows are touched

}  // namespace

void SnapKernel::quadratic_rows(const BatchView& batch, double* energy, double* force, double* stress) {
    Lease lease(*this);
    Workspace& ws = *lease;
    SnapEngine& engine = ws.engine;
    const int n_types = plan.settings.n_elements, columns = plan.n_columns;
    const std::size_t padded = std::size_t(plan.padded), block = 3 * padded;
    const std::size_t per_type = std::size_t(columns) + std::size_t(columns) * (columns + 1) / 2;
    const std::size_t width = per_type * n_types;
    const bool gradients = force != nullptr;
    std::vector<const double*> b_list, x_list;

    // out rows (+)= scale times linear and quadratic parts of the atoms in the lists.
    auto write = [&](int n_rows, double* first_row, double scale, double linear_scale) {
        for (int c = 0; c < n_rows; c++) {
            double* row = first_row + std::size_t(c) * width;
            std::fill_n(row, x_list.empty() ? per_type : std::size_t(columns), 0.0);
            for (const double* x : x_list)
                for (int m = 0; m < columns; m++) row[m] += linear_scale * x[c * padded + m];
        }
        for (std::size_t p = 0; p < b_list.size(); p += products_at_once) {
            const std::size_t count = std::min(products_at_once, b_list.size() - p);
            for (int c = 0; c < n_rows; c += 3) {
                double* out[3];
                for (int k = 0; k < 3; k++) out[k] = first_row + std::size_t(c + k) * width + columns;
                std::vector<const double*>& xs = ws.shifted;
                xs.assign(x_list.begin() + std::ptrdiff_t(p), x_list.begin() + std::ptrdiff_t(p + count));
                for (const double*& x : xs) x += c * padded;
                if (n_rows == 1)
                    symmetric_products<1>(count, b_list.data() + p, xs.data(), padded, columns, scale, p != 0, out);
                else
                    symmetric_products<3>(count, b_list.data() + p, xs.data(), padded, columns, scale, p != 0, out);
            }
        }
    };

    for (std::int64_t begin = 0; begin < batch.n;) {
        const std::int64_t end = chunk_end(batch, begin, chunk_atoms);
        const std::int64_t first = batch.atom_start[begin], last = batch.atom_start[end];
        const std::size_t n_atoms = std::size_t(last - first);
        double* components = ws.own.zeroed(n_atoms * padded);
        double* virial = gradients ? ws.virial.zeroed(n_atoms * 2 * block) : nullptr;
        // Slots of collected gradients: (centre, moved atom), in order of the centre.
        ws.slots.clear();
        std::size_t slots_done = 0;
        std::int64_t atoms_done = first;

        auto flush = [&] {
            if (gradients) {
                const std::size_t total = ws.slots.size() * block;
                double* x = ws.rows.extend(total, slots_done * block);
                std::fill(x + slots_done * block, x + total, 0.0);
                for (int a = 0; a < engine.size(); a++) {
                    SnapEngine::Atom& atom = engine.atom(a);
                    atom.own = x + std::size_t(ws.own_slot[std::size_t(a)]) * block;
                    const std::size_t pairs_end = atom.first + std::size_t(atom.n);
                    for (std::size_t p = atom.first; p < pairs_end; p++)
                        engine.target(p) = x + std::size_t(ws.pair_slot[p]) * block;
                }
                slots_done = ws.slots.size();
            }
            engine.compute_components(gradients);
            for (int a = 0; a < engine.size(); a++)
                std::copy_n(engine.components(a), padded, components + std::size_t(atoms_done + a - first) * padded);
            if (gradients) engine.compute_gradients();
            atoms_done += engine.size();
            engine.clear();
        };

        for (std::int64_t i = begin; i < end; i++) {
            prepare(ws.finder, batch, i, plan.cutoffs.longest);
            const std::int64_t start = batch.atom_start[i], n = batch.atom_start[i + 1] - start;
            ws.slot_of.assign(std::size_t(n), -1);
            for (std::int64_t k = 0; k < n; k++) {
                SnapEngine::Atom& atom = engine.add(ws.finder, k, batch.type[start + k]);
                if (gradients) {
                    atom.virial = virial + std::size_t(start + k - first) * 2 * block;
                    const std::size_t first_slot = ws.slots.size(), pairs_end = atom.first + std::size_t(atom.n);
                    auto slot = [&](std::int64_t j) {
                        std::int64_t& s = ws.slot_of[std::size_t(j)];
                        if (s < 0) {
                            s = std::int64_t(ws.slots.size());
                            ws.slots.push_back({start + k - first, start + j - first});
                        }
                        return s;
                    };
                    ws.own_slot.resize(W);
                    ws.own_slot[std::size_t(engine.size() - 1)] = slot(k);
                    ws.pair_slot.resize(std::max(ws.pair_slot.size(), pairs_end));
                    for (std::size_t p = atom.first; p < pairs_end; p++) ws.pair_slot[p] = slot(engine.pairs().atom[p]);
                    for (std::size_t s = first_slot; s < ws.slots.size(); s++)
                        ws.slot_of[std::size_t(ws.slots[s].second - (start - first))] = -1;
                }
                if (engine.full()) flush();
            }
        }
        flush();

        if (gradients) {
            // Slots by the atom that moves, centres in ascending order.
            ws.by_atom.assign(n_atoms + 1, 0);
            for (const auto& s : ws.slots) ws.by_atom[std::size_t(s.second) + 1]++;
            for (std::size_t k = 0; k < n_atoms; k++) ws.by_atom[k + 1] += ws.by_atom[k];
            ws.order.resize(ws.slots.size());
            ws.fill.assign(ws.by_atom.begin(), ws.by_atom.end() - 1);
            for (std::size_t s = 0; s < ws.slots.size(); s++) ws.order[std::size_t(ws.fill[std::size_t(ws.slots[s].second)]++)] = s;
            for (std::size_t k = 0; k < n_atoms; k++)
                for (int t = 0; t < n_types; t++) {
                    b_list.clear();
                    x_list.clear();
                    for (std::int64_t o = ws.by_atom[k]; o < ws.by_atom[k + 1]; o++) {
                        const std::size_t s = ws.order[std::size_t(o)];
                        const std::int64_t centre = ws.slots[s].first;
                        if (batch.type[first + centre] != t) continue;
                        b_list.push_back(components + std::size_t(centre) * padded);
                        x_list.push_back(ws.rows.data() + s * block);
                    }
                    write(3, force + 3 * (std::size_t(first) + k) * width + t * per_type, -1.0, -1.0);
                }
        }
        for (std::int64_t i = begin; i < end; i++)
            for (int t = 0; t < n_types; t++) {
                b_list.clear();
                for (std::int64_t k = batch.atom_start[i]; k < batch.atom_start[i + 1]; k++)
                    if (batch.type[k] == t) b_list.push_back(components + std::size_t(k - first) * padded);
                x_list = b_list;
                write(1, energy + std::size_t(i) * width + t * per_type, 0.5, 1.0);
                if (!gradients) continue;
                x_list.clear();
                for (std::int64_t k = batch.atom_start[i]; k < batch.atom_start[i + 1]; k++)
                    if (batch.type[k] == t) x_list.push_back(virial + std::size_t(k - first) * 2 * block);
                const double scale = inverse_volume(batch.cell + 9 * i, batch.pbc + 3 * i);
                write(6, stress + 6 * std::size_t(i) * width + t * per_type, scale, scale);
            }
        begin = end;
    }
}

}  // namespace mlipstore
