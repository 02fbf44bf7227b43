// The blocked product of the kernels: rows (broadcast) times columns (vectors), accumulated into chosen rows of C.
#pragma once

#include "vector.hpp"

namespace mlipstore {

// acc[r][n] = sum_k row[r][k] q[k][n] for MR rows and NT vectors of columns; row k of q starts at q + k ldq.
template <int MR, int NT>
inline void product_tile(const double* const* row, const double* q, std::size_t ldq, int K, vd acc[MR][NT]) {
    vd sum[MR][NT];
    for (int r = 0; r < MR; r++)
        for (int n = 0; n < NT; n++) sum[r][n] = vd{};
    const double* p[MR];
    for (int r = 0; r < MR; r++) p[r] = row[r];
    for (int k = 0; k < K; k++) {
        vd x[NT];
        for (int n = 0; n < NT; n++) x[n] = load(q + n * W);
        q += ldq;
        for (int r = 0; r < MR; r++) {
            const double g = p[r][k];
            for (int n = 0; n < NT; n++) sum[r][n] += g * x[n];
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < MR; r++) {
#pragma GCC unroll 6
        for (int n = 0; n < NT; n++) acc[r][n] = sum[r][n];
    }
}

}  // namespace mlipstore
