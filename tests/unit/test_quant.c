#include "tests/lib/run.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "compute/model/quant.h"

#define N STN_QUANT_TERNARY

/* value i of the vectors: a pattern that meets every digit and every place */
static int8_t pattern(size_t i)
{
    return (int8_t)((i * i + i / 7) % 3) - 1;
}

static uint32_t fold(const uint8_t *p, size_t size)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * 16777619u;
    }
    return h;
}

START_TEST(packed_blocks_are_the_bytes_of_the_reference)
{
    int8_t q[2 * N];
    uint16_t d[2] = {0x3800, 0xb5c3};
    uint8_t bytes[2 * 66];
    for (size_t i = 0; i < 2 * N; i++) {
        q[i] = pattern(i);
    }
    static const uint8_t tq2[8] = {0x58, 0x95, 0x09, 0x90, 0x19, 0x01, 0xa0, 0x2a}, tq1[8] = {0x47, 0x82, 0x90, 0x11, 0x98, 0x58, 0x1c, 0xf8};
    stn_quant_pack(STN_QUANT_TQ2_0, bytes, q, d, 2 * N);
    ck_assert_mem_eq(bytes, tq2, 8);
    ck_assert_uint_eq(fold(bytes, 2 * 66), 0xa531a87bu);
    stn_quant_pack(STN_QUANT_TQ1_0, bytes, q, d, 2 * N);
    ck_assert_mem_eq(bytes, tq1, 8);
    ck_assert_uint_eq(fold(bytes, 2 * 54), 0xd6721ac9u);
}
END_TEST

START_TEST(ternary_blocks_come_back_as_they_went_in)
{
    struct stn_rng rng;
    stn_rng_init(&rng, 3);
    static const enum stn_quant_type types[] = {STN_QUANT_TQ1_0, STN_QUANT_TQ2_0};
    for (int round = 0; round < 200; round++) {
        int8_t q[2 * N], back[2 * N];
        uint16_t d[2], scales[2];
        for (size_t i = 0; i < 2 * N; i++) {
            q[i] = (int8_t)((int)stn_rng_below(&rng, 3) - 1);
        }
        d[0] = (uint16_t)stn_rng_u64(&rng);
        d[1] = (uint16_t)stn_rng_u64(&rng);
        for (size_t t = 0; t < 2; t++) {
            uint8_t bytes[2 * 66], again[2 * 66];
            stn_quant_pack(types[t], bytes, q, d, 2 * N);
            ck_assert(stn_quant_unpack(types[t], back, scales, bytes, 2 * N));
            ck_assert_mem_eq(back, q, sizeof q);
            ck_assert_mem_eq(scales, d, sizeof d);
            stn_quant_pack(types[t], again, back, scales, 2 * N);
            ck_assert_mem_eq(again, bytes, stn_quant_size(types[t], 2 * N));
        }
    }
}
END_TEST

START_TEST(the_fourth_pattern_of_a_two_bit_block_is_told)
{
    uint8_t bytes[66] = {0};
    int8_t q[N];
    uint16_t d;
    ck_assert(stn_quant_unpack(STN_QUANT_TQ2_0, q, &d, bytes, N));
    bytes[63] = 3 << 6;
    ck_assert(!stn_quant_unpack(STN_QUANT_TQ2_0, q, &d, bytes, N));
    ck_assert_int_eq(q[255], 2);
}
END_TEST

START_TEST(every_half_survives_the_way_through_a_float)
{
    for (uint32_t h = 0; h < 65536; h++) {
        float f = stn_quant_f16((uint16_t)h), b = stn_quant_bf16((uint16_t)h);
        if (isnan(f)) {
            ck_assert(isnan(stn_quant_f16(stn_quant_to_f16(f))));
        } else {
            ck_assert_uint_eq(stn_quant_to_f16(f), h);
        }
        if (!isnan(b)) {
            ck_assert_uint_eq(stn_quant_to_bf16(b), h);
        }
    }
}
END_TEST

