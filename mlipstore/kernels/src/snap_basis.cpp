#include "snap_basis.hpp"

namespace mlipstore {

namespace {

constexpr double half_pi = 1.57079632679489661923;

struct Constants {
    vd weight, angle_rate, origin, switch_rate, inner_middle, inner_rate;
};

Constants constants_of(const SnapPlan& plan, const std::int32_t* kind) {
    Constants c;
    if (plan.pairs.size() == 1) {
        const PairConstants& p = plan.pairs[0];
        c.weight = splat(p.weight);
        c.angle_rate = splat(p.angle_rate);
        c.origin = splat(p.angle_origin);
        c.switch_rate = splat(p.switch_rate);
        c.inner_middle = splat(p.inner_middle);
        c.inner_rate = splat(p.inner_rate);
        return c;
    }
    for (int l = 0; l < W; l++) {
        const PairConstants& p = plan.pairs[std::size_t(kind[l])];
        c.weight[l] = p.weight;
        c.angle_rate[l] = p.angle_rate;
        c.origin[l] = p.angle_origin;
        c.switch_rate[l] = p.switch_rate;
        c.inner_middle[l] = p.inner_middle;
        c.inner_rate[l] = p.inner_rate;
    }
    return c;
}

}  // namespace

void PairGeometry::compute(const SnapPlan& plan, const PairList& list, const std::int32_t* kind, bool gradients) {
    const std::size_t n = (list.size + W - 1) / W * W;
    stride_ = n + W;  // one more vector: groups of W pairs are loaded from any start
    if (data_.size() < COUNT * stride_) data_.need(COUNT * stride_);
    double* out = data_.data();
    auto put = [&](int f, std::size_t p, vd x) { store(out + std::size_t(f) * stride_ + p, x); };
    const bool inner = !plan.settings.sinner.empty();
    for (std::size_t p = 0; p < n; p += W) {
        const Constants c = constants_of(plan, kind + p);
        const vd x = load(&list.x[p]), y = load(&list.y[p]), z = load(&list.z[p]);
        const vd r = sqrt(x * x + y * y + z * z);
        const vd ri = 1.0 / r;
        vd sn, cs;
        sincos((r - c.origin) * c.angle_rate, sn, cs);
        // LAMMPS takes a and b from z0 = r / tan(theta): below rmin0, where theta < 0, that is the opposite point.
        const vl negative = sn < 0.0;
        sn = select(negative, -sn, sn);
        cs = select(negative, -cs, cs);

        // Switching function and its logarithmic derivative; where the function is zero so is everything.
        const vd past = select(r > c.origin, r - c.origin, vd{});
        vd s_out, c_out;
        sincos(past * c.switch_rate, s_out, c_out);
        vd fc = c.weight * c_out * c_out;
        vd slope = select(c_out != 0.0, -2.0 * c.switch_rate * s_out / c_out, vd{});
        if (inner) {
            vd u = 0.5 * half_pi + c.inner_rate * (r - c.inner_middle);
            u = select(u > 0.0, u, vd{});
            const vl full = u >= half_pi;
            vd s_in, c_in;
            sincos(select(full, splat(half_pi), u), s_in, c_in);
            fc = select(full, fc, fc * s_in * s_in);
            slope += select(full | reinterpret_cast<vl>(s_in == 0.0), vd{}, 2.0 * c.inner_rate * c_in / s_in);
        }

        const vd nx = x * ri, ny = y * ri, nz = z * ri;
        const vd ar = cs, ai = -sn * nz, br = sn * ny, bi = -sn * nx;
        put(SR, p, ar);
        put(SI, p, -ai);
        put(TR, p, -br);
        put(TI, p, bi);
        put(FC, p, fc);
        if (!gradients) continue;
        const vd radial[4] = {-sn, -cs * nz, cs * ny, -cs * nx};  // d(ar, ai, br, bi)/d(theta)
        const vd tangent[3][4] = {{-bi, br, -ai, ar}, {-br, -bi, ar, ai}, {ai, -ar, -bi, br}};
        const vd sr = sn * ri;
        const vd normal[3] = {nx, ny, nz};
        for (int g = 0; g < 3; g++) {
            const vd* t = tangent[g];
            const vd along = radial[0] * t[0] + radial[1] * t[1] + radial[2] * t[2] + radial[3] * t[3];
            put(ALPHA + g, p, slope * along / c.angle_rate);
            const vd part = c.angle_rate * along - sr * (ny * t[2] - nz * t[1] - nx * t[3]);
            const vd turn[3] = {-t[3], t[2], -t[1]};
            for (int k = 0; k < 3; k++) put(OMEGA + 3 * k + g, p, normal[k] * part + sr * turn[k]);
        }
    }
    for (int f = 0; f < COUNT; f++) put(f, n, vd{});
}

}  // namespace mlipstore
