// Per-neighbour quantities of SNAP: the point on the 3-sphere, the switching function, the Wigner matrices and their
// derivatives. Lanes are neighbours, or atoms with one neighbour each.
//
// U_j[mb, ma] = N v_j[mb, ma] with the recursion, free of coefficients,
//   v_j[mb, ma] = conj(a) v_{j-1}[mb, ma] - conj(b) v_{j-1}[mb, ma-1],   v_0 = fc,
// where a = cos(theta) - i sin(theta) n_z, b = sin(theta) (n_y - i n_x) are the Cayley-Klein parameters of the
// direction n and the angle theta(r) (Thompson et al. 2015, doi:10.1016/j.jcp.2014.12.018, sec. 2.1). Derivatives along
// the three invariant tangent vectors T_g of the 3-sphere are ladder operators with integer coefficients:
//   T_x v = i [(ma+1) v[ma+1] + (j-ma+1) v[ma-1]],  T_y v = (ma+1) v[ma+1] - (j-ma+1) v[ma-1],  T_z v = i (j-2ma) v,
// and d(fc U)/dx_c = sum_g omega[c, g] (T_g + alpha_g) (fc U).
#pragma once

#include "buffer.hpp"
#include "neighbours.hpp"
#include "snap_plan.hpp"
#include "vector.hpp"

namespace mlipstore {

// Geometry of the pairs of a block of atoms, one array for each quantity.
class PairGeometry {
  public:
    enum Field { SR, SI, TR, TI, FC, ALPHA, OMEGA = ALPHA + 3, COUNT = OMEGA + 9 };

    // kind[p]: index of SnapPlan::pairs for each pair. The list is padded to whole vectors by the caller.
    void compute(const SnapPlan& plan, const PairList& list, const std::int32_t* kind, bool gradients);

    const double* field(int f) const { return data_.data() + std::size_t(f) * stride_; }

  private:
    Buffer<double> data_;
    std::size_t stride_ = 0;
};

// s = conj(a), t = -conj(b) of W neighbours.
struct Spinor {
    vd sr, si, tr, ti;
};

// Storage of one level: rows mb = 0..j/2 (odd j: also (j+1)/2, which the next level needs) of ma = 0..j.
constexpr int level_storage(int j) { return (j / 2 + 2) * (j + 1); }

// Level j from level j - 1, matrices without their factors N.
inline void next_level(int j, const Spinor& p, const vd* r0, const vd* i0, vd* r, vd* i) {
    const vd sr = p.sr, si = p.si, tr = p.tr, ti = p.ti;
    const vd* const first_r = r;
    const vd* const first_i = i;
    for (int mb = 0; 2 * mb <= j; mb++) {
        vd pr = r0[0], pi = i0[0];
        r[0] = sr * pr - si * pi;
        i[0] = sr * pi + si * pr;
        for (int ma = 1; ma < j; ma++) {
            const vd cr = r0[ma], ci = i0[ma];
            r[ma] = sr * cr - si * ci + tr * pr - ti * pi;
            i[ma] = sr * ci + si * cr + tr * pi + ti * pr;
            pr = cr;
            pi = ci;
        }
        r[j] = tr * pr - ti * pi;
        i[j] = tr * pi + ti * pr;
        r += j + 1;
        i += j + 1;
        r0 += j;
        i0 += j;
    }
    if (j & 1) {  // v[j-mb, j-ma] = (-1)^(ma+mb) conj(v[mb, ma])
        const int mb = (j + 1) / 2;
        const vd* from_r = first_r + (j - mb) * (j + 1) + j;
        const vd* from_i = first_i + (j - mb) * (j + 1) + j;
        for (int ma = 0; ma <= j; ma++) {
            const bool odd = ((ma + mb) & 1) != 0;
            r[ma] = odd ? -from_r[-ma] : from_r[-ma];
            i[ma] = odd ? from_i[-ma] : -from_i[-ma];
        }
    }
}

// The columns (T_g + alpha_g) v of one level: K = (j+1)^2 rows, row k of the three columns g at q + k ldq + g stride.
// A stride below W packs the lanes of a partly filled vector densely: each store overwrites the idle lanes of the
// store before it.
inline void tangent_columns(int j, const vd* alpha, const vd* r, const vd* i, double* q, std::size_t ldq,
                            std::size_t stride) {
    const vd ax = alpha[0], ay = alpha[1], az = alpha[2];
    for (int mb = 0; 2 * mb <= j; mb++) {
        const int last = 2 * mb == j ? mb : j;
        for (int ma = 0; ma <= last; ma++) {
            const vd vr = r[ma], vi = i[ma];
            const double m = j - 2 * ma;
            vd hr{}, hi{}, lr{}, li{};
            if (ma < j) {
                const double c = ma + 1;
                hr = c * r[ma + 1];
                hi = c * i[ma + 1];
            }
            if (ma > 0) {
                const double c = j - ma + 1;
                lr = c * r[ma - 1];
                li = c * i[ma - 1];
            }
            store(q, ax * vr - (hi + li));
            store(q + stride, ay * vr + (hr - lr));
            store(q + 2 * stride, az * vr - m * vi);
            q += ldq;
            if (2 * ma == j && 2 * mb == j) continue;  // the middle element is real
            store(q, ax * vi + (hr + lr));
            store(q + stride, ay * vi + (hi - li));
            store(q + 2 * stride, az * vi + m * vr);
            q += ldq;
        }
        r += j + 1;
        i += j + 1;
    }
}

}  // namespace mlipstore
