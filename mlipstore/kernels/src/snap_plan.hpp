// Tables of the SNAP kernel that depend on the settings only. Angular momenta are doubled integers 0..twojmax.
//
// The bispectrum component of levels lo <= mid <= hi is the trilinear invariant
//   B = sum conj(U_hi) Z_{mid lo}^{hi},   Z_{j1 j2}^j = CG (U_j1 x U_j2) CG
// (Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, eqs. 5-8). B / (hi + 1) is symmetric in its three levels, hence
// dB/dU at every level is again a Z block, and one "row" (Z of one pair of levels j1 >= j2, projected on one level l)
// gives both the components and their derivatives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "neighbours.hpp"

namespace mlipstore {

constexpr int max_twojmax = 20;
constexpr int max_products = max_twojmax / 2 + 1;  // most levels j that one pair (j1, j2) couples to

struct SnapSettings {
    int n_elements = 1;
    int twojmax = 6;
    double rcutfac = 0.0, rfac0 = 0.99363, rmin0 = 0.0;
    std::vector<double> radius, weight;       // of each element
    std::vector<double> sinner, dinner;       // of each element; empty: no inner switching
    bool switching = true, bzero = false, chem = false, bnorm = false, wselfall = false;
};

// What the geometry of a pair of elements needs.
struct PairConstants {
    double weight, angle_rate, angle_origin;  // fc scale; theta = angle_rate (r - angle_origin)
    double switch_rate;                       // outer switching cos^2(switch_rate (r - rmin0)); 0: none
    double inner_middle, inner_rate;          // inner switching; inner_rate = pi / (4 dinner), 0: none
};

// A pair of levels j1 >= j2 and the levels it couples to, highest first.
struct Coupling {
    int j1, j2, n_levels, n_top;              // n_top: levels j >= j1, those that are components
    int level[max_products];
    int shift;                                // (j1 + j2 - level[0]) / 2
    std::size_t cg;                           // offset of CG[m1][m2][level] in Plan::cg
    int offset[max_products + 1];             // of the rows of this coupling inside its scratch, in vectors
};

// U^a x U^b of one coupling; without explicit elements a = b = 0.
struct Product {
    int coupling, a, b;
    int first_row;                            // rows first_row + index of the level
    std::size_t offset;                       // of its rows of the first atom in the G array
};

struct Target {                               // where a contracted row goes
    std::int32_t column;
    bool first;                               // nothing of a lower level or row goes to this column
    double factor;
};

struct Row {
    int level;
    std::size_t offset, stride;               // of the first atom in the G array; from one atom to the next
};

class SnapPlan {
  public:
    explicit SnapPlan(const SnapSettings& settings);

    SnapSettings settings;
    int n_densities;                          // number of separate total densities U: elements if chem, else 1
    int n_components;                         // triples of levels
    int n_columns;                            // components x densities^3: columns of one central element
    int padded;                               // n_columns rounded up to whole vectors
    Cutoffs cutoffs;
    std::vector<PairConstants> pairs;         // [centre][neighbour]

    // Half sets of matrix elements (mb <= j/2; ma <= mb on the middle line): K = (j+1)^2 real numbers of level j, pairs
    // (re, im) except the last one of an even level, which is real.
    // The full matrix, complex, has as many elements, so both have the same offsets.
    std::vector<int> level_offset;            // [level + 1]
    int n_matrix;                             // total over the levels
    std::vector<double> norm;                 // N(j, mb, ma) of the half set, in order of complex elements
    std::vector<double> row_weight;           // 2 N (middle element: N): weights Z into dB/dv
    std::vector<int> element_offset;          // [level + 1]: complex elements before the level

    std::vector<double> cg;
    std::vector<Coupling> couplings;
    std::vector<Product> products;
    std::vector<Row> rows;
    std::size_t g_size;                       // doubles of the G array: [product][atom of the block][rows]
    int scratch_size;                         // vectors of the rows of one coupling

    std::vector<std::vector<int>> level_rows;              // rows that live on a level
    std::vector<int> component_start;                      // [row * n_densities + e], into component_list
    std::vector<Target> component_list;
    std::vector<int> gradient_start;                       // [e * (n_rows + 1) + row], into gradient_list
    std::vector<Target> gradient_list;
    std::vector<std::vector<int>> untouched;               // [e]: columns without a target
    std::vector<double> isolated;                          // [centre][column]: value of an atom without neighbours

  private:
    void make_elements();
    void make_couplings();
    void make_products();
    void make_targets();
    void make_pairs();
};

// Clebsch-Gordan coefficients of (j1, j2) -> j: out[(m1 * (j2 + 1) + m2) * stride], m counted from 0.
void clebsch_gordan(int j1, int j2, int j, double* out, std::size_t stride);

}  // namespace mlipstore
