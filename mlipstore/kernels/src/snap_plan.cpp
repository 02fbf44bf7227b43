#include "snap_plan.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <tuple>

#include "vector.hpp"

namespace mlipstore {

namespace {

constexpr double pi = 3.14159265358979323846;

long double factorial(int n) {
    long double f = 1;
    for (int i = 2; i <= n; i++) f *= i;
    return f;
}

int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

// The state of highest m follows from J+ |top> = 0 and normalisation (Condon-Shortley phase), the others from J- down to
// m = 0; the lower half is the mirror image, because going all the way down would lose digits.
void clebsch_gordan(int j1, int j2, int j, double* out, std::size_t stride) {
    const int n1 = j1 + 1, n2 = j2 + 1;
    std::vector<long double> table(std::size_t(n1) * n2, 0.0L);
    auto at = [&](int m1, int m2) -> long double& { return table[std::size_t(m1) * n2 + m2]; };
    auto raise = [](int spin, int m) { return std::sqrt((long double)(m + 1) * (spin - m)); };  // <m+1| J+ |m>
    int sum = (j1 + j2 + j) / 2;  // m1 + m2 of the top state
    long double norm = 1;
    at(j1, sum - j1) = 1;
    for (int m1 = j1 - 1; m1 >= 0 && sum - m1 <= j2; m1--) {
        const long double c = -at(m1 + 1, sum - m1 - 1) * raise(j2, sum - m1 - 1) / raise(j1, m1);
        at(m1, sum - m1) = c;
        norm += c * c;
    }
    norm = 1 / std::sqrt(norm);
    for (int m1 = 0; m1 <= j1; m1++) {
        const int m2 = sum - m1;
        if (m2 >= 0 && m2 <= j2) at(m1, m2) *= norm;
    }
    for (int m = j - 1; 2 * m >= j; m--) {
        sum--;
        const long double f = 1 / raise(j, m);
        for (int m1 = 0; m1 <= j1; m1++) {
            const int m2 = sum - m1;
            if (m2 < 0 || m2 > j2) continue;
            long double c = 0;
            if (m1 < j1) c += raise(j1, m1) * at(m1 + 1, m2);
            if (m2 < j2) c += raise(j2, m2) * at(m1, m2 + 1);
            at(m1, m2) = c * f;
        }
    }
    const long double sign = ((j1 + j2 - j) / 2) % 2 != 0 ? -1 : 1;
    for (int m1 = 0; m1 <= j1; m1++)
        for (int m2 = 0; m2 <= j2; m2++) {
            if (2 * (m1 + m2) < j1 + j2) at(m1, m2) = sign * at(j1 - m1, j2 - m2);
            out[(std::size_t(m1) * n2 + m2) * stride] = double(at(m1, m2));
        }
}

SnapPlan::SnapPlan(const SnapSettings& given) : settings(given) {
    const std::size_t n = std::size_t(settings.n_elements);
    if (settings.twojmax < 0 || settings.twojmax > max_twojmax) throw std::invalid_argument("twojmax must be 0 to 20");
    if (settings.n_elements < 1 || settings.radius.size() != n || settings.weight.size() != n)
        throw std::invalid_argument("one radius and one weight for each element");
    if (settings.sinner.size() != settings.dinner.size() || (!settings.sinner.empty() && settings.sinner.size() != n))
        throw std::invalid_argument("one sinner and one dinner for each element");
    n_densities = settings.chem ? settings.n_elements : 1;
    make_elements();
    make_couplings();
    make_products();
    make_targets();
    make_pairs();
}

void SnapPlan::make_elements() {
    int elements = 0;
    n_matrix = 0;
    for (int j = 0; j <= settings.twojmax; j++) {
        level_offset.push_back(n_matrix);
        element_offset.push_back(elements);
        n_matrix += (j + 1) * (j + 1);
        for (int mb = 0; 2 * mb <= j; mb++)
            for (int ma = 0; ma <= (2 * mb == j ? mb : j); ma++) {
                const long double ratio = factorial(ma) * factorial(j - ma) / (factorial(mb) * factorial(j - mb));
                norm.push_back(double(std::sqrt(ratio)));
                row_weight.push_back(norm.back() * (2 * mb == j && ma == mb ? 1.0 : 2.0));
                elements++;
            }
    }
    level_offset.push_back(n_matrix);
    element_offset.push_back(elements);
}

void SnapPlan::make_couplings() {
    const int top = settings.twojmax;
    scratch_size = 0;
    for (int j1 = 0; j1 <= top; j1++)
        for (int j2 = 0; j2 <= j1; j2++) {
            Coupling c{};
            c.j1 = j1;
            c.j2 = j2;
            const int highest = j1 + j2 <= top ? j1 + j2 : top - (top + j1 + j2) % 2;
            for (int j = highest; j >= j1 - j2; j -= 2) {
                c.offset[c.n_levels + 1] = c.offset[c.n_levels] + (j + 1) * (j + 1);
                if (j >= j1) c.n_top++;
                c.level[c.n_levels++] = j;
            }
            c.shift = (j1 + j2 - highest) / 2;
            c.cg = cg.size();
            cg.resize(c.cg + std::size_t(j1 + 1) * (j2 + 1) * c.n_levels);
            for (int q = 0; q < c.n_levels; q++) clebsch_gordan(j1, j2, c.level[q], &cg[c.cg + q], c.n_levels);
            scratch_size = std::max(scratch_size, round_up(c.offset[c.n_levels], W));
            couplings.push_back(c);
        }
}

void SnapPlan::make_products() {
    level_rows.resize(settings.twojmax + 1);
    g_size = 0;
    for (std::size_t k = 0; k < couplings.size(); k++) {
        const Coupling& c = couplings[k];
        const std::size_t stride = std::size_t(round_up(c.offset[c.n_levels], W));
        for (int a = 0; a < n_densities; a++)
            for (int b = 0; b < (c.j1 == c.j2 ? a + 1 : n_densities); b++) {  // Z^ab = Z^ba for equal levels
                products.push_back({int(k), a, b, int(rows.size()), g_size});
                for (int q = 0; q < c.n_levels; q++) {
                    level_rows[c.level[q]].push_back(int(rows.size()));
                    rows.push_back({c.level[q], g_size + std::size_t(c.offset[q]), stride});
                }
                g_size += stride * W;
            }
    }
}

void SnapPlan::make_targets() {
    using Key = std::tuple<int, int, int, int, int>;  // a, b, j1, j2, level
    std::map<Key, int> row_of;
    for (const Product& p : products) {
        const Coupling& c = couplings[p.coupling];
        for (int q = 0; q < c.n_levels; q++) row_of[Key{p.a, p.b, c.j1, c.j2, c.level[q]}] = p.first_row + q;
    }
    auto find = [&](int a, int b, int j1, int j2, int level) {
        return j1 == j2 && a < b ? row_of.at(Key{b, a, j1, j2, level}) : row_of.at(Key{a, b, j1, j2, level});
    };
    const int top = settings.twojmax, n = n_densities, n_rows = int(rows.size());
    struct Component {
        int lo, mid, hi;
    };
    std::vector<Component> components;  // in the order of LAMMPS `compute snap`
    for (int mid = 0; mid <= top; mid++)
        for (int lo = 0; lo <= mid; lo++)
            for (int hi = mid; hi <= std::min(top, mid + lo); hi++)
                if ((lo + mid + hi) % 2 == 0) components.push_back({lo, mid, hi});
    n_components = int(components.size());
    n_columns = n_components * n * n * n;
    padded = round_up(n_columns, W);

    std::vector<std::vector<Target>> component(std::size_t(n_rows) * n), gradient(std::size_t(n_rows) * n);
    auto add = [](std::vector<Target>& list, int column, double factor) {
        for (Target& t : list)
            if (t.column == column) {
                t.factor += factor;
                return;
            }
        list.push_back({column, false, factor});
    };
    int column = 0;
    for (int e1 = 0; e1 < n; e1++)
        for (int e2 = 0; e2 < n; e2++)
            for (int e3 = 0; e3 < n; e3++)
                for (const Component& c : components) {
                    const double scale = settings.bnorm ? 1.0 : c.hi + 1.0;
                    const int top_row = find(e1, e2, c.mid, c.lo, c.hi);
                    component[std::size_t(top_row) * n + e3].push_back({column, false, scale / (c.hi + 1.0)});
                    add(gradient[std::size_t(top_row) * n + e3], column, scale / (c.hi + 1.0));
                    const int mid_row = find(e3, e2, c.hi, c.lo, c.mid);
                    add(gradient[std::size_t(mid_row) * n + e1], column, scale / (c.mid + 1.0));
                    const int lo_row = find(e3, e1, c.hi, c.mid, c.lo);
                    add(gradient[std::size_t(lo_row) * n + e2], column, scale / (c.lo + 1.0));
                    column++;
                }
    for (const auto& list : component) {
        component_start.push_back(int(component_list.size()));
        component_list.insert(component_list.end(), list.begin(), list.end());
    }
    component_start.push_back(int(component_list.size()));
    untouched.resize(std::size_t(n));
    for (int e = 0; e < n; e++) {
        std::vector<bool> touched(std::size_t(n_columns), false);
        for (const std::vector<int>& on_level : level_rows)
            for (const int r : on_level)
                for (Target& t : gradient[std::size_t(r) * n + e]) {
                    t.first = !touched[std::size_t(t.column)];
                    touched[std::size_t(t.column)] = true;
                }
        for (int m = 0; m < n_columns; m++)
            if (!touched[std::size_t(m)]) untouched[std::size_t(e)].push_back(m);
        for (int r = 0; r < n_rows; r++) {
            gradient_start.push_back(int(gradient_list.size()));
            const auto& list = gradient[std::size_t(r) * n + e];
            gradient_list.insert(gradient_list.end(), list.begin(), list.end());
        }
        gradient_start.push_back(int(gradient_list.size()));
    }

    isolated.assign(std::size_t(settings.n_elements) * n_columns, 0.0);
    if (!settings.bzero) return;
    for (int t = 0; t < settings.n_elements; t++) {
        column = 0;
        for (int e1 = 0; e1 < n; e1++)
            for (int e2 = 0; e2 < n; e2++)
                for (int e3 = 0; e3 < n; e3++)
                    for (const Component& c : components) {
                        const bool own = n == 1 || settings.wselfall || (e1 == t && e2 == t && e3 == t);
                        if (own) isolated[std::size_t(t) * n_columns + column] = settings.bnorm ? 1.0 : c.hi + 1.0;
                        column++;
                    }
    }
}

void SnapPlan::make_pairs() {
    const int n = settings.n_elements;
    cutoffs.n_types = n;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            const double cutoff = settings.rcutfac * (settings.radius[i] + settings.radius[j]);
            if (!(cutoff > settings.rmin0)) throw std::invalid_argument("each cutoff must be larger than rmin0");
            cutoffs.squared.push_back(cutoff * cutoff);
            cutoffs.longest = std::max(cutoffs.longest, cutoff);
            PairConstants p{};
            p.weight = settings.weight[j];
            p.angle_rate = settings.rfac0 * pi / (cutoff - settings.rmin0);
            p.angle_origin = settings.rmin0;
            p.switch_rate = settings.switching ? 0.5 * pi / (cutoff - settings.rmin0) : 0.0;
            if (!settings.sinner.empty()) {
                p.inner_middle = 0.5 * (settings.sinner[i] + settings.sinner[j]);
                p.inner_rate = 0.25 * pi / (0.5 * (settings.dinner[i] + settings.dinner[j]));
            }
            pairs.push_back(p);
        }
}

}  // namespace mlipstore
