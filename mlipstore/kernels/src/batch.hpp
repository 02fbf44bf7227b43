// Configurations as the kernels see them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "neighbours.hpp"

namespace mlipstore {

// Configurations one after another; arrays as in the Python class Batch, elements as indices of the settings.
struct BatchView {
    std::int64_t n;                  // configurations
    const std::int64_t* atom_start;  // (n + 1)
    const std::int32_t* type;        // (atoms)
    const double* position;          // (atoms, 3)
    const double* cell;              // (n, 3, 3)
    const std::uint8_t* pbc;         // (n, 3)
};

// A configuration that cannot be computed.
class ConfigurationError : public std::runtime_error {
  public:
    ConfigurationError(const std::string& message, std::int64_t index) : std::runtime_error(message), index(index) {}
    std::int64_t index;
};

// Points a finder at configuration i; ConfigurationError if it cannot be searched.
void prepare(NeighbourFinder& finder, const BatchView& batch, std::int64_t i, double cutoff);

// 1 / volume of a cell, 0 unless it is periodic in all directions.
double inverse_volume(const double* cell, const std::uint8_t* pbc);

}  // namespace mlipstore
