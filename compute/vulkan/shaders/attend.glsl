/* What the attention shaders share: rows of one head, D columns, as tiles in shared memory; a row sees keys [from, to). The tile
 * sizes BQ and BK are such that 24 rows of 128 columns are the most that is held. */
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint D = 64;
layout(constant_id = 1) const uint BQ = 8;
layout(constant_id = 2) const uint BK = 16;

const uint L = D + 1; /* a row in shared memory, so that rows begin in different banks */
const float lowest = -3.0e38;
