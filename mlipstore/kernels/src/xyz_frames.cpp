#include "xyz_frames.hpp"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace mlipstore {

namespace {

constexpr double farthest = 1e9;
constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                             1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Any finite decimal number, by the C++ library.
bool by_library(const char* begin, const char* end, double& value) {
#if defined(__cpp_lib_to_chars)
    const auto [stop, error] = std::from_chars(begin, end, value);
    return error == std::errc() && stop == end && std::isfinite(value);
#else
    char text[64];
    const std::size_t n = std::size_t(end - begin);
    if (n >= sizeof text) return false;
    std::memcpy(text, begin, n);
    text[n] = 0;
    if (std::strtod("0.5", nullptr) != 0.5) return false;  // a locale with another decimal point
    char* stop = nullptr;
    value = std::strtod(text, &stop);
    return stop == text + n && std::isfinite(value);
#endif
}

struct Cursor {
    const char* p;
    const char* end;

    void skip_blanks() {
        while (p < end && blank(*p)) p++;
    }
    bool line_end() {
        skip_blanks();
        if (p < end && *p != '\n') return false;
        if (p < end) p++;
        return true;
    }
    std::string_view token() {
        const char* const begin = p;
        while (p < end && !blank(*p) && *p != '\n') p++;
        return {begin, std::size_t(p - begin)};
    }
};

bool atom_count(Cursor& at, std::size_t& n) {
    at.skip_blanks();
    const std::string_view text = at.token();
    if (text.empty() || text.size() > 9) return false;
    n = 0;
    for (const char c : text) {
        if (!digit(c)) return false;
        n = 10 * n + std::size_t(c - '0');
    }
    return n > 0 && at.p < at.end && at.line_end();
}

// Whether a text that is a number is one in JSON: no plus, no empty side of the point, no leading zeros.
bool is_json(const char* p, const char* end) {
    if (p < end && *p == '-') p++;
    if (p >= end || !digit(*p) || (*p == '0' && p + 1 < end && digit(p[1]))) return false;
    while (p < end && digit(*p)) p++;
    return p == end || *p != '.' || (p + 1 < end && digit(p[1]));
}

bool numbers(Cursor& at, int count, bool json, std::vector<double>& out) {
    for (int i = 0; i < count; i++) {
        if (i > 0) {
            if (at.p >= at.end || !blank(*at.p)) return false;
            at.skip_blanks();
        }
        double value;
        if (!(json ? json_number(at.p, at.end, value) : xyz_number(at.p, at.end, value))) return false;
        out.push_back(value);
    }
    return true;
}

// A text that means the same to every reader of the format.
bool text(Cursor& at, bool quoted, std::string_view& out) {
    const char* const begin = at.p;
    for (; at.p < at.end && *at.p != '\n'; at.p++) {
        const char c = *at.p;
        if (quoted ? c == '"' : blank(c)) break;
        if (c == '"' || c == '\'' || c == '\\' || c == '=' || c == '{' || c == '}' || c == '[' || c == ']' || c == ',')
            return false;
        if (c == '\r' || c == '\t' || c == '\v' || c == '\f') return false;
    }
    out = {begin, std::size_t(at.p - begin)};
    return !out.empty();
}

std::int32_t entered(XyzTexts& texts, std::string_view value) {
    const auto [found, is_new] = texts.known.try_emplace(std::string(value), std::int32_t(texts.each.size()));
    if (is_new) texts.each.emplace_back(value);
    return found->second;
}

}  // namespace

