/* Sums and maxima over a work group of WG invocations, without subgroups. */
layout(constant_id = 0) const uint WG = 64;
layout(local_size_x_id = 0) in;

shared float parts[WG];

float total(float v)
{
    uint l = gl_LocalInvocationIndex;
    parts[l] = v;
    barrier();
    for (uint half_ = WG / 2; half_ > 0; half_ /= 2) {
        if (l < half_) {
            parts[l] += parts[l + half_];
        }
        barrier();
    }
    float sum = parts[0];
    barrier();
    return sum;
}

float greatest(float v)
{
    uint l = gl_LocalInvocationIndex;
    parts[l] = v;
    barrier();
    for (uint half_ = WG / 2; half_ > 0; half_ /= 2) {
        if (l < half_) {
            parts[l] = parts[l + half_] > parts[l] ? parts[l + half_] : parts[l];
        }
        barrier();
    }
    float top = parts[0];
    barrier();
    return top;
}
