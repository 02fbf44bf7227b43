// Rows of the linear system for batches of configurations.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "batch.hpp"
#include "snap_engine.hpp"

namespace mlipstore {

// The configurations from `begin` that are computed together: whole ones, together at most `atoms` (or a single one).
std::int64_t chunk_end(const BatchView& batch, std::int64_t begin, std::int64_t atoms);

// Results of given coefficients: energy (n); atom_energy (atoms), may be null; force (atoms, 3) and stress (n, 6), in
// tension positive, both or neither null.
struct Evaluation {
    double *energy, *atom_energy, *force, *stress;
};

// Scratch memory of one call.
struct Workspace {
    explicit Workspace(const SnapPlan& plan) : engine(plan) {}
    SnapEngine engine;
    NeighbourFinder finder;
    Buffer<double> rows, virial, own;
    // Quadratic rows: gradients collected by (centre, moved atom).
    std::vector<std::pair<std::int64_t, std::int64_t>> slots;
    std::vector<std::int64_t> slot_of, own_slot, pair_slot, by_atom, fill;
    std::vector<std::size_t> order;
    std::vector<const double*> shifted;
};

// The plan and the scratch memory of the calls that use it at the same time.
class SnapKernel {
  public:
    explicit SnapKernel(const SnapSettings& settings) : plan(settings) {}

    const SnapPlan plan;

    // Rows into (n, M), (3 atoms, M), (6 n, M) with M = elements x columns. force and stress may both be null.
    void linear_rows(const BatchView& batch, double* energy, double* force, double* stress);
    // The same with all products of two components: M = elements x (columns + columns (columns + 1) / 2).
    void quadratic_rows(const BatchView& batch, double* energy, double* force, double* stress);
    // Components of each atom (atoms, columns).
    void atom_components(const BatchView& batch, double* out);
    // Energy, forces and stress of coefficients (elements, columns), with products of two components if quadratic.
    void evaluate(const BatchView& batch, const double* coefficients, bool quadratic, const Evaluation& out);

    // Pairs of each atom: pair_start (atoms + 1). Returns their number.
    std::int64_t count_pairs(const BatchView& batch, std::int64_t* pair_start);
    // For each pair: its neighbour (an atom of the batch), r_j - r_i (pairs, 3) and dB_i/dr_j (pairs, 3, columns);
    // and the components (atoms, columns).
    void pair_gradients(const BatchView& batch, const std::int64_t* pair_start, std::int64_t* neighbour, double* vector,
                        double* gradient, double* components);

  private:
    // A workspace for the time of one call.
    class Lease {
      public:
        explicit Lease(SnapKernel& kernel) : kernel_(kernel), workspace_(kernel.take()) {}
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() { kernel_.give_back(std::move(workspace_)); }
        Workspace& operator*() { return *workspace_; }

      private:
        SnapKernel& kernel_;
        std::unique_ptr<Workspace> workspace_;
    };
    std::unique_ptr<Workspace> take();
    void give_back(std::unique_ptr<Workspace> workspace);

    std::mutex mutex_;
    std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace mlipstore