bool xyz_number(const char*& p, const char* end, double& value) {
    const char* const begin = p;
    const bool negative = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    const char* const unsigned_begin = p;
    std::uint64_t mantissa = 0;
    int exponent = 0, digits = 0, taken = 0;
    bool point = false;
    for (; p < end; p++) {
        if (digit(*p)) {
            digits++;
            if (taken < 19) {
                mantissa = 10 * mantissa + std::uint64_t(*p - '0');
                taken += mantissa != 0;
                exponent -= point;
            } else {
                taken = 20;  // more digits than fit
            }
        } else if (*p == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    if (digits == 0) return false;
    bool integer = !point;
    if (p < end && (*p == 'e' || *p == 'E')) {
        integer = false;
        p++;
        const bool down = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (p >= end || !digit(*p)) return false;
        int written = 0;
        for (; p < end && digit(*p); p++)
            if (written < 10000) written = 10 * written + (*p - '0');
        exponent += down ? -written : written;
    }
    if (p < end && !blank(*p) && std::memchr("\n\",]}", *p, 5) == nullptr) return false;
    if (taken < 20 && mantissa <= (std::uint64_t(1) << 53) && exponent >= -22 && exponent <= 22) {
        // both are exact, so one rounding remains (Clinger 1990, doi:10.1145/93542.93557)
        const double exact = double(mantissa);
        value = exponent < 0 ? exact / powers[-exponent] : exact * powers[exponent];
    } else if (!by_library(unsigned_begin, p, value)) {
        p = begin;
        return false;
    }
    if (negative) value = -value;
    return value < farthest && value > -farthest && !(integer && negative && mantissa == 0);
}

bool json_number(const char*& p, const char* end, double& value) {
    const char* const begin = p;
    return xyz_number(p, end, value) && is_json(begin, p);
}

XyzPattern::XyzPattern(std::vector<XyzPiece> pieces_, std::vector<int> fields_, std::vector<std::string> symbols_)
    : pieces(std::move(pieces_)), fields(std::move(fields_)), symbols(std::move(symbols_)) {
    for (const int field : fields) n_columns = std::max(n_columns, field + 1);
    for (std::size_t z = 1; z < symbols.size(); z++) number_of.emplace(symbols[z], std::int32_t(z));
}

XyzFrames XyzPattern::read(std::string_view data, std::size_t start, std::size_t stop, std::size_t max_atoms,
                           std::size_t max_frames) const {
    XyzFrames out;
    std::size_t n_texts = 0;
    for (const XyzPiece& piece : pieces) n_texts += piece.kind == XyzPiece::bare || piece.kind == XyzPiece::quoted;
    out.texts.resize(n_texts);
    std::vector<std::string_view> found(n_texts);
    std::size_t atoms = 0;
    Cursor at{data.data() + start, data.data() + data.size()};
    const char* const last = data.data() + std::min(stop, data.size());

    const auto comment = [&] {
        std::size_t text_index = 0;
        for (const XyzPiece& piece : pieces) {
            if (piece.kind == XyzPiece::literal) {
                const std::size_t n = piece.bytes.size();
                if (std::size_t(at.end - at.p) < n || std::memcmp(at.p, piece.bytes.data(), n) != 0) return false;
                at.p += n;
            } else if (piece.kind == XyzPiece::numbers || piece.kind == XyzPiece::json_numbers) {
                if (!numbers(at, piece.count, piece.kind == XyzPiece::json_numbers, out.heads)) return false;
            } else if (!text(at, piece.kind == XyzPiece::quoted, found[text_index++])) {
                return false;
            }
        }
        return at.p < at.end && *at.p == '\n' && (at.p++, true);
    };
    const auto atom = [&](double* column) {
        for (const int field : fields) {
            at.skip_blanks();
            if (field >= 0 || field == any_number) {
                double value;
                if (!xyz_number(at.p, at.end, value)) return false;
                if (field >= 0) column[field] = value;
                continue;
            }
            const std::string_view token = at.token();
            if (token.empty()) return false;
            if (field == symbol) {
                const auto z = number_of.find(token);
                if (z == number_of.end()) return false;
                out.numbers.push_back(z->second);
            } else if (field == atomic_number) {
                std::size_t z = 0;
                if (token.size() > 3) return false;
                for (const char c : token) {
                    if (!digit(c)) return false;
                    z = 10 * z + std::size_t(c - '0');
                }
                if (z == 0 || z >= symbols.size()) return false;
                out.numbers.push_back(std::int32_t(z));
            } else if (field == any_logical && token != "T" && token != "F") {
                return false;
            }
        }
        return at.line_end();
    };

    while (at.p < last && atoms < max_atoms && out.n_atoms.size() < max_frames) {
        const char* const begin = at.p;
        const std::size_t heads = out.heads.size();
        std::size_t n = 0, done = 0;
        // the shortest atom line has two bytes for each field
        if (atom_count(at, n) && comment() && std::size_t(at.end - at.p) + 1 >= 2 * n * fields.size()) {
            out.columns.resize((atoms + n) * std::size_t(n_columns));
            while (done < n && at.p < at.end && atom(out.columns.data() + (atoms + done) * std::size_t(n_columns))) done++;
        }
        if (n == 0 || done < n) {
            at.p = begin;
            out.heads.resize(heads);
            out.numbers.resize(atoms);
            out.columns.resize(atoms * std::size_t(n_columns));
            break;
        }
        atoms += n;
        out.n_atoms.push_back(std::int64_t(n));
        for (std::size_t i = 0; i < n_texts; i++) out.texts[i].which.push_back(entered(out.texts[i], found[i]));
    }
    out.next = std::size_t(at.p - data.data());
    return out;
}

}  // namespace mlipstore
