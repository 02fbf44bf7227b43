#include "json_files.hpp"

#include <cstdio>
#include <cstring>
#include <memory>

#include "xyz_frames.hpp"

namespace mlipstore {

namespace {

constexpr std::string_view style_keys[5] = {"LatticeStyle", "PositionsStyle", "EnergyStyle", "ForcesStyle", "StressStyle"};

// Keys that may be there once, in either of the two objects.
enum Key : unsigned {
    style = 0,  // and the four after it
    atom_type_style = 5,
    label,
    data,
    n_atoms,
    lattice,
    energy,
    stress,
    types,
    positions,
    forces,
    unknown,
};

constexpr unsigned bit(unsigned key) { return 1u << key; }
constexpr unsigned needed = bit(data) | bit(lattice) | bit(energy) | bit(stress) | bit(types) | bit(positions) | bit(forces);

Key key_of(std::string_view name) {
    for (unsigned k = 0; k < 5; k++)
        if (name == style_keys[k]) return Key(k);
    if (name == "AtomTypeStyle") return atom_type_style;
    if (name == "Label") return label;
    if (name == "NumAtoms") return n_atoms;
    if (name == "Lattice") return lattice;
    if (name == "Energy") return energy;
    if (name == "Stress") return stress;
    if (name == "AtomTypes") return types;
    if (name == "Positions") return positions;
    if (name == "Forces") return forces;
    return unknown;
}

struct File {
    unsigned seen = 0;
    JsonStyles styles;
    std::string_view label;
    double count = 0, energy = 0, cell[9], stress[9];
    std::vector<std::int32_t> numbers;
    std::vector<double> positions, forces;
};

class Parser {
  public:
    Parser(const char* begin, const char* end, const std::unordered_map<std::string_view, std::int32_t>& number_of, File& out)
        : p_(begin), end_(end), number_of_(number_of), out_(out) {}

    bool file() {
        std::string_view name;
        if (!sign('{') || !text(name) || name != "Dataset" || !sign(':') || !object(true) || !sign('}')) return false;
        blanks();
        const std::size_t n = out_.numbers.size();
        return p_ == end_ && (out_.seen & needed) == needed && n > 0 && out_.positions.size() == 3 * n &&
               out_.forces.size() == 3 * n && ((out_.seen & bit(n_atoms)) == 0 || out_.count == double(n));
    }

