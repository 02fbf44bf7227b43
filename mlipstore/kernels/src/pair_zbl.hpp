// The screened nuclear repulsion of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Matter, 1985).
//
// E(r) = k Zi Zj / r phi(r / a) + S(r), phi a sum of four exponentials, a = 0.4685 Å / (Zi^0.23 + Zj^0.23), k = e^2 / (4
// pi eps0) in the value LAMMPS metal units have. S(r) is a constant up to the inner radius and a quartic polynomial from
// there to the outer one, where E, E' and E'' vanish (documentation of LAMMPS pair_style zbl).
#pragma once

#include <vector>

#include "batch.hpp"

namespace mlipstore {

class Zbl {
  public:
    // zi, zj: charges of pairs of types [i n_types + j], 0 where a pair does not interact.
    Zbl(int n_types, const std::vector<double>& zi, const std::vector<double>& zj, double inner, double outer);

    // Energy (n), force (atoms, 3) and stress (n, 6), xx yy zz yz xz xy, tension positive, 0 unless fully periodic.
    void evaluate(const BatchView& batch, double* energy, double* force, double* stress) const;

    int n_types() const { return cutoffs_.n_types; }

  private:
    struct Pair {
        double factor[4], decay[4];                 // E without S: sum factor exp(-decay r) / r
        double shift = 0, third = 0, fourth = 0;    // S: shift + third t^3 + fourth t^4, t = r - inner
    };
    // Energy and its derivative at a distance, with (true) or without S.
    void at(const Pair& pair, double r, bool switched, double& energy, double& slope) const;
    double curvature(const Pair& pair, double r) const;

    Cutoffs cutoffs_;
    double inner_;
    std::vector<Pair> pairs_;
};

}  // namespace mlipstore