START_TEST(floats_are_rounded_to_the_nearest_half_and_ties_to_even)
{
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double low = stn_quant_f16((uint16_t)h), high = stn_quant_f16((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2);
        ck_assert_uint_eq(stn_quant_to_f16(middle), h + (h & 1));
        ck_assert_uint_eq(stn_quant_to_f16(nextafterf(middle, 0)), h);
        ck_assert_uint_eq(stn_quant_to_f16(-nextafterf(middle, INFINITY)), 0x8000 + h + 1);
    }
    ck_assert_uint_eq(stn_quant_to_f16(65519.0f), 0x7bff);
    ck_assert_uint_eq(stn_quant_to_f16(65520.0f), 0x7c00);
    ck_assert_uint_eq(stn_quant_to_f16(-INFINITY), 0xfc00);
    ck_assert_uint_eq(stn_quant_to_bf16(1.00390625f), 0x3f80); /* half way: to even */
    ck_assert_uint_eq(stn_quant_to_bf16(1.01171875f), 0x3f82);
    ck_assert(isnan(stn_quant_bf16(stn_quant_to_bf16(NAN))));
}
END_TEST

START_TEST(every_format_but_one_reads_as_floats_by_its_formula)
{
    uint8_t bytes[256];
    float x[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 37 + 11);
    }
    bytes[0] = 0x00, bytes[1] = 0x38; /* 0.5 */
    ck_assert(stn_quant_to_f32(STN_QUANT_Q8_0, x, bytes, 32));
    ck_assert_float_eq(x[5], 0.5f * (float)(int8_t)bytes[7]);
    bytes[2] = 0x00, bytes[3] = 0x34; /* 0.25 */
    ck_assert(stn_quant_to_f32(STN_QUANT_Q4_K, x, bytes, 256));
    /* group 5: scale from bytes 4 + 9 and 4 + 1, minimum from 4 + 9 and 4 + 5; value 3 of it in byte 16 + 64 + 3 */
    int scale = (bytes[13] & 15) | bytes[5] >> 6 << 4, minimum = bytes[13] >> 4 | bytes[9] >> 6 << 4;
    ck_assert_float_eq(x[5 * 32 + 3], 0.5f * (float)(scale * (bytes[83] >> 4)) - 0.25f * (float)minimum);
    ck_assert_float_eq(x[1], 0.5f * (float)((bytes[4] & 63) * (bytes[17] & 15)) - 0.25f * (float)(bytes[8] & 63));
    bytes[208] = 0x00, bytes[209] = 0x38;
    ck_assert(stn_quant_to_f32(STN_QUANT_Q6_K, x, bytes, 256));
    /* value 128 + 2 * 32 + 20: low bits in the upper half of byte 64 + 20, high bits in byte 128 + 32 + 20 at 4 */
    int q = (bytes[84] >> 4 | (bytes[180] >> 4 & 3) << 4) - 32;
    ck_assert_float_eq(x[128 + 64 + 20], 0.5f * (float)((int8_t)bytes[192 + 8 + 4 + 1] * q));
    ck_assert(!stn_quant_to_f32(STN_QUANT_I2_S, x, bytes, 256));
    ck_assert_ptr_null(stn_quant_format(2));
    ck_assert_ptr_null(stn_quant_named("q9"));
    ck_assert_int_eq(stn_quant_named("tq1_0")->type, STN_QUANT_TQ1_0);
}
END_TEST

Suite *suite(void)
{
    Suite *s = suite_create("quant");
    TCase *t = tcase_create("quant");
    tcase_add_test(t, packed_blocks_are_the_bytes_of_the_reference);
    tcase_add_test(t, ternary_blocks_come_back_as_they_went_in);
    tcase_add_test(t, the_fourth_pattern_of_a_two_bit_block_is_told);
    tcase_add_test(t, every_half_survives_the_way_through_a_float);
    tcase_add_test(t, floats_are_rounded_to_the_nearest_half_and_ties_to_even);
    tcase_add_test(t, every_format_but_one_reads_as_floats_by_its_formula);
    suite_add_tcase(s, t);
    return s;
}
