// Aligned scratch memory that grows and is used again, so that nothing is allocated per atom.
#pragma once

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace mlipstore {

template <class T>
class Buffer {
    static_assert(std::is_trivially_copyable_v<T>, "plain values only");

  public:
    Buffer() = default;
    explicit Buffer(std::size_t n) { need(n); }
    Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer() { release(); }

    // Room for n values; what was there is lost when it has to grow.
    T* need(std::size_t n) {
        if (n > size_) {
            release();
            const std::size_t room = n + n / 4;
            data_ = static_cast<T*>(::operator new(room * sizeof(T), std::align_val_t{64}));
            size_ = room;
            std::memset(static_cast<void*>(data_), 0, room * sizeof(T));
        }
        return data_;
    }
    // Room for n values; the first `kept` stay.
    T* extend(std::size_t n, std::size_t kept) {
        if (n > size_) {
            Buffer bigger(n);
            if (kept != 0) std::memcpy(static_cast<void*>(bigger.data_), data_, kept * sizeof(T));
            std::swap(data_, bigger.data_);
            std::swap(size_, bigger.size_);
        }
        return data_;
    }
    T* zeroed(std::size_t n) {
        need(n);
        if (n != 0) std::memset(static_cast<void*>(data_), 0, n * sizeof(T));
        return data_;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t size() const { return size_; }

  private:
    void release() noexcept {
        if (data_ != nullptr) ::operator delete(data_, std::align_val_t{64});
        data_ = nullptr;
        size_ = 0;
    }
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace mlipstore
