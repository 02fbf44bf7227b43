// Vectors that become arrays of Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

namespace mlipstore {

// A vector as an array that owns it.
template <class T>
nanobind::object array(std::vector<T>&& values, std::size_t rows, std::size_t columns = 0) {
    auto* const kept = new std::vector<T>(std::move(values));
    const nanobind::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    const std::size_t shape[] = {rows, columns};
    return nanobind::cast(nanobind::ndarray<nanobind::numpy, T>(kept->data(), columns == 0 ? 1 : 2, shape, owner));
}

}  // namespace mlipstore
