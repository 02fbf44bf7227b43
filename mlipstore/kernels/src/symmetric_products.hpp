// Rows of products of components: sums over atoms of symmetrised outer products, upper triangle, row by row.
#pragma once

#include <cstddef>

#include "vector.hpp"

namespace mlipstore {

// For c < C and pairs of columns a <= b of n columns:
//   out[c][index(a, b)] (+)= scale f sum_p (B_p[a] X_pc[b] + X_pc[a] B_p[b]),  f = 1/2 if a = b, else 1.
// B_p and X_p are padded to whole vectors, component c of X_p starts at c * stride; out[c] holds n (n + 1) / 2 values.
template <int C>
void symmetric_products(std::size_t count, const double* const* B, const double* const* X, std::size_t stride, int n,
                        double scale, bool add, double* const* out) {
    constexpr int rows = W == 8 ? 4 : 2;
    for (int a0 = 0; a0 < n; a0 += rows) {
        for (int b0 = a0 / W * W; b0 < n; b0 += W) {
            vd sum[rows][C];
            for (int r = 0; r < rows; r++)
                for (int c = 0; c < C; c++) sum[r][c] = vd{};
            for (std::size_t p = 0; p < count; p++) {
                const double *bp = B[p], *xp = X[p];
                const vd b = in_register(load(bp + b0));
                vd x[C];
                for (int c = 0; c < C; c++) x[c] = in_register(load(xp + c * stride + b0));
                for (int r = 0; r < rows; r++)  // rows beyond n are padding
                    for (int c = 0; c < C; c++) {
                        sum[r][c] += bp[a0 + r] * x[c];
                        sum[r][c] += xp[c * stride + a0 + r] * b;
                    }
            }
            for (int r = 0; r < rows && a0 + r < n; r++) {
                const int a = a0 + r;
                if (b0 + W <= a) continue;
                const std::ptrdiff_t at = std::ptrdiff_t(a) * n - std::ptrdiff_t(a) * (a - 1) / 2 - a;  // + b
                for (int c = 0; c < C; c++) {
                    const vd value = scale * sum[r][c];
                    double* to = out[c] + at;
                    if (b0 > a && b0 + W <= n) {
                        store(to + b0, add ? load(to + b0) + value : value);
                        continue;
                    }
                    for (int l = 0; l < W; l++) {
                        const int b = b0 + l;
                        if (b < a || b >= n) continue;
                        const double v = b == a ? 0.5 * value[l] : value[l];
                        to[b] = add ? to[b] + v : v;
                    }
                }
            }
        }
    }
}

}  // namespace mlipstore
