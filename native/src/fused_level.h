// The kernels of fused.inl for each kind of processor; one source file each.
#pragma once

#include "fused.h"

namespace neuvid {

extern const FusedKernels avx2_fused_kernels, avx512_fused_kernels, amx_fused_kernels;
bool amx_is_usable();  // asks the operating system for the tiles

}  // namespace neuvid
