// FitSNAP JSON files that look alike: numbers and texts into columns, nothing else.
//
// Whatever is not exactly as expected ends the run in front of its file; the reader in Python then takes that file and
// says what is wrong with it. So nothing here decides what a file means, and nothing is an error.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlipstore {

// Texts of the styles Lattice, Positions, Energy, Forces, Stress; without a text where the file does not say.
struct JsonStyles {
    std::array<std::string, 5> name;
    std::array<bool, 5> given{};
    bool operator==(const JsonStyles& other) const { return name == other.name && given == other.given; }
};

struct JsonFiles {
    std::vector<std::int64_t> n_atoms;
    std::vector<std::int32_t> numbers;       // atomic numbers
    std::vector<double> positions, forces;   // (atoms, 3)
    std::vector<double> cells, stresses;     // (files, 9)
    std::vector<double> energies;
    std::vector<std::string> labels;         // each once
    std::vector<std::int32_t> label;         // which one each file has, -1: none
    JsonStyles styles;                       // of all of them
};

// Files of one configuration with all labels and the same styles, from the first of `paths` on, until there are
// `max_atoms`, one is different, or they end.
class JsonReader {
  public:
    explicit JsonReader(std::vector<std::string> symbols);  // by atomic number
    JsonReader(const JsonReader&) = delete;
    JsonReader& operator=(const JsonReader&) = delete;

    JsonFiles read(const std::vector<std::string>& paths, std::size_t max_atoms) const;

  private:
    std::vector<std::string> symbols_;
    std::unordered_map<std::string_view, std::int32_t> number_of_;
};

}  // namespace mlipstore
