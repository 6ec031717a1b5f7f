// The kernels of fused.inl for each kind of processor; one source file each.
#pragma once

#include <memory>

#include "fused.h"

namespace neuvid {

using MakeFusedBlock = std::unique_ptr<FusedBlock>(const BlockSizes&,
                                                   const BlockTensors<const float>&);
MakeFusedBlock make_avx2_block, make_avx512_block, make_amx_block;
bool amx_is_usable();  // asks the kernel of the system for the tiles

}  // namespace neuvid
