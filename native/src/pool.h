// Threads that all calls share. A caller does its own work where no thread is free.
#pragma once

#include <cstddef>
#include <functional>

namespace neuvid {

// Calls work(part) for each part below `parts`, on up to `threads` threads, the caller's included.
// Rethrows one of the exceptions of `work`.
void run_parts(std::size_t threads, std::size_t parts,
               const std::function<void(std::size_t)>& work);

}  // namespace neuvid
