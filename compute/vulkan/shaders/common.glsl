/* What every shader has: the run's counts, the dispatch's numbers, and small functions. The block of push constants is
 * struct stn_tape_push of tape.h. Only the core of Vulkan 1.1: 32-bit storage, no subgroups, no other extensions. */
#extension GL_EXT_control_flow_attributes : require

layout(set = 0, binding = 12) uniform Step { uint n_tokens, n_targets; } run;

layout(push_constant) uniform Push {
    uint in_rows[3], in_cols[3]; /* of the node's first inputs; rows carry their extent in the top bits */
    uint out_rows, out_cols;
    uint rows, first, count;     /* of the tensor that is walked: all of it, and the window that this dispatch does */
    uint table_first, table_count; /* the window of the table's rows */
    uint flags, heads, kv_heads, head_size, number;
    float scale, eps;
    uint at[3];                  /* words between each binding's start and its tensor's, 8 bits each */
    uint extra[2];               /* the op's own */
} push;

const uint ADD = 1, NEOX = 2, INVERSE = 4, RELU2 = 8, HALF = 16, ONE_SCALE = 32, LEARN = 64, FIRST = 128;

bool has(uint flag)
{
    return (push.flags & flag) != 0;
}

/* Rows of today's batch. */
uint today(uint rows)
{
    uint extent = rows >> 30;
    return extent == 0 ? rows : extent == 1 ? run.n_tokens : run.n_targets;
}

/* How many rows of the window there are today. */
uint window()
{
    uint rows = today(push.rows);
    return rows <= push.first ? 0 : min(rows - push.first, push.count);
}

uint at(uint binding)
{
    return push.at[binding / 4] >> binding % 4 * 8 & 255;
}

/* exp(x), relative error below 2e-7 in [-87, 88], held at its ends outside; NaN stays. The one of compute/cpu/lanes.h: drivers'
 * own are as good as they like. */
float exponential(float x)
{
    x = x > 88.0 ? 88.0 : x;
    x = x < -87.0 ? -87.0 : x;
    float n = roundEven(x * 1.44269504);
    float r = (x - n * 0.693359375) - n * -2.12194440e-4;
    float y = 1.9875691500e-4;
    y = y * r + 1.3981999507e-3;
    y = y * r + 8.3334519073e-3;
    y = y * r + 4.1665795894e-2;
    y = y * r + 1.6666665459e-1;
    y = y * r + 5.0000001201e-1;
    y = y * (r * r) + r + 1.0;
    return y * uintBitsToFloat(uint(int(n) + 127) << 23);
}

/* False for infinities and for what is no number. */
bool is_finite(float x)
{
    return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u;
}
