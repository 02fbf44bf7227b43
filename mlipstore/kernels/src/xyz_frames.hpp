// Frames of an extended XYZ file that look like one that was read before: numbers and texts into columns, nothing else.
//
// Whatever is not exactly as expected ends the run in front of its frame; the reader in Python then takes that frame and
// says what is wrong with it. So nothing here decides what a file means, and nothing is an error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mlipstore {

// One piece of a comment line.
struct XyzPiece {
    enum Kind : int {
        literal = 0,  // these bytes
        numbers = 1,  // so many numbers, parted by blanks
        bare = 2,     // a text without blanks and quotes
        quoted = 3,   // a text up to the next quote
        json_numbers = 4,
    };
    int kind = literal;
    std::string bytes;
    int count = 0;
};

// What a field of an atom line is; 0, 1, ... is the real column it goes to.
enum XyzField : int { any_text = -1, symbol = -2, atomic_number = -3, any_number = -4, any_logical = -5 };

// The texts that one place of the comment line had: each once, and which one each frame had.
struct XyzTexts {
    std::vector<std::string> each;
    std::vector<std::int32_t> which;
    std::unordered_map<std::string, std::int32_t> known;
};

struct XyzFrames {
    std::vector<std::int64_t> n_atoms;
    std::vector<std::int32_t> numbers;  // atomic numbers
    std::vector<double> columns;        // [atom][real column]
    std::vector<double> heads;          // [frame][number of the comment line]
    std::vector<XyzTexts> texts;        // of each text of the comment line
    std::size_t next = 0;               // first byte that was not taken
};

struct XyzPattern {
    std::vector<XyzPiece> pieces;
    std::vector<int> fields;
    int n_columns = 0;
    std::vector<std::string> symbols;  // by atomic number
    std::unordered_map<std::string_view, std::int32_t> number_of;

    XyzPattern(std::vector<XyzPiece> pieces, std::vector<int> fields, std::vector<std::string> symbols);
    XyzPattern(const XyzPattern&) = delete;
    XyzPattern& operator=(const XyzPattern&) = delete;

    // Frames from byte `start` on, of those that begin before `stop`, until there are `max_atoms` or `max_frames`.
    XyzFrames read(std::string_view data, std::size_t start, std::size_t stop, std::size_t max_atoms,
                   std::size_t max_frames) const;
};

// A decimal number at `p`, correctly rounded; false if there is none or it is one that deserves a second look
// (not finite, larger than 1e9, "-0" as an integer). Moves `p` behind it.
bool xyz_number(const char*& p, const char* end, double& value);

// The same for one that is written as JSON has it.
bool json_number(const char*& p, const char* end, double& value);

}  // namespace mlipstore
