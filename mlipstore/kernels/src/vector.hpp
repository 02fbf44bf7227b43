// Vectors of W doubles on the vector extensions of GCC and Clang: the same source for every instruction set.
#pragma once

#include <cmath>
#include <cstdint>

#ifndef MLIPSTORE_WIDTH
#error "MLIPSTORE_WIDTH (doubles per vector) is set by CMakeLists.txt"
#endif

namespace mlipstore {

constexpr int W = MLIPSTORE_WIDTH;
static_assert(W == 2 || W == 4 || W == 8, "supported vector widths");

typedef double vd __attribute__((vector_size(W * 8)));
typedef double vd_unaligned __attribute__((vector_size(W * 8), aligned(8), may_alias));
typedef std::int64_t vl __attribute__((vector_size(W * 8)));

inline vd splat(double x) { return x - vd{}; }
inline vd load(const double* p) { return *reinterpret_cast<const vd_unaligned*>(p); }
inline void store(double* p, vd x) { *reinterpret_cast<vd_unaligned*>(p) = x; }
inline vd select(vl mask, vd yes, vd no) { return reinterpret_cast<vd>((mask & reinterpret_cast<vl>(yes)) | (~mask & reinterpret_cast<vl>(no))); }

inline vd sqrt(vd x) {
    vd r;
    for (int l = 0; l < W; l++) r[l] = __builtin_sqrt(x[l]);
    return r;
}

// Keeps a loaded value in a register: the compiler would rather load it again for every use, and the loops that need
// this are bound by loads.
inline vd in_register(vd x) {
#if defined(__AVX512F__)
    asm("" : "+v"(x));
#elif defined(__x86_64__)
    asm("" : "+x"(x));
#elif defined(__aarch64__)
    asm("" : "+w"(x));
#endif
    return x;
}

// sin and cos for |x| < 1e5, within 1 ulp of the larger of the two: reduction by multiples of pi/2 in three parts
// (Cody and Waite), then the Taylor series on [-pi/4, pi/4], whose remainder is below 5e-17.
inline void sincos(vd x, vd& sine, vd& cosine) {
    constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer kept in the low bits
    constexpr double part1 = 1.57079632673412561417e+00, part2 = 6.07710050630396597660e-11,
                     part3 = 2.02226624879595063154e-21;
    const vd shifted = x * 0.63661977236758134308 + magic;
    const vd n = shifted - magic;
    const vl quadrant = reinterpret_cast<vl>(shifted);
    const vd r = ((x - n * part1) - n * part2) - n * part3;
    const vd y = r * r;
    vd s = splat(1.0 / 355687428096000.0);
    s = s * y - 1.0 / 1307674368000.0;
    s = s * y + 1.0 / 6227020800.0;
    s = s * y - 1.0 / 39916800.0;
    s = s * y + 1.0 / 362880.0;
    s = s * y - 1.0 / 5040.0;
    s = s * y + 1.0 / 120.0;
    s = s * y - 1.0 / 6.0;
    s = r + r * y * s;
    vd c = splat(-1.0 / 6402373705728000.0);
    c = c * y + 1.0 / 20922789888000.0;
    c = c * y - 1.0 / 87178291200.0;
    c = c * y + 1.0 / 479001600.0;
    c = c * y - 1.0 / 3628800.0;
    c = c * y + 1.0 / 40320.0;
    c = c * y - 1.0 / 720.0;
    c = c * y + 1.0 / 24.0;
    c = c * y - 0.5;
    c = c * y + 1.0;
    const vl odd = (quadrant & 1) != 0;
    sine = select(odd, c, s);
    cosine = select(odd, s, c);
    sine = select((quadrant & 2) != 0, -sine, sine);
    cosine = select(((quadrant + 1) & 2) != 0, -cosine, cosine);
}

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MLIPSTORE_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef MLIPSTORE_SHUFFLE
#define MLIPSTORE_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, vl{__VA_ARGS__})
#endif

// Transposes W vectors in place.
inline void transpose(vd* t) {
#if MLIPSTORE_WIDTH == 8
    vd s[8];
    for (int i = 0; i < 8; i += 2) {
        s[i] = MLIPSTORE_SHUFFLE(t[i], t[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        s[i + 1] = MLIPSTORE_SHUFFLE(t[i], t[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int k = i; k < i + 2; k++) {
            t[k] = MLIPSTORE_SHUFFLE(s[k], s[k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            t[k + 2] = MLIPSTORE_SHUFFLE(s[k], s[k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    }
    for (int k = 0; k < 4; k++) {
        const vd a = t[k], b = t[k + 4];
        t[k] = MLIPSTORE_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11);
        t[k + 4] = MLIPSTORE_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    }
#elif MLIPSTORE_WIDTH == 4
    vd s[4];
    for (int i = 0; i < 4; i += 2) {
        s[i] = MLIPSTORE_SHUFFLE(t[i], t[i + 1], 0, 4, 2, 6);
        s[i + 1] = MLIPSTORE_SHUFFLE(t[i], t[i + 1], 1, 5, 3, 7);
    }
    for (int k = 0; k < 2; k++) {
        t[k] = MLIPSTORE_SHUFFLE(s[k], s[k + 2], 0, 1, 4, 5);
        t[k + 2] = MLIPSTORE_SHUFFLE(s[k], s[k + 2], 2, 3, 6, 7);
    }
#else
    const vd a = t[0], b = t[1];
    t[0] = vd{a[0], b[0]};
    t[1] = vd{a[1], b[1]};
#endif
}

}  // namespace mlipstore
