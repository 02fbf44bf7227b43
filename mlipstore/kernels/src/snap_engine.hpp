// Components and their gradients for blocks of W central atoms.
//
//   1. U: total densities, lanes = atoms, one neighbour of each at a time.
//   2. Z: rows (see snap_plan.hpp), lanes = atoms; components B by contraction with U; rows transposed to one contiguous
//      array per atom.
//   3. Per atom, lanes = neighbours: C = G Q, level by level, as a register-blocked product of its rows G with the
//      derivative columns Q of its neighbours.
//   4. Per neighbour: D = dB_i/dr_j = omega C, added to where the caller wants it.
//
// Lanes never mix atoms, so results do not depend on how atoms are put into blocks, bit for bit.
#pragma once

#include "snap_basis.hpp"

namespace mlipstore {

// Vectors of neighbours whose derivative columns are multiplied at once.
constexpr int groups_per_pass = W == 8 ? 2 : 1;

class SnapEngine {
  public:
    explicit SnapEngine(const SnapPlan& plan);

    struct Atom {
        int type;
        std::size_t first;  // its pairs in pairs()
        int n;
        double* own;        // (3, padded): sum over neighbours of D is subtracted here; may be null
        double* virial;     // (6, padded): sum of d_a D_b, xx yy zz yz xz xy, is added here; may be null
    };

    void clear();
    bool full() const { return n_atoms_ == W; }
    int size() const { return n_atoms_; }
    // Adds atom i of the finder's configuration; the caller fills target() of its pairs if it wants gradients.
    Atom& add(NeighbourFinder& finder, std::int64_t i, int type);
    Atom& atom(int a) { return atoms_[a]; }
    const PairList& pairs() const { return pairs_; }
    double*& target(std::size_t pair) { return target_[pair]; }  // (3, padded): D is added here

    // Components of the atoms of the block, then, if asked for, their gradients into own, virial and target.
    void compute_components(bool gradients);
    const double* components(int a) const { return b_.data() + std::size_t(a) * plan_.padded; }
    void compute_gradients();

    // Energy of each atom for coefficients (elements, columns) of its components and, if quadratic, of their products,
    // and its derivative by the position of each neighbour: the rows are contracted with the coefficients before
    // neighbours are looked at.
    void compute_energy(const double* coefficients, bool quadratic);
    double energy(int a) const { return energy_[a]; }
    const double* slope(int xyz) const { return slope_.data() + std::size_t(xyz) * slope_stride_; }  // of pair p: [p]

  private:
    enum class Keep { components, rows_of_atoms, rows_of_lanes, weighted_sum };

    void prepare_block(bool gradients);
    void sum_densities();
    void unpack_densities();
    void couple(const Product& product, Keep keep);
    void contract(int a, int element, int begin, int end);
    void distribute(int a, int begin, int end);
    void weigh_columns(const double* coefficients, bool quadratic);
    void weigh_rows();
    void add_weighted(const Product& product, const vd* rows);
    void make_fields();
    void contract_fields(int a, int density, int begin, int end);

    const SnapPlan& plan_;
    int n_atoms_ = 0;
    Atom atoms_[W];
    Buffer<std::int32_t> segment_;  // [atom][element + 1]: pairs of an atom before an element (explicit elements only)
    PairList pairs_;
    Buffer<std::int32_t> kind_;
    Buffer<double*> target_;
    PairGeometry geometry_;

    Buffer<double> steps_;          // [neighbour][5][W]: sr si tr ti fc with lanes = atoms
    Buffer<vd> level_;              // storage of recursion levels
    Buffer<vd> sums_;               // [density][matrix]: half sets, without N
    Buffer<vd> u_;                  // [density][matrix][re, im]: full matrices
    Buffer<vd> scratch_;            // rows of one coupling
    Buffer<vd> b_lanes_;
    Buffer<double> b_;              // [atom][padded]
    Buffer<double> g_;              // [product][atom][rows]
    Buffer<double> q_;              // columns of one level
    Buffer<double> c_;              // [column][vectors of columns]

    Buffer<vd> rows_;               // [product][rows], lanes = atoms
    Buffer<vd> column_weight_;      // dE/dB
    Buffer<vd> row_weight_;         // [density][row]: sum over the targets of a row
    Buffer<vd> y_;                  // [density][matrix]: dE/dv, half sets
    Buffer<double> fields_;         // [atom][density][element][8]: see make_fields
    Buffer<double> slope_;
    std::size_t slope_stride_ = 0;
    double energy_[W] = {};
};

}  // namespace mlipstore
