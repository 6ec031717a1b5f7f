#include "fused.h"

#include <algorithm>
#include <stdexcept>

#include "fused_level.h"

namespace neuvid {

std::vector<std::string> fused_levels() {
  std::vector<std::string> levels;
#if defined(NEUVID_X86_KERNELS)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return levels;
  levels.emplace_back("avx2");
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
    return levels;
  levels.emplace_back("avx512");
  if (__builtin_cpu_supports("avx512bf16") && amx_is_usable()) levels.emplace_back("amx");
#endif
  return levels;
}

const FusedKernels& fused_kernels(const std::string& level) {
#if defined(NEUVID_X86_KERNELS)
  static const std::vector<std::string> usable = fused_levels();
  if (std::find(usable.begin(), usable.end(), level) != usable.end()) {
    if (level == "avx2") return avx2_fused_kernels;
    return level == "avx512" ? avx512_fused_kernels : amx_fused_kernels;
  }
#endif
  throw std::invalid_argument("this processor has no level " + level);
}

}  // namespace neuvid
