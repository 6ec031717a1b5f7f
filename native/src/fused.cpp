#include "fused.h"

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

std::unique_ptr<FusedBlock> make_fused_block(const BlockSizes& sizes,
                                             const BlockTensors<const float>& weights,
                                             const std::string& level) {
#if defined(NEUVID_X86_KERNELS)
  for (const std::string& usable : fused_levels()) {
    if (usable != level) continue;
    if (level == "avx2") return make_avx2_block(sizes, weights);
    if (level == "avx512") return make_avx512_block(sizes, weights);
    return make_amx_block(sizes, weights);
  }
#endif
  (void)sizes, (void)weights;
  throw std::invalid_argument("this processor has no level " + level);
}

}  // namespace neuvid
