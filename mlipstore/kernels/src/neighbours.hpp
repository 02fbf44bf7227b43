// Neighbours of atoms in any cell: skewed, left-handed, smaller than the cutoff, partly periodic, atoms outside.
//
// Atoms are wrapped into the cell along its periodic vectors, their images within the cutoff are added as points, the
// points are sorted into bins, and each atom searches the bins around it: linear in the number of atoms. The lists are
// made atom by atom on demand, so that a list of all pairs need not exist.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.hpp"

namespace mlipstore {

// Neighbour vectors (r_j - r_i, in Å) of one atom after another.
struct PairList {
    Buffer<double> x, y, z;
    Buffer<std::int32_t> atom;  // index of the neighbour in its configuration
    Buffer<std::int32_t> type;  // element of the neighbour
    std::size_t size = 0;
    std::size_t coincident = 0;  // left out because they are where the atom is, the atom itself included

    void clear() { size = coincident = 0; }
    void reserve(std::size_t n);
};

// Cutoffs of pairs of elements.
struct Cutoffs {
    int n_types = 1;
    double longest = 0.0;
    std::vector<double> squared;  // [type of centre][type of neighbour]
};

class NeighbourFinder {
  public:
    // One configuration: positions (n, 3), cell rows (3, 3), pbc (3); pointers must stay valid until the next one.
    void prepare(std::int64_t n_atoms, const double* position, const std::int32_t* type, const double* cell,
                 const std::uint8_t* pbc, double cutoff);

    // Appends the neighbours of atom i (r < cutoff of the pair, r > 1e-10) to the list, returns how many.
    // by_type: grouped by the element of the neighbour, and first[t] counts the ones before element t.
    int find(std::int64_t i, const Cutoffs& cutoffs, bool by_type, PairList& list, std::int32_t* first);

  private:
    void add_images(const double basis[3][3], const double inverse[3][3], const std::uint8_t* pbc, double cutoff);
    void sort_into_bins(double cutoff);
    std::size_t candidates(std::int64_t i);

    std::int64_t n_atoms_ = 0;
    const std::int32_t* type_ = nullptr;
    double squared_ = 0.0;
    Buffer<double> wrapped_;             // (n, 3)
    Buffer<double> px_, py_, pz_;        // points, sorted by bin
    Buffer<std::int32_t> patom_;
    Buffer<double> ux_, uy_, uz_;        // points as they were made
    Buffer<std::int32_t> uatom_, ubin_;
    std::size_t n_points_ = 0;
    double low_[3] = {}, scale_[3] = {};
    int bins_[3] = {1, 1, 1};
    Buffer<std::int64_t> start_;         // first point of each bin
    Buffer<std::int64_t> found_;
};

}  // namespace mlipstore
