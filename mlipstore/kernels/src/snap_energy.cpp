// Energy and forces of given coefficients: Y = sum of weighted rows = dE/dv of the densities of each atom, then one
// contraction of Y with the derivative of v for each neighbour.
#include <algorithm>

#include "snap_engine.hpp"

namespace mlipstore {

namespace {

// Matrix elements of a level that meet Y or its neighbours ma - 1, ma + 1: the half set and one more on a middle line.
constexpr int field_elements(int j) {
    return (j + 1) / 2 * (j + 1) + (j % 2 != 0 ? 0 : std::min(j / 2 + 2, j + 1));
}

int count_field_elements(int twojmax) {
    int n = 0;
    for (int j = 0; j <= twojmax; j++) n += field_elements(j);
    return n;
}

}  // namespace

void SnapEngine::compute_energy(const double* coefficients, bool quadratic) {
    prepare_block(true);
    for (int m = 0; m < plan_.padded; m++) b_lanes_[m] = vd{};
    if (quadratic) {
        rows_.need(plan_.g_size / W + std::size_t(plan_.scratch_size) + 1);
        for (const Product& product : plan_.products) couple(product, Keep::rows_of_lanes);
    }
    weigh_columns(coefficients, quadratic);
    weigh_rows();
    const std::size_t matrices = std::size_t(plan_.n_densities) * plan_.n_matrix;
    vd* y = y_.need(matrices);
    std::fill_n(y, matrices, vd{});
    for (const Product& product : plan_.products) {
        if (quadratic)
            add_weighted(product, rows_.data() + product.offset / W);
        else
            couple(product, Keep::weighted_sum);
    }
    if (!quadratic) {  // B is homogeneous of degree three in U (Euler)
        vd sum{};
        for (std::size_t k = 0; k < matrices; k++) sum += y[k] * sums_[k];
        for (int a = 0; a < n_atoms_; a++) {
            const double* isolated = plan_.isolated.data() + std::size_t(atoms_[a].type) * plan_.n_columns;
            double energy = sum[a] / 3.0;
            for (int m = 0; m < plan_.n_columns; m++) energy -= column_weight_[m][a] * isolated[m];
            energy_[a] = energy;
        }
    }
    make_fields();
    slope_stride_ = pairs_.size + W;
    slope_.need(3 * slope_stride_);
    for (int a = 0; a < n_atoms_; a++) {
        const std::int32_t* segment = segment_.data() + std::size_t(a) * (plan_.settings.n_elements + 1);
        for (int e = 0; e < plan_.n_densities; e++)
            contract_fields(a, e, plan_.settings.chem ? segment[e] : 0, plan_.settings.chem ? segment[e + 1] : atoms_[a].n);
    }
}

// dE/dB of each column, lanes = atoms; with products also the energies.
void SnapEngine::weigh_columns(const double* coefficients, bool quadratic) {
    const int n = plan_.n_columns;
    const std::size_t per_type = quadratic ? std::size_t(n) + std::size_t(n) * (n + 1) / 2 : std::size_t(n);
    vd* weight = column_weight_.need(std::size_t(2 * n));
    vd* b = weight + n;
    std::fill_n(weight, n, vd{});
    for (int t = 0; t < plan_.settings.n_elements; t++) {
        vl mask{};
        bool present = false;
        for (int a = 0; a < n_atoms_; a++)
            if (atoms_[a].type == t) {
                mask[a] = -1;
                present = true;
            }
        if (!present) continue;
        const double* linear = coefficients + std::size_t(t) * per_type;
        if (!quadratic) {
            for (int m = 0; m < n; m++) weight[m] = select(mask, splat(linear[m]), weight[m]);
            continue;
        }
        const double* isolated = plan_.isolated.data() + std::size_t(t) * n;
        for (int m = 0; m < n; m++) {
            b[m] = b_lanes_[m] - isolated[m];
            weight[m] = select(mask, vd{}, weight[m]);
        }
        vd energy{};
        const double* square = linear + n;  // (a, b) with a <= b; a = b counts one half
        for (int m = 0; m < n; m++) {
            vd sum = b[m] * *square++;
            for (int k = m + 1; k < n; k++, square++) {
                sum += *square * b[k];
                weight[k] += select(mask, *square * b[m], vd{});
            }
            weight[m] += select(mask, sum, vd{});
        }
        for (int m = 0; m < n; m++) {
            energy += b[m] * (linear[m] + 0.5 * weight[m]);
            weight[m] += select(mask, splat(linear[m]), vd{});
        }
        for (int a = 0; a < n_atoms_; a++)
            if (atoms_[a].type == t) energy_[a] = energy[a];
    }
}

void SnapEngine::weigh_rows() {
    const std::size_t n_rows = plan_.rows.size();
    vd* weight = row_weight_.need(n_rows * plan_.n_densities);
    for (int e = 0; e < plan_.n_densities; e++) {
        const int* start = plan_.gradient_start.data() + std::size_t(e) * (n_rows + 1);
        for (std::size_t r = 0; r < n_rows; r++) {
            vd sum{};
            for (int t = start[r]; t < start[r + 1]; t++) {
                const Target& target = plan_.gradient_list[std::size_t(t)];
                sum += target.factor * column_weight_[std::size_t(target.column)];
            }
            weight[std::size_t(e) * n_rows + r] = sum;
        }
    }
}

void SnapEngine::add_weighted(const Product& product, const vd* rows) {
    const Coupling& c = plan_.couplings[std::size_t(product.coupling)];
    for (int e = 0; e < plan_.n_densities; e++)
        for (int q = 0; q < c.n_levels; q++) {
            const vd weight = row_weight_[std::size_t(e) * plan_.rows.size() + product.first_row + q];
            vd* y = y_.data() + std::size_t(e) * plan_.n_matrix + plan_.level_offset[c.level[q]];
            const vd* row = rows + c.offset[q];
            for (int k = 0; k < c.offset[q + 1] - c.offset[q]; k++) y[k] += weight * row[k];
        }
}

// The derivative along T_g is linear in v, so its contraction with Y is one of v with T_g' Y: for each matrix element
// the real and imaginary parts of Y, T_x' Y, T_y' Y and T_z' Y, in this order, one contiguous array per atom.
void SnapEngine::make_fields() {
    const int top = plan_.settings.twojmax;
    const std::size_t per_density = std::size_t(8) * count_field_elements(top);
    const std::size_t per_atom = per_density * plan_.n_densities;
    double* fields = fields_.need(per_atom * W);
    for (int e = 0; e < plan_.n_densities; e++) {
        const vd* y = y_.data() + std::size_t(e) * plan_.n_matrix;
        double* out = fields + std::size_t(e) * per_density;
        for (int j = 0; j <= top; j++)
            for (int mb = 0; 2 * mb <= j; mb++) {
                const bool middle = 2 * mb == j;
                const int n = middle ? mb + 1 : j + 1;  // elements of Y in this line
                auto re = [&](int ma) { return ma >= 0 && ma < n ? y[2 * ma] : vd{}; };
                auto im = [&](int ma) { return ma >= 0 && ma < n && !(middle && ma == mb) ? y[2 * ma + 1] : vd{}; };
                const int last = middle ? std::min(mb + 1, j) : j;
                for (int ma = 0; ma <= last; ma++, out += 8) {
                    const vd up_re = double(ma) * re(ma - 1), up_im = double(ma) * im(ma - 1);
                    const vd down_re = double(j - ma) * re(ma + 1), down_im = double(j - ma) * im(ma + 1);
                    const double m = j - 2 * ma;
                    vd t[8] = {re(ma),      up_im + down_im,    up_re - down_re, m * im(ma),
                               im(ma), -(up_re + down_re), up_im - down_im, -m * re(ma)};
                    for (int h = 0; h < 8; h += W) {
                        transpose(t + h);
                        for (int a = 0; a < W; a++) store(out + std::size_t(a) * per_atom + h, t[h + a]);
                    }
                }
                y += middle ? 2 * mb + 1 : 2 * (j + 1);
            }
    }
}

// dE_a/dr of neighbours begin..end, all of one density.
void SnapEngine::contract_fields(int a, int density, int begin, int end) {
    const int top = plan_.settings.twojmax, storage = level_storage(top);
    const std::size_t per_density = std::size_t(8) * count_field_elements(top);
    const double* const fields = fields_.data() + (std::size_t(a) * plan_.n_densities + density) * per_density;
    for (int from = begin; from < end; from += W) {
        const std::size_t p = atoms_[a].first + std::size_t(from);
        auto at = [&](int f) { return load(geometry_.field(f) + p); };
        const Spinor spinor{at(PairGeometry::SR), at(PairGeometry::SI), at(PairGeometry::TR), at(PairGeometry::TI)};
        vd *r0 = level_.data(), *i0 = r0 + storage, *r = i0 + storage, *i = r + storage;
        r0[0] = at(PairGeometry::FC);
        i0[0] = vd{};
        vd re[4] = {vd{}, vd{}, vd{}, vd{}}, im[4] = {vd{}, vd{}, vd{}, vd{}};
        const double* f = fields;
        for (int j = 0; j <= top; j++) {
            if (j > 0) {
                next_level(j, spinor, r0, i0, r, i);
                std::swap(r0, r);
                std::swap(i0, i);
            }
            for (int k = 0; k < field_elements(j); k++, f += 8) {  // lines are stored without gaps
                const vd x = in_register(r0[k]), y = in_register(i0[k]);
                for (int g = 0; g < 4; g++) {
                    re[g] += f[g] * x;
                    im[g] += f[4 + g] * y;
                }
            }
        }
        const vd value = re[0] + im[0];
        vd along[3];
        for (int g = 0; g < 3; g++) along[g] = re[g + 1] + im[g + 1] + at(PairGeometry::ALPHA + g) * value;
        for (int k = 0; k < 3; k++) {
            const vd d = at(PairGeometry::OMEGA + 3 * k) * along[0] + at(PairGeometry::OMEGA + 3 * k + 1) * along[1] +
                         at(PairGeometry::OMEGA + 3 * k + 2) * along[2];
            store(slope_.data() + std::size_t(k) * slope_stride_ + p, d);
        }
    }
}

}  // namespace mlipstore
