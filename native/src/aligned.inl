// Arrays that begin at a cache line. Their types belong to the file that includes this, so that no
// other one is linked to code for processors that it does not need.

template <class Value>
struct Aligned {
  using value_type = Value;
  Aligned() = default;
  template <class Other>
  Aligned(const Aligned<Other>&) {}
  Value* allocate(std::size_t count) {
    return static_cast<Value*>(operator new(count * sizeof(Value), std::align_val_t(64)));
  }
  void deallocate(Value* values, std::size_t) { operator delete(values, std::align_val_t(64)); }
  // What is not given stays as it is in memory.
  template <class Type>
  void construct(Type* value) {
    new (static_cast<void*>(value)) Type;
  }
  template <class Type, class Given>
  void construct(Type* value, const Given& given) {
    new (static_cast<void*>(value)) Type(given);
  }
  bool operator==(const Aligned&) const = default;
};

template <class Value>
using Array = std::vector<Value, Aligned<Value>>;