  private:
    void blanks() {
        while (p_ < end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\t' || *p_ == '\r')) p_++;
    }
    bool sign(char c) {
        blanks();
        return p_ < end_ && *p_ == c && (p_++, true);
    }
    // Plain ASCII without anything that JSON escapes.
    bool text(std::string_view& out) {
        if (!sign('"')) return false;
        const char* const begin = p_;
        while (p_ < end_ && *p_ != '"') {
            if (*p_ == '\\' || *p_ < ' ' || *p_ > '~') return false;
            p_++;
        }
        out = {begin, std::size_t(p_ - begin)};
        return p_ < end_ && (p_++, true);
    }
    bool number(double& out) {
        blanks();
        const char* const begin = p_;
        if (json_number(p_, end_, out)) return true;
        if (p_ != begin + 2 || begin[0] != '-' || begin[1] != '0') return false;
        out = 0.0;  // "-0" is an integer, and those have no sign of zero
        return true;
    }
    // value, value, ... ] after its bracket
    template <class Value>
    bool list(Value value) {
        if (!sign('[')) return false;
        do {
            if (!value()) return false;
        } while (sign(','));
        return sign(']');
    }
    bool rows(std::vector<double>& out) {
        return list([&] {
            const std::size_t before = out.size();
            return list([&] {
                double x;
                if (!number(x)) return false;
                out.push_back(x);
                return true;
            }) && out.size() == before + 3;
        });
    }
    bool tensor(double* out) {
        tensor_.clear();
        if (!rows(tensor_) || tensor_.size() != 9) return false;
        std::memcpy(out, tensor_.data(), 9 * sizeof(double));
        return true;
    }
    bool atom_types() {
        return list([&] {
            std::string_view name;
            if (!text(name)) return false;
            const auto found = number_of_.find(name);
            if (found == number_of_.end()) return false;
            out_.numbers.push_back(found->second);
            return true;
        });
    }
    bool object(bool outer) {
        if (!sign('{')) return false;
        do {
            std::string_view name;
            if (!text(name) || !sign(':') || !member(name, outer)) return false;
        } while (sign(','));
        return sign('}');
    }
    bool member(std::string_view name, bool outer) {
        const Key key = outer && name == "Data" ? data : key_of(name);
        if (key == unknown || (out_.seen & bit(key)) != 0) return false;
        out_.seen |= bit(key);
        std::string_view value;
        switch (key) {
            case data: return sign('[') && object(false) && sign(']');
            case n_atoms: return number(out_.count);
            case energy: return number(out_.energy);
            case lattice: return tensor(out_.cell);
            case stress: return tensor(out_.stress);
            case types: return atom_types();
            case positions: return rows(out_.positions);
            case forces: return rows(out_.forces);
            case atom_type_style: return text(value);
            case label: return text(out_.label);
            default:
                if (!text(value)) return false;
                out_.styles.name[key] = value;
                out_.styles.given[key] = true;
                return true;
        }
    }

    const char* p_;
    const char* const end_;
    const std::unordered_map<std::string_view, std::int32_t>& number_of_;
    File& out_;
    std::vector<double> tensor_;
};

// All bytes of a file; false if it cannot be read, which reading it in Python is going to say.
bool content(const std::string& path, std::vector<char>& out, std::size_t& size) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
    if (!file) return false;
    std::setvbuf(file.get(), nullptr, _IONBF, 0);
    size = 0;
    for (;;) {
        if (out.size() - size < 4096) out.resize(2 * out.size() + (1 << 16));
        const std::size_t n = std::fread(out.data() + size, 1, out.size() - size, file.get());
        size += n;
        if (n == 0) return std::ferror(file.get()) == 0;
    }
}

// Where the JSON value begins: a first line that is none is skipped.
const char* value_of(const char* begin, const char* end) {
    const char* p = begin;
    while (p < end && std::strchr(" \t\n\r\v\f", *p) != nullptr && *p != 0) p++;
    if (p == end || *p == '{') return begin;
    const void* const line = std::memchr(begin, '\n', std::size_t(end - begin));
    return line == nullptr ? end : static_cast<const char*>(line) + 1;
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& values) {
    to.insert(to.end(), values.begin(), values.end());
}

}  // namespace

JsonReader::JsonReader(std::vector<std::string> symbols) : symbols_(std::move(symbols)) {
    for (std::size_t z = 1; z < symbols_.size(); z++) number_of_.emplace(symbols_[z], std::int32_t(z));
}

JsonFiles JsonReader::read(const std::vector<std::string>& paths, std::size_t max_atoms) const {
    JsonFiles out;
    std::unordered_map<std::string, std::int32_t> known;
    std::vector<char> raw;
    std::size_t size = 0;
    File file;
    for (const std::string& path : paths) {
        if (out.numbers.size() >= max_atoms || !content(path, raw, size)) break;
        file.seen = 0;
        file.styles = {};
        file.numbers.clear();
        file.positions.clear();
        file.forces.clear();
        const char* const end = raw.data() + size;
        if (!Parser(value_of(raw.data(), end), end, number_of_, file).file()) break;
        if (out.n_atoms.empty()) out.styles = file.styles;
        if (!(file.styles == out.styles)) break;
        out.n_atoms.push_back(std::int64_t(file.numbers.size()));
        append(out.numbers, file.numbers);
        append(out.positions, file.positions);
        append(out.forces, file.forces);
        out.cells.insert(out.cells.end(), file.cell, file.cell + 9);
        out.stresses.insert(out.stresses.end(), file.stress, file.stress + 9);
        out.energies.push_back(file.energy);
        std::int32_t which = -1;
        if ((file.seen & bit(label)) != 0) {
            const auto [found, is_new] = known.try_emplace(std::string(file.label), std::int32_t(out.labels.size()));
            if (is_new) out.labels.emplace_back(file.label);
            which = found->second;
        }
        out.label.push_back(which);
    }
    return out;
}

}  // namespace mlipstore
