#include "tensor/codebooks.h"

namespace raison {

#include "tensor/codebooks.inc"

}  // namespace raison
